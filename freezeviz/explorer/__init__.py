"""A model's tree without a browser: rows, freezing, undo, summaries.

What a notebook shows is made one room above, in `freezeviz.widgets`.
"""

from freezeviz.explorer._controller import Change, Controller
from freezeviz.explorer._explorer import Explorer, explore
from freezeviz.explorer._rows import Row
from freezeviz.explorer._structure import STATES, Structure
from freezeviz.explorer._summary import Summary, summary

__all__ = [
    "Change",
    "Controller",
    "Explorer",
    "Row",
    "STATES",
    "Structure",
    "Summary",
    "explore",
    "summary",
]
