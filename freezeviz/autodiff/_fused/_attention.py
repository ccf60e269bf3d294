"""Scaled dot-product attention."""

import math

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._count import gemm
from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._tracer import raw
from freezeviz.backend import array_namespace


def _reference(queries, keys, values, *, mask=None, scale=None):
    """Return ``softmax(queries @ keys.T * scale + mask) @ values``.

    Parameters
    ----------
    queries : array of shape (..., length, dims)
    keys : array of shape (..., source, dims)
    values : array of shape (..., source, value_dims)
    mask : array broadcastable to (..., length, source), optional
        Added to the scores; boolean masks are true where attention is allowed. A query from
        which all is hidden gets zeros.
    scale : float, optional
        ``1 / sqrt(dims)`` by default.

    Returns
    -------
    array of shape (..., length, value_dims)

    Notes
    -----
    A. Vaswani et al.: Attention Is All You Need. arXiv:1706.03762.
    """
    scale = 1.0 / math.sqrt(queries.shape[-1]) if scale is None else scale
    scores = p.matmul(queries * scale, p.swap(keys))
    if mask is None:
        return p.matmul(p.softmax(scores, axis=-1), values)
    scores = p.where(mask, scores, -math.inf) if _is_boolean(mask) else scores + mask
    xp = array_namespace(raw(scores))
    blind = xp.all(raw(scores) == -math.inf, axis=-1, keepdims=True)
    probs = p.softmax(p.where(blind, 0.0, scores), axis=-1)
    return p.matmul(p.masked(probs, mask=~blind), values)


def _is_boolean(mask) -> bool:
    return array_namespace(raw(mask)).isdtype(mask.dtype, "bool")


def _forward(needs, queries, keys, values, *, mask=None, scale=None):
    xp = array_namespace(queries, keys, values, mask)
    scale = 1.0 / math.sqrt(queries.shape[-1]) if scale is None else scale
    probs = gemm(queries * scale, xp.matrix_transpose(keys))
    if mask is not None:
        if _is_boolean(mask):
            probs = xp.where(mask, probs, xp.asarray(-math.inf, dtype=probs.dtype))
        else:
            probs = probs + mask
    top = xp.max(probs, axis=-1, keepdims=True)
    if mask is not None:
        # All hidden: exp(-inf) / 1, not exp(-inf + inf) / 0.
        top = xp.where(top == -math.inf, xp.zeros_like(top), top)
    probs -= top
    probs = xp.exp(probs)
    total = xp.sum(probs, axis=-1, keepdims=True)
    probs /= total if mask is None else xp.where(total == 0, xp.ones_like(total), total)
    out = gemm(probs, values)
    need_queries, need_keys, need_values = needs
    scores_need = need_queries or need_keys
    return out, (
        queries if need_keys else None,
        keys if need_queries else None,
        values if scores_need else None,
        probs if scores_need or need_values else None,
        scale,
    )


def _backward(g, needs, residual):
    queries, keys, values, probs, scale = residual
    xp = array_namespace(g)
    dq = dk = dv = None
    if needs[2]:
        dv = gemm(xp.matrix_transpose(probs), g)
    if needs[0] or needs[1]:
        ds = gemm(g, xp.matrix_transpose(values))
        # Of the softmax: p * (d - sum(p * d)).
        ds -= xp.sum(ds * probs, axis=-1, keepdims=True)
        ds *= probs
        ds *= scale
        if needs[0]:
            dq = gemm(ds, keys)
        if needs[1]:
            dk = gemm(xp.matrix_transpose(ds), queries)
    return dq, dk, dv


attention = Fused("attention", _forward, _backward, _reference)
