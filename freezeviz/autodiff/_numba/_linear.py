"""Linear layers: product, bias and activation of a tile at a time."""

from typing import Any

import numba as nb
import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._count import on_product
from freezeviz.autodiff._fused import linear
from freezeviz.autodiff._numba._compiled import FAST, FLAG, INT, kernel, read, write
from freezeviz.autodiff._numba._finish import ACTIVATIONS, GELU, NONE, slope_rows
from freezeviz.autodiff._numba._launch import (
    MATRIX,
    NARROW,
    SMALL,
    VECTOR,
    is_plain,
    launch,
    most_threads,
)
from freezeviz.autodiff._numba._product import SCRATCH, product, share
from freezeviz.autodiff._numba._spans import span
from freezeviz.autodiff._sets import Kernels

f4 = nb.float32
# Rows that are summed in a row before the sum is added to the total, so that float32 lasts.
_BLOCK = 128


@kernel(
    *(read(2), read(2), read(1), FLAG, write(2), write(2), INT, FLAG, write(2), INT),
    parallel=True,
)
def _linear(x, weight, bias, biased, y, slope, activation, keep, scratch, threads):
    m, k = x.shape
    n = weight.shape[0]
    for t in nb.prange(threads):
        part = share(m, n, threads, t)
        product(
            x, False, weight, True, y, k, part, scratch[t], bias, biased, slope, activation, keep
        )


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


@kernel(
    *(read(2), read(2), write(2), INT, read(2), read(2), write(2), write(2), write(1)),
    *(FLAG, FLAG, FLAG, write(2), INT),
    parallel=True,
)
def _linear_back(
    g, kept, dz, activation, weight, x, dx, dw, db, to_x, to_w, to_b, scratch, threads
):
    m, n = g.shape
    if activation != NONE:
        for t in nb.prange(threads):
            r0, r1 = span(m, threads, t)
            slope_rows(g, kept, dz, activation, r0, r1)
    for t in nb.prange(threads):
        s = scratch[t]
        if to_x:
            k = weight.shape[1]
            part = share(m, k, threads, t)
            if activation == NONE:
                product(g, False, weight, False, dx, n, part, s, db, False, dx, NONE, False)
            else:
                product(dz, False, weight, False, dx, n, part, s, db, False, dx, NONE, False)
        if to_w:
            k = x.shape[1]
            part = share(n, k, threads, t)
            if activation == NONE:
                product(g, True, x, False, dw, m, part, s, db, False, dw, NONE, False)
            else:
                product(dz, True, x, False, dw, m, part, s, db, False, dw, NONE, False)
        if to_b:
            c0, c1 = span(n, threads, t)
            if c1 > c0:
                if activation == NONE:
                    _column_sums(g, db, c0, c1)
                else:
                    _column_sums(dz, db, c0, c1)


_held = np.empty((0, SCRATCH), np.float32)


def scratch() -> np.ndarray:
    """Return memory for the blocks of a product, for each thread: always the same.

    `launch` runs one kernel at a time, and nothing in there outlives one.
    """
    global _held
    if len(_held) < most_threads():
        _held = np.empty((most_threads(), SCRATCH), np.float32)
    return _held


def value(
    rows: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: int, keep: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer's value, and GELU's slope if it is to be kept."""
    (m, k), n = rows.shape, weight.shape[0]
    on_product((m, k), (k, n))
    y = _pool.empty((m, n), np.float32)
    keep = keep and activation == GELU
    slope = _pool.empty((m, n), np.float32) if keep else MATRIX
    biased = bias is not None
    vector = bias if biased else VECTOR
    launch(_linear, rows, weight, vector, biased, y, slope, activation, keep, scratch())
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
        scratch(),
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
        and activation in ACTIVATIONS
    )


def _forward(needs, x, weight, bias, *, activation=None):
    n, k = weight.shape
    code = ACTIVATIONS[activation]
    rows = x if x.ndim == 2 else x.reshape(-1, k)
    any_need = needs[0] or needs[1] or needs[2]
    y, slope = value(rows, weight, bias, code, any_need)
    out = y if x.ndim == 2 else y.reshape(*x.shape[:-1], n)
    if not any_need:
        return out, None
    kept = None if code == NONE else slope if code == GELU else y
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
