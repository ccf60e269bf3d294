"""Matrix products within kernels: the single-precision product of SciPy's BLAS.

Its address is an argument of the kernels, not a constant in them: compiled code lies on disk, and
the library somewhere else in every process.
"""

from typing import Any

import numba as nb
import scipy.linalg.cython_blas  # noqa: F401  loads the library
from llvmlite import ir
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

SGEMM: int = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")

_I8, _I32, _F32 = ir.IntType(8), ir.IntType(32), ir.FloatType()
# Of Fortran's sgemm(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc): what is passed
# by reference, and None for the arrays, whose addresses are passed as they are.
_BY_REFERENCE = (_I8, _I8, _I32, _I32, _I32, _F32, None, _I32, None, _I32, _F32, None, _I32)


@intrinsic
def _sgemm(typing, address, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """Call the function at `address`."""
    i8, i32, f32, pointer = nb.int8, nb.int32, nb.float32, nb.intp
    signature = nb.void(
        pointer, i8, i8, i32, i32, i32, f32, pointer, i32, pointer, i32, f32, pointer, i32
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        passed = []
        for value, kind in zip(arguments[1:], _BY_REFERENCE, strict=True):
            if kind is None:
                passed.append(builder.inttoptr(value, _F32.as_pointer()))
            else:
                slot = cgutils.alloca_once(builder, kind)
                builder.store(value, slot)
                passed.append(slot)
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), passed)
        return context.get_dummy_value()

    return signature, generate


@nb.njit(inline="always")
def gemm(address, m, n, k, a, lda, at, b, ldb, bt, beta, c, ldc):
    """Compute C = op(A) op(B) + beta C for row-major matrices.

    Parameters
    ----------
    address : int
        `SGEMM`.
    m, n, k : int
        C is (m, n), op(A) is (m, k), op(B) is (k, n).
    a, b, c : int
        Addresses of the first entries.
    lda, ldb, ldc : int
        Entries from one row in memory to the next.
    at, bt : bool
        Whether op transposes.
    """
    if m > 0 and n > 0:
        # Fortran's matrices are column by column: ours are their transposes, C.T = op(B).T op(A).T.
        _sgemm(  # pyright: ignore[reportCallIssue]  Numba gives the first argument
            address,
            nb.int8(84 if bt else 78),
            nb.int8(84 if at else 78),
            nb.int32(n),
            nb.int32(m),
            nb.int32(k),
            nb.float32(1.0),
            b,
            nb.int32(ldb),
            a,
            nb.int32(lda),
            nb.float32(beta),
            c,
            nb.int32(ldc),
        )
