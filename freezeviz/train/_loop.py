"""The loop behind a `Trainer`."""

import time
from collections import deque
from collections.abc import Generator
from contextlib import suppress

from freezeviz.adapters import adapt
from freezeviz.errors import NothingTrainableWarning
from freezeviz.train import _commands as commands
from freezeviz.train import _events as events
from freezeviz.train._core import RunCore
from freezeviz.train._engine import Engine, LateOutcome, Outcome, read
from freezeviz.train._features import FeatureCache
from freezeviz.train._modes import modes_restored


class Loop(RunCore):
    """What a trainer is between its public methods; see `Trainer` for what the names mean."""

    def __init__(self, engine: Engine, stop_on_nonfinite: bool) -> None:
        super().__init__(adapt(engine.model))
        self.engine = engine
        self.model = engine.model
        self.steps_per_epoch = len(engine.train)
        self.stop_on_nonfinite = stop_on_nonfinite
        # On a GPU, a step that was launched and is not counted yet: its numbers are on their way.
        self._untold: LateOutcome | None = None
        self._told: deque[events.StepDone] = deque()

    @property
    def epoch(self) -> int:
        return self.step // self.steps_per_epoch

    def end_of(self, epochs: int) -> int:
        """Return the step at which a run of so many epochs ends: always the end of an epoch."""
        return (self.epoch + epochs) * self.steps_per_epoch

    # ---- a run from start to end -------------------------------------------------------------

    def abandon(self) -> None:
        """End a run that was opened and cannot begin."""
        self.end("stopped", events.Stopped)

    def open_and_run(
        self, epochs: int, ahead: bool = False
    ) -> Generator[events.StepDone, None, None]:
        """Yield the steps of a run in the foreground, which begins with the first of them."""
        self.open(self.end_of(epochs), background=False)
        yield from self.run(epochs, ahead)

    def run(self, epochs: int, ahead: bool = False) -> Generator[events.StepDone, None, None]:
        """Yield the steps of a run that was opened.

        With `ahead`, a step on a GPU may be told of when the next one has been launched: nobody
        looks at the model in between.
        """
        last = self.end_of(epochs)
        try:
            if self.driver is not None:
                self.enter_doors()
            with modes_restored(self.model):
                self.engine.place()
                self.engine.consider()
                self.model.train()
                self.begin(epochs)
                while self.step < last:
                    self.attend()
                    if self.stopping:
                        break
                    self._make_step(ahead)
                    while self._told:
                        yield self._told.popleft()
                    self.turns.offer()
                self._tell()
                while self._told:
                    yield self._told.popleft()
        except Exception as error:
            self._tell_what_can_be()
            self.engine.close()
            self.fail(error)
            raise
        except BaseException:  # an interrupt, or the iterator was closed
            self._tell_what_can_be()
            self.engine.close()
            self.end("stopped", events.Stopped)
            raise
        self.engine.close()
        if self.step < last:
            self.end("stopped", events.Stopped)
        else:
            self.end("finished", events.Finished)

    # ---- a step --------------------------------------------------------------------------------

    def _make_step(self, ahead: bool) -> None:
        if not vars(self.model)["_training"]:  # somebody evaluated it between two steps
            self.model.train()
        features = self.engine.features
        ahead = ahead and not self.observers and (features is None or features.settled)
        if not ahead:
            self._tell()
        if self._untold is None:
            self.step_begins()
        launched = self.step + (self._untold is not None)
        outcome = self.engine.step(launched, self.stop_on_nonfinite)
        self._tell()  # the step before: the GPU has this one to go on with
        is_last = (self.step + 1) % self.steps_per_epoch == 0
        if ahead and not is_last and isinstance(outcome, LateOutcome):
            self._untold = outcome
        else:
            self._count(read(outcome))

    def _tell(self) -> None:
        """Count the step that is not counted yet, if there is one; waits for the GPU."""
        untold, self._untold = self._untold, None
        if untold is not None:
            self._count(untold.read())

    def _tell_what_can_be(self) -> None:
        """Do the same where something has gone wrong already, perhaps with the GPU."""
        with suppress(Exception):
            self._tell()
        self._told.clear()

    def _count(self, outcome: Outcome) -> None:
        done = self.step_done(outcome.loss, outcome.accuracy, outcome.metrics)
        if not outcome.trained:
            self.warn_once(
                NothingTrainableWarning,
                "every parameter is frozen: the run evaluates the loss and changes nothing",
            )
        self._check_loss(outcome.loss)
        is_last = self.step % self.steps_per_epoch == 0
        if self.engine.features is not None:
            self._tell_features(self.engine.features, done, is_last)
        if is_last:
            self._validate(done.epoch)
        self._told.append(done)

    def _check_loss(self, loss: float) -> None:
        advice = (
            "The run goes on: stop() ends it, stop_on_nonfinite=True does so by itself. "
            "A smaller learning rate may help."
        )
        if self.stop_on_nonfinite:
            advice = "The run stops; that step did not change the model."
        if self.check_loss(loss, advice) and self.stop_on_nonfinite:
            self.stopping = True

    def _tell_features(self, features: FeatureCache, done: events.StepDone, is_last: bool) -> None:
        features.pace.took(done.seconds)
        news = features.news(done, epoch_ended=is_last)
        if news is not None:
            self.publish(news)

    def _validate(self, epoch: int) -> None:
        if self.engine.validation is None:
            return
        self.model.eval()
        # Orders are carried out between batches, too: a long validation must not swallow clicks.
        outcome = self.engine.evaluate(self.engine.validation, self.step, self.attend)
        self.model.train()
        self.publish(
            events.Validated(
                self.step, epoch, time.time(), outcome.loss, outcome.accuracy, outcome.metrics
            )
        )

    # ---- orders --------------------------------------------------------------------------------

    def _carry_out(self, command: commands.Command) -> None:
        self._tell()  # what comes now comes after the steps that were launched
        super()._carry_out(command)

    def _apply_frozen(self, command: commands.SetFrozen) -> events.FreezeChanged:
        event = super()._apply_frozen(command)
        self.engine.consider()
        return event

    def _set_learning_rate(self, rate: float) -> None:
        self.engine.optimizer.learning_rate = rate

    def _reset_state(self, paths: tuple[str, ...]) -> None:
        self.engine.optimizer.reset(paths)
