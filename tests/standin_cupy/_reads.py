"""Where a host would wait for the device, or hand it an array: counted, or refused."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE = str(Path(__file__).parent)
_open: list[list[str]] = []
_strict = 0


class HostTrafficError(AssertionError):
    """The host waited for the device, or gave it an array, where neither is allowed."""


@contextmanager
def host_reads() -> Iterator[list[str]]:
    """Collect, within the block, what made the host wait: ``"float in _engine.py:82"``."""
    reads: list[str] = []
    _open.append(reads)
    try:
        yield reads
    finally:
        _open[:] = [other for other in _open if other is not reads]  # equal ones are not the same


@contextmanager
def on_device_only() -> Iterator[None]:
    """Raise HostTrafficError, within the block, at what makes the host wait.

    Also at arrays that are handed to the device. Single numbers are not: kernels take them as
    arguments.
    """
    global _strict
    _strict += 1
    try:
        yield
    finally:
        _strict -= 1


def waits(what: str) -> None:
    """Note that real CuPy would now wait for the device."""
    if not _open and not _strict:
        return
    line = f"{what} in {_caller()}"
    for reads in _open:
        reads.append(line)
    if _strict:
        raise HostTrafficError(f"the host waits for the device: {line}")


def uploads(what: str) -> None:
    """Note that real CuPy would now copy an array to the device."""
    if _strict:
        raise HostTrafficError(f"the host gives the device an array: {what} in {_caller()}")


def _caller() -> str:
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
