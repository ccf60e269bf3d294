"""Watching a trace from outside: for whom each node is made, and for whom backward works.

autodiff knows arrays, not layers. Who does know them (a probe of a model) puts a `Watch` in force;
tapes begun under it ask on whose behalf they record, and tell when they work for whom.
"""

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np

from freezeviz.backend import is_array


class Watch(Protocol):
    """What a tape asks and tells."""

    def is_open(self) -> bool:
        """Whether it wants to hear of what this thread computes."""
        ...

    def owner(self) -> Any:
        """Return on whose behalf is computed just now."""
        ...

    def begin_backward(self, pulls: Sequence[Any], owners: Sequence[Any]) -> None:
        """Hear of all that a tape holds, in the order in which it was made."""
        ...

    def work_for(self, owner: Any) -> None:
        """Hear on whose behalf the backward pass works from now on."""
        ...

    def end_backward(self) -> None:
        """Hear that a backward pass is through."""
        ...


current: ContextVar[Watch | None] = ContextVar("freezeviz_watch", default=None)


def watching() -> Watch | None:
    """Return the watch in force, if it is of this thread."""
    watch = current.get()
    return watch if watch is not None and watch.is_open() else None


def kept(pull: Any) -> Iterator[Any]:
    """Yield the arrays that a node's pullback keeps alive."""
    # A primitive's pullback has its rules with what each keeps, a fused one all in one.
    held = [pull.pulls if hasattr(pull, "pulls") else pull.kept]
    while held:
        item = held.pop()
        kind = type(item)
        # Exact types: a `Like` is a tuple, too, and holds no array.
        if kind is tuple or kind is list:
            held.extend(reversed(item))
        elif kind is np.ndarray or is_array(item):
            yield item
        elif kind is dict:
            held.extend(reversed(item.values()))
