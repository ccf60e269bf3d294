"""Functions that reduce axes, and the running sum."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._functions._arguments import Axis, arrays, axis_of, cast, dtype_of, no_out
from freezeviz.autodiff._functions._shapes import (
    broadcast_to,
    diagonal,
    reshape,
    squeeze,
    transpose,
)
from freezeviz.autodiff._tracer import raw
from freezeviz.backend import array_namespace
from freezeviz.errors import AutodiffError


def sum(x, axis=None, dtype=None, out=None, keepdims=False):
    no_out(out)
    dtype = dtype_of(dtype)
    if dtype is not None and not array_namespace(raw(x)).isdtype(dtype, "real floating"):
        raise AutodiffError(f"a sum in {dtype} has no gradient, only one in a floating dtype")
    return p.sum_(x, axis=axis_of(axis), keepdims=bool(keepdims), dtype=dtype)


def _wide(x: Any, dtype: Any) -> Any:
    # As NumPy computes means, to the bit: half precision is summed in single.
    return np.float32 if dtype is None and getattr(x.dtype, "itemsize", 0) == 2 else dtype


def _count(shape: Sequence[int], axis: Axis) -> int:
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[a] for a in ((axis,) if isinstance(axis, int) else axis))


def mean(x, axis=None, dtype=None, out=None, keepdims=False):
    n = _count(x.shape, axis_of(axis))
    if n == 0:
        raise ValueError(f"mean over nothing: an array of shape {tuple(x.shape)} along axis {axis}")
    result = sum(x, axis, _wide(x, dtype), out, keepdims) / n
    return cast(result, x.dtype) if dtype is None else result


def var(x, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, correction=None):
    no_out(out)
    ddof = ddof if correction is None else correction
    n = _count(x.shape, axis_of(axis))
    centred = x - sum(x, axis, dtype, keepdims=True) / n
    return sum(p.square(centred), axis, dtype, keepdims=keepdims) / builtins.max(n - ddof, 0)


def std(x, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, correction=None):
    return p.root(var(x, axis, dtype, out, ddof, keepdims, correction=correction))


def max(x, axis=None, out=None, keepdims=False):
    no_out(out)
    return p.max_(x, axis=axis_of(axis), keepdims=bool(keepdims))


def min(x, axis=None, out=None, keepdims=False):
    no_out(out)
    return p.min_(x, axis=axis_of(axis), keepdims=bool(keepdims))


def prod(x, axis=None, dtype=None, out=None, keepdims=False):
    no_out(out)
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    result = cast(x, dtype)
    for a in axes:
        # Products of slices, not out / x: the latter has no value where an entry is zero.
        result = _prod_along(result, a)
    return result if keepdims else squeeze(result, axes)


def _prod_along(x, axis):
    lead = (slice(None),) * axis
    if x.shape[axis] == 0:
        shape = [1 if i == axis else n for i, n in enumerate(x.shape)]
        return array_namespace(raw(x)).ones(tuple(shape), dtype=x.dtype)
    while (n := x.shape[axis]) > 1:
        half = p.multiply(
            p.getitem(x, index=(*lead, slice(0, n // 2), ...)),
            p.getitem(x, index=(*lead, slice(n // 2, n // 2 * 2), ...)),
        )
        rest = p.getitem(x, index=(*lead, slice(n // 2 * 2, n), ...))
        x = half if n % 2 == 0 else p.concatenate(half, rest, axis=axis)
    return x


def cumsum(x, axis=None, dtype=None, out=None):
    no_out(out)
    if axis is None or x.ndim == 0:
        x, axis = reshape(x, -1), 0
    return p.cumsum(cast(x, dtype), axis=normalize_axis_index(axis, x.ndim))


def average(a, axis=None, weights=None, returned=False, *, keepdims=False):
    if returned:
        raise AutodiffError("average with returned=True is not supported")
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    a, weights = arrays(a, weights)
    if tuple(weights.shape) != tuple(a.shape):
        axes = () if axis is None else normalize_axis_tuple(axis, a.ndim)
        if tuple(weights.shape) != tuple(a.shape[i] for i in axes):
            raise ValueError(
                f"average needs weights of shape {tuple(a.shape)}, or one for each entry along "
                f"the axes {axis}, got shape {tuple(weights.shape)}"
            )
        weights = transpose(weights, [axes.index(i) for i in sorted(axes)])
        weights = reshape(weights, [n if i in axes else 1 for i, n in enumerate(a.shape)])
        weights = broadcast_to(weights, a.shape)
    weighted = p.multiply(a, weights)
    total = sum(weights, axis, weighted.dtype, keepdims=keepdims)
    return sum(weighted, axis, keepdims=keepdims) / total


def norm(x, ord=None, axis=None, keepdims=False):
    axes = None if axis is None else normalize_axis_tuple(axis, x.ndim)
    n = x.ndim if axes is None else len(axes)
    # NumPy's default is the 2-norm of a vector, the Frobenius norm of a matrix, and without axes
    # the 2-norm of all entries: one formula for the three.
    if not (ord is None or (ord == 2 and n == 1) or (ord == "fro" and n == 2)):
        raise AutodiffError(
            f"linalg.norm with ord={ord!r} over {n} axes is not supported, only the 2-norm of "
            "vectors and the Frobenius norm of matrices"
        )
    return p.root(sum(p.square(x), axes, keepdims=keepdims))


def trace(x, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    return sum(diagonal(x, offset, axis1, axis2), -1, dtype, out)
