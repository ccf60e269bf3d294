"""Letting other threads have their turn."""

from threading import active_count
from time import perf_counter, sleep

_SELDOM = 0.01  # seconds between offers while nobody seems to want a turn
_OFTEN = 0.002  # and while somebody does
_BRIEF = 5e-5  # long enough for a thread that waits to wake up and take it
_TAKEN = 1e-3  # an offer that took this long was used


class Turns:
    """Offers Python's global lock to other threads between two steps.

    A step on small arrays gives the lock away many times, for microseconds each: too short for a
    waiting thread to wake up in, but each time its wait begins anew, so it never comes to insist on
    its turn (which it does after 5 ms of waiting). Measured beside a run of 2,500 steps a second, a
    picture that takes 0.1 s took up to 14 s in the main thread. With these offers it took 0.3 s at
    most, and they cost that run 3 %. Where there is no other thread, none are made.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def offer(self) -> None:
        """Step aside for a moment, if it is time to and there is somebody else."""
        begin = perf_counter()
        if begin < self._next:
            return
        if active_count() == 1:
            self._next = begin + _SELDOM
            return
        sleep(_BRIEF)
        end = perf_counter()
        self._next = end + (_OFTEN if end - begin > _TAKEN else _SELDOM)
