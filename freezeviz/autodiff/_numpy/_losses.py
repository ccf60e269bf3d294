"""The cross entropy between logits and classes, and the squared error."""

import numpy as np

from freezeviz.autodiff import _sets
from freezeviz.autodiff._fused._softmax_cross_entropy import softmax_cross_entropy
from freezeviz.autodiff._fused._squared_error import squared_error
from freezeviz.autodiff._numpy._calls import DTYPES
from freezeviz.autodiff._pool import empty, empty_like

# Up to so many classes, arrays are turned round, with the classes first: NumPy is slow at
# reducing many short rows, five times as slow with ten of them.
_FEW = 64


def _accepts(needs, logits, *, targets, reduction="none") -> bool:
    return (
        type(logits) is np.ndarray
        and logits.dtype in DTYPES
        and logits.size > 0
        and type(targets) is np.ndarray
        and targets.dtype.kind in "iu"
        and targets.shape == logits.shape[:-1]
    )


def _forward(needs, logits, *, targets, reduction="none"):
    lead, classes = logits.shape[:-1], logits.shape[-1]
    index, few = targets.reshape(-1), classes <= _FEW
    samples = np.arange(index.shape[0])
    rows = logits.reshape(index.shape[0], classes)
    if few:
        axis, place, rows = 0, (index, samples), rows.T
    else:
        axis, place = 1, (samples, index)
    powers = empty(rows.shape, rows.dtype)
    np.copyto(powers, rows)
    np.subtract(powers, np.maximum.reduce(powers, axis=axis, keepdims=True), out=powers)
    picked = powers[place]
    np.exp(powers, out=powers)
    total = np.add.reduce(powers, axis=axis)
    losses = np.log(total)
    losses -= picked
    out = _reduced(losses, reduction) if reduction != "none" else losses.reshape(lead)[()]
    if not needs[0]:
        return out, None
    return out, (powers, total, index, logits.shape, reduction)


def _reduced(losses: np.ndarray, reduction: str):
    total = np.add.reduce(losses)
    return total / total.dtype.type(losses.size) if reduction == "mean" else total


def _backward(g, needs, residual):
    powers, total, index, shape, reduction = residual
    n = index.shape[0]
    g = g.reshape(-1) if reduction == "none" else g / g.dtype.type(n if reduction == "mean" else 1)
    dlogits = empty((n, shape[-1]), powers.dtype)
    if shape[-1] <= _FEW:
        np.multiply(powers, g / total, out=dlogits.T)
    else:
        np.multiply(powers, (g / total)[:, None], out=dlogits)
    dlogits[np.arange(n), index] -= g
    return (dlogits.reshape(shape),)


softmax_cross_entropy.add(_sets.Kernels("numpy", _accepts, _forward, _backward))


def _accepts_pair(needs, x, y, *, reduction="mean") -> bool:
    return (
        type(x) is type(y) is np.ndarray
        and x.dtype == y.dtype
        and x.dtype in DTYPES
        and x.shape == y.shape
        and x.size > 0
    )


def _error_forward(needs, x, y, *, reduction="mean"):
    difference = empty_like(x)
    np.subtract(x, y, out=difference)
    if reduction == "none":
        out = np.square(difference)
    else:
        flat = difference.reshape(-1)
        out = np.vecdot(flat, flat)
        if reduction == "mean":
            out = out / out.dtype.type(x.size)
    return out, (difference, reduction) if any(needs) else None


def _error_backward(g, needs, residual):
    difference, reduction = residual
    twice = empty_like(difference)
    scale = 2 / difference.size if reduction == "mean" else 2
    np.multiply(difference, g * g.dtype.type(scale), out=twice)
    if not needs[0]:
        return None, np.negative(twice, out=twice)
    return twice, -twice if needs[1] else None


squared_error.add(_sets.Kernels("numpy", _accepts_pair, _error_forward, _error_backward))
