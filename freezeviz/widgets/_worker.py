"""A thread beside the kernel's loop, for what takes longer than a click may wait."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from freezeviz.widgets._loop import MainLoop


class Worker:
    """Does work in a thread of its own, one thing after the other; without a loop, at once.

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

    def do(self, work: Callable[[], object]) -> None:
        """Have `work` done; it must not raise."""
        if self._loop.loop is None:
            work()
        elif self._is_open:
            self._threads.submit(work)

    def close(self) -> None:
        """Begin nothing more."""
        self._is_open = False
        self._threads.shutdown(wait=False, cancel_futures=True)
