"""The keyboard's interrupt, put off to the end of the step in hand."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_calls(first: Callable[[], None]) -> Iterator[None]:
    """Let the first interrupt call `first`; a second one raises KeyboardInterrupt as usual.

    Only the main thread gets interrupts; in any other this does nothing. The former handler comes
    back when the block ends.
    """
    # None: somebody outside Python handles the signal, and could not be put back. Ignored: the
    # process was started in the background of a shell, where Ctrl-C is meant for others.
    if threading.current_thread() is not threading.main_thread() or (
        (before := signal.getsignal(signal.SIGINT)) in (None, signal.SIG_IGN)
    ):
        yield
        return

    def handle(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        first()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
