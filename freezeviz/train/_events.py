"""What a run reports: frozen dataclasses of plain values, never arrays, modules or widgets.

Of every event, `step` is the number of steps done when it happened, `epoch` the epoch (from 0) that
it belongs to, `time` the wall time in seconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    step: int
    epoch: int
    time: float


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run of so many epochs begins; of 0, where nobody knows how many."""

    epochs: int


def _none() -> dict[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class StepDone(Event):
    """One step was made. Sent to observers, not kept in `Trainer.events`.

    Attributes
    ----------
    loss : float
        NaN where a loop of the user's logged none.
    accuracy : float or None
        None where the targets are no classes.
    metrics : mapping of str to float
        What else was measured of this step, by name.
    seconds : float
        What the step took, without what came between it and its neighbours; NaN if not known.
    """

    loss: float
    accuracy: float | None
    metrics: Mapping[str, float] = field(default_factory=_none, hash=False)
    seconds: float = float("nan")


@dataclass(frozen=True, slots=True)
class Logged(Event):
    """Numbers were added to the last step. Sent to observers, not kept in `Trainer.events`.

    Attributes
    ----------
    metrics : mapping of str to float
        ``loss`` and ``accuracy`` among them stand for those of the step.
    """

    metrics: Mapping[str, float] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Validated(Event):
    """A pass over the validation data: at the end of an epoch, or when a loop of the user's says.

    Attributes
    ----------
    loss : float
    accuracy : float or None
    metrics : mapping of str to float
    """

    loss: float
    accuracy: float | None
    metrics: Mapping[str, float] = field(default_factory=_none, hash=False)


@dataclass(frozen=True, slots=True)
class Measured(Event):
    """What the last step cost, layer by layer. Sent to observers while somebody watches measures.

    It is not kept in `Trainer.events`; `Run.measures` keeps what is worth keeping. What is not
    known is missing.

    Attributes
    ----------
    gradient_norm : mapping of str to float
        By path of parameter.
    update_ratio : mapping of str to float
        By path of parameter: the norm of its change by the norm of what it was.
    seconds : mapping of str to float
        By path of module: its own seconds, forward and backward, without those of modules in it.
    saved_bytes : mapping of str to int
        By path of module: what its own operations kept for the backward pass.
    order : tuple of str
        Modules in the order of their calls.
    needs_gradient : tuple of str
        Modules whose input carried a gradient.
    memory : int or None
        Bytes that the process held when the backward pass began (on a GPU: allocated there).
    """

    gradient_norm: Mapping[str, float] = field(hash=False)
    update_ratio: Mapping[str, float] = field(hash=False)
    seconds: Mapping[str, float] = field(hash=False)
    saved_bytes: Mapping[str, int] = field(hash=False)
    order: tuple[str, ...]
    needs_gradient: tuple[str, ...]
    memory: int | None


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
class FeaturesChanged(Event):
    """The feature cache has something to tell. Sent to observers, not kept in `Trainer.events`.

    Attributes
    ----------
    layers : str
        Whose outputs are kept by sample; empty if nothing is.
    nbytes : int
        What they take.
    hits : float
        The share of them that was known when it was needed, in the last epoch or since its
        beginning.
    faster : float or None
        How many times as long a step took that had to compute all of them, on average; None before
        there were steps of both kinds.
    spilled : bool
        They lie in a temporary file.
    exact : bool
        Those of a batch were computed in other batches, too, and were the same bit for bit. If
        not, they were to rounding.
    reason : str or None
        Why nothing, or not more, is kept.
    text : str
        All of it in words.
    """

    layers: str = ""
    nbytes: int = 0
    hits: float = 0.0
    faster: float | None = None
    spilled: bool = False
    exact: bool = False
    reason: str | None = None
    text: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self._words())

    def _words(self) -> str:
        if not self.layers:
            return f"no features cached: {self.reason}" if self.reason else "no features cached"
        size = (
            f"{self.nbytes / 1e6:,.0f} MB" if self.nbytes >= 1e7 else f"{self.nbytes / 1e6:.1f} MB"
        )
        place = " in a temporary file" if self.spilled else ""
        text = f"features of {self.layers} cached, {size}{place}, {100 * self.hits:.0f} % hits"
        if self.faster is not None:
            much = f"{self.faster:.1f}x" if self.faster >= 1.05 else "no"
            text += f"; epoch {much} faster"
        text += f"; in another batch the same {'bit for bit' if self.exact else 'to rounding'}"
        return f"{text}. Not more: {self.reason}" if self.reason else text


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
