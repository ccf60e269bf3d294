"""Rows of a table by index."""

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._fused._base import Fused
from freezeviz.backend import array_namespace


def _reference(weight, *, indices):
    """Return the rows of `weight` that `indices` name.

    Parameters
    ----------
    weight : array of shape (num_embeddings, dims)
    indices : integer array of any shape

    Returns
    -------
    array of shape (*indices.shape, dims)
    """
    return p.getitem(weight, index=indices)


def _forward(needs, weight, *, indices):
    xp = array_namespace(weight, indices)
    flat = xp.reshape(indices, (-1,))
    rows = xp.take(weight, flat, axis=0)
    out = xp.reshape(rows, (*indices.shape, weight.shape[1]))
    return out, ((flat, tuple(weight.shape)) if needs[0] else None)


def _backward(g, needs, residual):
    flat, shape = residual
    rows = array_namespace(g).reshape(g, (flat.shape[0], shape[1]))
    return (p.scatter_add(rows, index=flat, like=p.Like(shape, g.dtype)),)


embedding = Fused("embedding", _forward, _backward, _reference)
