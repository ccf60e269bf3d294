"""Functions of single entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._functions._arguments import arrays, astype, cast, no_out
from freezeviz.autodiff._functions._shapes import broadcast_to
from freezeviz.autodiff._tracer import Tracer, raw
from freezeviz.backend import array_namespace


def power(x, y):
    """Return what the operator ``**`` does, which NumPy computes by another function for some."""
    if type(y) in (int, float) and y in _POWERS:
        return _POWERS[y](x)
    return p.power(x, y)


_POWERS: dict[float, Any] = {-1: p.reciprocal, 0.5: p.sqrt, 1: lambda x: x, 2: p.square}


def float_power(x, y):
    double = array_namespace(raw(x), raw(y)).float64
    return p.power(*[astype(a, double) if hasattr(a, "dtype") else a for a in (x, y)])


# A NaN, and nothing else, is not equal to itself.


def fmax(x, y):
    return p.where(p.unequal(y, y), x, p.where(p.unequal(x, x), y, p.maximum(x, y)))


def fmin(x, y):
    return p.where(p.unequal(y, y), x, p.where(p.unequal(x, x), y, p.minimum(x, y)))


def clip(x, a_min=None, a_max=None, out=None, *, min=None, max=None):
    no_out(out)
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    x, low, high = arrays(x, low, high)
    # Not maximum and minimum: on the bounds themselves the gradient is one, as in PyTorch.
    if low is not None:
        x = p.where(raw(x) < raw(low), low, x)
    if high is not None:
        x = p.where(raw(x) > raw(high), high, x)
    return x


def where(condition, x, y):
    return p.where(*arrays(condition, x, y))


def full_like(a, fill_value, dtype=None, order: Any = "K", subok=True, shape=None, *, device=None):
    if type(fill_value) is not Tracer:
        return np.full_like(raw(a), fill_value, dtype, order, subok, shape, device=device)
    filling = cast(fill_value, a.dtype if dtype is None else dtype)
    return broadcast_to(filling, a.shape if shape is None else shape)
