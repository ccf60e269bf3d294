"""What a run reports: frozen dataclasses of plain values, never arrays, modules or widgets.

Of every event, `step` is the number of steps done when it happened, `epoch` the epoch (from 0) that
it belongs to, `time` the wall time in seconds since 1970.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    step: int
    epoch: int
    time: float


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run of so many epochs begins."""

    epochs: int


@dataclass(frozen=True, slots=True)
class StepDone(Event):
    """One step was made. Sent to observers, not kept in `Trainer.events`."""

    loss: float
    accuracy: float | None  # None where the targets are no classes


@dataclass(frozen=True, slots=True)
class Validated(Event):
    """An epoch ended with a pass over the validation data."""

    loss: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class FreezeChanged(Event):
    """Parameters were frozen or unfrozen; the next step is the first that knows it.

    Attributes
    ----------
    frozen : bool
    paths : tuple of str
        All parameters that were named, also those that were frozen (or trainable) already.
    label : str
        A short description for plots and logs: ``"freeze layers.0"``.
    hold : bool or None
        True: statistics and dropout are held too; False: let go; None: left as it was.
    origin : str
        Who asked: ``"code"``, ``"click"``, or ``"model"`` for a change made on the model itself,
        past the trainer, which is noticed at the start of the next run.
    requested : float
        Wall time of the request; `time` is that of its application.
    reset_state : bool
        The optimizer's state of these parameters was forgotten.
    """

    frozen: bool
    paths: tuple[str, ...]
    label: str
    hold: bool | None
    origin: str
    requested: float
    reset_state: bool = False


@dataclass(frozen=True, slots=True)
class LearningRateChanged(Event):
    """The optimizer got another learning rate."""

    learning_rate: float


@dataclass(frozen=True, slots=True)
class Paused(Event):
    """The run waits between two steps."""


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """The run goes on."""


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """The run ended early because somebody asked for it."""


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The run made all its steps."""


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """The run ended by an exception, of which this is the message."""

    message: str


@dataclass(frozen=True, slots=True)
class NonFiniteLoss(Event):
    """The loss became NaN or infinite; sent again only after it was finite in between."""

    loss: float
