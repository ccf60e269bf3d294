"""Optimizers with MLX's arguments and defaults, and a state for each parameter path."""

from freezeviz.optim._adam import Adam, AdamW
from freezeviz.optim._base import Optimizer
from freezeviz.optim._sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
