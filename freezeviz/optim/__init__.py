"""Optimizers with MLX's arguments and defaults, and a state for each parameter path."""

from freezeviz.optim._adafactor import Adafactor
from freezeviz.optim._adam import Adam, AdamW
from freezeviz.optim._adamax import Adamax
from freezeviz.optim._adaptive import AdaDelta, Adagrad, RMSprop
from freezeviz.optim._base import Optimizer
from freezeviz.optim._clip import clip_grad_norm
from freezeviz.optim._lion import Lion
from freezeviz.optim._multi import MultiOptimizer
from freezeviz.optim._schedules import (
    cosine_decay,
    exponential_decay,
    join_schedules,
    linear_schedule,
    step_decay,
)
from freezeviz.optim._sgd import SGD

__all__ = [
    "AdaDelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "MultiOptimizer",
    "Optimizer",
    "RMSprop",
    "SGD",
    "clip_grad_norm",
    "cosine_decay",
    "exponential_decay",
    "join_schedules",
    "linear_schedule",
    "step_decay",
]
