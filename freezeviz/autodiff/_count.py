"""Counting what a computation does: nodes on tapes and matrix products.

Cost is tested by counting, not by timing. Counting is off unless `count()` is active.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from freezeviz.backend import array_namespace


class Counts(NamedTuple):
    """What was counted.

    Attributes
    ----------
    nodes : Counter
        Recorded calls by the name of their primitive.
    gemms : Counter
        Matrix products by the shapes of their operands.
    """

    nodes: Counter[str]
    gemms: Counter[tuple[tuple[int, ...], tuple[int, ...]]]


# Asked for by the tape, too, without a call in between.
_counts: ContextVar[Counts | None] = ContextVar("freezeviz_counts", default=None)


@contextmanager
def count() -> Iterator[Counts]:
    """Count tape nodes and matrix products within the block.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import autodiff
    >>> with autodiff.count() as counts:
    ...     _ = autodiff.grad(lambda w: (np.ones((2, 3)) @ w).sum())(np.ones((3, 4)))
    >>> sum(counts.gemms.values())
    2
    """
    counts = Counts(Counter(), Counter())
    token = _counts.set(counts)
    try:
        yield counts
    finally:
        _counts.reset(token)


def gemm(a: Any, b: Any, out: Any = None) -> Any:
    """Return the matrix product of plain arrays, and count it.

    With `out` (NumPy's arrays only), it is written there. Kernels that compute one piece by piece
    tell `on_product`.
    """
    counts = _counts.get()
    if counts is not None:
        counts.gemms[(tuple(a.shape), tuple(b.shape))] += 1
    if type(a) is type(b) is np.ndarray:
        if a.ndim == b.ndim == 2:
            # The same BLAS call as matmul's, without a generalised ufunc around it: two thirds of
            # the time of a small product, a third of that of an outer one.
            return np.dot(a, b, out)
        return np.matmul(a, b, out=out)
    return array_namespace(a, b).matmul(a, b)


def on_product(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    """Count one product of operands of these shapes that a kernel computes piece by piece."""
    counts = _counts.get()
    if counts is not None:
        counts.gemms[(left, right)] += 1
