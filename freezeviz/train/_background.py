"""A run in a thread of its own."""

import contextvars
import logging
import threading
from collections.abc import Callable


class BackgroundRun:
    """A thread that does some work and keeps the exception that ended it.

    It is a daemon, so that a run never keeps a kernel from exiting, and it works in a copy of the
    context of whoever starts it: NumPy's error state goes with it, output appears in the cell that
    started it, and ipykernel 7.0 ends threads that have none of its variables.

    Parameters
    ----------
    work : callable
    advice : str
        What the log adds when it failed.
    """

    def __init__(self, work: Callable[[], object], advice: str) -> None:
        self.error: BaseException | None = None
        self._work = work
        self._advice = advice
        self._over = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._do,), name="freezeviz-run", daemon=True
        )
        self._thread.start()

    def _do(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error
            logging.getLogger("freezeviz").error(
                "The run in the background failed (%s: %s). %s",
                type(error).__name__,
                error,
                self._advice,
            )
        finally:
            self._over.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, and return whether it is there."""
        # Not with the thread's own join: interrupted, it takes the thread for ended from then on
        # (Python 3.11).
        return self._over.wait(timeout)
