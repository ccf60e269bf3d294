"""The Gaussian error linear unit, exact (with erf)."""

import math

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._fused._base import Fused
from freezeviz.backend import array_namespace

_SQRT_HALF = math.sqrt(0.5)
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)


def _reference(x):
    """Return ``x * Phi(x)``, Phi the normal distribution function.

    Notes
    -----
    D. Hendrycks, K. Gimpel: Gaussian Error Linear Units. arXiv:1606.08415.
    """
    return x * (p.erf(x * _SQRT_HALF) + 1.0) * 0.5


def _forward(needs, x):
    xp = array_namespace(x)
    cdf = p.erf(x * _SQRT_HALF)
    cdf += 1.0
    cdf *= 0.5
    derivative = None
    if needs[0]:
        # Kept instead of x: the derivative costs an exp, cheapest while x is at hand.
        derivative = xp.exp(x * x * -0.5)
        derivative *= x
        derivative *= _DENSITY
        derivative += cdf
    cdf *= x
    return cdf, derivative


def _backward(g, needs, derivative):
    return (g * derivative,)


gelu = Fused("gelu", _forward, _backward, _reference)
