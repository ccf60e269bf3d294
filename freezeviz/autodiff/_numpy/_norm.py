"""Layer normalisation over the last axis; the formulas are in ``_fused/_norm.py``."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from freezeviz.autodiff import _sets
from freezeviz.autodiff._fused._norm import layer_norm
from freezeviz.autodiff._numpy._activations import BLOCK
from freezeviz.autodiff._numpy._calls import DTYPES, is_vector
from freezeviz.autodiff._pool import empty, empty_like


def _accepts(needs, x, weight, bias, *, eps=1e-5) -> bool:
    if type(x) is not np.ndarray or x.dtype not in DTYPES or x.ndim == 0 or x.shape[-1] == 0:
        return False
    n = x.shape[-1]
    return is_vector(weight, n, x.dtype) and is_vector(bias, n, x.dtype)


def _forward(needs, x, weight, bias, *, eps=1e-5):
    shape = x.shape
    n = shape[-1]
    rows = x.reshape(math.prod(shape[:-1]), n)
    y = empty(rows.shape, x.dtype)
    keep = needs[0] or needs[1]
    # What is kept is the normalised input; where nothing is done to it, that is the value.
    h = empty_like(y) if keep and not (weight is None and bias is None) else y
    rstd = np.empty((rows.shape[0], 1), x.dtype)
    ones = np.ones(n, x.dtype)
    for block, into, out, scale in _blocks(n, rows, h, y, rstd):
        mean = np.matmul(block, ones)
        mean /= n
        np.subtract(block, mean[:, None], out=into)
        variance = np.vecdot(into, into)
        variance /= n
        variance += eps
        np.sqrt(variance, out=variance)
        np.reciprocal(variance, out=scale[:, 0])
        np.multiply(into, scale, out=into)
        if weight is not None:
            np.multiply(into, weight, out=out)
            into = out
        if bias is not None:
            np.add(into, bias, out=out)
    kept = h if keep else None, *((rstd, weight) if needs[0] else (None, None))
    return y.reshape(shape), (*kept, shape)


def _blocks(n: int, *arrays: Any) -> Iterator[list[Any]]:
    """Yield some rows of matrices with `n` columns at a time, such that they stay in the cache."""
    step = max(1, BLOCK // n)
    for start in range(0, arrays[0].shape[0], step):
        yield [None if a is None else a[start : start + step] for a in arrays]


def _backward(g, needs, residual):
    h, rstd, weight, shape = residual
    n = shape[-1]
    g = g.reshape(math.prod(shape[:-1]), n)
    into_x, into_weight, into_bias = needs
    dx = empty(g.shape, g.dtype) if into_x else None
    # Summed block by block, which keeps the sum over many rows accurate.
    dw = np.zeros(n, g.dtype) if into_weight else None
    db = np.zeros(n, g.dtype) if into_bias else None
    height = min(len(g), max(1, BLOCK // n))
    scratch = empty((height, n), g.dtype)
    weights = np.ones(n, g.dtype) if weight is None else weight
    # Sums as products with a vector, which are quicker than reductions and passes of their own.
    ones = np.ones(height, g.dtype)
    for block, normal, out, scale in _blocks(n, g, h, dx, rstd):
        if db is not None:
            db += np.matmul(ones[: len(block)], block)
        if normal is None:
            continue
        product = scratch[: len(block)]
        np.multiply(block, normal, out=product)
        if dw is not None:
            dw += np.matmul(ones[: len(block)], product)
        if out is not None:
            mean, along = np.matmul(block, weights), np.matmul(product, weights)
            mean /= n
            along /= n
            np.multiply(block, weights, out=out)
            np.multiply(normal, along[:, None], out=product)
            np.subtract(out, product, out=out)
            np.subtract(out, mean[:, None], out=out)
            np.multiply(out, scale, out=out)
    return None if dx is None else dx.reshape(shape), dw, db


layer_norm.add(_sets.Kernels("numpy", _accepts, _forward, _backward))
