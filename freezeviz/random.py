"""Randomness: one generator in use, bound for a stretch of code or global.

Layers draw their first values and their dropout masks from `default_rng()`. A training run binds a
generator of its own for each step (`using`), so two runs with the same seed see the same masks
whatever else draws numbers, in whatever thread.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar

import numpy as np

__all__ = ["default_rng", "seed", "using"]

Source = np.random.Generator | Callable[[], np.random.Generator]

_global = np.random.default_rng()
_bound: ContextVar[list[Source] | None] = ContextVar("freezeviz_rng", default=None)


def seed(n: int) -> None:
    """Start the global generator anew from the seed `n`.

    Code inside `using` keeps the generator that is bound there.
    """
    global _global
    _global = np.random.default_rng(n)


def default_rng() -> np.random.Generator:
    """Return the generator in use: the one bound by `using`, else the global one."""
    cell = _bound.get()
    if cell is None:
        return _global
    source = cell[0]
    if not isinstance(source, np.random.Generator):
        source = cell[0] = source()
    return source


class _Using:
    """Binds a generator while it is entered; a training step takes one, so without a generator."""

    __slots__ = ("_cell", "_token")

    def __init__(self, rng: Source):
        # A cell, not the generator itself: what a function made has to serve every later draw.
        self._cell = [rng]

    def __enter__(self) -> None:
        self._token = _bound.set(self._cell)

    def __exit__(self, *_: object) -> None:
        _bound.reset(self._token)


def using(rng: Source) -> AbstractContextManager[None]:
    """Return a context manager that binds the generator in use for the current context.

    Parameters
    ----------
    rng : numpy.random.Generator, or a function that makes one
        A function is called at the first draw only: making a generator costs about as much as a
        small matrix product, and most models never draw during a step.

    Examples
    --------
    >>> with using(np.random.default_rng(0)):
    ...     layer = nn.Linear(4, 4)
    """
    return _Using(rng)
