"""``activation(x @ weight.T + bias)`` over the last axis."""

import math
from typing import Any

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._count import gemm
from freezeviz.autodiff._fused._activations import activation as activation_of
from freezeviz.autodiff._fused._base import Fused
from freezeviz.backend import array_namespace


def _reference(x, weight, bias, *, activation=None):
    """Return ``activation(x @ weight.T + bias)``.

    Parameters
    ----------
    x : array of shape (..., in_features)
    weight : array of shape (out_features, in_features)
    bias : array of shape (out_features,) or None
    activation : {'relu', 'gelu', 'tanh'}, optional
        Without, the sum as it is.
    """
    y = p.matmul(x, p.swap(weight))
    y = y if bias is None else y + bias
    return y if activation is None else activation_of(activation).reference(y)


def _forward(needs, x, weight, bias, *, activation=None):
    xp = array_namespace(x, weight)
    lead = tuple(x.shape[:-1])
    rows = x if x.ndim == 2 else xp.reshape(x, (math.prod(lead), x.shape[-1]))
    y = gemm(rows, weight.T)
    if bias is not None:
        if bias.dtype == y.dtype:
            y += bias
        else:
            y = y + bias
    saved = None
    if activation is not None:
        y, saved = activation_of(activation).forward(y, any(needs))
    out = y if x.ndim == 2 else xp.reshape(y, (*lead, weight.shape[0]))
    # The input is kept for the weight's gradient alone, the weight for the input's alone.
    kept = rows if needs[1] else None, weight if needs[0] else None
    return out, (*kept, tuple(x.shape), activation, saved)


def _backward(g, needs, residual) -> tuple[Any, Any, Any]:
    rows, weight, shape, activation, saved = residual
    xp = array_namespace(g)
    flat = g if g.ndim == 2 else xp.reshape(g, (math.prod(shape[:-1]), g.shape[-1]))
    if activation is not None:
        flat = activation_of(activation).backward(flat, saved)
    dx = dw = db = None
    if needs[0]:
        dx = xp.reshape(gemm(flat, weight), shape)
    if needs[1]:
        dw = gemm(flat.T, rows)
    if needs[2]:
        db = xp.sum(flat, axis=0)
    return dx, dw, db


linear = Fused("linear", _forward, _backward, _reference)
