"""The stand-in's array: NumPy inside, CuPy's manners outside.

What it does is read off CuPy 14.2's sources (``_core/core.pyx``, ``_core/_kernel.pyx``,
``_core/_routines_indexing.pyx``); where NumPy is kinder than CuPy, this is not.
"""

import functools
import warnings
import weakref
from functools import partial
from typing import Any

import numpy as np

from tests.standin_cupy import _streams
from tests.standin_cupy._reads import uploads, waits

_PYTHON_SCALARS = (bool, int, float, complex)
_KINDS = "?bhilqBHILQefdFD"
_roots: "weakref.WeakValueDictionary[int, ndarray]" = weakref.WeakValueDictionary()
# The namespaces that `__array_ufunc__` and `__array_function__` look into; filled by `_module`.
namespaces: dict[str, Any] = {}


class Flags:
    """CuPy knows three flags; whether an array may be written into is not among them."""

    def __init__(self, host: np.ndarray):
        self.c_contiguous = host.flags.c_contiguous
        self.f_contiguous = host.flags.f_contiguous
        self.owndata = host.flags.owndata
        self.fnc = self.f_contiguous and not self.c_contiguous
        self.forc = self.f_contiguous or self.c_contiguous

    def __getitem__(self, name: str) -> bool:
        known = {
            "C_CONTIGUOUS": self.c_contiguous,
            "F_CONTIGUOUS": self.f_contiguous,
            "OWNDATA": self.owndata,
        }
        if name not in known:
            raise KeyError(f"{name} is not defined for cupy.ndarray.flags")
        return known[name]


class Device:
    """The one device there is; `None` means the current one, as it does in CuPy."""

    def __init__(self, device: Any = None):
        self.id = 0 if device is None else getattr(device, "id", device)

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        waits("synchronize")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


class MemoryPointer:
    """Where an array's memory begins."""

    def __init__(self, ptr: int):
        self.ptr = ptr
        self.device_id = 0
        self.device = Device(0)


def check_dtype(dtype: Any) -> None:
    """Raise as CuPy does for what a kernel has no type for."""
    if dtype.char not in _KINDS:
        raise ValueError(f"Unsupported dtype {dtype}")


def wrap(host: Any) -> Any:
    """Return a stand-in array around a NumPy array that nobody else holds."""
    host = np.asarray(host)
    check_dtype(host.dtype)
    array = object.__new__(ndarray)
    array._host = host
    array._root, array._born = None, _streams.tick()
    if isinstance(host.base, np.ndarray):
        root = _roots.get(id(host.base))
        array._root = wrap(host.base) if root is None else root
    else:
        _roots[id(host)] = array
    return array


def refuse(x: Any) -> None:
    """Raise CuPy's answer to what is neither an array of its own nor a scalar."""
    raise TypeError(f"Unsupported type {type(x)}")


def operand(x: Any) -> Any:
    """Return what a kernel computes with, or raise as CuPy does."""
    if isinstance(x, ndarray):
        return x._host
    if type(x) not in _PYTHON_SCALARS and not isinstance(x, np.generic):
        refuse(x)
    return x


def silent(fn: Any) -> Any:
    """Return `fn` without floating-point errors and warnings: a GPU has none."""

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        with np.errstate(all="ignore"):
            return fn(*args, **kwargs)

    return call


class ndarray:  # noqa: N801 - CuPy's name
    """An array on a device that is not there."""

    __slots__ = ("__weakref__", "_born", "_host", "_root")
    _born: int  # when its memory was handed out
    _host: np.ndarray
    _root: Any
    copy: Any  # the methods that `_module` adds, of CuPy's signatures
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    __module__ = "cupy"

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: Any = None,
        strides: Any = None,
        order: str = "C",
    ):
        if memptr is not None or strides is not None:
            raise NotImplementedError("the stand-in makes arrays of its own memory only")
        host: np.ndarray = np.empty(shape, dtype, "F" if order == "F" else "C")
        check_dtype(host.dtype)
        # What is in fresh memory must not matter.
        host.fill(np.nan if host.dtype.kind in "fc" else True if host.dtype.kind == "b" else 77)
        self._host, self._root, self._born = host, None, _streams.tick()
        _roots[id(host)] = self

    # ------------------------------------------------------------ what it is

    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    strides = property(lambda self: self._host.strides)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    base = property(lambda self: self._root)
    flags = property(lambda self: Flags(self._host))
    device = property(lambda self: Device(0))
    data = property(lambda self: MemoryPointer(self._host.__array_interface__["data"][0]))
    T = property(lambda self: wrap(self._host.T))
    mT = property(lambda self: wrap(self._host.mT))  # noqa: N815 - CuPy's name
    real = property(lambda self: wrap(self._host.real))
    imag = property(lambda self: wrap(self._host.imag))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        self._host = self._host.reshape(shape, copy=False)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        raise NotImplementedError("nothing else can read the stand-in's memory")

    # ------------------------------------------------------------ to the host

    def __array__(self, dtype: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def _read(self, what: str) -> np.ndarray:
        waits(what)
        _streams.current.run(len(_streams.current.queue))
        return self._host.copy()

    def get(
        self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
    ) -> np.ndarray:
        if out is not None:
            if out.dtype != self.dtype or out.shape != self.shape:
                raise TypeError("out is of another dtype or shape")
            if not (out.flags.c_contiguous and self._host.flags.c_contiguous):
                raise RuntimeError("`out` cannot be specified when copying of non-contiguous array")
        if out is None or blocking or not _streams.is_pinned(out):
            host = np.array(self._read("get"), order=order)  # type: ignore[call-overload]
            if out is None:
                return host
            out[...] = host
            return out
        # In the order of the stream, what comes later may overwrite this array.
        (stream or _streams.current).queue.append(partial(np.copyto, out, self._host.copy()))
        return out

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self._read("item").item()

    def tolist(self) -> Any:
        return self._read("tolist").tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self._read("tobytes").tobytes(order)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        if self.size == 0:
            warnings.warn("The truth value of an empty array", DeprecationWarning, stacklevel=2)
            return False
        if self.size > 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous.")
        return bool(self._read("bool"))

    def __int__(self) -> int:
        return int(self._read("int"))

    def __float__(self) -> float:
        return float(self._read("float"))

    def __complex__(self) -> complex:
        return complex(self._read("complex"))

    def __repr__(self) -> str:
        return repr(self._read("repr"))

    def __str__(self) -> str:
        return str(self._read("str"))

    def __format__(self, spec: str) -> str:
        return format(self._read("format"), spec)

    def __reduce__(self) -> Any:
        return namespaces["cupy"].array, (self.get(order="A"),)

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    # ------------------------------------------------------------ entries

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, index: Any) -> Any:
        return wrap(self._host[_host_index(self, index)])

    @silent
    def __setitem__(self, index: Any, value: Any) -> None:
        index = _host_index(self, index)
        if isinstance(value, ndarray):
            value = value._host
        elif isinstance(value, np.ndarray) and value.ndim and not _gathers(index):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._host[index] = value

    @silent
    def _scatter_add(self, index: Any, value: Any) -> None:
        index = _host_index(self, index)
        if not _gathers(index):
            self._host[index] += operand(value)
            return
        if self.dtype.char not in "ilqILQefd":
            raise TypeError(
                "cupy.add.at only supports int32, int64, float16, float32, float64, uint32, "
                "uint64 as data type"
            )
        value = value._host if isinstance(value, ndarray) else np.asarray(value)
        np.add.at(self._host, index, value.astype(self.dtype))

    def scatter_add(self, slices: Any, value: Any) -> None:
        warnings.warn(
            "`ndarray.scatter_add` is deprecated. Please use `cupy.add.at` instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        self._scatter_add(slices, value)

    def fill(self, value: Any) -> None:
        value = value._host if isinstance(value, ndarray) else np.asarray(value, dtype=self.dtype)
        if value.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._host.fill(value)

    def set(self, arr: Any, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError("array of another dtype or shape")
        if not (arr.flags.c_contiguous and self._host.flags.c_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        if stream is None or not _streams.is_pinned(arr):
            uploads("set")
            self._host[...] = arr
            return
        _streams.check_room((self if self._root is None else self._root)._born, stream)
        stream.queue.append(partial(np.copyto, self._host, arr))

    # ------------------------------------------------------------ NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        inout = inputs
        if "out" in kwargs:
            out = kwargs["out"]
            if len(out) != 1:
                raise ValueError("The 'out' parameter must have exactly one array value")
            inout += out
            kwargs["out"] = out[0]
        known = ("__call__", "outer", "at", "reduce", "accumulate", "reduceat")
        name = ufunc.__name__
        func = getattr(namespaces["cupy"], name, None) or getattr(namespaces["special"], name, None)
        if method not in known or func is None:
            return NotImplemented
        if method != "__call__":
            func = getattr(func, method)
        for x in inout:
            scalar = type(x) in _PYTHON_SCALARS or isinstance(x, np.generic)
            if not scalar and not isinstance(x, (ndarray, np.ndarray)):
                return NotImplemented
        return func(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        module: Any = namespaces["cupy"]
        try:
            for part in func.__module__.split(".")[1:]:
                module = getattr(module, part)
            cupy_func = getattr(module, func.__name__)
        except AttributeError:
            return NotImplemented
        if cupy_func is func:
            return NotImplemented
        if not all(issubclass(t, (ndarray, np.ndarray)) for t in types):
            return NotImplemented
        return cupy_func(*args, **kwargs)

    # ------------------------------------------------------------ comparison, power

    def __eq__(self, other: Any) -> Any:
        if type(other).__eq__ is object.__eq__ or other is None:
            return wrap(np.zeros(self.shape, bool))
        return _compared("equal", self, other)

    def __ne__(self, other: Any) -> Any:
        plain = type(other).__eq__ is object.__eq__ and type(other).__ne__ is object.__ne__
        if plain or other is None:
            return wrap(np.ones(self.shape, bool))
        return _compared("not_equal", self, other)

    def __lt__(self, other: Any) -> Any:
        return _compared("less", self, other)

    def __le__(self, other: Any) -> Any:
        return _compared("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return _compared("greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return _compared("greater_equal", self, other)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        cupy, fast = namespaces["cupy"], None
        if type(other) is int and other == 2:
            fast = cupy.square
        elif type(other) is float:
            fast = {0.5: cupy.sqrt, 2.0: cupy.square, -1.0: cupy.reciprocal}.get(other)
        return _binary("power", self, other) if fast is None else fast(self)

    def __divmod__(self, other: Any) -> Any:
        return _binary("divmod", self, other)


def _should_use_rop(x: Any, y: Any) -> bool:
    missing = object()
    y_ufunc = getattr(y, "__array_ufunc__", missing)
    if y_ufunc is not missing:
        return y_ufunc is None
    return getattr(x, "__array_priority__", 0) < getattr(y, "__array_priority__", 0)


def _binary(name: str, x: Any, y: Any) -> Any:
    if isinstance(y, ndarray):
        return getattr(namespaces["cupy"], name)(x, y)
    if _should_use_rop(x, y):
        return NotImplemented
    return getattr(np, name)(x, y)


def _compared(name: str, x: Any, y: Any) -> Any:
    if isinstance(y, np.ndarray) and y.ndim == 0:
        y = y.item()
    return _binary(name, x, y)


def _attach() -> None:
    binary = {
        "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
        "floordiv": "floor_divide", "mod": "remainder", "matmul": "matmul", "and": "bitwise_and",
        "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
    }  # fmt: skip
    for short, name in binary.items():
        setattr(ndarray, f"__{short}__", lambda x, y, name=name: _binary(name, x, y))
    for short, name in (binary | {"pow": "power", "divmod": "divmod"}).items():
        # As Cython's operators do it: the right one is the left one with the operands exchanged.
        setattr(ndarray, f"__r{short}__", lambda y, x, name=name: _binary(name, x, y))
    for short, name in (binary | {"pow": "power"}).items():
        if short != "matmul":
            setattr(ndarray, f"__i{short}__", _in_place(name))
    for short, name in {
        "neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert",
    }.items():  # fmt: skip
        setattr(ndarray, f"__{short}__", lambda x, name=name: getattr(namespaces["cupy"], name)(x))


def _in_place(name: str) -> Any:
    return lambda x, y: getattr(namespaces["cupy"], name)(x, y, x)


_attach()

# ---------------------------------------------------------------- indices


def _gathers(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(i, np.ndarray) for i in parts)


def _host_index(array: ndarray, index: Any) -> Any:
    """Return NumPy's index for CuPy's: arrays from the device, out-of-bounds entries wrapped."""
    parts = [_index_part(i) for i in (index if isinstance(index, tuple) else (index,))]
    taken = sum(_axes(i) for i in parts)
    if not any(i is Ellipsis for i in parts):
        parts.append(Ellipsis)  # views, not scalars, of single entries
    axis = 0
    for k, part in enumerate(parts):
        if part is Ellipsis:
            axis += array.ndim - taken
            continue
        if isinstance(part, np.ndarray) and part.dtype != bool:
            n = array.shape[axis] if axis < array.ndim else 0
            # CuPy wraps what is out of bounds instead of raising.
            parts[k] = part % n if n else part
        if isinstance(part, np.ndarray) and part.dtype == bool and part.size:
            waits("an index that is a mask")
        axis += _axes(part)
    return tuple(parts)


def _axes(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == bool else 1


def _index_part(part: Any) -> Any:
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part
    if isinstance(part, ndarray):
        host = part._host
    elif np.isscalar(part) and not isinstance(part, (bool, np.bool_)):
        return int(part)  # type: ignore[call-overload]
    else:
        host = np.asarray(part)
        if host.ndim:
            uploads("an index")
        if host.size == 0 and isinstance(part, (list, tuple)):
            host = host.astype(np.int32)
    if host.dtype.kind not in "biu":
        raise IndexError(
            f"arrays used as indices must be of integer or boolean type. (actual: {host.dtype})"
        )
    return host if host.dtype == bool else host.astype(np.int64)
