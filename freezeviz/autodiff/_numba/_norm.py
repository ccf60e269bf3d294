"""Layer normalisation: each row in one pass over the cache."""

import math

import numba as nb
import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._fused import layer_norm
from freezeviz.autodiff._numba._compiled import FAST, FLAG, FLOAT, INT, kernel, read, write
from freezeviz.autodiff._numba._launch import ELEMENTS, MATRIX, NARROW, VECTOR, is_plain, launch
from freezeviz.autodiff._sets import Kernels

f4 = nb.float32
# Rows whose part of a parameter's gradient is summed by itself: for accuracy in float32, and so
# that the result is the same for any number of threads.
_BLOCK = 64


@nb.njit(fastmath=FAST)
def _statistics(x, eps):
    """Return the mean of a row, and one by its deviation."""
    d = x.size
    total = f4(0.0)
    for j in range(d):
        total += x[j]
    mean = total / f4(d)
    square = f4(0.0)
    for j in range(d):
        square += (x[j] - mean) * (x[j] - mean)
    return mean, f4(1.0) / math.sqrt(square / f4(d) + eps)


@kernel(
    *(read(2), read(1), FLAG, read(1), FLAG, write(2), write(2), write(1), FLAG, FLOAT, INT),
    parallel=True,
)
def _layer_norm(x, weight, weighted, bias, biased, y, h, rstd, keep, eps, threads):
    m, d = x.shape
    size = (m + threads - 1) // threads
    for t in nb.prange(threads):
        for i in range(t * size, min(m, (t + 1) * size)):
            xi, yi = x[i], y[i]
            mean, r = _statistics(xi, eps)
            if keep:
                hi = h[i]
                rstd[i] = r
                if weighted and biased:
                    for j in range(d):
                        z = (xi[j] - mean) * r
                        hi[j] = z
                        yi[j] = z * weight[j] + bias[j]
                    continue
                for j in range(d):
                    hi[j] = (xi[j] - mean) * r
            for j in range(d):
                yi[j] = (xi[j] - mean) * r
            if weighted:
                for j in range(d):
                    yi[j] *= weight[j]
            if biased:
                for j in range(d):
                    yi[j] += bias[j]


@kernel(
    *(read(2), read(1), FLAG, read(2), read(1), write(2), write(2), write(2)),
    *(FLAG, FLAG, FLAG, INT),
    parallel=True,
    # Rows may cancel out, and do so exactly only if all products are rounded.
    fast=FAST - {"contract"},
)
def _layer_norm_back(g, weight, weighted, h, rstd, dx, dw, db, to_x, to_w, to_b, threads):
    m, d = g.shape
    blocks = (m + _BLOCK - 1) // _BLOCK
    for block in nb.prange(blocks):
        if to_w:
            dwb = dw[block]
            for j in range(d):
                dwb[j] = f4(0.0)
        if to_b:
            dbb = db[block]
            for j in range(d):
                dbb[j] = f4(0.0)
        for i in range(block * _BLOCK, min(m, (block + 1) * _BLOCK)):
            gi = g[i]
            if to_b:
                dbb = db[block]
                for j in range(d):
                    dbb[j] += gi[j]
            if to_w:
                dwb, hi = dw[block], h[i]
                for j in range(d):
                    dwb[j] += gi[j] * hi[j]
            if to_x:
                dxi, hi = dx[i], h[i]
                total, along = f4(0.0), f4(0.0)
                if weighted:
                    for j in range(d):
                        u = gi[j] * weight[j]
                        total += u
                        along += u * hi[j]
                else:
                    for j in range(d):
                        total += gi[j]
                        along += gi[j] * hi[j]
                total /= f4(d)
                along /= f4(d)
                r = rstd[i]
                if weighted:
                    for j in range(d):
                        dxi[j] = (gi[j] * weight[j] - total - hi[j] * along) * r
                else:
                    for j in range(d):
                        dxi[j] = (gi[j] - total - hi[j] * along) * r


def _accepts(needs, x, weight, bias, *, eps=1e-5) -> bool:
    return (
        is_plain(x)
        and x.size >= max(ELEMENTS, 1)
        and x.ndim > 1
        and x.shape[-1] >= NARROW
        and (weight is None or (is_plain(weight) and weight.shape == x.shape[-1:]))
        and (bias is None or (is_plain(bias) and bias.shape == x.shape[-1:]))
    )


def _forward(needs, x, weight, bias, *, eps=1e-5):
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    y = _pool.empty(rows.shape, np.float32)
    keep = needs[0] or needs[1]
    h = _pool.empty(rows.shape, np.float32) if keep else MATRIX
    rstd = np.empty(rows.shape[0], np.float32) if keep else VECTOR
    launch(
        _layer_norm,
        rows,
        VECTOR if weight is None else weight,
        weight is not None,
        VECTOR if bias is None else bias,
        bias is not None,
        y,
        h,
        rstd,
        keep,
        eps,
    )
    out = y.reshape(x.shape)
    if not keep:
        return out, (None, None, None)
    return out, (h, *((rstd, weight) if needs[0] else (None, None)))


def _backward(g, needs, residual):
    h, rstd, weight = residual
    d = g.shape[-1]
    rows = g.reshape(-1, d)
    if not is_plain(rows):
        rows = np.ascontiguousarray(rows, np.float32)
    blocks = -(-rows.shape[0] // _BLOCK)
    dx = _pool.empty(rows.shape, np.float32) if needs[0] else None
    dw = _pool.empty((blocks, d), np.float32) if needs[1] else None
    db = _pool.empty((blocks, d), np.float32) if needs[2] else None
    launch(
        _layer_norm_back,
        rows,
        VECTOR if weight is None else weight,
        weight is not None,
        MATRIX if h is None else h,
        VECTOR if rstd is None else rstd,
        MATRIX if dx is None else dx,
        MATRIX if dw is None else dw,
        MATRIX if db is None else db,
        *needs,
    )
    return (
        None if dx is None else dx.reshape(g.shape),
        None if dw is None else dw.sum(axis=0),
        None if db is None else db.sum(axis=0),
    )


layer_norm.add(Kernels("numba", _accepts, _forward, _backward))
