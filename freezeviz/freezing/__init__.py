"""Freezing for models of any framework: selecting, freezing, and proof of it."""

from freezeviz.freezing._select import Selection, freeze, select, unfreeze

__all__ = ["Selection", "freeze", "select", "unfreeze"]
