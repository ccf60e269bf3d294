"""Linear layers: product, bias and activation of a tile at a time."""

from typing import Any

import numba as nb
import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._count import on_product
from freezeviz.autodiff._fused import linear
from freezeviz.autodiff._numba import _math
from freezeviz.autodiff._numba._blas import SGEMM, gemm
from freezeviz.autodiff._numba._compiled import FAST, FLAG, INT, POINTER, kernel, read, write
from freezeviz.autodiff._numba._launch import (
    MATRIX,
    NARROW,
    SMALL,
    VECTOR,
    is_plain,
    launch,
)
from freezeviz.autodiff._sets import Kernels

f4 = nb.float32
NONE, _RELU, _GELU, _TANH = range(4)
_ACTIVATIONS = {None: NONE, "relu": _RELU, "gelu": _GELU, "tanh": _TANH}
# Rows that are summed in a row before the sum is added to the total, so that float32 lasts.
_BLOCK = 128


@nb.njit(inline="always")
def _part(n, threads, t):
    """Return the t-th part of a range of n, in multiples of a vector of 16."""
    size = ((n + threads - 1) // threads + 15) // 16 * 16
    return min(n, t * size), min(n, (t + 1) * size)


@nb.njit(inline="always")
def _rows(n, threads, t):
    size = (n + threads - 1) // threads
    return min(n, t * size), min(n, (t + 1) * size)


@nb.njit(fastmath=FAST)
def _activate(y, slope, bias, biased, activation, keep, r0, r1, c0, c1):
    """Add the bias to a tile of `y` and apply the activation; keep GELU's slope if asked for."""
    w = c1 - c0
    for i in range(r0, r1):
        yi = y[i, c0:c1]
        if biased:
            b = bias[c0:c1]
            for j in range(w):
                yi[j] += b[j]
        if activation == _RELU:
            for j in range(w):
                yi[j] = f4(0.0) if yi[j] < f4(0.0) else yi[j]
        elif activation == _TANH:
            for j in range(w):
                yi[j] = _math.tanh(yi[j])
        elif activation == _GELU:
            if keep:
                si = slope[i, c0:c1]
                for j in range(w):
                    z = yi[j]
                    c = f4(0.5) * (f4(1.0) + _math.erf(z * f4(0.70710678)))
                    yi[j] = z * c
                    si[j] = c + z * f4(0.39894228) * _math.exp(f4(-0.5) * z * z)
            else:
                for j in range(w):
                    z = yi[j]
                    yi[j] = z * (f4(0.5) * (f4(1.0) + _math.erf(z * f4(0.70710678))))


@kernel(POINTER, read(2), read(2), read(1), FLAG, write(2), write(2), INT, FLAG, INT, parallel=True)
def _linear(address, x, weight, bias, biased, y, slope, activation, keep, threads):
    m, k = x.shape
    n = weight.shape[0]
    # Each thread packs all of the operand that is not split: the smaller one is to be that.
    wide = n > m and n >= 32 * threads
    for t in nb.prange(threads):
        if wide:
            r0, r1 = 0, m
            c0, c1 = _part(n, threads, t)
        else:
            r0, r1 = _rows(m, threads, t)
            c0, c1 = 0, n
        if r1 > r0 and c1 > c0:
            gemm(
                address,
                r1 - r0,
                c1 - c0,
                k,
                x.ctypes.data + r0 * k * 4,
                k,
                False,
                weight.ctypes.data + c0 * k * 4,
                k,
                True,
                0.0,
                y.ctypes.data + (r0 * n + c0) * 4,
                n,
            )
            if biased or activation != NONE:
                _activate(y, slope, bias, biased, activation, keep, r0, r1, c0, c1)


@nb.njit(fastmath=FAST)
def _column_sums(g, out, c0, c1):
    """Put the sums of some columns into `out`, added up block by block."""
    w = c1 - c0
    o = out[c0:c1]
    part = np.empty(w, np.float32)
    for j in range(w):
        o[j] = f4(0.0)
    for start in range(0, g.shape[0], _BLOCK):
        for j in range(w):
            part[j] = f4(0.0)
        for i in range(start, min(g.shape[0], start + _BLOCK)):
            gi = g[i, c0:c1]
            for j in range(w):
                part[j] += gi[j]
        for j in range(w):
            o[j] += part[j]


@nb.njit(inline="always")
def _slope_rows(g, kept, dz, activation, r0, r1):
    """Multiply a cotangent by the activation's derivative, from what `_forward` has kept."""
    for i in range(r0, r1):
        gi, ki, di = g[i], kept[i], dz[i]
        if activation == _RELU:
            for j in range(gi.size):
                di[j] = gi[j] if ki[j] > f4(0.0) else f4(0.0)
        elif activation == _TANH:
            for j in range(gi.size):
                di[j] = gi[j] * (f4(1.0) - ki[j] * ki[j])
        else:
            for j in range(gi.size):
                di[j] = gi[j] * ki[j]


@kernel(
    *(POINTER, read(2), read(2), write(2), INT, read(2), read(2), write(2), write(2), write(1)),
    *(FLAG, FLAG, FLAG, INT),
    parallel=True,
)
def _linear_back(
    address, g, kept, dz, activation, weight, x, dx, dw, db, to_x, to_w, to_b, threads
):
    m, n = g.shape
    if activation != NONE:
        for t in nb.prange(threads):
            r0, r1 = _rows(m, threads, t)
            _slope_rows(g, kept, dz, activation, r0, r1)
    source = g.ctypes.data if activation == NONE else dz.ctypes.data
    for t in nb.prange(threads):
        if to_x:
            k = weight.shape[1]
            if k > m and k >= 32 * threads:
                r0, r1 = 0, m
                c0, c1 = _part(k, threads, t)
            else:
                r0, r1 = _rows(m, threads, t)
                c0, c1 = 0, k
            gemm(
                address,
                r1 - r0,
                c1 - c0,
                n,
                source + r0 * n * 4,
                n,
                False,
                weight.ctypes.data + c0 * 4,
                k,
                False,
                0.0,
                dx.ctypes.data + (r0 * k + c0) * 4,
                k,
            )
        if to_w:
            k = x.shape[1]
            if k >= n and k >= 32 * threads:
                r0, r1 = 0, n
                c0, c1 = _part(k, threads, t)
            else:
                r0, r1 = _part(n, threads, t)
                c0, c1 = 0, k
            gemm(
                address,
                r1 - r0,
                c1 - c0,
                m,
                source + r0 * 4,
                n,
                True,
                x.ctypes.data + c0 * 4,
                k,
                False,
                0.0,
                dw.ctypes.data + (r0 * k + c0) * 4,
                k,
            )
        if to_b:
            c0, c1 = _part(n, threads, t)
            if c1 > c0:
                if activation == NONE:
                    _column_sums(g, db, c0, c1)
                else:
                    _column_sums(dz, db, c0, c1)


def product(
    rows: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: int, keep: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer's value, and GELU's slope if it is to be kept."""
    (m, k), n = rows.shape, weight.shape[0]
    on_product((m, k), (k, n))
    y = _pool.empty((m, n), np.float32)
    keep = keep and activation == _GELU
    slope = _pool.empty((m, n), np.float32) if keep else MATRIX
    biased = bias is not None
    vector = bias if biased else VECTOR
    launch(_linear, SGEMM, rows, weight, vector, biased, y, slope, activation, keep)
    return y, slope


def pulled(
    g: np.ndarray,
    needs: Any,
    rows: np.ndarray | None,
    weight: np.ndarray | None,
    activation: int,
    kept: np.ndarray | None,
    k: int,
) -> tuple[Any, Any, Any]:
    """Return the cotangents of input, weight and bias, None where one is not needed.

    Parameters
    ----------
    g : array of shape (m, n)
    needs : three of bool
    rows, weight : arrays that the cotangents of the other are made of, None if not needed
    activation : int
    kept : array of shape (m, n), or None without an activation
    k : int
        How many entries a row of the input has.
    """
    if not is_plain(g):
        g = np.ascontiguousarray(g, np.float32)
    m, n = g.shape
    dx = dw = db = None
    if needs[0]:
        on_product((m, n), (n, k))
        dx = _pool.empty((m, k), np.float32)
    if needs[1]:
        on_product((n, m), (m, k))
        dw = _pool.empty((n, k), np.float32)
    if needs[2]:
        db = np.empty(n, np.float32)
    launch(
        _linear_back,
        SGEMM,
        g,
        MATRIX if kept is None else kept,
        MATRIX if activation == NONE else _pool.empty((m, n), np.float32),
        activation,
        MATRIX if weight is None else weight,
        MATRIX if rows is None else rows,
        MATRIX if dx is None else dx,
        MATRIX if dw is None else dw,
        VECTOR if db is None else db,
        dx is not None,
        dw is not None,
        db is not None,
    )
    return dx, dw, db


def _accepts(needs: Any, x: Any, weight: Any, bias: Any, *, activation: str | None = None) -> bool:
    return (
        is_plain(x)
        and is_plain(weight)
        and x.ndim > 1
        and weight.ndim == 2
        and (bias is None or (is_plain(bias) and bias.shape == weight.shape[:1]))
        and x.shape[-1] == weight.shape[1]
        and x.size * weight.shape[0] >= max(SMALL, 1)
        and (activation in (None, "relu") or weight.shape[0] >= NARROW)
        and activation in _ACTIVATIONS
    )


def _forward(needs, x, weight, bias, *, activation=None):
    n, k = weight.shape
    code = _ACTIVATIONS[activation]
    rows = x if x.ndim == 2 else x.reshape(-1, k)
    any_need = needs[0] or needs[1] or needs[2]
    y, slope = product(rows, weight, bias, code, any_need)
    out = y if x.ndim == 2 else y.reshape(*x.shape[:-1], n)
    if not any_need:
        return out, None
    kept = None if code == NONE else slope if code == _GELU else y
    return out, (
        rows if needs[1] else None,
        weight if needs[0] else None,
        code,
        kept,
        x.shape,
    )


def _backward(g, needs, residual):
    rows, weight, code, kept, shape = residual
    flat = g.reshape(-1, g.shape[-1])
    dx, dw, db = pulled(flat, needs, rows, weight, code, kept, shape[-1])
    return None if dx is None else dx.reshape(shape), dw, db


linear.add(Kernels("numba", _accepts, _forward, _backward))
