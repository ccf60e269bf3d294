"""The BLAS library that kernels call: where its product is, and how its threads are held back.

SciPy's, which is there wherever SciPy is; or Intel's MKL where it is installed, by pip or conda: on
processors with AVX-512, its products are an eighth quicker, and small ones a third.
``FREEZEVIZ_BLAS`` chooses: ``auto``, ``scipy``, or the file of any library that has Fortran's
``sgemm_`` (AMD's AOCL, BLIS, ...).
"""

import ctypes
import logging
import os
import site
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
import scipy.linalg.cython_blas  # loads SciPy's library
from numba.extending import get_cython_function_address
from threadpoolctl import ThreadpoolController

from freezeviz.errors import KernelsError

VARIABLE = "FREEZEVIZ_BLAS"
_log = logging.getLogger("freezeviz")

# How libraries call their setting; OpenBLAS with the affixes that builds of it have.
_NAMES = {
    "openblas": ("openblas_get_num_threads", "openblas_set_num_threads"),
    "mkl": ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    "blis": ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
}
_AFFIXES = [(prefix, suffix) for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")]


class Threads(NamedTuple):
    """The number of threads of a library."""

    get: Callable[[], int]
    set: Callable[[int], Any]


class Library(NamedTuple):
    """The address of a library's ``sgemm``, its name, and all numbers of threads it may go by."""

    sgemm: int
    name: str
    threads: list[Threads]


def find() -> Library:
    """Return the library that is asked for, or the best one that is there.

    Raises
    ------
    KernelsError
        If ``FREEZEVIZ_BLAS`` names what cannot be used.
    """
    asked = os.environ.get(VARIABLE, "").strip() or "auto"
    if asked not in ("auto", "scipy"):
        return _opened(Path(asked))
    if asked == "auto":
        for path in _installed():
            try:
                return _opened(path)
            except KernelsError as error:
                _log.info("%s SciPy's BLAS is used instead.", error)
    own = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
    return Library(own, "SciPy's", _controls(_is_scipys))


def _installed() -> list[Path]:
    # Where pip and conda put it, and pip with --user.
    folders = (Path(sys.prefix, "lib"), Path(site.getuserbase(), "lib"))
    return [path for folder in folders for path in sorted(folder.glob("libmkl_rt.so*"))[-1:]]


def _opened(path: Path) -> Library:
    try:
        function = ctypes.CDLL(str(path)).sgemm_
    except (OSError, AttributeError) as error:
        raise KernelsError(
            f"{path} cannot be used for products: {error}. {VARIABLE} takes 'auto', 'scipy', or "
            "the file of a library with Fortran's sgemm_."
        ) from error
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    if not _multiplies(function):
        raise KernelsError(
            f"sgemm_ of {path} gives wrong products: is it a build with integers of 64 bits? "
            f"{VARIABLE} takes one with 32 bits ('lp64'), 'auto' or 'scipy'."
        )
    resolved = path.resolve()
    return Library(address, path.name, _controls(lambda file: file.resolve() == resolved))


def _multiplies(sgemm: Any) -> bool:
    """Return whether a function is what its name says, for small numbers, whose sums are exact."""
    m, n, k = 3, 5, 4
    a = np.arange(m * k, dtype=np.float32).reshape(m, k)
    b = np.arange(k * n, dtype=np.float32).reshape(k, n)
    c = np.full((m, n), np.nan, np.float32)
    # Who reads 64 bits at once finds negative numbers, and refuses them.
    numbers = [np.array([value, -1], np.int32) for value in (n, m, k, n, k, n)]
    one, none = np.ones(1, np.float32), np.zeros(1, np.float32)
    where = [ctypes.c_void_p(x.ctypes.data) for x in (*numbers, one, none, a, b, c)]
    columns, rows, inner, of_b, of_a, of_c, alpha, beta, left, right, out = where
    sgemm(b"N", b"N", columns, rows, inner, alpha, right, of_b, left, of_a, beta, out, of_c)
    return np.array_equal(c, a @ b)


def _is_scipys(file: Path) -> bool:
    return "scipy.libs" in file.parts or Path(scipy.__file__).parent in file.parents


def _controls(is_it: Callable[[Path], bool]) -> list[Threads]:
    """Return the controls of the library that is meant, or of all if it cannot be told."""
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    # SciPy's wheels bring a library of their own, beside NumPy's. Else it is the one of all.
    own = [lib for lib in found if is_it(Path(lib.filepath))]
    return [control for lib in own or found if (control := _control(lib)) is not None]


def _control(lib: Any) -> Threads | None:
    if lib.internal_api not in _NAMES:
        return None
    get, set_ = _NAMES[lib.internal_api]
    # Not the controller's own methods: they obey only the first thread that calls them.
    library = ctypes.CDLL(lib.filepath, mode=getattr(os, "RTLD_NOLOAD", 4))
    for prefix, suffix in _AFFIXES:
        names = f"{prefix}{get}{suffix}", f"{prefix}{set_}{suffix}"
        if all(hasattr(library, name) for name in names):
            return Threads(*(getattr(library, name) for name in names))
    return None


LIBRARY = find()
