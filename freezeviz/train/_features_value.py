"""A stand-in for a value that follows from the samples alone: computed if somebody looks at it.

What is done with it, by operators, methods, NumPy's functions, the primitives of `autodiff` and
modules without anything to train, is noted instead of computed. Whoever wants numbers gets them.
"""

from itertools import repeat
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from freezeviz.autodiff import Tracer
from freezeviz.backend import array_namespace

if TYPE_CHECKING:
    from freezeviz.train._features_graph import Node


class BatchSize(int):
    """The number of samples in a batch, where it is asked for: another one in the last batch."""

    __slots__ = ()


class Context(Protocol):
    """What stand-ins belong to: one batch."""

    size: BatchSize
    plan: Any

    @property
    def source(self) -> Any:
        """All samples."""
        ...

    def call(self, function: Any, module: Any, args: Any, options: Any) -> Any:
        """Return ``module(*args, **options)``, where there are stand-ins among the arguments."""
        ...

    def written(self) -> None:
        """Hear that a value was written into, in place."""
        ...

    def apply(self, function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Return the stand-in of ``function(*args, **options)``, or its value."""
        ...

    def value(self, node: "Node") -> Any:
        """Return a node's value for this batch."""
        ...

    def looked(self, node: "Node") -> None:
        """Hear that somebody wants a node's value."""
        ...


class StandIn(NDArrayOperatorsMixin):
    """Stands for an array that a batch's samples, and nothing that trains, determine."""

    __slots__ = ("context", "node")
    __array_priority__ = 2000.0  # above the tracer's

    def __init__(self, context: Context, node: "Node") -> None:
        self.context = context
        self.node = node

    def look(self) -> Any:
        """Return the value, and let it be known that it was wanted."""
        self.context.looked(self.node)
        return self.context.value(self.node)

    # ---- what is known without the value -------------------------------------------------------

    @property
    def __class__(self) -> Any:
        # What models ask with isinstance(): the answer decides what they compute.
        return self.context.plan.kind

    @property
    def shape(self) -> tuple[int, ...]:
        rows = self.node.rows
        if rows is None:
            rows = self.context.value(self.node).shape
            return tuple(rows)
        return (self.context.size, *rows)

    @property
    def dtype(self) -> Any:
        known = self.node.dtype
        return self.context.value(self.node).dtype if known is None else known

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return int(self.shape[0])

    def __repr__(self) -> str:
        return f"StandIn(shape={tuple(map(int, self.shape))}, dtype={self.dtype})"

    # ---- what is noted -------------------------------------------------------------------------

    def __array_namespace__(self, api_version: Any = None) -> Any:
        return array_namespace(self.context.source)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if "out" in options or is_traced((inputs, options)):
            # Writing into it, too: what is written into is the value itself, as without us.
            return function(*looked_at(inputs), **looked_at(options))
        return self.context.apply(function, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if "out" in options or is_traced((args, options)):
            return function(*looked_at(args), **looked_at(options))
        return self.context.apply(function, args, options)

    def __getitem__(self, index: Any) -> Any:
        return self.context.apply(_getitem, (self, index), {})

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        if name in ("T", "mT", "real", "imag"):
            return self.context.apply(_attribute, (self, name), {})
        if name in _METHODS:
            return _Method(self, name)
        return getattr(self.look(), name)

    # ---- what wants the value ------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.look(), dtype=dtype, copy=copy)

    def __iter__(self) -> Any:
        return iter(self.look())

    def __setitem__(self, index: Any, value: Any) -> None:
        self.context.written()
        self.look()[index] = value

    def __bool__(self) -> bool:
        return bool(self.look())

    def __float__(self) -> float:
        return float(self.look())

    def __int__(self) -> int:
        return int(self.look())

    def __index__(self) -> int:
        return self.look().__index__()

    def __contains__(self, item: Any) -> bool:
        return item in self.look()

    def __format__(self, spec: str) -> str:
        return format(self.look(), spec)

    def __copy__(self) -> "StandIn":
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return np.copy(self.look())

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.look().__reduce_ex__(protocol)


def _in_place(name: str) -> Any:
    def write(self: StandIn, other: Any) -> Any:
        self.context.written()
        value = self.look()
        return getattr(value, name)(looked_at(other))

    return write


# Written into in place, it would be another value under the same note.
for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
):
    setattr(StandIn, f"__i{_name}__", _in_place(f"__i{_name}__"))

# Of arrays, that compute something new of them and write nothing.
_METHODS = frozenset({
    "all", "any", "argmax", "argmin", "argsort", "astype", "clip", "copy", "cumprod", "cumsum",
    "diagonal", "dot", "flatten", "max", "mean", "min", "prod", "ravel", "repeat", "reshape",
    "round", "squeeze", "std", "sum", "swapaxes", "take", "trace", "transpose", "var",
})  # fmt: skip


class _Method:
    __slots__ = ("name", "value")

    def __init__(self, value: StandIn, name: str) -> None:
        self.value = value
        self.name = name

    def __call__(self, *args: Any, **options: Any) -> Any:
        if "out" in options or is_traced((args, options)):
            method = getattr(self.value.look(), self.name)
            return method(*looked_at(args), **looked_at(options))
        return self.value.context.apply(_method, (self.value, self.name, *args), options)


def _getitem(x: Any, index: Any) -> Any:
    return x[index]


def _attribute(x: Any, name: str) -> Any:
    return getattr(x, name)


def _method(x: Any, name: str, *args: Any, **options: Any) -> Any:
    return getattr(x, name)(*args, **options)


def is_traced(value: Any) -> bool:
    """Return whether there is a tracer among some arguments."""
    return _holds(value, Tracer)


def looked_at(value: Any) -> Any:
    """Return arguments with every stand-in's value in its place."""
    kind = type(value)
    if kind is StandIn:
        return value.look()
    if kind is tuple or kind is list:
        return kind([looked_at(v) for v in value])
    return {k: looked_at(v) for k, v in value.items()} if kind is dict else value


def stands_in(value: Any) -> bool:
    """Return whether there is a stand-in among some arguments."""
    return _holds(value, StandIn)


def _holds(value: Any, sought: type) -> bool:
    kind = type(value)
    if kind is sought:
        return True
    if kind is dict:
        value = value.values()
    elif kind is not tuple and kind is not list:
        return False
    return any(map(_holds, value, repeat(sought)))
