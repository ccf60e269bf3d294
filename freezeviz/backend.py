"""Which array library: NumPy or CuPy, for given arrays and by default.

CuPy is never imported before something needs the default device (`device`, `default_namespace`,
`asarray` of a list) or asks for the GPU by name. Arrays that exist say themselves where they are.
"""

import importlib
import os
import threading
import warnings
from collections.abc import Hashable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from freezeviz.errors import DeviceError

__all__ = [
    "array_namespace",
    "asarray",
    "default_namespace",
    "device",
    "device_reason",
    "gpu_problem",
    "is_array",
    "memory_key",
    "sign",
    "surely_apart",
    "to_device",
    "to_numpy",
    "use",
]

VARIABLE = "FREEZEVIZ_DEVICE"
_INSTALL = 'pip install "freezeviz[gpu]"'


class _State(NamedTuple):
    asked: str | None = None  # what `use` was given; None: FREEZEVIZ_DEVICE decides, then "auto"
    device: str | None = None  # what that came to; None: nobody has needed it yet
    reason: str = ""


class _Probe(NamedTuple):
    problem: str | None


_lock = threading.RLock()  # reentrant: importing CuPy runs code that may ask for the device
_state = _State()
_probe: _Probe | None = None


def use(device: str) -> None:
    """Choose where new arrays are made; arrays that exist stay where they are.

    Parameters
    ----------
    device : {'auto', 'cpu', 'gpu'}
        ``'auto'`` takes CuPy if it imports, sees a device and runs a kernel, and NumPy otherwise,
        silently. The choice overrides the environment variable ``FREEZEVIZ_DEVICE``.

    Raises
    ------
    DeviceError
        If `device` is none of the three, or is ``'gpu'`` and there is none; the message says why.
        The former choice stays.
    """
    global _state, _probe
    asked = _checked(device, "use()")
    with _lock:
        if _probe is not None and _probe.problem is not None:
            _probe = None  # look again: CuPy may have been installed since
        _state = _State("auto") if asked == "auto" else _settled(asked, f"use({asked!r})")


def device() -> str:
    """Return where new arrays are made: ``'cpu'`` or ``'gpu'``.

    Raises
    ------
    DeviceError
        If ``FREEZEVIZ_DEVICE`` holds no known name, or asks for a GPU that is not there.
    """
    return _state.device or _resolved().device or "cpu"


def device_reason() -> str:
    """Return why `device` is what it is, in a few words.

    Raises
    ------
    DeviceError
        As `device` does.
    """
    return _resolved().reason


def gpu_problem() -> str | None:
    """Return what keeps CuPy from being used, or None where it has run a kernel.

    The answer is found once a process; `use` looks again after a failure.
    """
    global _probe
    with _lock:
        if _probe is None:
            _probe = _Probe(_probe_gpu())
        return _probe.problem


def _resolved() -> _State:
    """Return the settled state; the first call reads the environment and, under auto, probes."""
    global _state
    with _lock:
        if _state.device is None:
            if _state.asked is not None:
                asked, source = _state.asked, f"use({_state.asked!r})"
            elif value := os.environ.get(VARIABLE, "").strip():
                asked, source = _checked(value, VARIABLE), f"{VARIABLE}={value}"
            else:
                asked, source = "auto", "the default"
            _state = _settled(asked, source)
        return _state


def _checked(name: object, source: str, known: tuple[str, ...] = ("auto", "cpu", "gpu")) -> str:
    if not isinstance(name, str) or name.strip().lower() not in known:
        expected = ", ".join(map(repr, known[:-1])) + f" or {known[-1]!r}"
        raise DeviceError(f"{source} takes {expected}, got {name!r}.")
    return name.strip().lower()


def _settled(asked: str, source: str) -> _State:
    if asked == "cpu":
        return _State(asked, "cpu", f"asked for by {source}")
    problem = gpu_problem()
    if problem is None:
        return _State(asked, "gpu", f"CuPy ran a kernel; asked for by {source}")
    if asked == "gpu":
        raise DeviceError(f"{source} asks for a GPU, and {problem} Go on with 'cpu' or 'auto'.")
    return _State(asked, "cpu", problem)


def _probe_gpu() -> str | None:
    # Warnings are silenced, not collected: CuPy warns about toolkits and duplicate installations
    # even where it then turns out that there is no GPU to use it with.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cupy = importlib.import_module("cupy")
        except ModuleNotFoundError as error:
            if error.name == "cupy":
                return f"CuPy is not installed ({_INSTALL} for CUDA 12)."
            return f"CuPy does not import ({_one_line(error)})."
        except Exception as error:
            return f"CuPy does not import ({_one_line(error)}; {_INSTALL} for CUDA 12)."
        try:
            if cupy.cuda.runtime.getDeviceCount() == 0:
                return "CuPy sees no CUDA device."
            # A compiled kernel and a matrix product: they need NVRTC and cuBLAS, which a machine
            # with a driver only does not have. Small whole numbers, so the product is exact.
            x = cupy.arange(8, dtype="float32").reshape(2, 4)
            got = cupy.asnumpy((x * x + 1) @ x.T)
        except Exception as error:
            return f"CuPy is installed but cannot run on a GPU here ({_one_line(error)})."
    y = np.arange(8, dtype=np.float32).reshape(2, 4)
    expected = (y * y + 1) @ y.T
    if not np.array_equal(got, expected):
        return f"CuPy's test kernel gave {got.tolist()} on the GPU instead of {expected.tolist()}."
    return None


def _one_line(error: Exception) -> str:
    """Return an error as one line; CuPy's import errors fill a screen."""
    text = " ".join(str(error).replace("=", " ").split())
    return f"{type(error).__name__}: {text[:300]}"


def default_namespace() -> ModuleType:
    """Return the module that makes new arrays: NumPy, or CuPy in its array-API dress."""
    return np if device() == "cpu" else importlib.import_module("array_api_compat.cupy")


def array_namespace(*arrays: Any) -> ModuleType:
    """Return the array-API namespace of some arrays.

    Parameters
    ----------
    *arrays : arrays or scalars
        Scalars (Python's and NumPy's) and None go with every library. With nothing but those, the
        answer is NumPy.

    Returns
    -------
    namespace : module
        ``numpy`` itself for NumPy arrays, ``array_api_compat.cupy`` for CuPy's, and the array's own
        namespace for another library that implements the standard.

    Raises
    ------
    DeviceError
        If the arrays belong to more than one library.
    TypeError
        If an argument is neither an array nor a scalar.
    """
    # Exact type, not isinstance: this runs once for every primitive called.
    for array in arrays:
        if type(array) is not np.ndarray:
            return _mixed_namespace(arrays)
    return np


_SCALARS = (bool, int, float, complex, np.generic, type(None))


def _mixed_namespace(arrays: tuple[Any, ...]) -> ModuleType:
    namespace = first = None
    for array in arrays:
        if isinstance(array, _SCALARS):
            continue
        found = np if isinstance(array, np.ndarray) else array_api_compat.array_namespace(array)
        if namespace is None:
            namespace, first = found, array
        elif found is not namespace:
            raise DeviceError(
                f"expected arrays of one library, got {_kind(first)} and {_kind(array)}. Move one "
                "of them: fv.to_numpy(array) brings it to the CPU, model.to('gpu') moves a model."
            )
    return np if namespace is None else namespace


def _kind(array: Any) -> str:
    shape = tuple(getattr(array, "shape", ()))
    return f"{type(array).__module__}.{type(array).__qualname__} of shape {shape}"


def is_array(x: Any) -> bool:
    """Whether `x` is an array: NumPy's, CuPy's, or another library's by the array-API standard.

    NumPy's scalars are none, though NumPy gives them the standard's methods: ``np.float32(1)``
    as an attribute of a module is a number, not a parameter.
    """
    kind = type(x)
    if kind is np.ndarray:
        return True
    # Looked up on the type: a module's own __getattr__ is not asked.
    if hasattr(kind, "__array_namespace__"):
        return not isinstance(x, np.generic)
    # CuPy's arrays do not have it (14.2): array_api_compat gives them their namespace.
    return array_api_compat.is_cupy_array(x)


def asarray(x: Any, device: str | None = None) -> Any:
    """Return `x` as an array.

    Parameters
    ----------
    x : array or nested sequence of numbers
    device : {'cpu', 'gpu'}, optional
        Where to. By default an array stays where it is, and anything else goes where new arrays
        are made (as the array-API standard has it).

    Raises
    ------
    DeviceError
        As `to_device` does.
    """
    if device is not None:
        return to_device(x, device)
    return x if is_array(x) else default_namespace().asarray(x)


def to_device(array: Any, device: str) -> Any:
    """Return an array on a device; the array itself if it is there already.

    Parameters
    ----------
    array : array or nested sequence of numbers
    device : {'cpu', 'gpu'}

    Raises
    ------
    DeviceError
        If `device` is neither, or a GPU that is not there.
    """
    if _checked(device, "to_device()", ("cpu", "gpu")) == "cpu":
        return to_numpy(array)
    problem = gpu_problem()
    if problem is not None:
        raise DeviceError(f"an array cannot go to the GPU: {problem}")
    return importlib.import_module("cupy").asarray(array)


def to_numpy(array: Any) -> np.ndarray:
    """Return an array as a NumPy array; a NumPy array is returned as it is, not copied.

    Parameters
    ----------
    array : array or nested sequence of numbers
    """
    if isinstance(array, np.ndarray):
        return array
    if array_api_compat.is_cupy_array(array):
        return importlib.import_module("cupy").asnumpy(array)
    return np.asarray(array)


def sign(x: Any) -> Any:
    """Return -1, 0 or 1 for each entry of a real array, and NaN for NaN.

    Parameters
    ----------
    x : array of a floating dtype
    """
    if isinstance(x, np.ndarray | np.generic):
        return np.sign(x)
    # The standard's sign() of CuPy writes through a mask, for which the host waits for the device.
    xp = array_namespace(x)
    signs = xp.astype(x > 0, x.dtype) - xp.astype(x < 0, x.dtype)
    return xp.where(xp.isnan(x), x, signs)


def memory_key(array: Any) -> Hashable:
    """Return what identifies an array's memory: pointer, shape, strides and dtype.

    Two arrays with equal keys are one: what is written into the first is read from the second. The
    key holds as long as the array lives. Arrays without elements, and those of libraries that show
    no pointer, are the same only if they are the same object or views of one NumPy array.
    """
    if isinstance(array, np.ndarray):
        if array.size:
            pointer = array.__array_interface__["data"][0]
            return pointer, array.shape, array.strides, array.dtype.str
        owner = array if array.base is None else array.base
        return "object", id(owner), array.shape, array.strides, array.dtype.str
    if array_api_compat.is_cupy_array(array) and array.size:
        return array.data.ptr, array.shape, array.strides, array.dtype.str
    return "object", id(array)


def surely_apart(arrays: Sequence[Any]) -> bool:
    """Return whether arrays share no memory; false where a glance does not tell.

    True of NumPy arrays each of which has memory of its own, or is the only view of one that has.
    A tenth of the time that the memory keys of all take.
    """
    if not {np.ndarray}.issuperset(map(type, arrays)):
        return False
    owners = [array if array.base is None else array.base for array in arrays]
    return (
        {np.ndarray}.issuperset(map(type, owners))
        and all(owner.flags.owndata for owner in owners)
        and len({*map(id, owners)}) == len(owners)
    )
