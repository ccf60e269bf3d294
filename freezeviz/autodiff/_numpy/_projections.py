"""Three linear maps of one input, as one product."""

import math
from typing import Any

import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._count import gemm
from freezeviz.autodiff._fused._packed import bounds, projections
from freezeviz.autodiff._numpy._calls import DTYPES
from freezeviz.autodiff._sets import Kernels


def _accepts(needs, x, *arrays):
    if type(x) is not np.ndarray or x.dtype not in DTYPES or x.ndim == 0 or x.size == 0:
        return False
    present = [a for a in arrays if a is not None]
    return len(present) in (3, 6) and all(
        type(a) is np.ndarray and a.dtype == x.dtype for a in present
    )


def _packed(weights: Any, dtype: Any) -> np.ndarray:
    shape = sum(w.shape[0] for w in weights), weights[0].shape[1]
    return np.concatenate(weights, out=_pool.empty(shape, dtype))


def _forward(needs, x, *arrays):
    weights, biases = arrays[:3], arrays[3:]
    rows = x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    packed = _packed(weights, x.dtype)
    out = _pool.empty((*x.shape[:-1], packed.shape[0]), x.dtype)
    y = out.reshape(rows.shape[0], packed.shape[0])
    gemm(rows, packed.T, out=y)
    if biases[0] is not None:
        y += np.concatenate(biases)
    kept = rows if any(needs[1:4]) else None, weights if needs[0] else None
    return out, (*kept, x.shape, bounds(weights)) if any(needs) else None


def _backward(g, needs, residual):
    rows, weights, shape, parts = residual
    flat = g if g.ndim == 2 else g.reshape(math.prod(shape[:-1]), g.shape[-1])
    dx = None
    if needs[0]:
        dx = _pool.empty(shape, flat.dtype)
        gemm(flat, _packed(weights, flat.dtype), out=dx.reshape(flat.shape[0], shape[-1]))
    dw: list[Any] = [None] * 3
    if all(needs[1:4]):
        whole = gemm(flat.T, rows, out=_pool.empty((flat.shape[1], shape[-1]), flat.dtype))
        dw = [whole[part] for part in parts]
    elif any(needs[1:4]):
        pairs = zip(needs[1:4], parts, strict=True)
        dw = [gemm(flat[:, part].T, rows) if need else None for need, part in pairs]
    db: list[Any] = [None] * 3
    if any(needs[4:]):
        total = np.add.reduce(flat, axis=0)
        pairs = zip(needs[4:], parts, strict=True)
        db = [total[part] if need else None for need, part in pairs]
    return dx, *dw, *db


projections.add(Kernels("numpy", _accepts, _forward, _backward))
