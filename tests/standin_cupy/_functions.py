"""The stand-in's functions: NumPy's, behind the signatures and the refusals of CuPy's."""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.standin_cupy._array import check_dtype, ndarray, operand, refuse, silent, wrap
from tests.standin_cupy._reads import uploads, waits

# Parameters by these names are arrays of CuPy's own: their functions ask them for attributes.
_ARRAYS = {"a", "x", "b", "arr", "ary", "array", "m", "x1", "x2", "a1", "a2", "condition", "v"}
# ... except where a function makes ufuncs of them, which take scalars, or makes arrays itself.
_SCALARS_TOO = {"allclose", "isclose", "result_type", "can_cast", "isscalar", "may_share_memory"}
_FROM_HOST = {"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"}
# Parameters that CuPy brings to the device itself, or only reads on the host.
_HOST_TOO = {"indices", "pad_width", "shift", "repeats", "indices_or_sections", "obj"}


def parameters_of(text: str) -> inspect.Signature:
    """Return a signature from its text, in which defaults are literals."""
    scope: dict[str, Any] = {}
    exec(f"def f{text}: ...", scope)  # our own file, made by read_surface.py
    return inspect.signature(scope["f"])


def _bare(x: Any) -> Any:
    """Return NumPy's arrays for the stand-in's, at any depth."""
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, (list, tuple)):
        return type(x)(_bare(i) for i in x)
    return x


def _dressed(x: Any) -> Any:
    if isinstance(x, (np.ndarray, np.generic)):
        return wrap(x)
    if isinstance(x, (list, tuple)):
        items = [_dressed(i) for i in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    return x


def _check(name: str, parameter: inspect.Parameter, value: Any) -> None:
    where = parameter.name
    if isinstance(value, np.ndarray) and where not in _HOST_TOO:
        refuse(value)
    if isinstance(value, (list, tuple)):
        for item in value if where not in _HOST_TOO else ():
            _check(name, parameter.replace(name="item"), item)
    needs = where in _ARRAYS and name not in _SCALARS_TOO
    if needs and parameter.kind is not parameter.VAR_POSITIONAL and not isinstance(value, ndarray):
        raise TypeError(f"cupy.{name}: {where} must be a cupy.ndarray, got {type(value)}")
    if where == "out" and value is not None and not isinstance(value, ndarray):
        raise TypeError("Output arguments type must be cupy.ndarray")
    if where == "kind" and value not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")


def function(name: str, text: str, numpys: Callable[..., Any], waiting: bool) -> Any:
    """Return CuPy's function of a signature, computed by NumPy's of the same name."""
    signature = parameters_of(text)
    parameters = signature.parameters

    @silent
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        for where, value in bound.arguments.items():
            _check(name, parameters[where], value)
        if waiting:
            waits(name)
        result = numpys(*map(_bare, args), **{k: _bare(v) for k, v in kwargs.items()})
        out = kwargs.get("out")
        return _dressed(result) if out is None else out

    call.__name__ = call.__qualname__ = name
    call.__module__ = "cupy"
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def method(name: str, text: str) -> Any:
    """Return CuPy's method of a signature, computed by NumPy's of the same name."""
    signature = parameters_of(text)

    @silent
    def call(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        for where, value in list(bound.arguments.items())[1:]:
            _check(name, signature.parameters[where], value)
        if name in ("nonzero", "compress"):
            waits(name)
        with warnings.catch_warnings() if self.size == 0 else _nothing:
            if self.size == 0:
                warnings.simplefilter("ignore")  # of the mean of nothing
            host = getattr(self._host, name)
            result = host(*map(_bare, args), **{k: _bare(v) for k, v in kwargs.items()})
        out = bound.arguments.get("out")
        return _dressed(result) if out is None else out

    call.__name__ = name
    return call


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


_nothing = _Nothing()


class ufunc:  # noqa: N801 - CuPy's name
    """A function of single entries: arrays of CuPy's own and scalars, nothing else."""

    def __init__(self, name: str, loops: dict[str, Any], numpys: Callable[..., Any]):
        self.name = f"cupy_{name}"
        self.__name__ = name
        self.nin, self.nout = loops["nin"], loops["nout"]
        self.nargs = self.nin + self.nout
        self.types = loops["types"].split()
        self._numpys = numpys

    @silent
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        dtype, casting = kwargs.pop("dtype", None), kwargs.pop("casting", "same_kind")
        if kwargs:
            raise TypeError(f"Wrong arguments {kwargs}")
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(f"Wrong number of arguments for {self.name!r}")
        if len(args) > self.nin:
            out = args[self.nin :]
        outs = out if isinstance(out, tuple) else (out,) if out is not None else ()
        for given in outs:
            if given is not None and not isinstance(given, ndarray):
                raise TypeError("Output arguments type must be cupy.ndarray")
        operands = [operand(x) for x in args[: self.nin]]
        options: dict[str, Any] = {}
        if isinstance(self._numpys, np.ufunc):
            options["casting"] = casting
            if any(given is not None for given in outs):
                options["out"] = tuple(None if given is None else given._host for given in outs)
        if dtype is not None:
            options["dtype"] = dtype
        result = self._numpys(*operands, **options)
        if "out" in options:
            return outs[0] if len(outs) == 1 else tuple(outs)
        return _dressed(result)

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        if self.__name__ != "add":
            raise NotImplementedError(f"the stand-in has no {self.__name__}.at")
        a._scatter_add(indices, b)

    def reduce(
        self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        reduction = array.sum if self.__name__ == "add" else array.prod
        return reduction(axis, dtype, out, keepdims)

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.accumulate` is not supported yet")
        running = array.cumsum if self.__name__ == "add" else array.cumprod
        return running(axis, dtype, out)


# ---------------------------------------------------------------- what NumPy does otherwise


def from_host(name: str, text: str) -> Any:
    """Return one of the functions that make arrays: of the host's, of scalars, of nested lists."""
    signature = parameters_of(text)
    always = name == "array"

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        obj, dtype = args[0], given.get("dtype")
        copy = given.get("copy", True if always else None)
        order = given.get("order") or ("C" if name == "ascontiguousarray" else "K")
        if isinstance(obj, ndarray):
            order = "F" if name == "asfortranarray" else order
            plain = (dtype is None or obj.dtype == dtype) and order in "KA"
            if not copy and (plain or (order == "C" and obj.flags.c_contiguous and dtype is None)):
                return obj
            return wrap(np.array(obj._host, dtype=dtype, order=order, copy=True))
        inside = list(_leaves(obj))
        if any(isinstance(i, ndarray) for i in inside):
            if not all(isinstance(i, ndarray) and i.shape == inside[0].shape for i in inside):
                raise TypeError("Implicit conversion to a NumPy array is not allowed.")
            obj = _bare(obj)
        host = np.array(obj, dtype=dtype, copy=True)
        check_dtype(host.dtype)
        if host.ndim:
            uploads(name)
        return wrap(host)

    call.__name__ = call.__qualname__ = name
    call.__module__ = "cupy"
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _leaves(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        for item in x:
            yield from _leaves(item)
    else:
        yield x


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """CuPy's `where`: the condition is asked for `astype`, the others are a ufunc's operands."""
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    if x is None:
        return condition.nonzero()
    condition = condition.astype("?", copy=False)
    return wrap(np.where(operand(condition), operand(x), operand(y)))


def take(a: Any, indices: Any, axis: Any = None, out: Any = None) -> Any:
    """CuPy's `take`: indices that are out of bounds are wrapped."""
    return a.take(indices, axis, out)


def take_method(self: ndarray, indices: Any, axis: Any = None, out: Any = None) -> Any:
    if out is not None:
        raise NotImplementedError("the stand-in's take writes into no array")
    if isinstance(indices, ndarray):
        indices = indices._host
    else:
        indices = np.asarray(indices, dtype=int)
        if indices.ndim:
            uploads("take")
    return wrap(np.take(self._host, indices, axis, mode="wrap"))


def take_along_axis(a: Any, indices: Any, axis: Any) -> Any:
    """CuPy's `take_along_axis`, as written there: an index with a range along each other axis."""
    if indices.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if axis is None:
        a, axis = a.ravel(), 0
    if a.ndim != indices.ndim:
        raise ValueError("`indices` and `a` must have the same number of dimensions")
    axis %= a.ndim
    index = []
    for i, n in enumerate(a.shape):
        shape = tuple(-1 if j == i else 1 for j in range(a.ndim))
        index.append(indices if i == axis else wrap(np.arange(n).reshape(shape)))
    return a[tuple(index)]


@silent
def matmul(*args: Any, **kwargs: Any) -> Any:
    """CuPy's matrix product: of its own arrays only."""
    if len(args) not in (2, 3) or set(kwargs) - {"out", "dtype", "casting", "axes", "axis"}:
        raise TypeError(f"matmul: wrong arguments {kwargs}")
    for a in args:
        if not isinstance(a, ndarray):
            refuse(a)
    out = kwargs.pop("out", args[2] if len(args) == 3 else None)
    result = np.matmul(args[0]._host, args[1]._host, **kwargs)
    if out is None:
        return _dressed(result)
    out._host[...] = result
    return out


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, **_: Any) -> Any:
    """Return an array of the host, and wait for it."""
    if isinstance(a, ndarray):
        return a.get(order=order, out=out)
    return np.asarray(a, order=order)  # type: ignore[call-overload]


def astype_method(
    self: ndarray,
    dtype: Any,
    order: str = "K",
    casting: Any = None,
    subok: Any = None,
    copy: bool = True,
) -> Any:
    if casting is not None or subok is not None:
        raise TypeError("casting and subok are not supported yet")
    check_dtype(np.dtype(dtype))
    if not copy and self.dtype == dtype:
        return self
    with np.errstate(all="ignore"):
        return wrap(self._host.astype(dtype, order=order))  # type: ignore[arg-type]


def size(a: Any, axis: Any = None) -> int:
    return a.size if axis is None else a.shape[axis]


def as_array(fn: Any) -> Any:
    """Return `fn` with its truth value as an array: CuPy's answers stay on the device."""

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return wrap(np.asarray(fn(*args, **kwargs)))

    return call
