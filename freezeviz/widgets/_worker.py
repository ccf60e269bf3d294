"""A thread beside the kernel's loop, for what takes longer than a click may wait."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from freezeviz.widgets._loop import MainLoop

_log = logging.getLogger("freezeviz")


class Worker:
    """Does work in a thread of its own, one thing after the other; without a loop, at once.

    Work that raises is logged, and the next goes on: nobody waits for it who could be told.

    Parameters
    ----------
    loop : MainLoop
    name : str
        Of the thread.
    """

    def __init__(self, loop: MainLoop, name: str) -> None:
        self._loop = loop
        self._threads = ThreadPoolExecutor(1, f"freezeviz-{name}")
        self._is_open = True

    @property
    def is_apart(self) -> bool:
        """Whether work is done in a thread of its own."""
        return self._loop.loop is not None

    def do(self, work: Callable[[], object]) -> None:
        """Have `work` done, soon."""
        if not self.is_apart:
            self._try(work)
        elif self._is_open:
            self._threads.submit(self._try, work)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:
            _log.exception("work for the explorer's page failed")

    def close(self) -> None:
        """Begin nothing more."""
        self._is_open = False
        self._threads.shutdown(wait=False, cancel_futures=True)
