"""The kernel's event loop: the one place from which a widget is touched."""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger("freezeviz")


def running_kernel() -> Any:
    """Return the kernel this process is, or None: a plain Python, a terminal's IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None)


class _Timer:
    """A function that is called once, when its time has come, by whoever comes first."""

    def __init__(self, due: float, callback: Callable[[], object]) -> None:
        self.due = due
        self._callbacks = [callback]

    @property
    def is_over(self) -> bool:
        return not self._callbacks

    def fire(self) -> None:
        if self._callbacks:
            self._callbacks.pop()()


class MainLoop:
    """Calls functions in one thread: that of the kernel's loop, or where there is none, this one.

    Where a cell keeps the loop from coming by, its thread calls `catch_up` now and then.

    Parameters
    ----------
    loop : asyncio loop or None
    thread : int
        The thread that runs it; without a loop, the only one in which functions are called.
    """

    def __init__(self, loop: "asyncio.AbstractEventLoop | None", thread: int) -> None:
        self.loop = loop
        self.thread = thread
        self._waiting: deque[Callable[[], object]] = deque()
        self._timers: tuple[_Timer, ...] = ()
        self._lock = threading.Lock()  # of the timers

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
        self._waiting.append(callback)
        return self._ask(lambda loop: loop.call_soon_threadsafe(self._do_waiting))

    def later(self, delay: float, callback: Callable[[], object]) -> bool:
        """Have `callback` called by the loop after so many seconds; False if it never will be."""
        delay = max(delay, 0.0)
        timer = _Timer(time.monotonic() + delay, callback)
        with self._lock:
            self._timers = (*(t for t in self._timers if not t.is_over), timer)
        return self._ask(lambda loop: loop.call_soon_threadsafe(loop.call_later, delay, timer.fire))

    def catch_up(self) -> None:
        """Call what waits for the loop and is due; in its thread, never raises."""
        try:
            self._do_waiting()
            for timer in self._timers:
                if timer.due <= time.monotonic():
                    timer.fire()
        except Exception:
            _log.exception("what waited for the kernel's loop failed")

    def _do_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft()()

    def _ask(self, how: "Callable[[asyncio.AbstractEventLoop], object]") -> bool:
        if self.loop is None or self.loop.is_closed():
            self._waiting.clear()
            return False
        try:
            how(self.loop)
        except RuntimeError:  # closed in between: the process is about to end
            return False
        return True
