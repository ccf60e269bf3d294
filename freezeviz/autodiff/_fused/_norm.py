"""Layer normalisation over the last axis, and batch normalisation over all others."""

import math
from typing import Any

from freezeviz.autodiff import _functions as f
from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._fused._sums import sum_rows
from freezeviz.autodiff._grad import stop_gradient
from freezeviz.autodiff._tracer import raw
from freezeviz.backend import array_namespace

# Both are one computation: normalise over some axes, then scale and shift by arrays that
# broadcast over others. With u = g * weight and h the normalised input,
#   dx = rstd * (u - mean(u) - h * mean(u * h)),  dweight = sum(g * h),  dbias = sum(g),
# the means over the normalised axes, the sums over all but the last.


def _batch_axes(ndim: int) -> tuple[int, ...]:
    return tuple(range(ndim - 1))


def _mean(x: Any, axes: Any) -> Any:
    """Return the mean over the last axis, or over all others, with the axes kept as ones."""
    xp = array_namespace(x)
    if axes == -1:
        return xp.mean(x, axis=-1, keepdims=True)
    total = sum_rows(xp.reshape(x, (-1, x.shape[-1])))
    n = math.prod(x.shape[:-1])
    return xp.reshape(total / n if n else total * math.nan, (1,) * len(axes) + (x.shape[-1],))


def _total(x: Any, lead: tuple[int, ...]) -> Any:
    """Return the sum over the leading axes."""
    if not lead:
        return x
    return sum_rows(array_namespace(x).reshape(x, (-1, x.shape[-1])))


def _normalise(x: Any, axes: Any, eps: float) -> tuple[Any, Any, Any, Any]:
    xp = array_namespace(x)
    mean = _mean(x, axes)
    h = x - mean
    var = _mean(h * h, axes)
    rstd = 1.0 / xp.sqrt(var + eps)
    h *= rstd
    return h, rstd, mean, var


def _affine(needs, h, rstd, weight, bias, axes):
    out = h if weight is None else h * weight
    if bias is not None:
        out = out + bias if weight is None else _iadd(out, bias)
    keep_h = h if needs[0] or needs[1] else None
    return out, (keep_h, *((rstd, weight) if needs[0] else (None, None)), axes)


def _iadd(x: Any, y: Any) -> Any:
    if y.dtype == x.dtype:
        x += y
        return x
    return x + y


def _backward(g, needs, residual):
    h, rstd, weight, axes = residual
    lead = _batch_axes(g.ndim)
    dx = dw = db = None
    if needs[1]:
        dw = _total(g * h, lead)
    if needs[2]:
        db = _total(g, lead)
    if needs[0]:
        u = g if weight is None else g * weight
        along = _mean(u * h, axes)
        dx = u - _mean(u, axes)
        dx -= h * along
        dx *= rstd
    return dx, dw, db


def _layer_norm_reference(x, weight, bias, *, eps=1e-5):
    """Return `x` normalised over its last axis, scaled and shifted.

    Parameters
    ----------
    x : array of shape (..., dims)
    weight, bias : array of shape (dims,) or None
    eps : float

    Notes
    -----
    J. L. Ba, J. R. Kiros, G. E. Hinton: Layer Normalization. arXiv:1607.06450.
    """
    centred = x - f.mean(x, -1, keepdims=True)
    y = centred / p.sqrt(f.mean(p.square(centred), -1, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _layer_norm_forward(needs, x, weight, bias, *, eps=1e-5):
    h, rstd, _, _ = _normalise(x, -1, eps)
    return _affine(needs, h, rstd, weight, bias, -1)


layer_norm = Fused("layer_norm", _layer_norm_forward, _backward, _layer_norm_reference)


def _batch_norm_reference(x, weight, bias, *, eps=1e-5):
    """Return `x` normalised by the statistics of its batch, and those statistics.

    Parameters
    ----------
    x : array of shape (..., channels)
    weight, bias : array of shape (channels,) or None
    eps : float

    Returns
    -------
    out : array of the shape of `x`
    mean, var : array of shape (channels,)
        Plain arrays, without gradient; the variance is the biased one.

    Notes
    -----
    S. Ioffe, C. Szegedy: Batch Normalization. arXiv:1502.03167.
    """
    axes = _batch_axes(x.ndim)
    mean = f.mean(x, axes, keepdims=True)
    centred = x - mean
    var = f.mean(p.square(centred), axes, keepdims=True)
    y = centred / p.sqrt(var + eps)
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return y, *stop_gradient((_flat(raw(mean)), _flat(raw(var))))


def _flat(x: Any) -> Any:
    return array_namespace(x).reshape(x, (-1,))


def _batch_norm_forward(needs, x, weight, bias, *, eps=1e-5):
    axes = _batch_axes(x.ndim)
    h, rstd, mean, var = _normalise(x, axes, eps)
    out, residual = _affine(needs, h, rstd, weight, bias, axes)
    return (out, _flat(mean), _flat(var)), residual


batch_norm = Fused("batch_norm", _batch_norm_forward, _backward, _batch_norm_reference)
