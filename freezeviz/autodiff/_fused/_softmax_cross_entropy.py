"""The cross entropy between logits and classes."""

import math

from freezeviz.autodiff import _functions as f
from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._fused._reductions import reduced, reduced_raw, spread
from freezeviz.backend import array_namespace


def _reference(logits, *, targets, reduction="none"):
    """Return ``logsumexp(logits) - logits[target]`` of each sample, or their mean or sum.

    Parameters
    ----------
    logits : array of shape (..., classes)
    targets : integer array of shape (...)
    reduction : {'none', 'mean', 'sum'}

    Returns
    -------
    array of shape (...), or a scalar
    """
    picked = f.take_along_axis(logits, targets[..., None], axis=-1)
    return reduced(p.logsumexp(logits, axis=-1) - f.squeeze(picked, -1), reduction)


def _forward(needs, logits, *, targets, reduction="none"):
    xp = array_namespace(logits, targets)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    column = targets[..., None]
    picked = xp.take_along_axis(shifted, column, axis=-1)
    probs = xp.exp(shifted)
    total = xp.sum(probs, axis=-1, keepdims=True)
    losses = reduced_raw((xp.log(total) - picked)[..., 0], reduction)
    if not needs[0]:
        return losses, None
    probs /= total
    return losses, (probs, column, reduction)


def _backward(g, needs, residual):
    probs, column, reduction = residual
    xp = array_namespace(g)
    classes = xp.arange(probs.shape[-1], dtype=column.dtype)
    dlogits = probs - xp.astype(classes == column, probs.dtype)
    if reduction == "none":
        return (dlogits * g[..., None],)
    return (dlogits * spread(g, 1.0, math.prod(column.shape), reduction),)


softmax_cross_entropy = Fused("softmax_cross_entropy", _forward, _backward, _reference)
