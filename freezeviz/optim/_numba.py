"""Steps of the most used optimizers by compiled kernels: one pass, nothing in between.

Loaded with the kernels of `freezeviz.autodiff`, see `fv.use_kernels`. They give the same bits as
the rules that they stand for.
"""

from typing import Any

import numpy as np

from freezeviz.autodiff._numba import _steps
from freezeviz.autodiff._numba._launch import ELEMENTS, is_plain, launch
from freezeviz.optim import _rules
from freezeviz.optim._kernels import Job


def _flagged(number: float | None) -> tuple[float, bool]:
    """Return a number that may be missing as kernels take it."""
    return (0.0, False) if number is None else (number, True)


def _adam(b1, rest1, b2, rest2, rate, eps, shrink) -> tuple[Any, ...]:
    return b1, rest1, b2, rest2, rate, eps, *_flagged(shrink)


def _sgd(rate, decay) -> tuple[Any, ...]:
    return rate, *_flagged(decay)


def _momentum(rate, decay, weight, rest, nesterov) -> tuple[Any, ...]:
    return rate, *_flagged(decay), weight, *_flagged(rest), bool(nesterov)


_TWINS = {
    _rules.adam: (_steps.adam, _steps.small_adam, _adam),
    _rules.sgd: (_steps.sgd, _steps.small_sgd, _sgd),
    _rules.momentum: (_steps.momentum, _steps.small_momentum, _momentum),
}


def runs(job: Job) -> bool:
    """Do a job and return whether it was one for compiled kernels."""
    twin = _TWINS.get(job.kernel.rule)
    # Those to be written are new ones, of the dtype of the others.
    if twin is None or not all(map(is_plain, job.old)):
        return False
    large, small, arguments = twin
    arrays: tuple[np.ndarray, ...] = (*job.old, *job.new)
    numbers = arguments(*job.kernel.numbers)
    if arrays[0].size >= ELEMENTS:
        launch(large, *numbers, *arrays)
    else:
        small(*numbers, *arrays, 1)
    return True
