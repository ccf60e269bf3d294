"""Rules of optimizers over NumPy arrays in one pass: block by block, while a block is in cache.

Formulas on whole arrays read and write main memory once for each operation, and make a temporary
each time. Here all operations of a rule (`_rules.py`) are done on one block before the next, on
scratch memory that stays. New values go into new arrays: arrays are values.
"""

import threading
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, wraps
from typing import Any, NamedTuple

import numpy as np

from freezeviz.autodiff import _pool, _sets

# Bytes of each array in a block. A rule touches eight, so that a block of all stays in the second
# cache; smaller ones make more calls.
BLOCK = 1 << 17


class Kernel(NamedTuple):
    """A rule with its numbers.

    Attributes
    ----------
    rule : callable
        One of `_rules.py`.
    states : tuple of str
        The names of the states that it reads and writes, in the order of its arguments.
    numbers : tuple
        Its numbers, as plain ones or None.
    """

    rule: Callable[..., None]
    states: tuple[str, ...]
    numbers: tuple[float | None, ...]


class Job(NamedTuple):
    """A kernel with flat arrays of one dtype and size: those it reads, those it writes."""

    kernel: Kernel
    old: Sequence[np.ndarray]  # parameter, gradient, states
    new: Sequence[np.ndarray]  # parameter, states


Formula = Callable[[Any, Any, Any, dict[str, Any]], Any]


def in_blocks(kernel: Callable[[Any, int], Kernel]) -> Callable[[Formula], Formula]:
    """Return a decorator for an `apply_single` that treats each entry of an array by itself.

    It stays the formula for arrays of other libraries. Where `takes` is true, the kernel computes
    the same in one pass; it is found again as the method's attribute ``kernel``.

    Parameters
    ----------
    kernel : callable
        ``kernel(optimizer, step) -> Kernel``, with the count of updates of the parameter.
    """

    def decorate(formula: Formula) -> Formula:
        @wraps(formula)
        def apply_single(self: Any, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
            now = kernel(self, state["step"])
            if not takes(now, gradient, parameter, state):
                return formula(self, gradient, parameter, state)
            job, new = prepared(now, gradient, parameter, state)
            run(job)
            state.update(zip(now.states, new[1:], strict=True))
            return new[0]

        method: Any = apply_single
        method.kernel = kernel
        return method

    return decorate


def kernel_of(optimizer: Any) -> Callable[[Any, int], Kernel] | None:
    """Return the kernel of an optimizer's `apply_single`; None if that is a user's own."""
    function = getattr(optimizer.apply_single, "__func__", None)
    return getattr(function, "kernel", None)


_DTYPES = frozenset({np.dtype(np.float32), np.dtype(np.float64)})


def takes(kernel: Kernel, gradient: Any, parameter: Any, state: dict[str, Any]) -> bool:
    """Return whether these are NumPy arrays of one dtype and shape that a kernel is made for."""
    if type(parameter) is not np.ndarray or parameter.dtype not in _DTYPES:
        return False
    layout = parameter.dtype, parameter.shape
    for array in (gradient, *map(state.get, kernel.states)):
        if type(array) is not np.ndarray or (array.dtype, array.shape) != layout:
            return False
    return True


def prepared(
    kernel: Kernel, gradient: np.ndarray, parameter: np.ndarray, state: dict[str, Any]
) -> tuple[Job, list[np.ndarray]]:
    """Return a job, and the arrays that hold parameter and states once it was run."""
    shape, dtype = parameter.shape, parameter.dtype
    new = [_pool.empty(shape, dtype) for _ in range(1 + len(kernel.states))]
    old = [parameter, gradient, *(state[name] for name in kernel.states)]
    job = Job(kernel, [a.reshape(-1) for a in old], [a.reshape(-1) for a in new])
    return job, new


def run(job: Job) -> None:
    """Do a job, in this thread.

    A second one does not pay: for a while after each product, BLAS keeps its own threads waiting
    for the next one in a loop that takes the cores. With two cores, it took W2's pass of Adam from
    10 to 12 ms.
    """
    if "numba" in _sets.in_force() and _compiled()(job):
        return
    kernel, first = job.kernel, job.old[0]
    dtype = first.dtype
    numbers = [x if x is None else number(x, dtype) for x in kernel.numbers]
    scratch = _scratch(dtype)
    entries = BLOCK // dtype.itemsize
    if first.size <= entries:
        kernel.rule(*numbers, *job.old, *job.new, scratch[: first.size])
        return
    arrays = (*job.old, *job.new)
    for low in range(0, first.size, entries):
        high = min(low + entries, first.size)
        kernel.rule(*numbers, *[a[low:high] for a in arrays], scratch[: high - low])


@cache
def _compiled() -> Callable[[Job], bool]:
    """Return what does a job by compiled kernels, and says whether it was one for them."""
    from freezeviz.optim import _numba  # which imports Numba

    return _numba.runs


@lru_cache(maxsize=512)
def number(value: float, dtype: np.dtype[Any]) -> np.ndarray:
    """Return a number as NumPy's functions take it most quickly, rounded as they would round it."""
    array = np.array(value, dtype)
    array.flags.writeable = False
    return array


_of_thread = threading.local()


def _scratch(dtype: np.dtype[Any]) -> np.ndarray:
    """Return this thread's scratch memory, as large as a block."""
    scratch: dict[Any, np.ndarray] | None = getattr(_of_thread, "scratch", None)
    if scratch is None:
        scratch = _of_thread.scratch = {}
    if dtype not in scratch:
        # Of the pool, because that begins at a line of cache: else each access reads two.
        scratch[dtype] = _pool.empty((BLOCK // dtype.itemsize,), dtype)
    return scratch[dtype]
