"""NumPy-shaped functions of primitives: what the tracer's methods and NumPy's names call."""

from __future__ import annotations

import builtins
import inspect
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._tracer import Tracer, raw
from freezeviz.backend import array_namespace
from freezeviz.errors import AutodiffError

Axis = int | tuple[int, ...] | None


def _axis(axis: Any) -> Axis:
    if axis is None or isinstance(axis, int):
        return axis
    return operator.index(axis) if hasattr(axis, "__index__") else tuple(map(operator.index, axis))


def _no_out(out: Any) -> None:
    if out is not None:
        raise AutodiffError("out= writes into an array, which a gradient cannot follow")


def checked(name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn` with an error of ours for an option of NumPy's `name` that it does not take."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except TypeError:
            # Looked at only when something went wrong: binding takes longer than a small sum.
            unknown = set(kwargs) - set(inspect.signature(fn).parameters)
            if not unknown:
                raise
        options = ", ".join(f"{option}=" for option in sorted(unknown))
        raise AutodiffError(f"np.{name} with {options} cannot be differentiated")

    return call


def sum(x, axis=None, dtype=None, out=None, keepdims=False):
    _no_out(out)
    dtype = _dtype(dtype)
    if dtype is not None and not array_namespace(raw(x)).isdtype(dtype, "real floating"):
        raise AutodiffError(f"a sum in {dtype} has no gradient, only one in a floating dtype")
    return p.sum_(x, axis=_axis(axis), keepdims=bool(keepdims), dtype=dtype)


def astype(x, dtype, order="K", casting="unsafe", subok=True, copy=True, device=None):
    dtype, xp = _dtype(dtype), array_namespace(raw(x))
    if xp.isdtype(dtype, "real floating"):
        return x if x.dtype == dtype else p.astype(x, dtype=dtype)
    if xp.isdtype(dtype, "complex floating"):
        raise AutodiffError(f"a traced array cannot become {dtype}: only real ones have gradients")
    # Whole numbers and truth values are piecewise constant in x.
    return xp.astype(raw(x), dtype)


def _dtype(dtype: Any) -> Any:
    return np.dtype(dtype) if isinstance(dtype, str | type) else dtype


def _cast(x: Any, dtype: Any) -> Any:
    return x if dtype is None else astype(x, dtype)


def _wide(x: Any, dtype: Any) -> Any:
    # As NumPy computes means, to the bit: half precision is summed in single.
    return np.float32 if dtype is None and getattr(x.dtype, "itemsize", 0) == 2 else dtype


def arrays(*args: Any) -> tuple[Any, ...]:
    """Return the arguments with lists as arrays; scalars stay as they are."""
    if not any(isinstance(a, list | tuple) for a in args):
        return args
    xp = array_namespace(*[raw(a) for a in args if not isinstance(a, list | tuple)])
    return tuple(xp.asarray(a) if isinstance(a, list | tuple) else a for a in args)


def _count(shape: Sequence[int], axis: Axis) -> int:
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[a] for a in ((axis,) if isinstance(axis, int) else axis))


def mean(x, axis=None, dtype=None, out=None, keepdims=False):
    n = _count(x.shape, _axis(axis))
    if n == 0:
        raise ValueError(f"mean over nothing: an array of shape {tuple(x.shape)} along axis {axis}")
    result = sum(x, axis, _wide(x, dtype), out, keepdims) / n
    return _cast(result, x.dtype) if dtype is None else result


def var(x, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, correction=None):
    _no_out(out)
    ddof = ddof if correction is None else correction
    n = _count(x.shape, _axis(axis))
    centred = x - sum(x, axis, dtype, keepdims=True) / n
    return sum(p.square(centred), axis, dtype, keepdims=keepdims) / builtins.max(n - ddof, 0)


def std(x, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, correction=None):
    return p.root(var(x, axis, dtype, out, ddof, keepdims, correction=correction))


def max(x, axis=None, out=None, keepdims=False):
    _no_out(out)
    return p.max_(x, axis=_axis(axis), keepdims=bool(keepdims))


def min(x, axis=None, out=None, keepdims=False):
    _no_out(out)
    return p.min_(x, axis=_axis(axis), keepdims=bool(keepdims))


# A NaN, and nothing else, is not equal to itself.


def fmax(x, y):
    return p.where(p.unequal(y, y), x, p.where(p.unequal(x, x), y, p.maximum(x, y)))


def fmin(x, y):
    return p.where(p.unequal(y, y), x, p.where(p.unequal(x, x), y, p.minimum(x, y)))


def float_power(x, y):
    double = array_namespace(raw(x), raw(y)).float64
    return p.power(*[astype(a, double) if hasattr(a, "dtype") else a for a in (x, y)])


def power(x, y):
    """Return what the operator ``**`` does, which NumPy computes by another function for some."""
    if type(y) in (int, float) and y in _POWERS:
        return _POWERS[y](x)
    return p.power(x, y)


_POWERS: dict[float, Any] = {-1: p.reciprocal, 0.5: p.sqrt, 1: lambda x: x, 2: p.square}


def cumsum(x, axis=None, dtype=None, out=None):
    _no_out(out)
    if axis is None or x.ndim == 0:
        x, axis = reshape(x, -1), 0
    return p.cumsum(_cast(x, dtype), axis=normalize_axis_index(axis, x.ndim))


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


def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None, *, device=None):
    if type(fill_value) is not Tracer:
        return np.full_like(raw(a), fill_value, dtype, order, subok, shape, device=device)
    filling = _cast(fill_value, a.dtype if dtype is None else dtype)
    return broadcast_to(filling, a.shape if shape is None else shape)


def flip(x, axis=None):
    return p.flip(x, axis=_axis(axis))


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


def _common(arrays: Sequence[Any]) -> list[Any]:
    plain = [raw(a) for a in arrays]
    xp = array_namespace(*[a for a in plain if hasattr(a, "shape")])
    return [a if hasattr(a, "shape") else xp.asarray(a) for a in arrays]


def concatenate(arrays, axis=0, out=None, dtype=None, casting="same_kind"):
    _no_out(out)
    arrays = [_cast(a, dtype) for a in _common(arrays)]
    if axis is None:
        arrays, axis = [reshape(a, -1) for a in arrays], 0
    return p.concatenate(*arrays, axis=operator.index(axis))


def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    arrays = _common(arrays)
    axis = normalize_axis_index(axis, arrays[0].ndim + 1)
    return concatenate([expand_dims(a, axis) for a in arrays], axis, out, dtype)


def vstack(tup, *, dtype=None, casting="same_kind"):
    rows = [a if a.ndim > 1 else reshape(a, (1, -1)) for a in _common(tup)]
    return concatenate(rows, 0, dtype=dtype)


def hstack(tup, *, dtype=None, casting="same_kind"):
    arrays = [a if a.ndim > 0 else reshape(a, -1) for a in _common(tup)]
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
    _no_out(out)
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
            constant_values = _cast(constant_values, x.dtype)
        padded = p.where(xp.asarray(inside), padded, constant_values)
    return padded


def clip(x, a_min=None, a_max=None, out=None, *, min=None, max=None):
    _no_out(out)
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


def trace(x, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    return sum(diagonal(x, offset, axis1, axis2), -1, dtype, out)


def dot(x, y, out=None):
    _no_out(out)
    x, y = _common((x, y))
    if x.ndim == 0 or y.ndim == 0:
        return p.multiply(x, y)
    return p.matmul(x, y) if y.ndim <= 2 else tensordot(x, y, ((x.ndim - 1,), (y.ndim - 2,)))


def inner(x, y):
    x, y = _common((x, y))
    if x.ndim == 0 or y.ndim == 0:
        return p.multiply(x, y)
    return tensordot(x, y, ((x.ndim - 1,), (y.ndim - 1,)))


def outer(x, y, out=None):
    _no_out(out)
    x, y = arrays(x, y)
    return p.multiply(reshape(x, (-1, 1)), reshape(y, (1, -1)))


def vdot(x, y):
    x, y = arrays(x, y)
    return p.matmul(reshape(x, -1), reshape(y, -1))


def tensordot(x, y, axes: Any = 2):
    x, y = arrays(x, y)
    if hasattr(axes, "__index__"):
        axes = (tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes)))
    left = normalize_axis_tuple(axes[0], x.ndim)
    right = normalize_axis_tuple(axes[1], y.ndim)
    if [x.shape[a] for a in left] != [y.shape[a] for a in right]:
        raise ValueError(
            f"tensordot of shapes {tuple(x.shape)} and {tuple(y.shape)} along axes {left} and "
            f"{right}, which differ in size"
        )
    free_x = tuple(a for a in range(x.ndim) if a not in left)
    free_y = tuple(a for a in range(y.ndim) if a not in right)
    shape_x, shape_y = [x.shape[a] for a in free_x], [y.shape[a] for a in free_y]
    n = math.prod(x.shape[a] for a in left)
    rows = reshape(p.transpose(x, axes=free_x + left), (math.prod(shape_x), n))
    columns = reshape(p.transpose(y, axes=right + free_y), (n, math.prod(shape_y)))
    return reshape(p.matmul(rows, columns), (*shape_x, *shape_y))


def einsum(subscripts, *operands, out=None, optimize=False):
    _no_out(out)
    if not isinstance(subscripts, str):
        raise AutodiffError("einsum needs its subscripts as a string, such as 'ij,jk->ik'")
    operands = arrays(*operands)
    terms = subscripts.replace(" ", "")
    inputs, _, output = terms.partition("->")
    if "..." in terms:
        inputs, output = _expand_ellipsis(inputs, output, "->" in terms, operands)
    elif "->" not in terms:
        output = _single_letters(inputs)
    if any(len(set(t)) < len(t) for t in inputs.split(",")):
        raise AutodiffError(
            f"einsum {subscripts!r}: use np.diagonal for an index that repeats in one operand"
        )
    return p.einsum_(*operands, subscripts=f"{inputs}->{output}", optimize=optimize)


def _single_letters(inputs: str) -> str:
    """Return what einsum's output is where it is not given: the letters that occur once."""
    letters = inputs.replace(",", "").replace("...", "")
    return "".join(sorted(c for c in set(letters) if letters.count(c) == 1))


def _expand_ellipsis(inputs, output, explicit, operands):
    """Return inputs and output with letters for the dots."""
    terms = inputs.split(",")
    extra = [x.ndim - len(t.replace("...", "")) for t, x in zip(terms, operands, strict=True)]
    most = builtins.max((n for t, n in zip(terms, extra, strict=True) if "..." in t), default=0)
    dots = "".join([c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in inputs][:most])
    named = [t.replace("...", dots[most - n :]) for t, n in zip(terms, extra, strict=True)]
    output = output.replace("...", dots) if explicit else dots + _single_letters(inputs)
    return ",".join(named), output


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


def prod(x, axis=None, dtype=None, out=None, keepdims=False):
    _no_out(out)
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    result = _cast(x, dtype)
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
