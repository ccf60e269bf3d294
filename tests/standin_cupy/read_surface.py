"""Write down what the installed CuPy offers: names, signatures, loops. Needs no GPU.

Run as ``python -m tests.standin_cupy.read_surface`` where CuPy is installed; the answer goes to
``surface.json`` beside this file, which is what the stand-in offers.
"""

import inspect
import json
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

SURFACE = Path(__file__).with_name("surface.json")
# Functions that are written in C with the signature in the first line of their docstring.
_FIRST_LINE = re.compile(r"^\S*?\w+(\(.*\))(?: -> .*)?$")
_OF_A_STREAM = ("__init__", "record", "synchronize", "wait_event")
_OF_AN_EVENT = ("__init__", "record", "synchronize")
_C_TYPES = re.compile(r"\b(?:_ndarray_base|Py_ssize_t|bool|int|bint|list|tuple) (?=\w)")


def signature_text(fn: Any) -> str | None:
    """Return a signature as text with literals only; None where CuPy does not tell it."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        found = _FIRST_LINE.match((fn.__doc__ or "").split("\n")[0])
        if found is None:
            return None
        return _C_TYPES.sub("", found[1]).replace("dtype=float", "dtype=None")
    plain = []
    for p in parameters:
        known = p.default is p.empty or isinstance(p.default, bool | int | float | str | None)
        plain.append(p.replace(annotation=p.empty, default=p.default if known else None))
    return str(inspect.Signature(plain))


def _loops(ufunc: Any) -> dict[str, Any]:
    # E is bfloat16, which CuPy knows only where ml_dtypes is installed.
    types = " ".join(loop for loop in ufunc.types if "E" not in loop)
    return {"nin": ufunc.nin, "nout": ufunc.nout, "types": types}


def _module(module: ModuleType, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    functions, ufuncs = {}, {}
    for name in sorted(names):
        member = getattr(module, name)
        if type(member).__name__ == "ufunc":
            ufuncs[name] = _loops(member)
        elif callable(member) and not isinstance(member, type):
            functions[name] = signature_text(member)
    return {"functions": functions, "ufuncs": ufuncs}


def read_surface() -> dict[str, Any]:
    """Return what the installed CuPy offers, as plain data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cupy  # pyright: ignore[reportMissingImports]
        import cupyx  # pyright: ignore[reportMissingImports]
        import cupyx.scipy.special  # pyright: ignore[reportMissingImports]
        import numpy as np

    public = [name for name in dir(cupy) if not name.startswith("_")]
    waits = "ynchronize the device"
    methods = {
        name: signature_text(getattr(cupy.ndarray, name))
        for name in dir(cupy.ndarray)
        if not name.startswith("_") and callable(getattr(cupy.ndarray, name))
    }
    return {
        "version": cupy.__version__,
        "cupy": _module(cupy, public),
        # What CuPy hands on from NumPy: types, constants.
        "numpy": [
            name
            for name in public
            if not name.startswith("annotations")
            and hasattr(np, name)
            and getattr(cupy, name) is getattr(np, name)
        ],
        "linalg": _module(cupy.linalg, (n for n in dir(cupy.linalg) if not n.startswith("_"))),
        "fft": _module(cupy.fft, (n for n in dir(cupy.fft) if not n.startswith("_"))),
        "special": {
            name: _loops(getattr(cupyx.scipy.special, name)) for name in ("erf", "expit", "ndtr")
        },
        "streams": {
            kind.__name__: {
                name: signature_text(getattr(kind, name)) if name in called else None
                for name in (*called, *read)
            }
            for kind, called, read in (
                (cupy.cuda.Stream, _OF_A_STREAM, ("is_non_blocking",)),
                (cupy.cuda.Event, _OF_AN_EVENT, ("done",)),
            )
        },
        "pinned": {"empty_pinned": signature_text(cupyx.empty_pinned)},
        "methods": methods,
        "members": sorted(dir(cupy.ndarray)),
        "waiting": sorted(
            name for name in public if waits in (getattr(getattr(cupy, name), "__doc__", "") or "")
        ),
    }


if __name__ == "__main__":
    SURFACE.write_text(json.dumps(read_surface(), indent=1, sort_keys=True) + "\n")
    print(f"wrote {SURFACE}")
