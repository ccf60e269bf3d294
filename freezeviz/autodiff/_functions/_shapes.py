"""Functions that move entries: other shapes, orders, parts."""

from __future__ import annotations

import builtins
import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._functions._arguments import axis_of, cast, common, no_out
from freezeviz.autodiff._tracer import raw
from freezeviz.backend import array_namespace
from freezeviz.errors import AutodiffError


def reshape(x, *shape, order="C", **kwargs):
    shape = shape or (kwargs["shape"],)
    if order != "C":
        raise AutodiffError(f"reshape with order={order!r} is not supported, only 'C'")
    wanted = shape[0] if len(shape) == 1 and not hasattr(shape[0], "__index__") else shape
    return p.reshape(x, shape=tuple(map(operator.index, wanted)))


def np_reshape(x, shape, order="C", *, copy=None):
    return reshape(x, shape, order=order)


def ravel(x, order="C"):
    return reshape(x, -1, order=order)


def transpose(x, *axes):
    order = axes[0] if len(axes) == 1 and not hasattr(axes[0], "__index__") else axes
    if order is None or order == ():
        order = range(x.ndim - 1, -1, -1)
    return p.transpose(x, axes=normalize_axis_tuple(tuple(order), x.ndim))


def np_transpose(x, axes=None):
    return transpose(x, axes)


def swapaxes(x, axis1, axis2):
    axes = list(range(x.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return p.transpose(x, axes=tuple(axes))


def moveaxis(x, source, destination):
    sources = normalize_axis_tuple(source, x.ndim, "source")
    targets = normalize_axis_tuple(destination, x.ndim, "destination")
    axes = [a for a in range(x.ndim) if a not in sources]
    for target, a in sorted(zip(targets, sources, strict=True)):
        axes.insert(target, a)
    return p.transpose(x, axes=tuple(axes))


def expand_dims(x, axis):
    ndim = x.ndim + (len(axis) if isinstance(axis, tuple | list) else 1)
    added = normalize_axis_tuple(axis, ndim)
    sizes = iter(x.shape)
    return p.reshape(x, shape=tuple(1 if i in added else next(sizes) for i in range(ndim)))


def squeeze(x, axis=None):
    if axis is None:
        return p.reshape(x, shape=tuple(n for n in x.shape if n != 1))
    axes = normalize_axis_tuple(axis, x.ndim)
    wrong = [a for a in axes if x.shape[a] != 1]
    if wrong:
        raise ValueError(f"cannot squeeze axis {wrong[0]} of shape {tuple(x.shape)}: not of size 1")
    return p.reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


def broadcast_to(x, shape, subok=False):
    shape = (shape,) if hasattr(shape, "__index__") else shape
    return p.broadcast_to(x, shape=tuple(map(operator.index, shape)))


def flip(x, axis=None):
    return p.flip(x, axis=axis_of(axis))


def roll(x, shift, axis=None):
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, 0), x.shape)
    for s, a in np.broadcast(shift, axis):
        x = _rolled(x, int(s), normalize_axis_index(int(a), x.ndim))
    return x


def _rolled(x, shift, axis):
    n = x.shape[axis]
    if n == 0 or shift % n == 0:
        return x
    lead = (slice(None),) * axis
    cut = n - shift % n
    return p.concatenate(
        p.getitem(x, index=(*lead, slice(cut, None), ...)),
        p.getitem(x, index=(*lead, slice(0, cut), ...)),
        axis=axis,
    )


def concatenate(arrays, axis=0, out=None, dtype=None, casting="same_kind"):
    no_out(out)
    arrays = [cast(a, dtype) for a in common(arrays)]
    if axis is None:
        arrays, axis = [reshape(a, -1) for a in arrays], 0
    return p.concatenate(*arrays, axis=operator.index(axis))


def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    arrays = common(arrays)
    axis = normalize_axis_index(axis, arrays[0].ndim + 1)
    return concatenate([expand_dims(a, axis) for a in arrays], axis, out, dtype)


def vstack(tup, *, dtype=None, casting="same_kind"):
    rows = [a if a.ndim > 1 else reshape(a, (1, -1)) for a in common(tup)]
    return concatenate(rows, 0, dtype=dtype)


def hstack(tup, *, dtype=None, casting="same_kind"):
    arrays = [a if a.ndim > 0 else reshape(a, -1) for a in common(tup)]
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, dtype=dtype)


def split(ary, indices_or_sections, axis=0):
    axis = normalize_axis_index(axis, ary.ndim)
    n = ary.shape[axis]
    if hasattr(indices_or_sections, "__index__") and np.ndim(indices_or_sections) == 0:
        parts = operator.index(indices_or_sections)
        if n % parts:
            raise ValueError(f"cannot split {n} into {parts} equal parts")
        cuts = [n // parts * i for i in range(1, parts)]
    else:
        cuts = [int(i) for i in indices_or_sections]
    lead = (slice(None),) * axis
    return [
        p.getitem(ary, index=(*lead, slice(a, b), ...))
        for a, b in zip([0, *cuts], [*cuts, n], strict=True)
    ]


def repeat(x, repeats, axis=None):
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis = normalize_axis_index(axis, x.ndim)
    if np.ndim(repeats) > 0:
        return take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis)
    lead, rest, n = x.shape[: axis + 1], x.shape[axis + 1 :], operator.index(repeats)
    spread = broadcast_to(reshape(x, (*lead, 1, *rest)), (*lead, n, *rest))
    return reshape(spread, (*lead[:-1], lead[-1] * n, *rest))


def tile(x, reps):
    reps = (reps,) if hasattr(reps, "__index__") else tuple(map(operator.index, reps))
    ndim = builtins.max(len(reps), x.ndim)
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - x.ndim) + tuple(x.shape)
    inner = [m for r, n in zip(reps, shape, strict=True) for m in (r, n)]
    ones = [m for n in shape for m in (1, n)]
    spread = p.broadcast_to(p.reshape(x, shape=tuple(ones)), shape=tuple(inner))
    return p.reshape(spread, shape=tuple(r * n for r, n in zip(reps, shape, strict=True)))


def take(x, indices, axis=None, out=None, mode="raise"):
    no_out(out)
    if mode != "raise":
        raise AutodiffError(f"take with mode={mode!r} is not supported, only 'raise'")
    if axis is None:
        x, axis = reshape(x, -1), 0
    lead = (slice(None),) * normalize_axis_index(axis, x.ndim)
    return p.getitem(x, index=(*lead, indices))


def take_along_axis(x, indices, axis=-1):
    xp = array_namespace(indices)
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis = normalize_axis_index(axis, x.ndim)
    if indices.ndim != x.ndim:
        raise ValueError(
            f"take_along_axis needs indices of {x.ndim} dimensions, got {indices.ndim}"
        )
    index = []
    for i, n in enumerate(x.shape):
        shape = tuple(n if j == i else 1 for j in range(x.ndim))
        index.append(indices if i == axis else xp.reshape(xp.arange(n), shape))
    return p.getitem(x, index=tuple(index))


def pad(x, pad_width, mode: str = "constant", constant_values: Any = 0):
    if mode != "constant":
        raise AutodiffError(f"pad with mode={mode!r} is not supported, only 'constant'")
    if np.ndim(raw(constant_values)) > 0:
        raise AutodiffError("pad with several constant_values is not supported, only with one")
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    shape = tuple(int(n + a + b) for n, (a, b) in zip(x.shape, widths, strict=True))
    index = tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, widths, strict=True))
    padded = p.scatter_add(x, index=index, like=p.Like(shape, x.dtype))
    if hasattr(constant_values, "dtype") or constant_values != 0:
        inside = np.zeros(shape, dtype=bool)
        inside[index] = True
        xp = array_namespace(raw(x))
        if hasattr(constant_values, "dtype"):
            constant_values = cast(constant_values, x.dtype)
        padded = p.where(xp.asarray(inside), padded, constant_values)
    return padded


def tril(m, k=0):
    xp = array_namespace(raw(m))
    return p.masked(m, mask=xp.asarray(np.tri(*m.shape[-2:], k=k, dtype=bool)))


def triu(m, k=0):
    xp = array_namespace(raw(m))
    return p.masked(m, mask=xp.asarray(~np.tri(*m.shape[-2:], k=k - 1, dtype=bool)))


def diagonal(x, offset=0, axis1=0, axis2=1):
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    *lead, n, m = x.shape
    length = builtins.min(n, m - offset) if offset >= 0 else builtins.min(n + offset, m)
    length = builtins.max(length, 0)
    # In a flat matrix, a step of one row and one column.
    first = offset if offset >= 0 else -offset * m
    flat = reshape(x, (*lead, n * m))
    stop = builtins.min(first + length * (m + 1), n * m)
    return p.getitem(flat, index=(..., slice(builtins.min(first, stop), stop, m + 1)))
