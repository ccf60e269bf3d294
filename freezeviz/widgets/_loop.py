"""The kernel's event loop: the one place from which a widget is touched."""

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


def running_kernel() -> Any:
    """Return the kernel this process is, or None: a plain Python, a terminal's IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None)


class MainLoop:
    """Calls functions in one thread: that of the kernel's loop, or where there is none, this one.

    Parameters
    ----------
    loop : asyncio loop or None
    thread : int
        The thread that runs it; without a loop, the only one in which functions are called.
    """

    def __init__(self, loop: "asyncio.AbstractEventLoop | None", thread: int) -> None:
        self.loop = loop
        self.thread = thread

    @classmethod
    def find(cls) -> "MainLoop":
        """Return the kernel's loop, or the one that runs here, or none."""
        import asyncio  # here: importing freezeviz must stay quick

        io_loop = getattr(running_kernel(), "io_loop", None)
        if io_loop is not None:
            # A cell may run in a subshell's thread, whose loop ends with it.
            return cls(io_loop.asyncio_loop, threading.main_thread().ident or 0)
        try:
            return cls(asyncio.get_running_loop(), threading.get_ident())
        except RuntimeError:
            return cls(None, threading.get_ident())

    @property
    def is_here(self) -> bool:
        """Whether this is the thread of the loop."""
        return threading.get_ident() == self.thread

    def soon(self, callback: Callable[[], object]) -> bool:
        """Have `callback` called: at once if this is the thread, else by the loop.

        Returns False if it never will be.
        """
        if self.is_here:
            callback()
            return True
        return self._ask(lambda loop: loop.call_soon_threadsafe(callback))

    def later(self, delay: float, callback: Callable[[], object]) -> bool:
        """Have `callback` called by the loop after so many seconds; False if it never will be."""
        return self._ask(
            lambda loop: loop.call_soon_threadsafe(loop.call_later, max(delay, 0.0), callback)
        )

    def _ask(self, how: "Callable[[asyncio.AbstractEventLoop], object]") -> bool:
        if self.loop is None or self.loop.is_closed():
            return False
        try:
            how(self.loop)
        except RuntimeError:  # closed in between: the process is about to end
            return False
        return True
