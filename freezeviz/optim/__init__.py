"""Optimizers with the arguments and defaults of ``mlx.optimizers``; state is kept per parameter path."""

from freezeviz.optim._adam import Adam, AdamW
from freezeviz.optim._base import Optimizer
from freezeviz.optim._sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
