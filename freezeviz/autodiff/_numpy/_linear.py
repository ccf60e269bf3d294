"""``activation(x @ weight.T + bias)`` over the last axis."""

import math
from typing import Any

import numpy as np

from freezeviz.autodiff import _sets
from freezeviz.autodiff._count import gemm
from freezeviz.autodiff._fused._linear import linear
from freezeviz.autodiff._numpy._activations import KNOWN, finish, through
from freezeviz.autodiff._numpy._calls import DTYPES, is_vector
from freezeviz.autodiff._pool import empty


def _accepts(needs, x, weight, bias, *, activation=None) -> bool:
    if type(x) is not np.ndarray or type(weight) is not np.ndarray:
        return False
    dtype = x.dtype
    if weight.dtype != dtype or dtype not in DTYPES or activation not in KNOWN:
        return False
    shape = weight.shape
    if len(shape) != 2 or x.ndim == 0 or x.shape[-1] != shape[1]:
        return False
    return is_vector(bias, shape[0], dtype)


def _forward(needs, x, weight, bias, *, activation=None):
    shape = x.shape
    rows = x if len(shape) == 2 else x.reshape(math.prod(shape[:-1]), shape[-1])
    y = empty((rows.shape[0], weight.shape[0]), x.dtype)
    gemm(rows, weight.T, out=y)
    into_x, into_weight, into_bias = needs
    saved = finish(y, bias, activation, into_x or into_weight or into_bias)
    out = y if len(shape) == 2 else y.reshape(*shape[:-1], weight.shape[0])
    # The input is kept for the weight's gradient alone, the weight for the input's alone.
    kept = rows if into_weight else None, weight if into_x else None
    return out, (*kept, shape, activation, saved)


def _backward(g, needs, residual) -> tuple[Any, Any, Any]:
    rows, weight, shape, activation, saved = residual
    flat = g if g.ndim == 2 else g.reshape(math.prod(shape[:-1]), g.shape[-1])
    flat = through(flat, activation, saved)
    dx = dw = db = None
    if weight is not None:
        dx = empty((flat.shape[0], shape[-1]), flat.dtype)
        gemm(flat, weight, out=dx)
        if len(shape) != 2:
            dx = dx.reshape(shape)
    if rows is not None:
        dw = empty((flat.shape[1], shape[-1]), flat.dtype)
        gemm(flat.T, rows, out=dw)
    if needs[2]:
        db = np.add.reduce(flat, axis=0)
    return dx, dw, db


linear.add(_sets.Kernels("numpy", _accepts, _forward, _backward))
