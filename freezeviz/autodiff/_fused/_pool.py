"""Two-dimensional maximum pooling, channels last."""

import math

from freezeviz.autodiff import _functions as f
from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._fused._windows import geometry, slices
from freezeviz.autodiff._tracer import raw
from freezeviz.backend import array_namespace


def _windows(x, kernel_size, stride, padding):
    """Return the index of each position of the window into the padded input."""
    out = geometry(x.shape[1:3], kernel_size, stride, padding, (1, 1))
    return list(slices(kernel_size, stride, (1, 1), out))


def _reference(x, *, kernel_size, stride, padding=(0, 0)):
    """Return the maximum of each window.

    Parameters
    ----------
    x : array of shape (batch, height, width, channels)
    kernel_size, stride, padding : pair of int
        The padding counts as minus infinity.

    Returns
    -------
    array of shape (batch, out_height, out_width, channels)
        Of equal values in a window, the first gets the gradient, as in PyTorch.
    """
    indices = _windows(x, kernel_size, stride, padding)
    if any(padding):
        widths = ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))
        x = f.pad(x, widths, constant_values=-math.inf)
    best = p.getitem(x, index=indices[0])
    for index in indices[1:]:
        view = p.getitem(x, index=index)
        best = p.where(raw(view) > raw(best), view, best)
    return best


def _padded(x, padding):
    if not any(padding):
        return x
    xp = array_namespace(x)
    (n, h, w, c), (top, left) = x.shape, padding
    padded = xp.full((n, h + 2 * top, w + 2 * left, c), -math.inf, dtype=x.dtype)
    padded[:, top : top + h, left : left + w, :] = x
    return padded


def _forward(needs, x, *, kernel_size, stride, padding=(0, 0)):
    xp = array_namespace(x)
    indices = _windows(x, kernel_size, stride, padding)
    padded = _padded(x, padding)
    best = xp.asarray(padded[indices[0]], copy=True)
    small = len(indices) <= 256
    which = xp.zeros(best.shape, dtype=xp.uint8 if small else xp.int32) if needs[0] else None
    for k, index in enumerate(indices[1:], start=1):
        view = padded[index]
        if which is not None:
            # The position of the first maximum. As k grows, the larger of the two is the later
            # one; a product is a tenth of the cost of writing where a mask is true.
            later = xp.astype(view > best, which.dtype) * xp.asarray(k, dtype=which.dtype)
            which = xp.maximum(which, later)
        best = xp.maximum(best, view)
    return best, (which, indices, tuple(x.shape), padding)


def _backward(g, needs, residual):
    which, indices, (n, h, w, c), (top, left) = residual
    full = array_namespace(g).zeros((n, h + 2 * top, w + 2 * left, c), dtype=g.dtype)
    for k, index in enumerate(indices):
        full[index] += p.masked(g, mask=which == k)
    return (full[:, top : top + h, left : left + w, :],)


max_pool2d = Fused("max_pool2d", _forward, _backward, _reference)
