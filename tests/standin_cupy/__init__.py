"""A strict stand-in for CuPy, for machines without a GPU.

It computes with NumPy and behaves as CuPy 14.2 does where that differs: arrays are no NumPy
arrays, never become one by themselves and refuse to meet one; functions take the options that
CuPy's take; out-of-bounds indices wrap; nothing warns of floating-point trouble; fresh memory
holds garbage. Copies between pinned memory and the device are as late as they may be, so that a
wait that is missing shows in the numbers. It counts, or refuses, what makes the host wait for the
device.

What it cannot show: kernels that compute something else than NumPy, the order of sums, kernels on
several streams, memory, speed. `tests/gpu/test_standin.py` compares it with CuPy itself where that
is installed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from freezeviz import backend
from tests.standin_cupy._array import ndarray
from tests.standin_cupy._module import SURFACE, installed
from tests.standin_cupy._reads import HostTrafficError, host_reads, on_device_only
from tests.standin_cupy._streams import HazardError

# Parameters for tests: the stand-in everywhere, CuPy itself where it runs a kernel.
CUPYS = ["stand-in", pytest.param("device", marks=pytest.mark.gpu)]


@contextmanager
def cupy_of(kind: str) -> Iterator[Any]:
    """Yield the CuPy of a parameter, which is also what `import cupy` gives within the block."""
    if kind == "device":
        yield pytest.importorskip("cupy")
        return
    found, backend._probe = backend._probe, None
    try:
        with installed() as standin:
            yield standin
    finally:
        backend._probe = found


__all__ = [
    "CUPYS",
    "SURFACE",
    "HazardError",
    "HostTrafficError",
    "cupy_of",
    "host_reads",
    "installed",
    "ndarray",
    "on_device_only",
]
