"""Freezing for models of any framework: selecting, freezing, and proof of it."""

from freezeviz.freezing._receipt import Moved, Receipt, Report, receipt
from freezeviz.freezing._select import Selection, freeze, select, unfreeze

__all__ = ["Moved", "Receipt", "Report", "Selection", "freeze", "receipt", "select", "unfreeze"]
