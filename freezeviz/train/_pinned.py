"""Arrays of the host, too large for the GPU: their rows go there batch by batch."""

import importlib
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from freezeviz.backend import to_numpy

SHARE = 0.25  # of the GPU's free memory that data may take; the rest is for the model


class _Room(NamedTuple):
    """Memory on the GPU, and an event after which nobody else uses it."""

    rows: Any
    free: Any


class _Coming(NamedTuple):
    """Rows on their way, and an event after which they are there."""

    which: Any
    rows: Any
    copied: Any


class Pinned:
    """An array of the host of which rows can be had on the GPU.

    They are put together in pinned memory, from where they are copied by a stream of its own: the
    rows of the next batch (`ahead`) while the GPU computes with those of this one. Two pieces of
    pinned memory take turns, and one is written again only when its last copy was made. Memory on
    the GPU is handed out before the step is launched that the copying goes on beside: all that used
    it before was launched earlier, and is waited for by the copying stream.

    Parameters
    ----------
    host : array of NumPy's
    """

    def __init__(self, host: np.ndarray) -> None:
        self.host = host
        self._cupy: Any = importlib.import_module("cupy")
        # Another than the default stream, which would wait for it and have it wait.
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._buffers: list[Any] = [None, None]
        self._copied: list[Any] = [None, None]  # events, by buffer
        self._turn = 0
        self._room: _Room | None = None  # for the next rows
        self._coming: _Coming | None = None

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    nbytes = property(lambda self: self.host.nbytes)

    def __len__(self) -> int:
        return len(self.host)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return importlib.import_module("array_api_compat.cupy")

    def __getitem__(self, which: Any) -> Any:
        """Return a new array on the GPU of the rows `which`: a slice, or an array of numbers."""
        coming, self._coming = self._coming, None
        if coming is None or not _same(coming.which, which):
            coming = self._send(which)
        # What was on its way instead came before, and its memory may be someone else's now, too.
        self._wait(coming)
        self._room = self._handed_out(coming.rows.shape)
        return coming.rows

    def ahead(self, which: Any) -> None:
        """Begin to bring rows that will be asked for next; the GPU goes on meanwhile."""
        if self._room is not None:  # rows were asked for since: they are wanted
            self._coming = self._send(which)

    def _send(self, which: Any) -> _Coming:
        which = which if isinstance(which, slice) else to_numpy(which)
        count = len(range(*which.indices(len(self)))) if isinstance(which, slice) else len(which)
        shape = (count, *self.shape[1:])
        room, self._room = self._room, None
        if room is None or room.rows.shape != shape:
            room = self._handed_out(shape)
        buffer = self._buffer(count)
        if isinstance(which, slice):
            buffer[...] = self.host[which]
        else:
            # "clip" writes at once; other modes write elsewhere first. All numbers are in range.
            self.host.take(which, axis=0, out=buffer, mode="clip")
        self._stream.wait_event(room.free)
        room.rows.set(buffer, stream=self._stream)
        copied = self._stream.record(self._event())
        self._copied[self._turn] = copied
        self._turn = 1 - self._turn
        return _Coming(which, room.rows, copied)

    def _buffer(self, count: int) -> Any:
        """Return pinned memory that nothing is copied from any more."""
        buffer, copied = self._buffers[self._turn], self._copied[self._turn]
        if copied is not None and not copied.done:
            copied.synchronize()
        if buffer is None or len(buffer) < count:
            empty_pinned = importlib.import_module("cupyx").empty_pinned
            buffer = empty_pinned((count, *self.shape[1:]), self.dtype)
            self._buffers[self._turn] = buffer
        return buffer[:count]

    def _handed_out(self, shape: tuple[int, ...]) -> _Room:
        rows = self._cupy.empty(shape, self.dtype)
        return _Room(rows, self._cupy.cuda.get_current_stream().record(self._event()))

    def _wait(self, coming: _Coming) -> None:
        """Have what is launched from now on wait for rows; the host does not."""
        self._cupy.cuda.get_current_stream().wait_event(coming.copied)

    def _event(self) -> Any:
        return self._cupy.cuda.Event(disable_timing=True)

    def close(self) -> None:
        """Let go what is on its way, and the memory."""
        coming, self._coming = self._coming, None
        if coming is not None:
            self._wait(coming)
        self._room = None


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, slice) or isinstance(b, slice):
        return isinstance(a, slice) and isinstance(b, slice) and a == b
    return a is b or (type(a) is type(b) and np.array_equal(a, b))


def fits(x: Any, y: Any, like: Any) -> bool:
    """Return whether data may lie where an array is: on a GPU, in a part of what is free there."""
    if not array_api_compat.is_cupy_array(like):
        return True
    cupy: Any = importlib.import_module("cupy")
    needed = sum(a.nbytes for a in (x, y) if isinstance(a, np.ndarray))
    free, _ = cupy.cuda.runtime.memGetInfo()
    return needed <= SHARE * (free + cupy.get_default_memory_pool().free_bytes())
