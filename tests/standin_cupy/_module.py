"""The stand-in's modules, and the swap that puts them in the place of CuPy's."""

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.special

from tests.standin_cupy import _array, _functions, _streams
from tests.standin_cupy._array import Device, Flags, ndarray

SURFACE = json.loads(Path(__file__).with_name("surface.json").read_text())
_OTHER_NAMES = {"fix": np.trunc, "sinc": np.sinc, "i0": np.i0}
_own: dict[str, ModuleType] | None = None
_SWAPPED = ("cupy", "cupyx", "array_api_compat.cupy")


def _fill(module: ModuleType, surface: dict[str, Any], numpys: ModuleType) -> None:
    waiting = set(SURFACE["waiting"]) - {"where", "average"}
    for name, text in surface["functions"].items():
        fn = getattr(numpys, name, None)
        if text is not None and fn is not None:
            setattr(module, name, _functions.function(name, text, fn, name in waiting))
    for name, loops in surface["ufuncs"].items():
        fn = _OTHER_NAMES.get(name) or getattr(numpys, name, None)
        if fn is not None:
            setattr(module, name, _functions.ufunc(name, loops, fn))


def _build() -> dict[str, ModuleType]:
    names = (
        "cupy", "cupy.linalg", "cupy.fft", "cupy.cuda", "cupy.cuda.device", "cupy.cuda.runtime",
        "cupyx", "cupyx.scipy", "cupyx.scipy.special",
    )  # fmt: skip
    modules = {name: ModuleType(name) for name in names}
    for name, module in modules.items():
        vars(module)["__path__"] = []  # of a package, so that modules in it can be imported
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    cupy: Any = modules["cupy"]
    cupy.__version__ = SURFACE["version"]
    for name in SURFACE["numpy"]:
        setattr(cupy, name, getattr(np, name))
    _fill(cupy, SURFACE["cupy"], np)
    _fill(modules["cupy.linalg"], SURFACE["linalg"], np.linalg)
    _fill(modules["cupy.fft"], SURFACE["fft"], np.fft)
    texts = SURFACE["cupy"]["functions"]
    for name in ("array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"):
        setattr(cupy, name, _functions.from_host(name, texts[name]))
    for name in ("allclose", "array_equal", "array_equiv"):
        setattr(cupy, name, _functions.as_array(getattr(cupy, name)))
    for name in ("where", "take", "take_along_axis", "matmul", "asnumpy", "size"):
        setattr(cupy, name, getattr(_functions, name))
    for name in SURFACE["numpy"]:
        setattr(cupy, name, getattr(np, name))
    cupy.ndarray, cupy.ufunc = ndarray, _functions.ufunc
    cupy.get_default_memory_pool = _NoPool
    cupy.empty = _empty
    cupy.empty_like = lambda prototype, dtype=None, **_: _empty(
        prototype.shape, dtype or prototype.dtype
    )
    modules["cupy.linalg"].matmul = _functions.matmul  # type: ignore[attr-defined]
    modules["cupyx"].scatter_add = lambda a, slices, value: a.scatter_add(slices, value)  # type: ignore[attr-defined]
    modules["cupyx"].empty_pinned = _streams.empty_pinned  # type: ignore[attr-defined]
    for name, loops in SURFACE["special"].items():
        kernel = _functions.ufunc(name, loops, _doubled(getattr(scipy.special, name)))
        setattr(modules["cupyx.scipy.special"], name, kernel)
    cuda: Any = modules["cupy.cuda"]
    cuda.Device = cuda.device.Device = Device
    cuda.runtime.getDeviceCount = lambda: 1
    cuda.runtime.getDeviceProperties = lambda number: {"name": b"a stand-in"}
    cuda.runtime.memGetInfo = lambda: (1 << 36, 1 << 37)
    cuda.Stream, cuda.Event = _streams.Stream, _streams.Event
    cuda.get_current_stream = _streams.get_current_stream
    _methods()
    _array.namespaces.update(cupy=cupy, special=modules["cupyx.scipy.special"])
    return modules


def _empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, float if dtype is None else dtype, order=order)


class _NoPool:
    """A memory pool that keeps nothing."""

    def free_bytes(self) -> int:
        return 0


def _doubled(kernel: Any) -> Any:
    """Of half precision, CuPy's special functions give double, SciPy's single."""

    def call(x: Any) -> Any:
        return kernel(x.astype(np.float64) if getattr(x, "dtype", None) == np.float16 else x)

    return call


def _methods() -> None:
    for name, text in SURFACE["methods"].items():
        if name not in vars(ndarray) and hasattr(np.ndarray, name):
            setattr(ndarray, name, _functions.method(name, text))
    ndarray.take = _functions.take_method  # type: ignore[attr-defined]
    ndarray.astype = _functions.astype_method  # type: ignore[attr-defined]


def _belongs(name: str) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in _SWAPPED)


@contextmanager
def installed() -> Iterator[Any]:
    """Have ``import cupy`` give the stand-in within the block; yields it.

    A real CuPy that is imported already is put aside and comes back, array_api_compat's dress of
    it as well. The stand-in is built once: array_api_compat remembers namespaces by array class.
    """
    global _own
    import array_api_compat

    aside = {name: sys.modules.pop(name) for name in list(sys.modules) if _belongs(name)}
    dress = array_api_compat.__dict__.pop("cupy", None)
    try:
        if _own is None:
            sys.modules.update(_build())
            importlib.import_module("array_api_compat.cupy")
            _own = {name: module for name, module in sys.modules.items() if _belongs(name)}
        sys.modules.update(_own)
        array_api_compat.cupy = _own["array_api_compat.cupy"]  # type: ignore[attr-defined]
        yield _own["cupy"]
    finally:
        for name in [name for name in sys.modules if _belongs(name)]:
            del sys.modules[name]
        array_api_compat.__dict__.pop("cupy", None)
        sys.modules.update(aside)
        if dress is not None:
            array_api_compat.cupy = dress  # type: ignore[attr-defined]


__all__ = ["SURFACE", "Flags", "installed"]
