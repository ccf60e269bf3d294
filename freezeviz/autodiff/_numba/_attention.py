"""Attention: one head of one sample at a time, its probabilities in the cache."""

import math

import numba as nb
import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._count import on_product
from freezeviz.autodiff._fused import attention, packed_attention
from freezeviz.autodiff._fused._packed import spans
from freezeviz.autodiff._numba import _math
from freezeviz.autodiff._numba._blas import SGEMM, gemm
from freezeviz.autodiff._numba._compiled import FAST, FLAG, FLOAT, INT, POINTER, kernel, write
from freezeviz.autodiff._numba._launch import (
    NARROW,
    SINGLE,
    SMALL,
    address,
    is_plain,
    launch_with_blas,
    most_threads,
)
from freezeviz.autodiff._sets import Kernels

# Arrays are (batch, heads, length, dims), as a rule seen through a transposition of (batch,
# length, heads, dims): each is passed as its address and the distances, in floats, from one
# sample, one head and one position to the next.

f4 = nb.float32
_PLACE = (POINTER, INT, INT, INT)
_SIZES = (INT, INT, INT, INT, INT, INT)


@nb.njit(fastmath=FAST)
def _softmax(p, scale):
    """Replace each row of scores by its softmax."""
    n = p.shape[1]
    for i in range(p.shape[0]):
        row = p[i]
        top = row[0]
        for j in range(n):
            top = row[j] if row[j] > top else top
        total = f4(0.0)
        for j in range(n):
            e = _math.exp((row[j] - top) * scale)
            row[j] = e
            total += e
        r = f4(1.0) / total
        for j in range(n):
            row[j] *= r


@kernel(
    *(POINTER, *_PLACE, *_PLACE, *_PLACE, *_PLACE, write(3), FLAG, *_SIZES, FLOAT, INT),
    parallel=True,
)
def _attention(
    blas,
    q, q0, q1, q2,
    k, k0, k1, k2,
    v, v0, v1, v2,
    y, y0, y1, y2,
    probs, keep, batch, heads, length, source, dims, value_dims, scale, threads,
):  # fmt: skip
    size = (batch * heads + threads - 1) // threads
    for t in nb.prange(threads):
        for u in range(t * size, min(batch * heads, (t + 1) * size)):
            b, h = u // heads, u % heads
            p = probs[u] if keep else probs[t]
            at = p.ctypes.data
            qa, ka = q + (b * q0 + h * q1) * 4, k + (b * k0 + h * k1) * 4
            va, ya = v + (b * v0 + h * v1) * 4, y + (b * y0 + h * y1) * 4
            gemm(blas, length, source, dims, qa, q2, False, ka, k2, True, 0.0, at, source)
            _softmax(p, scale)
            gemm(blas, length, value_dims, source, at, source, False, va, v2, False, 0.0, ya, y2)


@kernel(
    *(POINTER, *_PLACE, *_PLACE, *_PLACE, *_PLACE, *_PLACE, *_PLACE, *_PLACE),
    *(write(3), write(3), *_SIZES, FLOAT, INT),
    parallel=True,
)
def _attention_back(
    blas,
    q, q0, q1, q2,
    k, k0, k1, k2,
    v, v0, v1, v2,
    g, g0, g1, g2,
    dq, dq0, dq1, dq2,
    dk, dk0, dk1, dk2,
    dv, dv0, dv1, dv2,
    probs, scratch, batch, heads, length, source, dims, value_dims, scale, threads,
):  # fmt: skip
    size = (batch * heads + threads - 1) // threads
    for t in nb.prange(threads):
        s = scratch[t]
        sa = s.ctypes.data
        for u in range(t * size, min(batch * heads, (t + 1) * size)):
            b, h = u // heads, u % heads
            p = probs[u]
            pa, ga = p.ctypes.data, g + (b * g0 + h * g1) * 4
            if dv:
                a = dv + (b * dv0 + h * dv1) * 4
                gemm(blas, source, value_dims, length, pa, source, True, ga, g2, False, 0.0, a, dv2)
            if dq or dk:
                a = v + (b * v0 + h * v1) * 4
                gemm(blas, length, source, value_dims, ga, g2, False, a, v2, True, 0.0, sa, source)
                _softmax_back(p, s, scale)
            if dq:
                a, c = k + (b * k0 + h * k1) * 4, dq + (b * dq0 + h * dq1) * 4
                gemm(blas, length, dims, source, sa, source, False, a, k2, False, 0.0, c, dq2)
            if dk:
                a, c = q + (b * q0 + h * q1) * 4, dk + (b * dk0 + h * dk1) * 4
                gemm(blas, source, dims, length, sa, source, True, a, q2, False, 0.0, c, dk2)


@nb.njit(fastmath=FAST)
def _softmax_back(p, d, scale):
    """Replace the cotangent of probabilities by that of the scores."""
    n = p.shape[1]
    for i in range(p.shape[0]):
        pi, di = p[i], d[i]
        along = f4(0.0)
        for j in range(n):
            along += pi[j] * di[j]
        for j in range(n):
            di[j] = pi[j] * (di[j] - along) * scale


def _is_placed(x) -> bool:
    """Return whether an array is of rows that lie in one piece each."""
    if type(x) is not np.ndarray or x.dtype is not SINGLE or x.ndim != 4 or not x.flags.aligned:
        return False
    a, b, c, d = x.strides
    return d == 4 and c >= 4 * x.shape[3] and c % 4 == 0 and a % 4 == 0 and b % 4 == 0


def _place(x):
    """Return an array's address and distances, or zeros for None."""
    if x is None:
        return 0, 0, 0, 1
    a, b, c, _ = x.strides
    return address(x), a // 4, b // 4, c // 4


def _empty(batch, heads, length, dims):
    """Return an array to be filled whose heads lie side by side."""
    return _pool.empty((batch, length, heads, dims), np.float32).transpose(0, 2, 1, 3)


def _attend(q, k, v, y, scale, keep):
    """Write attention's value to `y`, and return the probabilities, of use if they are kept."""
    batch, heads, length, dims = q.shape
    source, value_dims = v.shape[2:]
    on_product((batch, heads, length, dims), (batch, heads, dims, source))
    on_product((batch, heads, length, source), (batch, heads, source, value_dims))
    probs = _pool.empty((batch * heads if keep else most_threads(), length, source), np.float32)
    launch_with_blas(
        _attention, SGEMM, *_place(q), *_place(k), *_place(v), *_place(y), probs, keep,
        batch, heads, length, source, dims, value_dims, scale,
    )  # fmt: skip
    return probs


def _pull(g, parts, into, probs, scale, sizes):
    """Write the cotangents of queries, keys and values, where there is an array to write into."""
    batch, heads, length, source, dims, value_dims = sizes
    lead = (batch, heads)
    dq, dk, dv = into
    if dv is not None:
        on_product((*lead, source, length), (*lead, length, value_dims))
    if dq is not None or dk is not None:
        on_product((*lead, length, value_dims), (*lead, value_dims, source))
    if dq is not None:
        on_product((*lead, length, source), (*lead, source, dims))
    if dk is not None:
        on_product((*lead, source, length), (*lead, length, dims))
    places = [number for x in (*parts, g, *into) for number in _place(x)]
    scratch = _pool.empty((most_threads(), length, source), np.float32)
    launch_with_blas(_attention_back, SGEMM, *places, probs, scratch, *sizes, scale)


def _accepts(needs, queries, keys, values, *, mask=None, scale=None) -> bool:
    return (
        mask is None
        and _is_placed(queries)
        and _is_placed(keys)
        and _is_placed(values)
        and queries.shape[:2] == keys.shape[:2] == values.shape[:2]
        and queries.shape[3] == keys.shape[3]
        and keys.shape[2] == values.shape[2]
        and values.size > 0
        and keys.shape[2] >= NARROW
        and queries.size * keys.shape[2] >= max(SMALL, 1)
    )


def _forward(needs, queries, keys, values, *, mask=None, scale=None):
    batch, heads, length, dims = queries.shape
    source, value_dims = values.shape[2:]
    scale = 1.0 / math.sqrt(dims) if scale is None else scale
    y = _empty(batch, heads, length, value_dims)
    need_queries, need_keys, need_values = needs
    any_need = need_queries or need_keys or need_values
    probs = _attend(queries, keys, values, y, scale, any_need)
    if not any_need:
        return y, None
    parts = (
        queries if need_keys else None,
        keys if need_queries else None,
        values if need_queries or need_keys else None,
    )
    return y, (parts, probs, scale, (batch, heads, length, source, dims, value_dims))


def _backward(g, needs, residual):
    parts, probs, scale, sizes = residual
    batch, heads, length, source, dims, value_dims = sizes
    if not _is_placed(g):
        g = np.ascontiguousarray(g, np.float32)
    into = (
        _empty(batch, heads, length, dims) if needs[0] else None,
        _empty(batch, heads, source, dims) if needs[1] else None,
        _empty(batch, heads, source, value_dims) if needs[2] else None,
    )
    _pull(g, parts, into, probs, scale, sizes)
    return into


attention.add(Kernels("numba", _accepts, _forward, _backward))


def _accepts_packed(needs, packed, *, heads, dims, mask=None, scale=None) -> bool:
    return (
        mask is None
        and is_plain(packed)
        and packed.ndim == 3
        and packed.shape[2] > 2 * dims > 0
        and packed.shape[1] >= NARROW
        and dims % heads == packed.shape[2] % heads == 0
        and packed.shape[0] * packed.shape[1] ** 2 * dims >= max(SMALL, 1)
    )


def _views(packed, heads, dims):
    """Return queries, keys and values that lie side by side."""
    return tuple(_by_head(packed[:, :, part], heads) for part in spans(dims, packed.shape[2]))


def _by_head(x, heads):
    batch, length, dims = x.shape
    return x.reshape(batch, length, heads, dims // heads).transpose(0, 2, 1, 3)


def _forward_packed(needs, packed, *, heads, dims, mask=None, scale=None):
    batch, length, width = packed.shape
    value_dims = (width - 2 * dims) // heads
    scale = 1.0 / math.sqrt(dims // heads) if scale is None else scale
    y = _empty(batch, heads, length, value_dims)
    queries, keys, values = _views(packed, heads, dims)
    probs = _attend(queries, keys, values, y, scale, needs[0])
    out = y.transpose(0, 2, 1, 3).reshape(batch, length, width - 2 * dims)
    return out, (packed, probs, heads, dims, scale) if needs[0] else None


def _backward_packed(g, needs, residual):
    packed, probs, heads, dims, scale = residual
    batch, length, width = packed.shape
    if not is_plain(g):
        g = np.ascontiguousarray(g, np.float32)
    pulled = _pool.empty(packed.shape, np.float32)
    value_dims = (width - 2 * dims) // heads
    _pull(
        _by_head(g, heads),
        _views(packed, heads, dims),
        _views(pulled, heads, dims),
        probs,
        scale,
        (batch, heads, length, length, dims // heads, value_dims),
    )
    return (pulled,)


packed_attention.add(Kernels("numba", _accepts_packed, _forward_packed, _backward_packed))
