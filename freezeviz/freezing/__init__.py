"""Freezing for models of any framework: selecting, freezing, and proof of it."""

from freezeviz.freezing._policy import Policy, PolicyStep
from freezeviz.freezing._receipt import Moved, Receipt, Report, receipt
from freezeviz.freezing._roles import roles
from freezeviz.freezing._select import freeze, select, unfreeze
from freezeviz.freezing._selection import Selection

__all__ = [
    "Moved",
    "Policy",
    "PolicyStep",
    "Receipt",
    "Report",
    "Selection",
    "freeze",
    "receipt",
    "roles",
    "select",
    "unfreeze",
]
