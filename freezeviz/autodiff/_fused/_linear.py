"""``x @ weight.T + bias`` over the last axis."""

from typing import Any

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._count import gemm
from freezeviz.autodiff._tracer import Fused
from freezeviz.backend import array_namespace


def _reference(x, weight, bias):
    """Return ``x @ weight.T + bias``.

    Parameters
    ----------
    x : array of shape (..., in_features)
    weight : array of shape (out_features, in_features)
    bias : array of shape (out_features,) or None
    """
    y = p.matmul(x, p.swap(weight))
    return y if bias is None else y + bias


def _forward(needs, x, weight, bias):
    need_x, need_weight, need_bias = needs
    xp = array_namespace(x, weight)
    lead = tuple(x.shape[:-1])
    rows = x if x.ndim == 2 else xp.reshape(x, (-1, x.shape[-1]))
    y = gemm(rows, weight.T)
    if bias is not None:
        if bias.dtype == y.dtype:
            y += bias
        else:
            y = y + bias
    out = y if x.ndim == 2 else xp.reshape(y, (*lead, weight.shape[0]))
    # The input is kept for the weight's gradient alone, the weight for the input's alone.
    kept_rows = rows if need_weight else None
    kept_weight = weight if need_x else None
    bias_dtype = bias.dtype if need_bias else None
    return out, (kept_rows, kept_weight, tuple(x.shape), x.dtype, weight.dtype, bias_dtype)


def _backward(g, needs, residual) -> tuple[Any, Any, Any]:
    rows, weight, shape, x_dtype, weight_dtype, bias_dtype = residual
    xp = array_namespace(g)
    flat = g if g.ndim == 2 else xp.reshape(g, (-1, g.shape[-1]))
    dx = dw = db = None
    if needs[0]:
        dx = xp.astype(xp.reshape(gemm(flat, weight), shape), x_dtype, copy=False)
    if needs[1]:
        dw = xp.astype(gemm(flat.T, rows), weight_dtype, copy=False)
    if needs[2]:
        db = xp.sum(flat, axis=0, dtype=bias_dtype)
    return dx, dw, db


linear = Fused("linear", _forward, _backward, _reference)
