"""Kernels that Numba compiles, for arrays of single precision on the CPU: the extra `fast`.

Importing this package defines the kernels and adds them to the fused primitives, `compile_all`
compiles them: seconds, once per machine. `autodiff._choice` does both when they are wanted.
"""

from freezeviz.autodiff._numba import (  # noqa: F401  they add themselves
    _attention,
    _conv,
    _linear,
    _norm,
    _projections,
    _steps,
)
from freezeviz.autodiff._numba._compiled import compile_all

__all__ = ["compile_all"]
