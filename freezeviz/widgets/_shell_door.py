"""Clicks during a cell that keeps the kernel's main thread busy.

A click is a comm message on the shell channel. While a cell runs, the kernel lets those of the main
thread wait: since ipykernel 7.1 JupyterLab may send them to a subshell, a thread of its own, but
since 7.4 the kernel sends them back to the main thread. So a loop that blocks its cell looks at
them itself, between its steps:

1. The shell channel's socket is read all the time: since ipykernel 7 by a thread of its own, before
   by whoever flushes its stream. What is read goes to a callback, which this stands before.
2. While a door is open, custom messages of our widgets are kept back there; everything else passes.
3. Between two steps the loop gives what was kept back to the widgets, in its own thread, which is
   the one that they are made for. So does the kernel's event loop, where an async cell lets it.
"""

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_log = logging.getLogger("freezeviz")
_FLUSH = 0.02  # seconds between looks at the socket, where no thread reads it


class ShellDoor:
    """What stands before the callback of one kernel's shell channel.

    Parameters
    ----------
    kernel : ipykernel's

    Raises
    ------
    AttributeError
        If this kernel is built in another way.
    """

    def __init__(self, kernel: Any) -> None:
        self._session = kernel.session
        self._comms = kernel.comm_manager
        self._stream = kernel.shell_stream
        self._loop = kernel.io_loop
        self._pass_on: Callable[[Any], Any] = self._stream._recv_callback
        if not callable(self._pass_on):
            raise AttributeError("the kernel's shell stream has no callback")
        self._reads_itself = getattr(kernel, "shell_channel_thread", None) is None
        self._flushed = 0.0
        self._lock = threading.Lock()  # of the two below
        self._open: list[Callable[[str], bool]] = []
        self._kept: deque[tuple[str, dict[str, Any]]] = deque()
        self._stream.on_recv(self._receive, copy=False)

    @contextmanager
    def opened(self, wanted: Callable[[str], bool]) -> Iterator[Callable[[], None]]:
        """Keep back messages for comms whose id is `wanted`; gives a function that hands them over.

        It is to be called in the main thread, and never raises.
        """
        with self._lock:
            self._open.append(wanted)
        try:
            yield self.hand_over
        finally:
            with self._lock:
                self._open.remove(wanted)
            self.hand_over()

    def hand_over(self) -> None:
        """Give the widgets what was kept back for them."""
        if self._reads_itself and self._open and time.monotonic() > self._flushed + _FLUSH:
            self._flushed = time.monotonic()
            self._stream.flush(1)  # zmq.POLLIN
        while self._kept:
            comm_id, message = self._kept.popleft()
            comm = self._comms.get_comm(comm_id)
            try:
                if comm is not None:
                    comm.handle_msg(message)
            except Exception:
                _log.exception("a message of the page could not be handled")

    def _receive(self, frames: Any) -> Any:
        """Keep a message back, or let it pass."""
        if self._open:
            try:
                found = self._ours(frames)
            except Exception:  # a message that the kernel will complain of
                found = None
            if found is not None:
                with self._lock:
                    if any(wanted(found[0]) for wanted in self._open):
                        self._kept.append(found)
                        self._loop.add_callback(self.hand_over)
                        return None
        return self._pass_on(frames)

    def _ours(self, frames: Any) -> tuple[str, dict[str, Any]] | None:
        """Return a custom message of a widget, with the id of its comm."""
        _, parts = self._session.feed_identities(frames, copy=False)
        message = self._session.deserialize(parts, content=False, copy=False)
        if message["header"]["msg_type"] != "comm_msg":
            return None
        content = self._session.unpack(message["content"])
        if content.get("data", {}).get("method") != "custom":
            return None
        return content["comm_id"], message | {"content": content}


# One a kernel, for good: taking it away again could only be done in the thread that reads.
_doors: "weakref.WeakKeyDictionary[Any, ShellDoor]" = weakref.WeakKeyDictionary()


def shell_door(kernel: Any) -> ShellDoor | None:
    """Return the door of a kernel; None where the kernel is not built like ipykernel."""
    try:
        door = _doors.get(kernel)
        if door is None:
            door = _doors[kernel] = ShellDoor(kernel)
        return door
    except (AttributeError, TypeError):
        return None
