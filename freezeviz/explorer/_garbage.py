"""The garbage collector, kept from looking through a large model while somebody waits."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_was_enabled = False


@contextmanager
def no_collection(keep: bool = False) -> Iterator[None]:
    """Put collecting off to the end of the block, for all threads.

    Of 10,000 modules a collection takes 50 ms, as long as freezing them; building their rows took a
    third longer. Nothing of that size becomes garbage here.

    Parameters
    ----------
    keep : bool
        What is made in the block stays. Then it counts as old at once: else the next collection,
        just after the block, would look through all of it.
    """
    global _inside, _was_enabled
    with _lock:
        if _inside == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            # Frozen and back again, everything is of the oldest generation; not if somebody has
            # something frozen, which would not be any more.
            if keep and gc.get_freeze_count() == 0:
                gc.freeze()
                gc.unfreeze()
            _inside -= 1
            if _inside == 0 and _was_enabled:
                gc.enable()
