"""What NumPy's functions take: axes, dtypes, lists, options that are not for us."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._tracer import raw
from freezeviz.backend import array_namespace
from freezeviz.errors import AutodiffError

Axis = int | tuple[int, ...] | None


def axis_of(axis: Any) -> Axis:
    if axis is None or isinstance(axis, int):
        return axis
    return operator.index(axis) if hasattr(axis, "__index__") else tuple(map(operator.index, axis))


def no_out(out: Any) -> None:
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


def dtype_of(dtype: Any) -> Any:
    return np.dtype(dtype) if isinstance(dtype, str | type) else dtype


def astype(x, dtype, order="K", casting="unsafe", subok=True, copy=True, device=None):
    dtype, xp = dtype_of(dtype), array_namespace(raw(x))
    if xp.isdtype(dtype, "real floating"):
        return x if x.dtype == dtype else p.astype(x, dtype=dtype)
    if xp.isdtype(dtype, "complex floating"):
        raise AutodiffError(f"a traced array cannot become {dtype}: only real ones have gradients")
    # Whole numbers and truth values are piecewise constant in x.
    return xp.astype(raw(x), dtype)


def cast(x: Any, dtype: Any) -> Any:
    return x if dtype is None or x.dtype == dtype else astype(x, dtype)


def arrays(*args: Any) -> tuple[Any, ...]:
    """Return the arguments with lists as arrays; scalars stay as they are."""
    if not any(isinstance(a, list | tuple) for a in args):
        return args
    xp = array_namespace(*[raw(a) for a in args if not isinstance(a, list | tuple)])
    return tuple(xp.asarray(a) if isinstance(a, list | tuple) else a for a in args)


def common(arrays: Sequence[Any]) -> list[Any]:
    plain = [raw(a) for a in arrays]
    xp = array_namespace(*[a for a in plain if hasattr(a, "shape")])
    return [a if hasattr(a, "shape") else xp.asarray(a) for a in arrays]
