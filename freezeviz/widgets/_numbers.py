"""The numbers of a dashboard, gathered from a trainer's events as they come."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from freezeviz.train import (
    Event,
    Failed,
    NonFiniteLoss,
    RunStarted,
    StepDone,
    Trainer,
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
    last_epoch: int = 0

    @classmethod
    def of(cls, trainer: Trainer) -> "Numbers":
        """Return the numbers of what was before anybody listened."""
        numbers = cls()
        for event in trainer.events:
            numbers.take(event)
        steps = trainer.history.steps
        numbers.losses.extend(steps["loss"][-RECENT_STEPS:].tolist())
        numbers.accuracies.extend(steps["accuracy"][-RECENT_STEPS:].tolist())
        return numbers

    def take(self, event: Event) -> None:
        """Keep what an event tells."""
        if isinstance(event, StepDone):
            self.losses.append(event.loss)
            self.accuracies.append(event.accuracy)
        elif isinstance(event, Validated):
            self.validation_loss, self.validation_accuracy = event.loss, event.accuracy
        elif isinstance(event, RunStarted):
            self.last_epoch = event.epoch + event.epochs
            self.failed = self.not_finite = None
        elif isinstance(event, Failed):
            self.failed = event
        elif isinstance(event, NonFiniteLoss) and self.not_finite is None:
            self.not_finite = event

    def as_trait(self, trainer: Trainer) -> dict[str, Any]:
        """Return the `run` trait: plain values, None for what is not known (yet) or not finite."""
        failed, bad = self.failed, self.not_finite
        return {
            "status": trainer.status,
            "step": trainer.step,
            "planned": trainer.planned_steps,
            "epoch": trainer.epoch,
            "epochs": self.last_epoch,
            "rate": round(trainer.rate, 1),
            "loss": _mean(self.losses),
            "accuracy": _mean(self.accuracies),
            "validation_loss": _finite(self.validation_loss),
            "validation_accuracy": _finite(self.validation_accuracy),
            "error": failed and f"After step {failed.step:,}: {failed.message}",
            "not_finite": bad
            and (
                f"It became {bad.loss} at step {bad.step:,}. Parameters trained with such a loss "
                "are rarely of use: stop, and start again with a smaller learning rate."
            ),
        }


def _mean(values: deque[Any]) -> float | None:
    known = list(values)
    return None if not known or None in known else _finite(sum(known) / len(known))


def _finite(value: float | None) -> float | None:
    # NaN is no JSON: a browser would refuse the whole message.
    return value if value is not None and abs(value) < float("inf") else None
