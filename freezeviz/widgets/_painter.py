"""Who draws the plot, when, and in which thread."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from freezeviz.train import History
from freezeviz.widgets._pace import Pace

# Of the time while a run goes on: about what it loses by being drawn, as both need the interpreter.
# tests/benchmarks/bench_plot_overhead.py measures it.
SHARE, SHORTEST = 0.02, 0.25
FIRST_AFTER = 0.6  # seconds; a curve of three steps says nothing, and the next would have to wait


class Painter:
    """Draws one history, one picture at a time.

    Usually in a thread of its own: a drawing takes a tenth of a second, on a busy machine several,
    and the kernel's loop has clicks to pass on.

    Parameters
    ----------
    history : History
    done : callable
        Called, in that thread, when there is a new picture or a `problem`.

    Attributes
    ----------
    busy : bool
        Its thread is drawing.
    problem : Exception or None
        Why nothing is drawn any more.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """

    def __init__(self, history: History, done: Callable[[], object]) -> None:
        from freezeviz.widgets._plot import Plot

        self.problem: Exception | None = None
        self.pace = Pace(SHARE, SHORTEST)
        self._plot = Plot(history)
        self._history = history
        self._done = done
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "freezeviz-plot")
        self.busy = False
        self._picture: tuple[bytes, str] | None = None
        # The first one loads fonts, which takes long: now, and not in the middle of training.
        self._plot.png()

    def in_time(self, *, eager: bool = False) -> bool:
        """Whether its share of the time is not used up."""
        return self.pace.ready(time.perf_counter(), eager=eager)

    def run_begins(self) -> None:
        """Let a new curve grow a little before it is drawn."""
        if not len(self._history):
            self.pace.next = max(self.pace.next, time.perf_counter() + FIRST_AFTER)

    def draw(self, width: int, ratio: float) -> None:
        """Draw now, in this thread; a drawing under way is waited for."""
        if self.problem is not None or not len(self._history):
            return
        with self._lock:
            # The processor's time: the clock would count what training does in between.
            began, worked = time.perf_counter(), time.thread_time()
            try:
                self._picture = (self._plot.png(width, ratio), self._plot.text())
            except Exception as error:
                self.problem = error  # a picture is not worth the rest, let alone the run
            self.pace.spent(began, time.thread_time() - worked)

    def draw_soon(self, width: int, ratio: float) -> None:
        """Draw in a thread of its own, unless that is at it already."""
        if not self.busy:
            self.busy = True
            self._thread.submit(self._draw_and_tell, width, ratio)

    def _draw_and_tell(self, width: int, ratio: float) -> None:
        try:
            self.draw(width, ratio)
        finally:
            self.busy = False
        self._done()

    def take(self) -> tuple[bytes, str] | None:
        """The newest picture and its text, if it was not taken already."""
        picture, self._picture = self._picture, None
        return picture

    def close(self) -> None:
        """Draw no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
