"""Streams, events and pinned memory, as late as they may be.

Kernels of the current stream run at once. Copies between pinned memory and the device are put off
until somebody waits for them: the host for an event or a stream, or one stream for another. Until
then the array that is copied to holds garbage, and what the host writes into pinned memory spoils
the copy: who forgets to wait gets wrong numbers here, always, and not only on a fast machine.
"""

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.standin_cupy._reads import waits

_ticks = itertools.count(1)
_pinned: "weakref.WeakValueDictionary[int, np.ndarray]" = weakref.WeakValueDictionary()


class HazardError(AssertionError):
    """Memory is written while work that was launched before may still use it."""


class Stream:
    """A queue of copies; of kernels, there is nothing to be seen."""

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: Any = None,
    ):
        self.ptr = 0 if null else next(_ticks)
        self.is_non_blocking = non_blocking
        self.queue: list[Callable[[], None]] = []
        self.made = 0  # so many of them
        self.knows = 0  # up to which tick the current stream's work is waited for

    def run(self, count: int) -> None:
        """Make the first copies that were launched, but for those that were made."""
        while self.made < count:
            self.queue[self.made]()
            self.queue[self.made] = _nothing
            self.made += 1

    def synchronize(self) -> None:
        waits("synchronize")
        self.run(len(self.queue))

    def record(self, event: "Event | None" = None) -> "Event":
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: "Event") -> None:
        if self is current:
            event.happen()
        elif event.stream is current:
            self.knows = max(self.knows, event.tick)


class Event:
    """A place in a stream."""

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ):
        self.stream = current
        self.count = self.tick = 0

    def record(self, stream: Stream | None = None) -> None:
        self.stream = current if stream is None else stream
        self.count, self.tick = len(self.stream.queue), next(_ticks)

    def happen(self) -> None:
        self.stream.run(self.count)

    @property
    def done(self) -> bool:
        return self.stream.made >= self.count

    def synchronize(self) -> None:
        waits("synchronize")
        self.happen()


def _nothing() -> None: ...  # a copy that was made lets its arrays go


current = Stream(null=True)


def get_current_stream(device_id: int = -1) -> Stream:
    """Return the one stream that kernels run on."""
    return current


def tick() -> int:
    """Return the time, in things that happened."""
    return next(_ticks)


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """Return an array of the host of which the device copies without asking the host."""
    memory = np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, 77, np.uint8)
    _pinned[id(memory)] = memory
    return np.ndarray(shape, dtype, buffer=memory, order=order)  # type: ignore[call-overload]


def is_pinned(host: Any) -> bool:
    """Whether an array lies in pinned memory."""
    base = host
    while isinstance(base, np.ndarray):
        if _pinned.get(id(base)) is base:
            return True
        base = base.base
    return False


def check_room(born: int, stream: Stream) -> None:
    """Raise HazardError if a stream writes into memory that others may still use."""
    if stream is not current and stream.knows < born:
        raise HazardError(
            "a stream copies into memory that the current stream may still use for something "
            "else: it has to wait for an event recorded when the memory was handed out"
        )
