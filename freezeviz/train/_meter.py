"""Which steps of a run are measured, so that it costs little, and what happens if that fails."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from threading import Lock
from time import perf_counter, time
from typing import Any

from freezeviz.adapters import ModelAdapter, Probe
from freezeviz.errors import ObserverWarning, warn_or_log
from freezeviz.train._events import Event, FreezeChanged, Measured, RunStarted, StepDone
from freezeviz.train._measures import Measures
from freezeviz.train._observers import Observers
from freezeviz.train._pace import Pace

SHARE = 0.01  # of a run's time
SHORTEST = 0.2  # seconds between two measured steps: nobody reads faster


class _LeftEarly(BaseException):
    """Tells a probe that the step in hand will never be done."""


class Meter:
    """Measures some steps of a run while somebody watches, and the first after each freeze.

    A run calls `begin` before a step, `leave` and `taken` after it, or `abandon` if it comes to
    nothing. If measuring fails, it is reported once, and the run goes on without.

    Parameters
    ----------
    adapter : ModelAdapter
    observers : Observers
        Of the run: by these it hears of freezes.
    """

    def __init__(self, adapter: ModelAdapter, observers: Observers) -> None:
        self._adapter = adapter
        self._observers = observers
        self._lock = Lock()
        self._watchers = 0
        self._watching = ExitStack()
        self._measures: Measures | None = None
        self._pace = Pace(SHARE, SHORTEST)
        self._due = self._stale = self._failed = False
        self._open: AbstractContextManager[Probe] | None = None  # around the step in hand
        self._probe: Probe | None = None
        self._frozen: frozenset[str] = frozenset()
        self._began = self._cost = 0.0
        self._typical: float | None = None  # seconds of a step that is not measured

    @property
    def measures(self) -> Measures:
        """What was measured so far."""
        with self._lock:
            if self._measures is None:
                self._measures = Measures(self._adapter.snapshot())
            return self._measures

    # ---- watching --------------------------------------------------------------------------

    def watch(self) -> Callable[[], None]:
        """Let steps be measured until the function that this returns is called."""
        with self._lock:
            self._watchers += 1
            if self._watchers == 1:
                self._start()
        stopped = False

        def stop() -> None:
            nonlocal stopped
            with self._lock:
                if not stopped:
                    stopped = True
                    self._watchers -= 1
                    if not self._watchers:
                        self._watching.close()

        return stop

    def _start(self) -> None:
        self._watching.callback(self._observers.add(self._hear))
        self._due = True
        try:
            listen = getattr(self._adapter, "listen", None)
            if listen is not None:
                self._watching.enter_context(listen())
        except Exception as error:
            self._report(error)

    def _hear(self, event: Event) -> None:
        if isinstance(event, FreezeChanged):
            self._due = True
            self._typical = None  # steps take another time from now on
        elif isinstance(event, RunStarted):
            self._stale = True  # layers may have been replaced since the last run

    # ---- a step ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin to measure the step that comes, if it is time to."""
        if not self._watchers:
            return  # the usual case, once a step
        self.abandon()
        now = perf_counter()
        if not self._due and not self._pace.ready(now):
            return
        probing: Any = getattr(self._adapter, "probe", None)
        if probing is None or self._failed:
            return
        try:
            self._frozen = self._adapter.frozen()
            opened = probing()
            self._probe = opened.__enter__()
            self._open = opened
        except Exception as error:
            self._report(error)
        self._began, self._cost = now, perf_counter() - now

    def leave(self) -> None:
        """End to measure, if this step is measured."""
        opened, self._open = self._open, None
        if opened is None:
            return
        now = perf_counter()
        try:
            opened.__exit__(None, None, None)
        except Exception as error:
            self._probe = None
            self._report(error)
        self._cost += perf_counter() - now

    def abandon(self) -> None:
        """Measure no more: the step in hand failed, or is not going to be made."""
        opened, self._open, self._probe = self._open, None, None
        if opened is None:
            return
        reason = _LeftEarly()
        try:
            opened.__exit__(_LeftEarly, reason, None)
        except _LeftEarly:
            pass
        except Exception as error:
            self._report(error)

    def taken(self, done: StepDone) -> Measured | None:
        """Return what was measured of a step, if it was."""
        probe, self._probe = self._probe, None
        if probe is None:
            if math.isfinite(done.seconds):
                usual = done.seconds if self._typical is None else self._typical
                self._typical = 0.9 * usual + 0.1 * done.seconds
            return None
        now = perf_counter()
        measures = self.measures
        if self._stale or not measures.knows(probe):
            self._stale = False
            measures.restructure(self._adapter.snapshot())
        measures.take(probe, done.step, done.seconds, self._frozen)
        ratios = {
            path: probe.update_norm[path] / norm
            for path, norm in probe.weight_norm.items()
            if 0 < norm < math.inf and path in probe.update_norm
        }
        self._due = False
        slower = 0.0 if self._typical is None else max(0.0, done.seconds - self._typical)
        self._pace.spent(self._began, self._cost + slower + perf_counter() - now)
        return Measured(
            done.step,
            done.epoch,
            time(),
            gradient_norm=probe.gradient_norm,
            update_ratio=ratios,
            seconds=probe.seconds,
            saved_bytes=probe.saved_bytes,
            order=probe.order,
            needs_gradient=tuple(sorted(probe.needs_gradient)),
            memory=probe.memory,
        )

    def _report(self, error: Exception) -> None:
        self._failed = True
        message = (
            f"measuring the layers failed with {type(error).__name__}: {error}. "
            "The run goes on without measures."
        )
        warn_or_log(message, ObserverWarning, error)
