"""What the Transformers share: heads, masks, and attention with dropout."""

import math
from typing import Any

import numpy as np

from freezeviz import autodiff, nn
from freezeviz.autodiff import fused, stop_gradient
from freezeviz.backend import array_namespace, asarray
from freezeviz.errors import ShapeError
from freezeviz.nn._layers._attention import packed_projections


def attend(
    queries: Any,
    keys: Any,
    values: Any,
    heads: int,
    mask: Any,
    dropout: nn.Dropout,
    scale: float | None = None,
) -> Any:
    """Return scaled dot-product attention, split into heads and joined again.

    Parameters
    ----------
    queries, keys, values : array of shape (batch, length, dims)
    heads : int
        Divides `dims`.
    mask : boolean array broadcastable to (batch, heads, length, length), or None
        True where attention is allowed.
    dropout : Dropout
        Of the attention's weights.
    scale : float, optional
        ``1 / sqrt(dims / heads)`` by default.
    """
    batch, length, dims = queries.shape

    def split(x: Any) -> Any:
        return x.reshape(batch, length, heads, dims // heads).transpose(0, 2, 1, 3)

    scale = 1.0 / math.sqrt(dims // heads) if scale is None else scale
    parts = split(queries), split(keys), split(values)
    if dropout.p and dropout.training:
        out = _attend_with_dropout(*parts, mask, dropout, scale)
    else:
        out = autodiff.attention(*parts, mask=mask, scale=scale)
    return out.transpose(0, 2, 1, 3).reshape(batch, length, dims)


def self_attend(
    projections: tuple[Any, Any, Any], x: Any, heads: int, mask: Any, dropout: nn.Dropout
) -> Any:
    """Return the attention of `x` to itself.

    Parameters
    ----------
    projections : three layers
        Those of queries, keys and values, each of as many outputs.
    x : array of shape (batch, length, dims)
    heads, mask, dropout
        As for `attend`.
    """
    packed = packed_projections(projections, x)
    # Widths that differ (somebody's own layer) cannot be attended to: `attend` says so.
    if packed is None or len({layer.weight.shape[0] for layer in projections}) > 1:
        queries, keys, values = (layer(x) for layer in projections)
        return attend(queries, keys, values, heads, mask, dropout)
    return attend_packed(packed, heads, mask, dropout)


def attend_packed(
    packed: Any, heads: int, mask: Any, dropout: nn.Dropout, scale: float | None = None
) -> Any:
    """Return the attention of queries, keys and values that lie side by side.

    Parameters
    ----------
    packed : array of shape (batch, length, 3 * dims)
    heads, mask, dropout, scale
        As for `attend`.
    """
    if dropout.p and dropout.training:
        queries, keys, values = np.split(packed, 3, axis=-1)
        return attend(queries, keys, values, heads, mask, dropout, scale)
    dims = packed.shape[-1] // 3
    return fused.packed_attention(packed, heads=heads, dims=dims, mask=mask, scale=scale)


def _attend_with_dropout(
    queries: Any, keys: Any, values: Any, mask: Any, dropout: nn.Dropout, scale: float
) -> Any:
    # The fused attention shows its weights to nobody.
    scores = (queries * scale) @ keys.transpose(0, 1, 3, 2)
    if mask is None:
        return dropout(nn.softmax(scores)) @ values
    lowest = float(np.finfo(str(scores.dtype)).min)
    weights = nn.softmax(np.where(mask, scores, lowest))
    # Where all is hidden the softmax is even, and the fused attention gives zeros.
    return dropout(np.where(mask, weights, 0.0)) @ values


def padding_mask(attention_mask: Any, shape: tuple[int, int], where: str) -> Any:
    """Return the mask of keys, of shape (batch, 1, 1, length); None for None.

    Parameters
    ----------
    attention_mask : array of shape (batch, length), or None
        One (or true) for tokens, zero for padding.
    shape : (batch, length)
    where : str
        Names the model in errors.
    """
    if attention_mask is None:
        return None
    attention_mask = asarray(attention_mask)
    if tuple(attention_mask.shape) != shape:
        raise ShapeError(
            f"{where} expects attention_mask of shape (batch, length)={shape}, "
            f"got {tuple(attention_mask.shape)}"
        )
    return (attention_mask != 0)[:, None, None, :]


def causal_mask(x: Any, mask: Any) -> Any:
    """Return the mask that hides later positions of `x`, and what `mask` hides.

    Parameters
    ----------
    x : array of shape (batch, length, dims)
    mask : boolean array of shape (batch, 1, 1, length), or None
    """
    at = array_namespace(stop_gradient(x)).arange(x.shape[1])
    causal = at[:, None] >= at[None, :]
    return causal if mask is None else causal & mask


def token_ids(input_ids: Any, longest: int, where: str) -> Any:
    """Return the ids as an array of shape (batch, length) of at most `longest` tokens."""
    input_ids = asarray(input_ids)
    if input_ids.ndim != 2 or input_ids.shape[1] > longest:
        raise ShapeError(
            f"{where} expects input_ids of shape (batch, length) with a length of at most "
            f"{longest}, got {tuple(input_ids.shape)}"
        )
    return input_ids


def positions(input_ids: Any, position_ids: Any) -> Any:
    """Return the positions given, or (1, length) of them from zero on."""
    if position_ids is not None:
        return asarray(position_ids)
    return array_namespace(input_ids).arange(input_ids.shape[1])[None]
