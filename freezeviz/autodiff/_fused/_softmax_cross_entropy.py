"""The cross entropy between logits and classes."""

from freezeviz.autodiff import _functions as f
from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._fused._base import Fused
from freezeviz.backend import array_namespace


def _reference(logits, *, targets):
    """Return ``logsumexp(logits) - logits[target]`` of each sample.

    Parameters
    ----------
    logits : array of shape (..., classes)
    targets : integer array of shape (...)

    Returns
    -------
    array of shape (...)
    """
    picked = f.take_along_axis(logits, targets[..., None], axis=-1)
    return p.logsumexp(logits, axis=-1) - f.squeeze(picked, -1)


def _forward(needs, logits, *, targets):
    xp = array_namespace(logits, targets)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    column = targets[..., None]
    picked = xp.take_along_axis(shifted, column, axis=-1)
    probs = xp.exp(shifted)
    total = xp.sum(probs, axis=-1, keepdims=True)
    losses = (xp.log(total) - picked)[..., 0]
    if not needs[0]:
        return losses, None
    probs /= total
    return losses, (probs, column)


def _backward(g, needs, residual):
    probs, column = residual
    xp = array_namespace(g)
    classes = xp.arange(probs.shape[-1], dtype=column.dtype)
    dlogits = probs - xp.astype(classes == column, probs.dtype)
    return (dlogits * g[..., None],)


softmax_cross_entropy = Fused("softmax_cross_entropy", _forward, _backward, _reference)
