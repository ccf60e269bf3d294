"""Self-attention in two steps that pass one array on: packed projections, attention of its parts.

Queries, keys and values of one input are one matrix product with the three weights one below the
other, and lie side by side in its rows. The attention reads them there, and its backward pass
writes their cotangents side by side again: nothing is split, turned or joined in between.
"""

import math
from itertools import pairwise
from typing import Any

from freezeviz.autodiff import _functions as f
from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._count import gemm
from freezeviz.autodiff._fused._attention import attention
from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._fused._linear import linear
from freezeviz.backend import array_namespace

# ---------------------------------------------------------------- projections


def _projections_reference(
    x, query_weight, key_weight, value_weight, query_bias, key_bias, value_bias
):
    """Return the linear maps of `x` by three weights, side by side.

    Parameters
    ----------
    x : array of shape (..., in_features)
    query_weight, key_weight, value_weight : array of shape (features, in_features)
        Their numbers of features may differ.
    query_bias, key_bias, value_bias : array of shape (features,), or None for all

    Returns
    -------
    array of shape (..., sum of the features)
    """
    weights = query_weight, key_weight, value_weight
    biases = query_bias, key_bias, value_bias
    parts = [linear.reference(x, w, b) for w, b in zip(weights, biases, strict=True)]
    return f.concatenate(parts, axis=-1)


def _projections_forward(needs, x, *arrays):
    xp = array_namespace(x, *arrays)
    weights, biases = arrays[:3], arrays[3:]
    rows = x if x.ndim == 2 else xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
    packed = xp.concat(weights, axis=0)
    y = gemm(rows, packed.T)
    if biases[0] is not None:
        y = y + xp.concat(biases, axis=0)
    out = xp.reshape(y, (*x.shape[:-1], packed.shape[0]))
    kept = rows if any(needs[1:4]) else None, weights if needs[0] else None
    return out, (*kept, tuple(x.shape), bounds(weights)) if any(needs) else None


def bounds(weights: Any) -> list[slice]:
    """Return where each part of the features lies."""
    ends = [0]
    for weight in weights:
        ends.append(ends[-1] + weight.shape[0])
    return [slice(a, b) for a, b in pairwise(ends)]


def _projections_backward(g, needs, residual):
    rows, weights, shape, parts = residual
    xp = array_namespace(g)
    flat = g if g.ndim == 2 else xp.reshape(g, (math.prod(shape[:-1]), g.shape[-1]))
    dx = xp.reshape(gemm(flat, xp.concat(weights, axis=0)), shape) if needs[0] else None
    if all(needs[1:4]):
        whole = gemm(flat.T, rows)
        dw = [whole[part, :] for part in parts]
    else:
        pairs = zip(needs[1:4], parts, strict=True)
        dw = [gemm(flat[:, part].T, rows) if need else None for need, part in pairs]
    db: list[Any] = [None] * 3
    if any(needs[4:]):
        total = xp.sum(flat, axis=0)
        pairs = zip(needs[4:], parts, strict=True)
        db = [total[part] if need else None for need, part in pairs]
    return dx, *dw, *db


projections = Fused(
    "projections", _projections_forward, _projections_backward, _projections_reference
)

# ---------------------------------------------------------------- attention


def _reference(packed, *, heads, dims, mask=None, scale=None):
    """Return attention with several heads among the rows of each sample.

    Parameters
    ----------
    packed : array of shape (batch, length, 2 * dims + value_dims)
        Queries, keys and values side by side.
    heads : int
        Divides `dims` and the values' dims.
    dims : int
        Of all heads together.
    mask : array broadcastable to (batch, heads, length, length), optional
        As for `attention`.
    scale : float, optional
        ``1 / sqrt(dims / heads)`` by default.

    Returns
    -------
    array of shape (batch, length, value_dims)
    """
    batch, length, width = packed.shape
    parts = []
    for part in spans(dims, width):
        x = p.getitem(packed, index=(..., part))
        x = f.reshape(x, (batch, length, heads, x.shape[-1] // heads))
        parts.append(p.transpose(x, axes=(0, 2, 1, 3)))
    out = p.transpose(attention.reference(*parts, mask=mask, scale=scale), axes=(0, 2, 1, 3))
    return f.reshape(out, (batch, length, width - 2 * dims))


def spans(dims: int, width: int) -> list[slice]:
    """Return where queries, keys and values lie in a row."""
    return [slice(0, dims), slice(dims, 2 * dims), slice(2 * dims, width)]


def _split(packed: Any, heads: int, dims: int) -> list[Any]:
    xp = array_namespace(packed)
    batch, length, width = packed.shape
    return [
        xp.permute_dims(
            xp.reshape(
                packed[:, :, part], (batch, length, heads, (part.stop - part.start) // heads)
            ),
            (0, 2, 1, 3),
        )
        for part in spans(dims, width)
    ]


def _joined(x: Any) -> Any:
    xp = array_namespace(x)
    batch, heads, length, dims = x.shape
    return xp.reshape(xp.permute_dims(x, (0, 2, 1, 3)), (batch, length, heads * dims))


def _forward(needs, packed, *, heads, dims, mask=None, scale=None):
    parts = _split(packed, heads, dims)
    out, kept = attention.forward((needs[0],) * 3, *parts, mask=mask, scale=scale)
    return _joined(out), (kept, heads) if needs[0] else None


def _backward(g, needs, residual):
    kept, heads = residual
    xp = array_namespace(g)
    batch, length, width = g.shape
    g = xp.permute_dims(xp.reshape(g, (batch, length, heads, width // heads)), (0, 2, 1, 3))
    parts = attention.backward(g, (True,) * 3, kept)
    return (xp.concat([_joined(part) for part in parts], axis=-1),)


packed_attention = Fused("packed_attention", _forward, _backward, _reference)
