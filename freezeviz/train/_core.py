"""What every run has, whoever drives its loop: orders between steps, observers, the record."""

import logging
import math
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np

from freezeviz.adapters import ModelAdapter
from freezeviz.errors import NonFiniteLossWarning, RunError
from freezeviz.train import _commands as commands
from freezeviz.train import _events as events
from freezeviz.train._history import History
from freezeviz.train._meter import Meter
from freezeviz.train._observers import Observers
from freezeviz.train._turns import Turns

# Something that brings in what was asked for while a loop keeps its thread from hearing of it.
# Entered when a loop in the foreground begins, and told whether it blocks its thread; what it gives
# is called between steps, in that thread. It gives None where it is of no use.
Door = Callable[[bool], AbstractContextManager[Callable[[], object] | None]]

_NOT_KEPT = {events.StepDone, events.Logged, events.Measured, events.FeaturesChanged}
_log = logging.getLogger("freezeviz")
_POLL = 0.2  # seconds between looks for an interrupt while paused
_POLL_DOORS = 0.03  # the same where a door has to be looked behind


class RunCore(ABC):
    """A run's state and what may happen to it between two steps.

    One thread at a time drives it. Others only put commands into the mailbox, and read.
    """

    def __init__(self, adapter: ModelAdapter) -> None:
        self.adapter = adapter
        self.history = History(self._parameter_paths(), adapter.frozen())
        self.events: list[events.Event] = []
        self.observers = Observers()
        self.meter = Meter(adapter, self.observers)
        self.history.measured_by(self._gradients)
        self.mailbox = commands.Mailbox()
        self.step = 0
        self.planned_steps: int | None = 0
        self.status = "idle"
        self.error: Exception | None = None
        self.driver: int | None = None  # the thread that drives a run in the foreground
        self.interrupted = self.stopping = False
        self.times: deque[float] = deque(maxlen=256)  # of the latest steps
        self.doors: tuple[Door, ...] = ()
        self._entered = ExitStack()
        self._pumps: list[Callable[[], object]] = []
        self.turns = Turns()
        self._in_step = False
        self._mark = 0.0  # when the step in hand began, or the last one ended
        self._bad_loss = False
        self._warned: set[type[Warning]] = set()

    @property
    @abstractmethod
    def epoch(self) -> int:
        """Complete epochs."""

    # ---- a run from start to end -------------------------------------------------------------

    def check_free(self) -> None:
        """Raise RunError if a run is under way."""
        if self.mailbox.is_open:
            of = "" if self.planned_steps is None else f" of {self.planned_steps}"
            raise RunError(
                f"a run is under way already (step {self.step}{of}); "
                "stop() and wait(), or exhaust steps(), before the next"
            )

    def open(self, planned_steps: int | None, *, background: bool) -> None:
        """Make commands wait for steps, from now on; raise RunError if they do so already."""
        with self.mailbox.lock:
            self.check_free()
            self.mailbox.open()
        self.driver = None if background else threading.get_ident()
        self.status = "running"
        self.error = None
        self.planned_steps = planned_steps
        self.interrupted = self.stopping = False
        self.times.clear()
        self._mark = time.perf_counter()

    def enter_doors(self, blocking: bool = True) -> None:
        """Let in what is asked for while this thread is busy with the run, until its end."""
        pumps = [self._entered.enter_context(door(blocking)) for door in self.doors]
        self._pumps = [pump for pump in pumps if pump is not None]

    @property
    def is_heard(self) -> bool:
        """Whether the thread of the loop hears of orders between its steps."""
        return bool(self._pumps)

    def begin(self, epochs: int) -> None:
        """Tell that the run begins, and record what was frozen past it since the last one."""
        self.history.parameters = self._parameter_paths()
        self.publish(events.RunStarted(*self.now(), epochs))
        # Freezing may have been done on the model itself since the last run: the record has to
        # tell, or its spans would be wrong and a replay of the events another run.
        frozen, known = self.adapter.frozen(), self.history.frozen
        for changed, direction in ((frozen - known, True), (known - frozen, False)):
            if changed:
                gone = sorted(changed.difference(self.history.parameters))  # a replaced layer's
                paths = (*(p for p in self.history.parameters if p in changed), *gone)
                what = commands.describe(None, paths)
                self.publish(self._freeze_event(what, paths, direction, "model"))

    def end(self, status: str, kind: Callable[..., events.Event], *fields: Any) -> None:
        """End the run: carry out what came at the very end, and tell."""
        self.step_left()
        while True:
            for pump in self._pumps:
                pump()
            while (command := self.mailbox.take()) is not None:
                if isinstance(command, commands.SetFrozen | commands.SetLearningRate):
                    try:
                        self._carry_out(command)
                    except Exception:
                        _log.exception("%r came at the end of a run and failed", command)
            with self.mailbox.lock:
                if self.mailbox.close():
                    self.status = status
                    event = kind(*self.now(), *fields)
                    self._record(event)
                    break
        self._pumps = []
        self._entered.close()
        self.observers.notify(event)

    def fail(self, error: Exception) -> None:
        """End the run by an exception."""
        self.error = error
        self.end("failed", events.Failed, f"{type(error).__name__}: {error}")

    # ---- steps ---------------------------------------------------------------------------------

    @property
    def in_step(self) -> bool:
        """Whether a step has begun that is not done."""
        return self._in_step

    def step_begins(self) -> None:
        """Note that a step begins, in the thread that makes it."""
        self.step_may_begin()
        self._in_step = True

    def step_may_begin(self) -> None:
        """Note that what comes now is the next step, if there is one: nobody tells."""
        self.meter.begin()
        self._mark = time.perf_counter()

    def step_left(self) -> None:
        """Note that the step in hand, if there is one, is not going to be done."""
        self._in_step = False
        self.meter.abandon()

    def step_done(
        self, loss: float, accuracy: float | None, metrics: Mapping[str, float]
    ) -> events.StepDone:
        """Count a step and tell of it. One that did not begin took all the time since the last."""
        now = time.perf_counter()
        seconds = now - self._mark
        self._in_step, self._mark = False, now
        self.meter.leave()
        epoch = self.epoch
        self.step += 1
        done = events.StepDone(self.step, epoch, time.time(), loss, accuracy, metrics, seconds)
        self.times.append(now)
        self.publish(done)
        measured = self.meter.taken(done)
        if measured is not None:
            self.publish(measured)
        return done

    def check_loss(self, loss: float, advice: str) -> bool:
        """Tell when a loss is not finite, once until it was; returns whether that is news."""
        bad = not math.isfinite(loss)
        news, self._bad_loss = bad and not self._bad_loss, bad
        if news:
            self.publish(events.NonFiniteLoss(*self.now(), loss))
            self.warn_once(
                NonFiniteLossWarning, f"the loss is {loss} at step {self.step}. {advice}"
            )
        return news

    # ---- orders --------------------------------------------------------------------------------

    def request(self, command: commands.Command) -> None:
        """Have a command carried out: between two steps if a run is under way, else at once."""
        with self.mailbox.lock:
            if self.mailbox.put(command):
                return
            event = self._apply(command)
            if event is not None:
                self._record(event)
        if event is not None:
            self.observers.notify(event)

    def attend(self) -> None:
        """Carry out what was asked for since the last step. A pause is spent in here."""
        while self.attend_once():
            self.mailbox.wait(_POLL_DOORS if self._pumps else _POLL)

    def attend_once(self) -> bool:
        """Carry out what is there, without waiting; returns whether the run is to pause."""
        for pump in self._pumps:
            pump()
        while (command := self.mailbox.take()) is not None:
            self._carry_out(command)
        self.stopping = self.stopping or self.interrupted
        return self.status == "paused" and not self.stopping

    def _carry_out(self, command: commands.Command) -> None:
        event = self._apply(command)
        if event is not None:
            self.publish(event)

    def _apply(self, command: commands.Command) -> events.Event | None:
        match command:
            case commands.SetFrozen():
                return self._apply_frozen(command)
            case commands.SetLearningRate(rate):
                self._set_learning_rate(rate)
                return events.LearningRateChanged(*self.now(), rate)
            case commands.Pause():
                if self.status == "paused":
                    return None
                self.status = "paused"
                return events.Paused(*self.now())
            case commands.Resume():
                if self.status != "paused":
                    return None
                self.status = "running"
                self.times.clear()  # the pause is no part of the rate
                return events.Resumed(*self.now())
            case commands.Stop():
                self.stopping = True
                return None

    def _apply_frozen(self, command: commands.SetFrozen) -> events.FreezeChanged:
        frozen = command.frozen
        if frozen is None:
            frozen = not self.adapter.frozen().issuperset(command.paths)
        hold = commands.hold_of(frozen, command.hold, command.let_go)
        self.adapter.set_frozen(command.paths, frozen, hold)
        if command.reset_state:
            self._reset_state(command.paths)
        return self._freeze_event(
            command.what,
            command.paths,
            frozen,
            command.origin,
            hold=hold,
            requested=command.requested,
            reset_state=command.reset_state,
            label=command.label,
        )

    def _freeze_event(
        self,
        what: str,
        paths: tuple[str, ...],
        frozen: bool,
        origin: str,
        label: str = "",
        **more: Any,
    ) -> events.FreezeChanged:
        now = self.now()
        label = label or f"{'freeze' if frozen else 'unfreeze'} {what}"
        fields = {"hold": None, "requested": now[2]} | more
        return events.FreezeChanged(
            *now, frozen=frozen, paths=paths, label=label, origin=origin, **fields
        )

    def _set_learning_rate(self, rate: float) -> None:
        raise NotImplementedError  # only asked of runs that have an optimizer

    def _reset_state(self, paths: tuple[str, ...]) -> None:
        raise NotImplementedError

    # ---- telling -------------------------------------------------------------------------------

    def now(self) -> tuple[int, int, float]:
        """Step, epoch and time: the beginning of every event."""
        return self.step, self.epoch, time.time()

    def publish(self, event: events.Event) -> None:
        """Record an event and give it to the observers."""
        self._record(event)
        self.observers.notify(event)

    def _record(self, event: events.Event) -> None:
        if type(event) not in _NOT_KEPT:
            self.events.append(event)
        self.history.add(event)

    def warn_once(self, category: type[Warning], message: str) -> None:
        """Give a warning of a kind that this run did not give before."""
        if category not in self._warned:
            self._warned.add(category)
            warnings.warn(message, category, stacklevel=3)

    def _gradients(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        measures = self.meter.measures
        return measures.parameters, *measures.gradients

    def _parameter_paths(self) -> tuple[str, ...]:
        return tuple(info.path for info in self.adapter.snapshot().all_parameters())
