"""Counting the places where a host would wait for the device."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE = str(Path(__file__).parent)
_open: list[list[str]] = []


@contextmanager
def host_reads() -> Iterator[list[str]]:
    """Collect, within the block, what made the host wait: ``"float in _engine.py:82"``."""
    reads: list[str] = []
    _open.append(reads)
    try:
        yield reads
    finally:
        _open.remove(reads)


def waits(what: str) -> None:
    """Note that real CuPy would now wait for the device."""
    if not _open:
        return
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    line = f"{what} in {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    for reads in _open:
        reads.append(line)
