"""Elementary functions that loops can be vectorised with, in single precision.

NaN stays NaN in all of them, so that a run that broke is seen to be broken. Therefore the flags of
`_compiled.FAST` do not include the promise that there is none.
"""

import math
from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

f4 = nb.float32


@intrinsic
def _as_float(typing: Any, bits: Any) -> Any:
    """Return the number of single precision that 32 bits stand for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return nb.float32(nb.int32), generate


@nb.njit(inline="always")
def exp(x):
    """Return e**x, and 0 below -87: what is smaller has no more than a few bits.

    With x = n * log(2) + r, a polynomial in r (that of Cephes' expf) and n put into the exponent.
    """
    c = x if x > f4(-87.0) else f4(-87.0)
    c = c if c < f4(88.0) else f4(88.0)
    # Not math.floor, whose integer would make what follows double precision.
    n = np.floor(c * f4(1.44269504) + f4(0.5))
    r = c - n * f4(0.693359375)
    r = r - n * f4(-2.12194440e-4)
    p = f4(1.9875691500e-4)
    p = p * r + f4(1.3981999507e-3)
    p = p * r + f4(8.3334519073e-3)
    p = p * r + f4(4.1665795894e-2)
    p = p * r + f4(1.6666665459e-1)
    p = p * r + f4(5.0000001201e-1)
    p = p * r * r + r + f4(1.0)
    exponent = (nb.int32(n) + nb.int32(127)) << nb.int32(23)
    value = p * _as_float(exponent)  # pyright: ignore[reportCallIssue]  Numba gives the first
    value = value if x <= f4(88.7) else f4(math.inf)
    value = value if x > f4(-87.0) else f4(0.0)
    return value if x == x else x


@nb.njit(inline="always")
def erf(x):
    """Return the error function: the rational approximation that Eigen uses for floats."""
    c = x if x > f4(-4.0) else f4(-4.0)
    c = c if c < f4(4.0) else f4(4.0)
    s = c * c
    p = f4(-2.72614225801306e-10)
    p = p * s + f4(2.77068142495902e-08)
    p = p * s + f4(-2.10102402082508e-06)
    p = p * s + f4(-5.69250639462346e-05)
    p = p * s + f4(-7.34990630326855e-04)
    p = p * s + f4(-2.95459980854025e-03)
    p = p * s + f4(-1.60960333262415e-02)
    q = f4(-1.45660718464996e-05)
    q = q * s + f4(-2.13374055278905e-04)
    q = q * s + f4(-1.68282697438203e-03)
    q = q * s + f4(-7.37332916720468e-03)
    q = q * s + f4(-1.42647390514189e-02)
    value = c * p / q
    return value if x == x else x


@nb.njit(inline="always")
def tanh(x):
    """Return the hyperbolic tangent: the rational approximation that Eigen uses for floats."""
    c = x if x > f4(-7.90531110763549805) else f4(-7.90531110763549805)
    c = c if c < f4(7.90531110763549805) else f4(7.90531110763549805)
    s = c * c
    p = f4(-2.76076847742355e-16)
    p = p * s + f4(2.00018790482477e-13)
    p = p * s + f4(-8.60467152213735e-11)
    p = p * s + f4(5.12229709037114e-08)
    p = p * s + f4(1.48572235717979e-05)
    p = p * s + f4(6.37261928875436e-04)
    p = p * s + f4(4.89352455891786e-03)
    q = f4(1.19825839466702e-06)
    q = q * s + f4(1.18534705686654e-04)
    q = q * s + f4(2.26843463243900e-03)
    q = q * s + f4(4.89352518554385e-03)
    value = c * p / q
    return value if x == x else x
