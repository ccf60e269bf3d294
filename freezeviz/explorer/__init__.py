"""A model's tree without a browser: rows, freezing, undo, summaries.

What a notebook shows is made one room above, in `freezeviz.widgets`.
"""

from freezeviz.explorer._background import Background
from freezeviz.explorer._controller import Controller
from freezeviz.explorer._details import ArrayDetails, Details, Histogram
from freezeviz.explorer._explorer import Explorer, explore
from freezeviz.explorer._looks import PlotLook
from freezeviz.explorer._notices import Change
from freezeviz.explorer._preview import Preview
from freezeviz.explorer._rows import Row
from freezeviz.explorer._steps import Steps, steps
from freezeviz.explorer._structure import STATES, Structure
from freezeviz.explorer._summary import Summary, summary

__all__ = [
    "ArrayDetails",
    "Background",
    "Change",
    "Controller",
    "Details",
    "Explorer",
    "Histogram",
    "PlotLook",
    "Preview",
    "Row",
    "STATES",
    "Steps",
    "Structure",
    "Summary",
    "explore",
    "steps",
    "summary",
]
