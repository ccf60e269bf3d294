"""Attention, a few heads at a time, so that their probabilities stay in the cache.

Probabilities are kept with a column, not a row, for each query: NumPy finds the largest value and
the sum of many short columns, side by side, in a fifth of the time that it takes for short rows.
Results are laid out in memory as (batch, length, heads, dims), which is how the layer after an
attention wants them, and shown in the order that was asked for.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._count import on_product
from freezeviz.autodiff._fused._attention import attention
from freezeviz.autodiff._fused._packed import packed_attention, spans
from freezeviz.autodiff._numpy._calls import DTYPES
from freezeviz.autodiff._sets import Kernels

# Of the probabilities of the heads that are worked on together.
_BLOCK_BYTES = 1 << 18
# OpenBLAS shares products of more multiplications between its own threads: those of a head are
# too small for that to pay. In pieces of so many rows or more they stay below.
_SMALL_PRODUCT = 1 << 18
_PIECE = 32

Block = tuple[slice, slice]


class _Sizes(NamedTuple):
    batch: int
    heads: int
    length: int
    source: int

    def blocks(self, itemsize: int) -> Iterator[Block]:
        """Yield the samples and the heads of each block."""
        step = max(1, _BLOCK_BYTES // max(1, self.length * self.source * itemsize))
        samples, heads = max(1, step // self.heads), min(step, self.heads)
        for i in range(0, self.batch, samples):
            for j in range(0, self.heads, heads):
                yield slice(i, i + samples), slice(j, j + heads)


def _pieces(rows: int, multiplications: int) -> int:
    """Return in how many pieces a product is small, 0 where there is no such number."""
    pieces = -(-multiplications // _SMALL_PRODUCT)
    return 0 if rows % pieces or (pieces > 1 and rows < pieces * _PIECE) else pieces


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Write the products of the matrices in two arrays, each in small pieces if that goes."""
    rows = a.shape[-2]
    pieces = _pieces(rows, rows * a.shape[-1] * b.shape[-1])
    if pieces < 2:
        np.matmul(a, b, out=out)
        return
    # Rows of a product are products of rows; these are views.
    parts = [x.reshape(*x.shape[:-2], pieces, -1, x.shape[-1]) for x in (a, out)]
    np.matmul(parts[0], b[..., None, :, :], out=parts[1])


def _sizes(queries: np.ndarray, keys: np.ndarray) -> _Sizes:
    batch, heads, length, _ = queries.shape
    return _Sizes(batch, heads, length, keys.shape[2])


def _by_position(x: np.ndarray) -> np.ndarray:
    """Exchange the axes of heads and of positions."""
    return x.transpose(0, 2, 1, 3)


def _turned(x: np.ndarray) -> np.ndarray:
    return x.swapaxes(-1, -2)


def _fits_mask(mask: Any, dtype: Any, shape: tuple[int, ...]) -> bool:
    if mask is None:
        return True
    if type(mask) is not np.ndarray or mask.ndim > 4 or mask.dtype not in (dtype, np.bool_):
        return False
    lead = (1,) * (4 - mask.ndim) + mask.shape
    return all(n in (1, size) for n, size in zip(lead, shape, strict=True))


def _attend(
    queries: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    out: np.ndarray,
    mask: np.ndarray | None,
    scale: float,
    keep: bool,
) -> np.ndarray | None:
    """Write attention's value to `out`; return the probabilities, (..., source, length), if kept.

    All have four axes: batch, heads, positions, dims.
    """
    sizes, dtype = _sizes(queries, keys), queries.dtype
    batch, heads, length, source = sizes
    on_product(queries.shape, _turned(keys).shape)
    on_product((batch, heads, length, source), values.shape)
    if mask is not None:
        mask = _turned(np.broadcast_to(mask, (batch, heads, length, source)))
    probs = _pool.empty((batch, heads, source, length), dtype) if keep else None
    for block in sizes.blocks(dtype.itemsize):
        q, k = queries[block], keys[block]
        if probs is None:
            scores = _pool.empty((*q.shape[:2], source, length), dtype)
        else:
            scores = probs[block]
        _product(k, _turned(q * dtype.type(scale)), out=scores)
        _softmax(scores, None if mask is None else mask[block])
        _product(_turned(scores), values[block], out=out[block])
    return probs


def _softmax(scores: np.ndarray, mask: np.ndarray | None) -> None:
    """Make of each column its softmax, in place; a column that is all hidden becomes zeros."""
    if mask is not None:
        if mask.dtype == np.bool_:
            np.copyto(scores, -math.inf, where=~mask)
        else:
            scores += mask
    top = np.max(scores, axis=-2, keepdims=True)
    if mask is not None:
        # All hidden: exp(-inf) / 1, not exp(-inf + inf) / 0.
        top[top == -math.inf] = 0
    scores -= top
    np.exp(scores, out=scores)
    total = np.sum(scores, axis=-2, keepdims=True)
    if mask is not None:
        total[total == 0] = 1
    scores *= np.reciprocal(total, out=total)


def _pull(
    g: np.ndarray,
    parts: tuple[Any, Any, Any],
    probs: np.ndarray,
    into: tuple[Any, Any, Any],
    scale: float,
) -> None:
    """Write the cotangents of queries, keys and values, where there is an array to write into."""
    queries, keys, values = parts
    dq, dk, dv = into
    batch, heads, source, length = probs.shape
    sizes, dtype = _Sizes(batch, heads, length, source), g.dtype
    square = (batch, heads, length, source)
    if dv is not None:
        on_product(probs.shape, g.shape)
    if dq is not None or dk is not None:
        on_product(g.shape, _turned(values).shape)
    if dq is not None:
        on_product(square, keys.shape)
    if dk is not None:
        on_product(probs.shape, queries.shape)
    factor = dtype.type(scale)
    for block in sizes.blocks(dtype.itemsize):
        p, gb = probs[block], g[block]
        if dv is not None:
            _product(p, gb, out=dv[block])
        if dq is None and dk is None:
            continue
        ds = _pool.empty(p.shape, dtype)
        _product(values[block], _turned(gb), out=ds)
        # Of the softmax: p * d - p * sum(p * d).
        ds *= p
        along = np.sum(ds, axis=-2, keepdims=True)
        ds -= p * along
        if dq is not None:
            _product(_turned(ds), keys[block] * factor, out=dq[block])
        if dk is not None:
            _product(ds, queries[block] * factor, out=dk[block])


def _in_pieces(g: np.ndarray) -> np.ndarray:
    """Return an array whose matrices BLAS takes as they are."""
    return g if g.strides[-1] == g.itemsize and 0 not in g.strides else np.ascontiguousarray(g)


# ---------------------------------------------------------------- queries, keys, values


def _accepts(needs, queries, keys, values, *, mask=None, scale=None):
    if not type(queries) is type(keys) is type(values) is np.ndarray:
        return False
    dtype, shape = queries.dtype, queries.shape
    return (
        dtype == keys.dtype == values.dtype
        and dtype in DTYPES
        and len(shape) == keys.ndim == values.ndim == 4
        and keys.shape[:3] == values.shape[:3]
        and shape[:2] == keys.shape[:2]
        and shape[3] == keys.shape[3]
        and min(queries.size, keys.size, values.size) > 0
        and _fits_mask(mask, dtype, (*shape[:3], keys.shape[2]))
    )


def _empty(batch: int, heads: int, length: int, dims: int, dtype: Any) -> np.ndarray:
    """Return an array to be filled whose heads lie side by side."""
    return _by_position(_pool.empty((batch, length, heads, dims), dtype))


def _forward(needs, queries, keys, values, *, mask=None, scale=None):
    batch, heads, length, width = queries.shape
    scale = 1.0 / math.sqrt(width) if scale is None else scale
    out = _empty(batch, heads, length, values.shape[-1], queries.dtype)
    need_queries, need_keys, need_values = needs
    scores_need = need_queries or need_keys
    probs = _attend(queries, keys, values, out, mask, scale, scores_need or need_values)
    kept = (
        queries if need_keys else None,
        keys if need_queries else None,
        values if scores_need else None,
    )
    # What is not kept may have a cotangent all the same: its width is all that is wanted of it.
    return out, (kept, probs, (width, values.shape[-1]), scale) if any(needs) else None


def _backward(g, needs, residual):
    parts, probs, (width, value_width), scale = residual
    g = _in_pieces(g)
    batch, heads, source, length = probs.shape
    shapes = (length, width), (source, width), (source, value_width)
    into: list[Any] = [
        _empty(batch, heads, n, dims, g.dtype) if need else None
        for need, (n, dims) in zip(needs, shapes, strict=True)
    ]
    _pull(g, parts, probs, tuple(into), scale)
    return tuple(into)


attention.add(Kernels("numpy", _accepts, _forward, _backward))

# ---------------------------------------------------------------- packed


def _accepts_packed(needs, packed, *, heads, dims, mask=None, scale=None):
    if type(packed) is not np.ndarray or packed.dtype not in DTYPES or packed.ndim != 3:
        return False
    batch, length, width = packed.shape
    square = batch, heads, length, length
    return packed.size > 0 and width > 2 * dims > 0 and _fits_mask(mask, packed.dtype, square)


def _views(packed: np.ndarray, heads: int, dims: int) -> tuple[Any, ...]:
    batch, length, width = packed.shape
    return tuple(
        _by_position(packed[:, :, part].reshape(batch, length, heads, -1))
        for part in spans(dims, width)
    )


def _forward_packed(needs, packed, *, heads, dims, mask=None, scale=None):
    scale = 1.0 / math.sqrt(dims // heads) if scale is None else scale
    batch, length, width = packed.shape
    out = _pool.empty((batch, length, width - 2 * dims), packed.dtype)
    split = _by_position(out.reshape(batch, length, heads, -1))
    q, k, v = _views(_in_pieces(packed), heads, dims)
    probs = _attend(q, k, v, split, mask, scale, needs[0])
    return out, (packed, probs, heads, dims, scale) if needs[0] else None


def _backward_packed(g, needs, residual):
    packed, probs, heads, dims, scale = residual
    batch, length, _ = packed.shape
    split = _by_position(_in_pieces(g).reshape(batch, length, heads, -1))
    pulled = _pool.empty(packed.shape, g.dtype)
    parts, into = _views(_in_pieces(packed), heads, dims), _views(pulled, heads, dims)
    _pull(split, parts, probs, into, scale)
    return (pulled,)


packed_attention.add(Kernels("numpy", _accepts_packed, _forward_packed, _backward_packed))
