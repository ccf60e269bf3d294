"""What is asked of a run from outside: plain values that wait until the step in hand is done."""

import re
from collections import deque
from dataclasses import dataclass, field
from threading import Condition, RLock
from time import time
from typing import Any

from freezeviz.freezing import Selection
from freezeviz.paths import KeyPath


@dataclass(frozen=True, slots=True)
class SetFrozen:
    """Freeze or unfreeze parameters. ``frozen=None`` decides when it is applied: a toggle."""

    what: str  # for the label
    paths: tuple[str, ...]
    frozen: bool | None
    hold: bool
    reset_state: bool
    origin: str
    label: str = ""  # in place of the verb and `what`
    let_go: bool = True  # of an order to unfreeze
    requested: float = field(default_factory=time)


@dataclass(frozen=True, slots=True)
class SetLearningRate:
    """Give the optimizer another learning rate."""

    learning_rate: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait between two steps until `Resume` or `Stop`."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run after the step in hand."""


Command = SetFrozen | SetLearningRate | Pause | Resume | Stop


class Mailbox:
    """A queue of commands, open while a run is under way.

    The question whether to queue a command or to apply it at once, and the end of a run, exclude
    one another: a command that comes at the very end is applied by one side or the other, never
    lost.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self._waiting: deque[Command] = deque()
        self._open = False
        self._arrived = Condition(self.lock)

    @property
    def is_open(self) -> bool:
        return self._open

    def open(self) -> None:
        """Let commands wait in it from now on."""
        with self.lock:
            self._open = True

    def close(self) -> bool:
        """Close it if nothing is left in it; False if something is."""
        with self.lock:
            self._open = bool(self._waiting)
            return not self._open

    def put(self, command: Command) -> bool:
        """Queue a command; False if the mailbox is closed."""
        with self.lock:
            if self._open:
                self._waiting.append(command)
                self._arrived.notify()
            return self._open

    def take(self) -> Command | None:
        """Return the oldest command; None if there is none."""
        if not self._waiting:
            return None  # the usual case, once a step: no lock
        with self.lock:
            return self._waiting.popleft() if self._waiting else None

    def wait(self, seconds: float) -> None:
        """Wait until there is a command, but not longer than so many seconds."""
        with self.lock:
            if not self._waiting:
                self._arrived.wait(seconds)


def hold_of(frozen: bool, hold: bool, let_go: bool) -> bool | None:
    """Return what an order means for `ModelAdapter.set_frozen`: None leaves held what is held."""
    if frozen:
        return True if hold else None
    return False if let_go else None


def describe(what: Any, paths: tuple[str, ...]) -> str:
    """Return a few words for a selector: what to write on a plot."""
    if isinstance(what, str):
        return what or "everything"
    if isinstance(what, Selection) and what.label:
        return what.label
    if isinstance(what, re.Pattern):
        return f"/{what.pattern}/"
    if isinstance(what, KeyPath):
        return str(what) or "everything"
    if isinstance(what, type):
        return what.__name__
    if len(paths) == 1:
        return paths[0]
    common = _common_parent(paths)
    return f"{len(paths)} parameters in {common}" if common else f"{len(paths)} parameters"


def _common_parent(paths: tuple[str, ...]) -> str:
    split = [path.split(".")[:-1] for path in paths]
    shared: list[str] = []
    for names in zip(*split, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)
