"""A model's tree without a browser: rows, freezing, undo, summaries.

What a notebook shows is made one room above, in `freezeviz.widgets`.
"""

from freezeviz.explore._controller import Change, Controller
from freezeviz.explore._explorer import Explorer, explore
from freezeviz.explore._rows import Row
from freezeviz.explore._structure import STATES, Structure
from freezeviz.explore._summary import Summary, summary

__all__ = [
    "STATES",
    "Change",
    "Controller",
    "Explorer",
    "Row",
    "Structure",
    "Summary",
    "explore",
    "summary",
]
