"""The tracer's operators and methods, and its answers to NumPy's functions.

NumPy asks an operand that has ``__array_ufunc__`` or ``__array_function__`` to compute instead of
itself; the tables below say what is computed. A name that is not in them raises: nothing detaches
silently.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from freezeviz.autodiff import _functions as f
from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._tracer import Tracer, raw
from freezeviz.errors import AutodiffError

_UFUNCS: dict[Any, Any] = {
    np.add: p.add,
    np.subtract: p.subtract,
    np.multiply: p.multiply,
    np.divide: p.divide,
    np.power: p.power,
    np.float_power: f.float_power,
    np.maximum: p.maximum,
    np.minimum: p.minimum,
    np.fmax: f.fmax,
    np.fmin: f.fmin,
    np.logaddexp: p.logaddexp,
    np.negative: p.negative,
    np.positive: lambda x: x,
    np.conjugate: lambda x: x,
    np.exp: p.exp,
    np.exp2: p.exp2,
    np.expm1: p.expm1,
    np.log: p.log,
    np.log2: p.log2,
    np.log10: p.log10,
    np.log1p: p.log1p,
    np.sqrt: p.sqrt,
    np.square: p.square,
    np.reciprocal: p.reciprocal,
    np.absolute: p.abs_,
    np.fabs: p.abs_,
    np.sin: p.sin,
    np.cos: p.cos,
    np.tan: p.tan,
    np.tanh: p.tanh,
    np.sinh: p.sinh,
    np.cosh: p.cosh,
    np.arcsin: p.arcsin,
    np.arccos: p.arccos,
    np.arctan: p.arctan,
    np.matmul: p.matmul,
}

# Piecewise constant, so their results are plain arrays: comparisons, rounding, tests, indices.
_PLAIN_UFUNCS = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
    np.logical_and, np.logical_or, np.logical_not, np.logical_xor,
    np.isfinite, np.isinf, np.isnan, np.sign, np.signbit, np.floor, np.ceil, np.rint, np.trunc,
    np.floor_divide,
}  # fmt: skip

_PLAIN_FUNCTIONS = {
    np.shape, np.ndim, np.size, np.argmax, np.argmin, np.argsort, np.nonzero, np.count_nonzero,
    np.zeros_like, np.ones_like, np.empty_like, np.result_type, np.iscomplexobj,
    np.isrealobj, np.any, np.all, np.allclose, np.isclose, np.array_equal, np.searchsorted,
    np.round, np.around, np.isposinf, np.isneginf, np.may_share_memory, np.can_cast,
    np.array_repr, np.array_str, np.array2string,
}  # fmt: skip

_FUNCTIONS: dict[Any, Any] = {
    np.sum: f.sum,
    np.mean: f.mean,
    np.var: f.var,
    np.std: f.std,
    np.max: f.max,
    np.amax: f.max,
    np.min: f.min,
    np.amin: f.min,
    np.prod: f.prod,
    np.average: f.average,
    np.cumsum: f.cumsum,
    np.reshape: f.np_reshape,
    np.ravel: f.ravel,
    np.transpose: f.np_transpose,
    np.permute_dims: f.np_transpose,
    np.matrix_transpose: p.swap,
    np.swapaxes: f.swapaxes,
    np.moveaxis: f.moveaxis,
    np.expand_dims: f.expand_dims,
    np.squeeze: f.squeeze,
    np.broadcast_to: f.broadcast_to,
    np.full_like: f.full_like,
    np.flip: f.flip,
    np.roll: f.roll,
    np.concatenate: f.concatenate,
    np.concat: f.concatenate,
    np.stack: f.stack,
    np.vstack: f.vstack,
    np.hstack: f.hstack,
    np.split: f.split,
    np.repeat: f.repeat,
    np.tile: f.tile,
    np.take: f.take,
    np.take_along_axis: f.take_along_axis,
    np.pad: f.pad,
    np.clip: f.clip,
    np.where: lambda condition, *xy: f.where(condition, *xy) if xy else raw(condition).nonzero(),
    np.tril: f.tril,
    np.triu: f.triu,
    np.diagonal: f.diagonal,
    np.trace: f.trace,
    np.dot: f.dot,
    np.inner: f.inner,
    np.outer: f.outer,
    np.vdot: f.vdot,
    np.tensordot: f.tensordot,
    np.einsum: f.einsum,
    np.linalg.norm: f.norm,
    np.copy: lambda a, order="K", subok=False: a,
    np.astype: f.astype,
}


def _untraced(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return type(x)(_untraced(i) for i in x)
    return raw(x)


def _array_ufunc(self: Tracer, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    if kwargs.get("where") is True:
        del kwargs["where"]
    if method == "reduce" and ufunc in _REDUCTIONS:
        reduction = f.checked(f"{ufunc.__name__}.reduce", _REDUCTIONS[ufunc])
        return reduction(*inputs, **({"axis": 0} | kwargs))
    if method != "__call__":
        raise AutodiffError(f"np.{ufunc.__name__}.{method} has no derivative rule; {_ADVICE}")
    if "out" in kwargs:
        raise AutodiffError(
            f"np.{ufunc.__name__} would write a traced array into a plain one, which a gradient "
            "cannot follow; write a = a + b instead of a += b, and leave out= away"
        )
    if kwargs:
        options = ", ".join(f"{option}=" for option in kwargs)
        raise AutodiffError(f"np.{ufunc.__name__} with {options} cannot be differentiated")
    if ufunc in _UFUNCS:
        return _UFUNCS[ufunc](*f.arrays(*inputs))
    if ufunc in _PLAIN_UFUNCS:
        return ufunc(*map(raw, inputs))
    if ufunc.__name__ in _SPECIAL:
        return _SPECIAL[ufunc.__name__](*inputs)
    raise AutodiffError(f"np.{ufunc.__name__} has no derivative rule; {_ADVICE}")


_ADVICE = (
    "compose it of functions that have one (freezeviz.autodiff lists them), "
    "or pass freezeviz.stop_gradient(...) if no gradient is wanted"
)
_REDUCTIONS = {np.add: f.sum, np.maximum: f.max, np.minimum: f.min, np.multiply: f.prod}
# scipy.special's, by name so that scipy is not imported for it.
_SPECIAL = {"erf": p.erf, "expit": p.sigmoid}


def _array_function(self: Tracer, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    if func in _FUNCTIONS:
        return f.checked(_name(func), _FUNCTIONS[func])(*args, **kwargs)
    if func in _PLAIN_FUNCTIONS:
        return func(*_untraced(args), **{k: _untraced(v) for k, v in kwargs.items()})
    raise AutodiffError(f"np.{_name(func)} has no derivative rule; {_ADVICE}")


def _name(func: Any) -> str:
    return f"{func.__module__}.{func.__name__}".removeprefix("numpy.")


def _array(self: Tracer, *_: Any, **__: Any) -> Any:
    raise AutodiffError(
        "a traced array would be turned into a plain one here, and its gradient lost; "
        "use NumPy functions on it directly (np.stack for a list of them), or "
        "freezeviz.stop_gradient(...) to detach it on purpose"
    )


def _scalar(kind: str) -> Any:
    def convert(self: Tracer) -> Any:
        raise AutodiffError(
            f"{kind}() of a traced array would lose its gradient; "
            f"write {kind}(freezeviz.stop_gradient(x)) if that is meant"
        )

    return convert


def _setitem(self: Tracer, index: Any, value: Any) -> None:
    raise AutodiffError(
        "a traced array cannot be written into; build a new one, "
        "with np.where, np.concatenate or np.stack"
    )


def _getitem(self: Tracer, index: Any) -> Any:
    if isinstance(index, tuple):
        index = tuple(raw(i) for i in index)
    return p.getitem(self, index=raw(index))


def _comparison(name: str) -> Any:
    def compare(self: Tracer, other: Any) -> Any:
        return p._compare(name, self, other)

    return compare


def _bool(self: Tracer) -> bool:
    return bool(raw(self))


def _format(self: Tracer, spec: str) -> str:
    # For a loss that is printed on the way. Nobody computes with a text.
    return format(raw(self), spec) if spec else repr(self)


def _reduce(self: Tracer, protocol: Any) -> Any:
    raise AutodiffError("a traced array cannot be pickled; pass freezeviz.stop_gradient(...) of it")


def _iter(self: Tracer) -> Any:
    return (_getitem(self, i) for i in range(len(self)))


def _operator(fn: Any, swapped: bool = False) -> Any:
    def left(self: Tracer, other: Any) -> Any:
        return fn(self, other) if type(other) is not list else fn(*f.arrays(self, other))

    def right(self: Tracer, other: Any) -> Any:
        return fn(other, self) if type(other) is not list else fn(*f.arrays(other, self))

    return right if swapped else left


def _refused(ufunc: Any) -> Any:
    def refuse(self: Tracer, other: Any) -> Any:
        return _array_ufunc(self, ufunc, "__call__", self, other)

    return refuse


def attach() -> None:
    """Give `Tracer` its operators and methods."""
    binary = {
        "add": p.add, "sub": p.subtract, "mul": p.multiply, "truediv": p.divide,
        "pow": f.power, "matmul": p.matmul, "floordiv": np.floor_divide,
    }  # fmt: skip
    members: dict[str, Any] = {}
    for name, fn in binary.items():
        members[f"__{name}__"] = _operator(fn)
        members[f"__r{name}__"] = _operator(fn, swapped=True)
    for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
        short = {"equal": "eq", "not_equal": "ne"}.get(name)
        short = short or name[0] + ("e" if name.endswith("equal") else "t")
        members[f"__{short}__"] = _comparison(name)
    members |= {
        "__neg__": lambda self: p.negative(self),
        "__pos__": lambda self: self,
        "__abs__": lambda self: p.abs_(self),
        "__hash__": object.__hash__,
        "__mod__": _refused(np.remainder),
        "__rmod__": _refused(np.remainder),
        "__divmod__": _refused(np.divmod),
        "__rdivmod__": _refused(np.divmod),
        "__format__": _format,
        "__copy__": lambda self: self,
        "__deepcopy__": lambda self, memo: self,
        "__reduce_ex__": _reduce,
        "__bool__": _bool,
        "__iter__": _iter,
        "__getitem__": _getitem,
        "__setitem__": _setitem,
        "__array__": _array,
        "__array_ufunc__": _array_ufunc,
        "__array_function__": _array_function,
        "T": property(f.transpose),
        "mT": property(p.swap),
        "real": property(lambda self: self),
        "astype": f.astype,
        "copy": lambda self, order="C": self,
        "flatten": f.ravel,
    }
    for kind in ("float", "int", "complex", "index"):
        members[f"__{kind}__"] = _scalar(kind)
    members["item"] = _scalar("float")
    members["tolist"] = _scalar("list")
    for name in (
        "sum", "mean", "var", "std", "max", "min", "prod", "cumsum", "reshape", "ravel",
        "transpose", "swapaxes", "squeeze", "clip", "take", "repeat", "diagonal", "trace", "dot",
    ):  # fmt: skip
        members[name] = getattr(f, name)
    for name in ("argmax", "argmin", "argsort", "nonzero", "any", "all", "round"):
        members[name] = _plain_method(name)
    for name, member in members.items():
        setattr(Tracer, name, member)


def _plain_method(name: str) -> Any:
    return lambda self, *args, **kwargs: getattr(raw(self), name)(*args, **kwargs)
