"""Running a kernel: one at a time; if it calls BLAS, that is held at one thread, and set back.

A kernel uses all threads that are given to it, so two of them side by side gain nothing; and
Numba's "workqueue" threads end the process when two ask for them at once. One lock serves both,
and makes the setting of BLAS, which is one for the whole process, ours as long as we hold it.
Somebody else's product in another thread may run on one core for these microseconds, with the
same result; what somebody else sets in the meantime stays.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numba.np.ufunc import parallel as numba_threads
from threadpoolctl import ThreadpoolController

from freezeviz.autodiff import _sets

SINGLE = np.dtype(np.float32)
# Multiply-adds, and entries, below which calls are left to NumPy's kernels. For so few, BLAS takes
# one thread by itself; for more it would wake its own, which then get in our way.
SMALL = 1 << 18
ELEMENTS = 32_768
# Entries of a row below which rounding is left to NumPy's kernels, too: whether a loop goes by
# vectors is decided when it runs, by how far apart in memory its arrays are. Less than 128 bytes
# apart lie rows of fewer entries only, and so the same call always takes the same way.
NARROW = 32
# What stands for an array that a call does not need.
VECTOR = np.zeros(1, np.float32)
MATRIX = np.zeros((1, 1), np.float32)

# How BLAS libraries call their setting; OpenBLAS with the affixes that builds of it have.
_NAMES = {
    "openblas": ("openblas_get_num_threads", "openblas_set_num_threads"),
    "mkl": ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    "blis": ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
}
_AFFIXES = [(prefix, suffix) for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")]


class _Threads(NamedTuple):
    get: Callable[[], int]
    set: Callable[[int], Any]


def _controls() -> list[_Threads]:
    """Return the controls of the BLAS libraries that `_blas.SGEMM` may be of."""
    import scipy

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    # SciPy's wheels bring a library of their own, beside NumPy's. Else it is the one of all.
    home = Path(scipy.__file__).parent
    own = [
        lib for lib in found if "scipy.libs" in lib.filepath or home in Path(lib.filepath).parents
    ]
    return [control for lib in own or found if (control := _control(lib)) is not None]


def _control(lib: Any) -> _Threads | None:
    if lib.internal_api not in _NAMES:
        return None
    get, set_ = _NAMES[lib.internal_api]
    # Not the controller's own methods: they obey only the first thread that calls them.
    library = ctypes.CDLL(lib.filepath, mode=getattr(os, "RTLD_NOLOAD", 4))
    for prefix, suffix in _AFFIXES:
        names = f"{prefix}{get}{suffix}", f"{prefix}{set_}{suffix}"
        if all(hasattr(library, name) for name in names):
            return _Threads(*(getattr(library, name) for name in names))
    return None


def _start_threads() -> None:
    """Start Numba's threads, and let them wait for work as long as a step's next kernel takes.

    GNU's OpenMP lets a waiting thread keep its core busy for 300,000 turns, some milliseconds.
    With two threads on a core that somebody else wants, too, each kernel took that long.
    """
    name, turns = "GOMP_SPINCOUNT", "20000"  # about 0.3 milliseconds
    if name in os.environ or "OMP_WAIT_POLICY" in os.environ:
        nb.get_num_threads()
        return
    os.environ[name] = turns  # is read when the library is loaded, and by no later process
    try:
        nb.get_num_threads()
    finally:
        del os.environ[name]


_start_threads()
_MOST = numba_threads.get_thread_count()
_libraries = _controls()
_lock = threading.Lock()


def _after_fork() -> None:
    """Make a forked process safe: a thread that it lacks may have held the lock.

    GNU's OpenMP does not work in it either; Numba ends a process that tries.
    """
    global _lock
    _lock = threading.Lock()
    if numba_threads.threading_layer() == "omp":
        _sets.put_in_force(_sets.in_force() - {"numba"})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def threads() -> int:
    """Return how many threads a kernel uses: what BLAS was given, at most what Numba has."""
    return max(1, min([nb.get_num_threads(), *(library.get() for library in _libraries)]))


def most_threads() -> int:
    """Return the most threads that a kernel may use."""
    return _MOST


def launch(kernel: Callable[..., None], *arguments: Any) -> None:
    """Run ``kernel(*arguments, threads)``."""
    with _lock:
        _run(kernel, arguments)


def launch_with_blas(kernel: Callable[..., None], *arguments: Any) -> None:
    """Run ``kernel(*arguments, threads)``, each of whose threads calls BLAS."""
    with _lock:
        held = []
        try:
            number = threads()
            for library in _libraries:
                before = library.get()
                if before != 1:
                    # Noted first: an interrupt may come between any two lines.
                    held.append((library, before))
                    library.set(1)
            _run(kernel, arguments, number)
        finally:
            for library, before in held:
                if library.get() == 1:
                    library.set(before)


def _run(kernel: Callable[..., None], arguments: Any, number: int | None = None) -> None:
    number = threads() if number is None else number
    own = nb.get_num_threads()
    if number >= own:
        kernel(*arguments, number)
        return
    try:
        # Threads without work would be woken up all the same.
        nb.set_num_threads(number)
        kernel(*arguments, number)
    finally:
        nb.set_num_threads(own)


def is_plain(array: Any) -> bool:
    """Return whether kernels take an array: NumPy's, of single precision, in one piece."""
    if type(array) is not np.ndarray or array.dtype is not SINGLE:
        return False
    flags = array.flags
    return flags.c_contiguous and flags.aligned


def address(array: np.ndarray) -> int:
    """Return where an array's first entry lies."""
    return array.__array_interface__["data"][0]
