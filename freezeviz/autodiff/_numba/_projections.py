"""Three linear maps of one input, as one product."""

from typing import Any

import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._fused import projections
from freezeviz.autodiff._fused._packed import bounds
from freezeviz.autodiff._numba import _linear
from freezeviz.autodiff._numba._launch import SMALL, is_plain
from freezeviz.autodiff._sets import Kernels


def _accepts(needs: Any, x: Any, *arrays: Any) -> bool:
    present = [a for a in arrays if a is not None]
    # Of some weights only, gradients are products of parts; those are left to NumPy's kernels.
    return (
        len(present) in (3, 6)
        and is_plain(x)
        and all(map(is_plain, present))
        and x.ndim > 1
        and all(weight.shape[1:] == x.shape[-1:] for weight in arrays[:3])
        and all(b.shape == w.shape[:1] for w, b in zip(arrays, present[3:], strict=False))
        and needs[1] == needs[2] == needs[3]
        and x.size * sum(weight.shape[0] for weight in arrays[:3]) >= max(SMALL, 1)
    )


def _packed(weights: Any) -> np.ndarray:
    shape = sum(weight.shape[0] for weight in weights), weights[0].shape[1]
    return np.concatenate(weights, out=_pool.empty(shape, np.float32))


def _forward(needs, x, *arrays):
    weights, biases = arrays[:3], arrays[3:]
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    bias = None if biases[0] is None else np.concatenate(biases)
    y, _ = _linear.value(rows, _packed(weights), bias, _linear.NONE, False)
    out = y.reshape(*x.shape[:-1], y.shape[1])
    kept = rows if needs[1] else None, weights if needs[0] else None
    return out, (*kept, x.shape, bounds(weights)) if any(needs) else None


def _backward(g, needs, residual):
    rows, weights, shape, parts = residual
    packed = None if weights is None else _packed(weights)
    wanted = needs[0], needs[1], any(needs[4:])
    flat = g.reshape(-1, g.shape[-1])
    dx, dw, db = _linear.pulled(flat, wanted, rows, packed, _linear.NONE, None, shape[-1])
    dx = None if dx is None else dx.reshape(shape)
    dws = [dw[part] if need else None for need, part in zip(needs[1:4], parts, strict=True)]
    dbs = [db[part] if need else None for need, part in zip(needs[4:], parts, strict=True)]
    return dx, *dws, *dbs


projections.add(Kernels("numba", _accepts, _forward, _backward))
