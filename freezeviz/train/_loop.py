"""The loop behind a `Trainer`: steps, orders between them, and the record of it all."""

import logging
import math
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from freezeviz.adapters import adapt
from freezeviz.errors import NonFiniteLossWarning, NothingTrainableWarning, RunError
from freezeviz.train import _commands as commands
from freezeviz.train import _events as events
from freezeviz.train._engine import Engine
from freezeviz.train._history import History
from freezeviz.train._modes import modes_restored
from freezeviz.train._observers import Observers
from freezeviz.train._turns import Turns

_log = logging.getLogger("freezeviz")
_POLL = 0.2  # seconds between looks for an interrupt while paused


class Loop:
    """What a trainer is between its public methods; see `Trainer` for what the names mean.

    One thread at a time drives it. Others only put commands into the mailbox, and read.
    """

    def __init__(self, engine: Engine, stop_on_nonfinite: bool) -> None:
        self.engine = engine
        self.model = engine.model
        self.adapter = adapt(engine.model)
        self.stop_on_nonfinite = stop_on_nonfinite
        self.history = History(self._parameter_paths(), self.adapter.frozen())
        self.events: list[events.Event] = []
        self.observers = Observers()
        self.mailbox = commands.Mailbox()
        self.step = self.planned_steps = 0
        self.status = "idle"
        self.error: Exception | None = None
        self.driver: int | None = None  # the thread that drives a run in the foreground
        self.interrupted = False
        self.times: deque[float] = deque(maxlen=256)  # of the latest steps
        self._turns = Turns()
        self._stopping = self._bad_loss = False
        self._warned: set[type[Warning]] = set()

    @property
    def steps_per_epoch(self) -> int:
        return len(self.engine.train)

    @property
    def epoch(self) -> int:
        return self.step // self.steps_per_epoch

    def end_of(self, epochs: int) -> int:
        """Return the step at which a run of so many epochs ends: always the end of an epoch."""
        return (self.epoch + epochs) * self.steps_per_epoch

    # ---- a run from start to end -------------------------------------------------------------

    def check_free(self) -> None:
        """Raise RunError if a run is under way."""
        if self.mailbox.is_open:
            raise RunError(
                f"a run is under way already (step {self.step} of {self.planned_steps}); "
                "stop() and wait(), or exhaust steps(), before the next"
            )

    def open(self, epochs: int, *, background: bool) -> None:
        """Make commands wait for steps, from now on; raise RunError if they do so already."""
        with self.mailbox.lock:
            self.check_free()
            self.mailbox.open()
        self.driver = None if background else threading.get_ident()
        self.status = "running"
        self.error = None
        self.planned_steps = self.end_of(epochs)
        self.interrupted = self._stopping = False
        self.times.clear()

    def abandon(self) -> None:
        """End a run that was opened and cannot begin."""
        self._end("stopped", events.Stopped)

    def open_and_run(self, epochs: int) -> Generator[events.StepDone, None, None]:
        """Yield the steps of a run in the foreground, which begins with the first of them."""
        self.open(epochs, background=False)
        yield from self.run(epochs)

    def run(self, epochs: int) -> Generator[events.StepDone, None, None]:
        """Yield the steps of a run that was opened."""
        try:
            with modes_restored(self.model):
                self._begin(epochs)
                while self.step < self.planned_steps:
                    self._attend()
                    if self._stopping:
                        break
                    yield self._make_step()
                    self._turns.offer()
        except Exception as error:
            self.error = error
            self._end("failed", events.Failed, f"{type(error).__name__}: {error}")
            raise
        except BaseException:  # an interrupt, or the iterator was closed
            self._end("stopped", events.Stopped)
            raise
        if self.step < self.planned_steps:
            self._end("stopped", events.Stopped)
        else:
            self._end("finished", events.Finished)

    def _begin(self, epochs: int) -> None:
        self.engine.place()
        self.model.train()
        self.history.parameters = self._parameter_paths()
        self._publish(events.RunStarted(*self._now(), epochs))
        # Freezing may have been done on the model itself since the last run: the record has to
        # tell, or its spans would be wrong and a replay of the events another run.
        frozen, known = self.adapter.frozen(), self.history.frozen
        for changed, direction in ((frozen - known, True), (known - frozen, False)):
            if changed:
                gone = sorted(changed.difference(self.history.parameters))  # a replaced layer's
                paths = (*(p for p in self.history.parameters if p in changed), *gone)
                what = commands.describe(None, paths)
                self._publish(self._freeze_event(what, paths, direction, "model"))

    def _end(self, status: str, kind: Callable[..., events.Event], *fields: Any) -> None:
        while True:
            while (command := self.mailbox.take()) is not None:
                if isinstance(command, commands.SetFrozen | commands.SetLearningRate):
                    try:
                        self._carry_out(command)
                    except Exception:
                        _log.exception("%r came at the end of a run and failed", command)
            with self.mailbox.lock:
                if self.mailbox.close():
                    self.status = status
                    event = kind(*self._now(), *fields)
                    self._record(event)
                    break
        self.observers.notify(event)

    # ---- a step --------------------------------------------------------------------------------

    def _make_step(self) -> events.StepDone:
        if not vars(self.model)["_training"]:  # somebody evaluated it between two steps
            self.model.train()
        outcome = self.engine.step(self.step, self.stop_on_nonfinite)
        epoch = self.epoch
        self.step += 1
        done = events.StepDone(self.step, epoch, time.time(), outcome.loss, outcome.accuracy)
        self.times.append(time.perf_counter())
        self._publish(done)
        if not outcome.trained:
            self._warn_once(
                NothingTrainableWarning,
                "every parameter is frozen: the run evaluates the loss and changes nothing",
            )
        self._check_loss(outcome.loss)
        if self.step % self.steps_per_epoch == 0:
            self._validate(epoch)
        return done

    def _check_loss(self, loss: float) -> None:
        bad = not math.isfinite(loss)
        if bad and not self._bad_loss:
            self._publish(events.NonFiniteLoss(*self._now(), loss))
            if self.stop_on_nonfinite:
                self._stopping = True
                advice = "The run stops; that step did not change the model."
            else:
                advice = (
                    "The run goes on: stop() ends it, stop_on_nonfinite=True does so by itself. "
                    "A smaller learning rate may help."
                )
            self._warn_once(
                NonFiniteLossWarning, f"the loss is {loss} at step {self.step}. {advice}"
            )
        self._bad_loss = bad

    def _validate(self, epoch: int) -> None:
        if self.engine.validation is None:
            return
        self.model.eval()
        # Orders are carried out between batches, too: a long validation must not swallow clicks.
        outcome = self.engine.evaluate(self.engine.validation, self.step, self._attend)
        self.model.train()
        self._publish(
            events.Validated(self.step, epoch, time.time(), outcome.loss, outcome.accuracy)
        )

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

    def _attend(self) -> None:
        """Carry out what was asked for since the last step. A pause is spent in here."""
        while True:
            self._stopping = self._stopping or self.interrupted
            waiting = self.status == "paused" and not self._stopping
            command = self.mailbox.take(_POLL if waiting else 0)
            if command is not None:
                self._carry_out(command)
            elif not waiting:
                return

    def _carry_out(self, command: commands.Command) -> None:
        event = self._apply(command)
        if event is not None:
            self._publish(event)

    def _apply(self, command: commands.Command) -> events.Event | None:
        match command:
            case commands.SetFrozen():
                return self._apply_frozen(command)
            case commands.SetLearningRate(rate):
                self.engine.optimizer.learning_rate = rate
                return events.LearningRateChanged(*self._now(), rate)
            case commands.Pause():
                if self.status == "paused":
                    return None
                self.status = "paused"
                return events.Paused(*self._now())
            case commands.Resume():
                if self.status != "paused":
                    return None
                self.status = "running"
                self.times.clear()  # the pause is no part of the rate
                return events.Resumed(*self._now())
            case commands.Stop():
                self._stopping = True
                return None

    def _apply_frozen(self, command: commands.SetFrozen) -> events.FreezeChanged:
        frozen = command.frozen
        if frozen is None:
            frozen = not self.adapter.frozen().issuperset(command.paths)
        hold = (True if command.hold else None) if frozen else False
        self.adapter.set_frozen(command.paths, frozen, hold)
        if command.reset_state:
            self.engine.optimizer.reset(command.paths)
        return self._freeze_event(
            command.what,
            command.paths,
            frozen,
            command.origin,
            hold=hold,
            requested=command.requested,
            reset_state=command.reset_state,
        )

    def _freeze_event(
        self, what: str, paths: tuple[str, ...], frozen: bool, origin: str, **more: Any
    ) -> events.FreezeChanged:
        now = self._now()
        label = f"{'freeze' if frozen else 'unfreeze'} {what}"
        fields = {"hold": None, "requested": now[2]} | more
        return events.FreezeChanged(
            *now, frozen=frozen, paths=paths, label=label, origin=origin, **fields
        )

    # ---- telling -------------------------------------------------------------------------------

    def _now(self) -> tuple[int, int, float]:
        return self.step, self.epoch, time.time()

    def _publish(self, event: events.Event) -> None:
        self._record(event)
        self.observers.notify(event)

    def _record(self, event: events.Event) -> None:
        if type(event) is not events.StepDone:
            self.events.append(event)
        self.history.add(event)

    def _warn_once(self, category: type[Warning], message: str) -> None:
        if category not in self._warned:
            self._warned.add(category)
            warnings.warn(message, category, stacklevel=2)

    def _parameter_paths(self) -> tuple[str, ...]:
        return tuple(info.path for info in self.adapter.snapshot().all_parameters())
