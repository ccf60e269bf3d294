"""The numbers of a dashboard, gathered from a run's events as they come."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from freezeviz.train import (
    Event,
    Failed,
    FeaturesChanged,
    Logged,
    NonFiniteLoss,
    Run,
    RunStarted,
    StepDone,
    Validated,
)

# A single batch says little, and the last one of an epoch may hold three samples.
RECENT_STEPS = 20


@dataclass(slots=True)
class Numbers:
    """The newest of each kind. The training thread writes, one by one; the loop reads."""

    losses: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))
    accuracies: deque[float | None] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    failed: Failed | None = None
    not_finite: NonFiniteLoss | None = None
    features: str | None = None  # what is cached of frozen layers, in words
    last_epoch: int = 0

    @classmethod
    def of(cls, run: Run) -> "Numbers":
        """Return the numbers of what was before anybody listened."""
        numbers = cls()
        for event in run.events:
            numbers.take(event)
        for told in run.history.features[-1:]:
            numbers.take(told)
        steps = run.history.steps
        numbers.losses.extend(steps["loss"][-RECENT_STEPS:].tolist())
        numbers.accuracies.extend(steps["accuracy"][-RECENT_STEPS:].tolist())
        return numbers

    def take(self, event: Event) -> None:
        """Keep what an event tells."""
        if isinstance(event, StepDone):
            self.losses.append(event.loss)
            self.accuracies.append(event.accuracy)
        elif isinstance(event, Logged):  # of the last step, after it was made
            self.losses.append(event.metrics.get("loss", float("nan")))
            self.accuracies.append(event.metrics.get("accuracy"))
        elif isinstance(event, Validated):
            self.validation_loss, self.validation_accuracy = event.loss, event.accuracy
        elif isinstance(event, FeaturesChanged):
            self.features = event.text
        elif isinstance(event, RunStarted):
            self.last_epoch = event.epoch + event.epochs
            self.failed = self.not_finite = None
        elif isinstance(event, Failed):
            self.failed = event
        elif isinstance(event, NonFiniteLoss) and self.not_finite is None:
            self.not_finite = event

    def as_trait(self, run: Run) -> dict[str, Any]:
        """Return the `run` trait: plain values, None for what is not known (yet) or not finite."""
        failed, bad = self.failed, self.not_finite
        is_bad = any(last == run.step for _, last in run.history.bad_losses[-1:])
        return {
            "status": run.status,
            "step": run.step,
            "planned": run.planned_steps or 0,
            "epoch": run.epoch,
            "epochs": self.last_epoch,
            "rate": round(run.rate, 1),
            "can_start": run.can_start,
            "can_pause": run.can_pause,
            "can_stop": run.can_stop,
            "loss": None if is_bad else _mean(self.losses),
            "accuracy": _mean(self.accuracies),
            "validation_loss": _finite(self.validation_loss),
            "validation_accuracy": _finite(self.validation_accuracy),
            "features": self.features,
            "error": failed and f"After step {failed.step:,}: {failed.message}",
            "not_finite": bad
            and (
                f"It became {bad.loss} at step {bad.step:,}. Parameters trained with such a loss "
                "are rarely of use: stop, and start again with a smaller learning rate."
            ),
        }


def _mean(values: deque[Any]) -> float | None:
    """Return the mean of what is known: a loop of the user's need not tell every step's."""
    known = [value for value in list(values) if value is not None and value == value]
    return _finite(sum(known) / len(known)) if known else None


def _finite(value: float | None) -> float | None:
    # NaN is no JSON: a browser would refuse the whole message.
    return value if value is not None and abs(value) < float("inf") else None
