"""Activations at the end of a kernel, in place and in blocks, and their derivatives.

The derivative of ReLU and tanh comes from the value. That of GELU is kept, for it costs little
while what it has in common with the value is in the cache.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from freezeviz.autodiff._numpy._calls import DTYPES
from freezeviz.autodiff._numpy._masks import let_through
from freezeviz.autodiff._pool import empty, empty_like

# Numbers in a block: a few of them fit into a core's second cache, and the 20 calls of NumPy for a
# block take less than their work.
BLOCK = 1 << 15

# NumPy takes dtypes and arrays quicker than what it would have to make them of.
_BOOL = np.dtype(np.bool_)
_ZEROS = {dtype: np.zeros((), dtype) for dtype in DTYPES}


def finish(z: np.ndarray, bias: Any, activation: str | None, keep: bool) -> Any:
    """Add a bias to the rows of a matrix and apply an activation, in place.

    Parameters
    ----------
    z : C-contiguous array of shape (rows, features)
        Becomes the value of the activation.
    bias : array of shape (features,), or None
    activation : {'relu', 'gelu', 'tanh'} or None
    keep : bool
        Whether the derivative will be asked for.

    Returns
    -------
    array of the shape of `z`, or None
        What `through` wants.
    """
    if activation is None or (z.size <= BLOCK and activation in _IN_PLACE):
        if bias is not None:
            np.add(z, bias, z)
        if activation is None:
            return None
        _IN_PLACE[activation](z, 0)
        return z if keep else None
    rows, features = z.shape
    step = max(1, BLOCK // max(1, features))
    saved = None
    if activation == "gelu":
        saved = empty_like(z) if keep else None
        apply = _gelu_into(saved, min(step, rows) * features, z.dtype)
    else:
        saved = z if keep else None
        apply = _IN_PLACE[activation]
    for start in range(0, rows, step):
        block = z[start : start + step]
        if bias is not None:
            np.add(block, bias, out=block)
        apply(block, start)
    return saved


def through(g: np.ndarray, activation: str | None, saved: Any) -> np.ndarray:
    """Return the cotangent of an activation's argument; `g` itself where there is no activation.

    Parameters
    ----------
    g : array of the shape of `saved`
    activation : str or None
    saved : array
        What `finish` returned.
    """
    if activation is None:
        return g
    if g.dtype != saved.dtype:  # somebody's rule has widened it
        g = g.astype(saved.dtype)
    out = empty_like(saved)
    if activation == "relu":
        positive = empty(saved.shape, _BOOL)
        np.greater(saved, _ZEROS[saved.dtype], positive)
        let_through(g, positive, out)
    elif activation == "tanh":
        np.multiply(saved, saved, out=out)
        np.subtract(1, out, out=out)
        np.multiply(out, g, out=out)
    else:
        np.multiply(g, saved, out=out)
    return out


def _relu(block: np.ndarray, start: int) -> None:
    np.maximum(block, _ZEROS[block.dtype], out=block)


def _tanh(block: np.ndarray, start: int) -> None:
    np.tanh(block, out=block)


_IN_PLACE: dict[str, Callable[[np.ndarray, int], None]] = {"relu": _relu, "tanh": _tanh}

KNOWN = frozenset({None, "gelu", *_IN_PLACE})

# The normal distribution function is (1 + tanh(x * polynomial(x**2))) / 2. These are the
# coefficients, from the lowest up: a weighted least-squares fit on [-6, 6], beyond which the rest
# is less than half a rounding of one. The error of x * Phi(x) is 7e-8 * max(1, |x|); PyTorch's
# float32 kernel has four times that.
_PHI = (
    0.7978845308098735,
    0.0363337969405433,
    -3.2861050681359516e-05,
    -5.530911483383312e-05,
    3.977862291793882e-06,
    -1.339735216069578e-07,
    1.8174979649890323e-09,
)
_END = 6.0
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)


def _gelu_into(saved: Any, size: int, dtype: Any) -> Callable[[np.ndarray, int], None]:
    """Return what makes GELU of a block, and writes the derivative if there is a place for it."""
    # One piece of memory for all blocks. NumPy takes its own scalars quicker than Python's.
    scratch = empty((3, size), dtype)
    make = _phi_single if dtype == np.float32 else _phi_double
    density = dtype.type(_DENSITY)

    def apply(block: np.ndarray, start: int) -> None:
        x, s, phi = (part[: block.size].reshape(block.shape) for part in scratch)
        make(block, x, s, phi)
        if saved is not None:
            # s is now -x**2 / 2.
            np.exp(s, out=s)
            np.multiply(s, x, out=s)
            np.multiply(s, density, out=s)
            np.add(s, phi, out=saved[start : start + len(block)])
        np.multiply(block, phi, out=block)

    return apply


_SINGLE = tuple(np.float32(c) for c in reversed(_PHI))
_LOW, _HIGH, _HALF = np.float32(-_END), np.float32(_END), np.float32(0.5)


def _phi_single(z: np.ndarray, x: np.ndarray, s: np.ndarray, phi: np.ndarray) -> None:
    """Write `z` cut off to `x`, minus half its square to `s`, its distribution to `phi`."""
    np.minimum(z, _HIGH, out=x)
    np.maximum(x, _LOW, out=x)
    np.multiply(x, x, out=s)
    highest, second, *others = _SINGLE
    np.multiply(s, highest, out=phi)
    np.add(phi, second, out=phi)
    for c in others:
        np.multiply(phi, s, out=phi)
        np.add(phi, c, out=phi)
    np.multiply(phi, x, out=phi)
    np.tanh(phi, out=phi)
    np.multiply(phi, _HALF, out=phi)
    np.add(phi, _HALF, out=phi)
    np.multiply(s, -_HALF, out=s)


def _phi_double(z: np.ndarray, x: np.ndarray, s: np.ndarray, phi: np.ndarray) -> None:
    from scipy.special import erf  # 80 ms of import that only GELU needs

    # Beyond, the density is zero, and a square could overflow.
    np.clip(z, -40.0, 40.0, out=x)
    np.multiply(z, math.sqrt(0.5), out=phi)
    erf(phi, out=phi)
    phi += 1.0
    phi *= 0.5
    np.multiply(x, x, out=s)
    s *= -0.5
