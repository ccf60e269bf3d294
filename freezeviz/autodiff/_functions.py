"""NumPy-shaped functions composed of primitives: what the tracer's methods and NumPy's names call."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._tracer import raw
from freezeviz.backend import array_namespace
from freezeviz.errors import AutodiffError

Axis = int | tuple[int, ...] | None


def _axis(axis: Any) -> Axis:
    if axis is None or isinstance(axis, int):
        return axis
    return int(axis) if hasattr(axis, "__index__") else tuple(int(a) for a in axis)


def _no_out(out: Any, where: Any = None) -> None:
    if out is not None or where is not None:
        raise AutodiffError("out= and where= write into arrays, which a gradient cannot follow")


def sum(x, axis=None, dtype=None, out=None, keepdims=False):
    _no_out(out)
    total = p.sum_(x, axis=_axis(axis), keepdims=bool(keepdims))
    return total if dtype is None else p.astype(total, dtype=np.dtype(dtype))


def _count(shape: Sequence[int], axis: Axis) -> int:
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[a] for a in ((axis,) if isinstance(axis, int) else axis))


def mean(x, axis=None, dtype=None, out=None, keepdims=False):
    n = _count(x.shape, _axis(axis))
    if n == 0:
        raise ValueError(f"mean over nothing: an array of shape {tuple(x.shape)} along axis {axis}")
    return sum(x, axis, dtype, out, keepdims) * (1.0 / n)


def var(x, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, correction=None):
    _no_out(out)
    ddof = ddof if correction is None else correction
    centred = x - mean(x, axis, keepdims=True)
    n = _count(x.shape, _axis(axis)) - ddof
    return sum(p.square(centred), axis, dtype, None, keepdims) * (1.0 / n)


def std(x, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, correction=None):
    return p.sqrt(var(x, axis, dtype, out, ddof, keepdims, correction=correction))


def max(x, axis=None, out=None, keepdims=False):
    _no_out(out)
    return p.max_(x, axis=_axis(axis), keepdims=bool(keepdims))


def min(x, axis=None, out=None, keepdims=False):
    _no_out(out)
    return p.min_(x, axis=_axis(axis), keepdims=bool(keepdims))


def cumsum(x, axis=None, dtype=None, out=None):
    _no_out(out)
    if axis is None:
        x, axis = reshape(x, -1), 0
    total = p.cumsum(x, axis=axis % x.ndim)
    return total if dtype is None else p.astype(total, dtype=np.dtype(dtype))


def reshape(x, *shape, order="C", **kwargs):
    shape = shape or (kwargs["shape"],)
    if order != "C":
        raise AutodiffError(f"reshape with order={order!r} is not supported, only 'C'")
    wanted = shape[0] if len(shape) == 1 and not hasattr(shape[0], "__index__") else shape
    return p.reshape(x, shape=tuple(int(n) for n in wanted))


def ravel(x, order="C"):
    return reshape(x, -1, order=order)


def transpose(x, *axes):
    order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
    if order is None or order == ():
        order = range(x.ndim - 1, -1, -1)
    return p.transpose(x, axes=tuple(int(a) % x.ndim for a in order))


def swapaxes(x, axis1, axis2):
    axes = list(range(x.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return p.transpose(x, axes=tuple(axes))


def moveaxis(x, source, destination):
    sources = [source] if isinstance(source, int) else list(source)
    targets = [destination] if isinstance(destination, int) else list(destination)
    sources = [a % x.ndim for a in sources]
    axes = [a for a in range(x.ndim) if a not in sources]
    for target, a in sorted(zip([t % x.ndim for t in targets], sources, strict=True)):
        axes.insert(target, a)
    return p.transpose(x, axes=tuple(axes))


def expand_dims(x, axis):
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    ndim = x.ndim + len(axes)
    added = {a % ndim for a in axes}
    sizes = iter(x.shape)
    return p.reshape(x, shape=tuple(1 if i in added else next(sizes) for i in range(ndim)))


def squeeze(x, axis=None):
    if axis is None:
        return p.reshape(x, shape=tuple(n for n in x.shape if n != 1))
    axes = {a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)}
    wrong = [a for a in axes if x.shape[a] != 1]
    if wrong:
        raise ValueError(f"cannot squeeze axis {wrong[0]} of shape {tuple(x.shape)}: not of size 1")
    return p.reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


def broadcast_to(x, shape, subok=False):
    return p.broadcast_to(x, shape=tuple(shape) if not isinstance(shape, int) else (shape,))


def flip(x, axis=None):
    return p.flip(x, axis=_axis(axis))


def roll(x, shift, axis=None):
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, 0), x.shape)
    if not isinstance(axis, int):
        for s, a in zip(shift, axis, strict=True):
            x = roll(x, s, a)
        return x
    axis %= x.ndim
    n = x.shape[axis]
    if n == 0 or shift % n == 0:
        return x
    lead = (slice(None),) * axis
    cut = n - shift % n
    return p.concatenate(
        p.getitem(x, index=(*lead, slice(cut, None))),
        p.getitem(x, index=(*lead, slice(0, cut))),
        axis=axis,
    )


def _common(arrays: Sequence[Any]) -> list[Any]:
    plain = [raw(a) for a in arrays]
    xp = array_namespace(*[a for a in plain if hasattr(a, "shape")])
    return [a if hasattr(a, "shape") else xp.asarray(a) for a in arrays]


def concatenate(arrays, axis=0, out=None, dtype=None, casting="same_kind"):
    _no_out(out)
    arrays = _common(arrays)
    if axis is None:
        arrays, axis = [reshape(a, -1) for a in arrays], 0
    joined = p.concatenate(*arrays, axis=axis)
    return joined if dtype is None else p.astype(joined, dtype=np.dtype(dtype))


def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    arrays = _common(arrays)
    return concatenate([expand_dims(a, axis) for a in arrays], axis % (arrays[0].ndim + 1), out, dtype)


def vstack(arrays, **kwargs):
    rows = [a if a.ndim > 1 else reshape(a, (1, -1)) for a in _common(arrays)]
    return concatenate(rows, 0, **kwargs)


def hstack(arrays, **kwargs):
    arrays = _common(arrays)
    return concatenate(arrays, 0 if arrays[0].ndim <= 1 else 1, **kwargs)


def split(x, indices_or_sections, axis=0):
    n = x.shape[axis]
    if isinstance(indices_or_sections, int):
        if n % indices_or_sections:
            raise ValueError(f"cannot split {n} into {indices_or_sections} equal parts")
        step = n // indices_or_sections
        cuts = [step * i for i in range(1, indices_or_sections)]
    else:
        cuts = [int(i) for i in indices_or_sections]
    lead = (slice(None),) * (axis % x.ndim)
    return [
        p.getitem(x, index=(*lead, slice(a, b)))
        for a, b in zip([0, *cuts], [*cuts, n], strict=True)
    ]


def repeat(x, repeats, axis=None):
    if axis is None:
        x, axis = reshape(x, -1), 0
    return take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis)


def tile(x, reps):
    reps = (reps,) if isinstance(reps, int) else tuple(reps)
    ndim = builtins.max(len(reps), x.ndim)
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - x.ndim) + tuple(x.shape)
    inner = [m for r, n in zip(reps, shape, strict=True) for m in (r, n)]
    ones = [m for n in shape for m in (1, n)]
    spread = p.broadcast_to(p.reshape(x, shape=tuple(ones)), shape=tuple(inner))
    return p.reshape(spread, shape=tuple(r * n for r, n in zip(reps, shape, strict=True)))


def take(x, indices, axis=None, out=None, mode="raise"):
    _no_out(out)
    if axis is None:
        x, axis = reshape(x, -1), 0
    return p.getitem(x, index=(*(slice(None),) * (axis % x.ndim), raw(indices)))


def take_along_axis(x, indices, axis=-1):
    indices = raw(indices)
    xp = array_namespace(indices)
    axis %= x.ndim
    index = []
    for i, n in enumerate(x.shape):
        if i == axis:
            index.append(indices)
        else:
            shape = tuple(n if j == i else 1 for j in range(x.ndim))
            index.append(xp.reshape(xp.arange(n), shape))
    return p.getitem(x, index=tuple(index))


def pad(x, pad_width, mode="constant", constant_values=0):
    if mode != "constant":
        raise AutodiffError(f"pad with mode={mode!r} is not supported, only 'constant'")
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    shape = tuple(int(n + a + b) for n, (a, b) in zip(x.shape, widths, strict=True))
    index = tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, widths, strict=True))
    padded = p.scatter_add(x, index=index, like=p.Like(shape, x.dtype))
    if np.any(constant_values):
        inside = np.zeros(shape, dtype=bool)
        inside[index] = True
        xp = array_namespace(raw(x))
        padded = p.where(xp.asarray(inside), padded, constant_values)
    return padded


def clip(x, a_min=None, a_max=None, out=None, *, min=None, max=None):
    _no_out(out)
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    # Not maximum and minimum: on the bounds themselves the gradient is one, as in PyTorch.
    value = raw(x)
    if low is not None:
        x = p.where(value < raw(low), low, x)
    if high is not None:
        x = p.where(value > raw(high), high, x)
    return x


def where(condition, x, y):
    return p.where(condition, x, y)


def _triangle(x, k, keep):
    xp = array_namespace(raw(x))
    return p.where(xp.asarray(keep(np.ones(x.shape[-2:], dtype=bool), k)), x, 0.0)


def tril(x, k=0):
    return _triangle(x, k, np.tril)


def triu(x, k=0):
    return _triangle(x, k, np.triu)


def diagonal(x, offset=0, axis1=0, axis2=1):
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    rows = np.arange(x.shape[-2])
    columns = rows + offset
    inside = (columns >= 0) & (columns < x.shape[-1])
    return p.getitem(x, index=(Ellipsis, rows[inside], columns[inside]))


def trace(x, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    return sum(diagonal(x, offset, axis1, axis2), -1, dtype, out)


def dot(x, y, out=None):
    _no_out(out)
    if getattr(x, "ndim", 0) == 0 or getattr(y, "ndim", 0) == 0:
        return p.multiply(x, y)
    return p.matmul(x, y) if y.ndim <= 2 else tensordot(x, y, ((x.ndim - 1,), (y.ndim - 2,)))


def inner(x, y):
    return tensordot(x, y, ((x.ndim - 1,), (y.ndim - 1,)))


def outer(x, y, out=None):
    _no_out(out)
    return p.multiply(reshape(x, (-1, 1)), reshape(y, (1, -1)))


def vdot(x, y):
    return p.matmul(reshape(x, -1), reshape(y, -1))


def tensordot(x, y, axes=2):
    if isinstance(axes, int):
        axes = (tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes)))
    left, right = ((a,) if isinstance(a, int) else tuple(a) for a in axes)
    left, right = [a % x.ndim for a in left], [a % y.ndim for a in right]
    free_x = [a for a in range(x.ndim) if a not in left]
    free_y = [a for a in range(y.ndim) if a not in right]
    n = math.prod(x.shape[a] for a in left)
    rows = p.reshape(p.transpose(x, axes=(*free_x, *left)), shape=(-1, n))
    columns = p.reshape(p.transpose(y, axes=(*right, *free_y)), shape=(n, -1))
    shape = (*[x.shape[a] for a in free_x], *[y.shape[a] for a in free_y])
    return p.reshape(p.matmul_(rows, columns), shape=tuple(shape))


def einsum(subscripts, *operands, **options):
    if not isinstance(subscripts, str):
        raise AutodiffError("einsum needs its subscripts as a string, such as 'ij,jk->ik'")
    if options.get("out") is not None:
        _no_out(options["out"])
    terms = subscripts.replace(" ", "")
    inputs, _, output = terms.partition("->")
    if "..." in terms:
        inputs, output = _expand_ellipsis(inputs, output, "->" in terms, operands)
    elif "->" not in terms:
        letters = inputs.replace(",", "")
        output = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if any(len(set(t)) < len(t) for t in inputs.split(",")):
        raise AutodiffError(f"einsum {subscripts!r}: use np.diagonal for an index that repeats in one operand")
    return p.einsum_(*operands, subscripts=f"{inputs}->{output}")


def _expand_ellipsis(inputs, output, explicit, operands):
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in inputs]
    extra = [x.ndim - len(t.replace("...", "")) for t, x in zip(inputs.split(","), operands, strict=True)]
    most = builtins.max(n for t, n in zip(inputs.split(","), extra, strict=True) if "..." in t)
    dots = "".join(spare[:most])
    terms = [
        t.replace("...", dots[most - n :]) for t, n in zip(inputs.split(","), extra, strict=True)
    ]
    sizes = [dict(zip(t, x.shape, strict=True)) for t, x in zip(terms, operands, strict=True)]
    if any(len({s[c] for s in sizes if c in s}) > 1 for c in dots):
        raise AutodiffError("einsum with '...' that broadcasts sizes of 1: reshape the operand first")
    if explicit:
        return ",".join(terms), output.replace("...", dots)
    letters = inputs.replace(",", "").replace("...", "")
    single = sorted(c for c in set(letters) if letters.count(c) == 1)
    return ",".join(terms), dots + "".join(single)


def norm(x, ord=None, axis=None, keepdims=False):
    if ord not in (None, 2, "fro") or (ord == 2 and axis is None and x.ndim > 1):
        raise AutodiffError(f"linalg.norm with ord={ord!r} is not supported, only the 2-norm")
    return p.sqrt(sum(p.square(x), axis, keepdims=keepdims))


def average(x, axis=None, weights=None, returned=False, keepdims=False):
    if returned:
        raise AutodiffError("average with returned=True is not supported")
    if weights is None:
        return mean(x, axis, keepdims=keepdims)
    total = sum(weights, axis, keepdims=keepdims)
    return sum(p.multiply(x, weights), axis, keepdims=keepdims) / total


def prod(x, axis=None, dtype=None, out=None, keepdims=False):
    _no_out(out)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    result = x
    for a in axes:
        # Products of slices, not out / x: the latter has no value where an entry is zero.
        result = _prod_along(result, a % x.ndim)
    return result if keepdims else squeeze(result, tuple(a % x.ndim for a in axes))


def _prod_along(x, axis):
    lead = (slice(None),) * axis
    while x.shape[axis] > 1:
        n = x.shape[axis]
        half = p.multiply(
            p.getitem(x, index=(*lead, slice(0, n // 2))),
            p.getitem(x, index=(*lead, slice(n // 2, n // 2 * 2))),
        )
        x = half if n % 2 == 0 else concatenate([half, p.getitem(x, index=(*lead, slice(n - 1, n)))], axis)
    return x
