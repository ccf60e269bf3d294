"""A run in a thread of its own."""

import contextvars
import logging
import threading
from collections.abc import Iterator


class BackgroundRun:
    """A thread that drives a run's steps and keeps the exception that ended them.

    It is a daemon, so that a run never keeps a kernel from exiting, and it works in a copy of the
    context of whoever starts it: NumPy's error state goes with it, output appears in the cell that
    started it, and ipykernel 7.0 ends threads that have none of its variables.
    """

    def __init__(self, steps: Iterator[object]) -> None:
        self.error: BaseException | None = None
        self._steps = steps
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._drive,), name="freezeviz-run", daemon=True
        )
        self._thread.start()

    def _drive(self) -> None:
        try:
            for _ in self._steps:
                pass
        except BaseException as error:
            self.error = error
            logging.getLogger("freezeviz").error(
                "The run in the background failed (%s: %s). trainer.wait() raises it.",
                type(error).__name__,
                error,
            )

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, and return whether it is there."""
        self._thread.join(timeout)
        return not self._thread.is_alive()
