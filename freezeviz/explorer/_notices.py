"""Telling those who watch a controller what changed."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from freezeviz.errors import ObserverWarning, warn_or_log


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a view of the tree has to show.

    Attributes
    ----------
    kind : str
        ``"state"``: what is frozen or held; ``"pending"``: what was requested; ``"structure"``: the
        rows themselves; ``"selection"`` and ``"locks"``: which rows are selected or locked;
        ``"look"``: which are unfolded, the columns, the plots;
        ``"note"``: nothing changed, but somebody should know what the label says.
    paths : tuple of str
        Parameters whose state changed, or rows that were asked to; empty for a new structure.
    label : str
        A few words: ``"freeze layers.0"``.
    """

    kind: str
    paths: tuple[str, ...] = ()
    label: str = ""


class Notices:
    """Subscribers, and how they are told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._telling = threading.local()
        self._callbacks: tuple[Callable[[Change], object], ...] = ()

    def subscribe(self, callback: Callable[[Change], object]) -> Callable[[], None]:
        """Add a subscriber; returns a function that takes it back."""

        def entry(change: Change) -> object:
            return callback(change)

        with self._lock:
            self._callbacks = (*self._callbacks, entry)
        return lambda: self._unsubscribe(entry)

    def tell(self, change: Change) -> None:
        """Call all subscribers; one that raises is reported and gets no more calls.

        What a subscriber itself has to tell, all hear after what it was told.
        """
        waiting: deque[Change] | None = getattr(self._telling, "waiting", None)
        if waiting is not None:
            waiting.append(change)
            return
        self._telling.waiting = waiting = deque([change])
        try:
            while waiting:
                self._tell(waiting.popleft())
        finally:
            self._telling.waiting = None

    def _tell(self, change: Change) -> None:
        for entry in self._callbacks:
            try:
                entry(change)
            except Exception as error:
                self._unsubscribe(entry)
                message = (
                    f"a subscriber of the explorer raised {type(error).__name__}: {error}. "
                    "It gets no more calls."
                )
                warn_or_log(message, ObserverWarning, error)

    def _unsubscribe(self, entry: Callable[[Change], object]) -> None:
        with self._lock:
            self._callbacks = tuple(other for other in self._callbacks if other is not entry)
