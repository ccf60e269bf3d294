"""What was changed, and how to take it back: without limit, so in little memory.

A deed keeps which rows changed as runs of bytes, and equal deeds are one object: a million toggles
of one module are two deeds and a list of a million references.
"""

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from freezeviz.explorer._structure import Structure


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """What a change did to the rows, as bool arrays of shape (rows,).

    Attributes
    ----------
    structure : Structure
        Whose rows.
    froze, thawed : bool array
        Parameters that became frozen, or trainable.
    held, released : bool array
        Modules that became held, or were let go.
    """

    structure: Structure
    froze: np.ndarray
    thawed: np.ndarray
    held: np.ndarray
    released: np.ndarray

    def __bool__(self) -> bool:
        return any(mask.any() for mask in self.masks)

    @property
    def masks(self) -> tuple[np.ndarray, ...]:
        """The four masks."""
        return self.froze, self.thawed, self.held, self.released

    def then(self, other: "Transition") -> "Transition":
        """Return this one and then another of the same structure, as one."""
        froze, thawed = _net(self.froze, self.thawed, other.froze, other.thawed)
        held, released = _net(self.held, self.released, other.held, other.released)
        return Transition(self.structure, froze, thawed, held, released)

    def changed(self) -> tuple[str, ...]:
        """Paths of the parameters whose state changed."""
        return tuple(self.structure.paths[i] for i in np.flatnonzero(self.froze | self.thawed))


def _net(on: np.ndarray, off: np.ndarray, on_2: np.ndarray, off_2: np.ndarray) -> Any:
    return (on & ~off_2) | (on_2 & ~off), (off & ~on_2) | (off_2 & ~on)


def joined(transitions: Iterable[Transition]) -> Transition | None:
    """Return transitions one after another as one; None without any."""
    result: Transition | None = None
    for transition in transitions:
        result = transition if result is None else result.then(transition)
    return result


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Deed:
    """A change that was made, with all that it takes to make it again and to take it back."""

    label: str
    structure: Structure
    packed: tuple[bytes, ...]

    def transition(self) -> Transition:
        """What it did."""
        n = len(self.structure)
        return Transition(self.structure, *(_unpacked(data, n) for data in self.packed))


class Deeds:
    """What was done and what was taken back, the latest last."""

    def __init__(self) -> None:
        self._done: list[Deed] = []
        self._undone: list[Deed] = []
        self._known: weakref.WeakValueDictionary[Any, Deed] = weakref.WeakValueDictionary()
        self._latest: object = None  # the action that the latest deed is of, or part of

    @property
    def undoable(self) -> str | None:
        """Label of what `back` would give."""
        return self._done[-1].label if self._done else None

    @property
    def redoable(self) -> str | None:
        """Label of what `again` would give."""
        return self._undone[-1].label if self._undone else None

    def add(self, label: str, transition: Transition, action: object = None) -> None:
        """Note a change. Those of one action that follow each other are one deed."""
        last = self._done[-1] if self._done else None
        is_more = action is not None and action is self._latest
        if is_more and last is not None and last.structure is transition.structure:
            transition = last.transition().then(transition)
            self._done.pop()
        self._latest = action
        if not transition:
            return
        self._undone.clear()
        packed = tuple(map(_packed, transition.masks))
        key = (label, transition.structure, packed)
        deed = self._known.get(key)
        if deed is None:
            deed = self._known[key] = Deed(label, transition.structure, packed)
        self._done.append(deed)

    def back(self) -> Deed | None:
        """Return the latest deed that was not taken back, which it is from now on."""
        return _move(self._done, self._undone)

    def again(self) -> Deed | None:
        """Return the deed that was taken back last, which it is no more."""
        return _move(self._undone, self._done)


def _move(source: list[Deed], target: list[Deed]) -> Deed | None:
    if not source:
        return None
    target.append(source.pop())
    return target[-1]


def _packed(mask: np.ndarray) -> bytes:
    """Return a mask as bytes: where it changes, or its bits, whatever is less."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)).astype(np.int32)
    if edges.nbytes <= len(mask) // 8:
        return b"e" + edges.tobytes()
    return b"b" + np.packbits(mask).tobytes()


def _unpacked(data: bytes, n: int) -> np.ndarray:
    if data[:1] == b"b":
        return np.unpackbits(np.frombuffer(data, np.uint8, offset=1), count=n).astype(bool)
    steps = np.zeros(n + 1, np.int8)
    edges = np.frombuffer(data[1:], np.int32)
    steps[edges[::2]] = 1
    steps[edges[1::2]] = -1
    return np.cumsum(steps[:n], dtype=np.int8).astype(bool)
