"""Those who want to hear of every event, and what happens when one of them fails."""

from collections.abc import Callable

from freezeviz.errors import ObserverWarning, warn_or_log
from freezeviz.train._events import Event

Observer = Callable[[Event], object]


class Observers:
    """Functions that get every event; one that raises is reported once and dropped."""

    def __init__(self) -> None:
        # A tuple that is replaced, not changed: others may come and go while it is gone through.
        self._all: tuple[Observer, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anybody."""
        return bool(self._all)

    def add(self, observer: Observer) -> Callable[[], None]:
        """Add one, and return a function that removes it."""

        # A fresh entry even for a function that is there already: each is removed by itself.
        def entry(event: Event) -> object:
            return observer(event)

        entry.__qualname__ = getattr(observer, "__qualname__", repr(observer))
        self._all = (*self._all, entry)
        return lambda: self._remove(entry)

    def _remove(self, entry: Observer) -> None:
        self._all = tuple(other for other in self._all if other is not entry)

    def notify(self, event: Event) -> None:
        """Give an event to all of them."""
        for entry in self._all:
            try:
                entry(event)
            except Exception as error:
                self._remove(entry)
                self._report(entry, error)

    def _report(self, entry: Observer, error: Exception) -> None:
        message = (
            f"the observer {entry.__qualname__} raised {type(error).__name__}: {error}. "
            "It gets no more events; the run goes on."
        )
        warn_or_log(message, ObserverWarning, error)
