"""What a run has been through: losses, accuracies, and what was frozen when."""

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from freezeviz.train._columns import Columns
from freezeviz.train._events import (
    Event,
    FeaturesChanged,
    FreezeChanged,
    LearningRateChanged,
    Logged,
    Measured,
    NonFiniteLoss,
    StepDone,
    Validated,
)
from freezeviz.train._groups import Group, frozen_groups
from freezeviz.train._heat import MOST_ROWS, heat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COST = ("seconds", "saved_bytes", "memory")
# Columns that are no metrics of the user's.
OF_ITS_OWN = frozenset({"step", "epoch", "loss", "accuracy", *_COST})


Gradients = tuple[tuple[str, ...], np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment to be marked on a plot: after `step` steps, something was changed."""

    step: int
    kind: str  # "freeze", "unfreeze" or "rate"
    label: str


@dataclass(frozen=True, slots=True)
class Span:
    """The steps during which a parameter was frozen: after `start`, up to `end` (None: still)."""

    start: int
    end: int | None


class History:
    """The record of a trainer's runs, cheap to keep and to read at 100,000 steps.

    It is built from the trainer's events and may be read from any thread while it grows.

    Parameters
    ----------
    parameters : sequence of str
        Paths of all parameters of the model.
    frozen : iterable of str
        Those that are frozen before the first step.
    """

    def __init__(self, parameters: Sequence[str], frozen: Iterable[str] = ()) -> None:
        self.parameters = tuple(parameters)
        self._steps = Columns("step", "epoch", "loss", "accuracy", *_COST)
        self._validation = Columns("step", "epoch", "loss", "accuracy")
        self._marks: list[Mark] = []
        self._features: list[FeaturesChanged] = []
        self._spans: dict[str, tuple[Span, ...]] = {path: (Span(0, None),) for path in frozen}
        self._grouped: tuple[dict[str, tuple[Span, ...]], tuple[Group, ...]] = ({}, ())
        self._gradients: Callable[[], Gradients] | None = None
        self._bad: list[tuple[int, int]] = []
        self._is_bad = False

    # ---- reading ---------------------------------------------------------------------------

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """Columns by name, a row per step (views); what is not known is NaN.

        ``step epoch loss accuracy``; ``seconds``, what the step took, without what came in between;
        and one per metric. Of few steps, and only while somebody watches (`Run.watch_measures`),
        in bytes: ``saved_bytes``, what all layers together kept for the backward pass, and
        ``memory``, what the whole process held when it began. What a freeze saves is seen in the
        first; the second has everything in it, the data and Python itself.
        """
        return self._steps.read()

    @property
    def validation(self) -> dict[str, np.ndarray]:
        """Columns ``step epoch loss accuracy`` and one per metric, a row per validation."""
        return self._validation.read()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Every freeze, unfreeze and change of the learning rate, in order."""
        return tuple(self._marks)

    @property
    def features(self) -> "tuple[FeaturesChanged, ...]":
        """What was cached of frozen layers and what that saved, or why nothing was, as it changed.

        The last one tells how it is now: ``print(history.features[-1].text)``.
        """
        return tuple(self._features)

    @property
    def spans(self) -> dict[str, tuple[Span, ...]]:
        """The stretches during which each parameter was frozen, by path."""
        return dict(self._spans)

    @property
    def frozen(self) -> frozenset[str]:
        """Paths of the parameters that are frozen, as far as the events tell."""
        return frozenset(p for p, spans in self._spans.items() if spans and spans[-1].end is None)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The frozen stretches again, of whole modules where all below was frozen at once."""
        spans = self._spans
        if (
            self._grouped[0] is not spans
        ):  # a mapping is replaced when it changes, see _change_spans
            self._grouped = (spans, frozen_groups(self.parameters, spans))
        return self._grouped[1]

    @property
    def bad_losses(self) -> tuple[tuple[int, int], ...]:
        """First and last step of each stretch whose loss was NaN or infinite.

        A loss that was never told is NaN in `steps` too, and in no stretch.
        """
        return tuple(self._bad)

    @property
    def gradients(self) -> "Gradients":
        """Gradients over time, as far as they were measured: paths, steps and norms.

        Returns
        -------
        paths : tuple of str, length p
        steps : array, shape (c,)
        norms : array, shape (p, c)
            NaN where a parameter had no gradient. There are columns only if somebody watched:
            an explorer on a page, or `Run.watch_measures`.
        """
        if self._gradients is None:
            return self.parameters, np.zeros(0), np.zeros((len(self.parameters), 0))
        return self._gradients()

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        return (
            f"History({len(self._steps)} steps, {len(self._validation)} validations, "
            f"{len(self._marks)} changes)"
        )

    # ---- growing ---------------------------------------------------------------------------

    def measured_by(self, gradients: "Callable[[], Gradients]") -> None:
        """Take gradients over time from where they are measured; see `gradients`."""
        self._gradients = gradients

    def add(self, event: Event) -> None:
        """Take in what an event tells. One that a history does not keep changes nothing."""
        if isinstance(event, StepDone):
            if self._is_bad:
                self._is_bad = not math.isfinite(event.loss)
                if self._is_bad:
                    self._bad[-1] = (self._bad[-1][0], event.step)
            accuracy = np.nan if event.accuracy is None else event.accuracy
            self._steps.append(
                event.step,
                event.epoch,
                event.loss,
                accuracy,
                event.seconds,
                np.nan,
                np.nan,
                **event.metrics,
            )
        elif isinstance(event, Measured):
            memory = np.nan if event.memory is None else event.memory
            self._steps.amend(saved_bytes=sum(event.saved_bytes.values()), memory=memory)
        elif isinstance(event, Logged):
            self._steps.amend(**event.metrics)
        elif isinstance(event, Validated):
            accuracy = np.nan if event.accuracy is None else event.accuracy
            self._validation.append(event.step, event.epoch, event.loss, accuracy, **event.metrics)
        elif isinstance(event, FreezeChanged):
            kind = "freeze" if event.frozen else "unfreeze"
            self._change_spans(event.paths, event.frozen, event.step)
            mark = Mark(event.step, kind, event.label)
            last = self._marks[-1] if self._marks else None
            if last is not None and (last.step, last.label) == (mark.step, mark.label):
                self._marks.pop()  # of one thing that somebody asked for, the other half
            self._marks.append(mark)
        elif isinstance(event, NonFiniteLoss):
            self._bad.append((event.step, event.step))
            self._is_bad = True
        elif isinstance(event, FeaturesChanged):
            self._features.append(event)
        elif isinstance(event, LearningRateChanged):
            self._marks.append(Mark(event.step, "rate", f"rate {event.learning_rate:g}"))

    def _change_spans(self, paths: Iterable[str], frozen: bool, step: int) -> None:
        changed: dict[str, tuple[Span, ...]] = {}
        for path in paths:
            spans = self._spans.get(path, ())
            is_frozen = bool(spans) and spans[-1].end is None
            if frozen and not is_frozen:
                changed[path] = (*spans, Span(step, None))
            elif is_frozen and not frozen:
                start = spans[-1].start
                # Frozen and unfrozen between the same two steps: no step ever saw it.
                closed = () if start == step else (Span(start, step),)
                changed[path] = (*spans[:-1], *closed)
        # A new mapping, so that a reader in another thread never meets one that is half changed.
        self._spans = self._spans | changed

    # ---- giving away -----------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain lists and numbers.

        Returns
        -------
        columns : dict
            ``step``, ``epoch``, ``loss``, ``accuracy``, ``seconds``, ``saved_bytes``, ``memory``
            (a value per step), ``metrics``: dict of the same by name; ``validation_step``,
            ``validation_epoch``, ``validation_loss``, ``validation_accuracy``,
            ``validation_metrics``; ``changes``: list of ``{step, kind, label}``; ``frozen``: list
            of ``{path, start, end}``, `end` None where it is frozen still. What is not known is
            None, except for a loss, which is NaN.
        """
        columns: dict[str, Any] = {}
        for prefix, table in (("", self.steps), ("validation_", self.validation)):
            metrics: dict[str, list[float | None]] = {}
            for name, column in table.items():
                if name in ("step", "epoch"):
                    columns[prefix + name] = [int(v) for v in column]
                elif name == "loss":
                    columns[prefix + name] = column.tolist()
                else:
                    into = columns if name in OF_ITS_OWN else metrics
                    key = prefix + name if name in OF_ITS_OWN else name
                    into[key] = [None if v != v else v for v in column.tolist()]
            columns[prefix + "metrics"] = metrics
        columns["changes"] = [
            {"step": m.step, "kind": m.kind, "label": m.label} for m in self._marks
        ]
        columns["frozen"] = [
            {"path": path, "start": span.start, "end": span.end}
            for path, spans in self.spans.items()
            for span in spans
        ]
        return columns

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write one row per step, with validation and changes in the row of the step they follow.

        Columns: ``step epoch loss accuracy seconds saved_bytes memory``, one per metric, then
        ``validation_`` and the name for what was validated, and ``changes``. What is not there
        stays empty; several changes after one step are separated by ``"; "``.
        """
        rows: dict[int, dict[str, Any]] = {}

        def row(step: float) -> dict[str, Any]:
            return rows.setdefault(int(step), {"step": int(step)})

        names = ["step", "epoch"]
        for prefix, table in (("", self.steps), ("validation_", self.validation)):
            values = [name for name in table if name not in ("step", "epoch")]
            names += [prefix + name for name in values]
            columns = [table[name].tolist() for name in values]
            for step, epoch, *of_step in zip(
                table["step"].tolist(), table["epoch"].tolist(), *columns, strict=True
            ):
                entry = row(step)
                entry["epoch"] = int(epoch)
                for name, value in zip(values, of_step, strict=True):
                    # A loss that is not a number is worth telling; of the others it means "none".
                    entry[prefix + name] = "" if value != value and name != "loss" else value
        for mark in self._marks:
            entry = row(mark.step)
            entry["changes"] = "; ".join(filter(None, (entry.get("changes"), mark.label)))
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*names, "changes"], restval="")
            writer.writeheader()
            writer.writerows(rows[step] for step in sorted(rows))

    def plot(
        self,
        metrics: str | Sequence[str] | None = None,
        *,
        smooth: float | None = None,
        log: bool | None = None,
        x: str = "step",
        width: float = 8.0,
        height: float | None = None,
    ) -> "Figure":
        """Return a matplotlib figure of losses and metrics with every freeze marked on it.

        Parameters
        ----------
        metrics : str or sequence of str, optional
            What to draw, a panel each: "loss", "accuracy" or a metric of one's own; all by default.
        smooth : float, optional
            Factor of an exponential moving mean, from 0 (none) to below 1. By default a noisy curve
            gets a centred moving mean. What is smoothed is drawn as it is too, thin and pale.
        log : bool, optional
            Whether vertical scales are logarithmic (accuracy's never is). By default the loss's is,
            if most of it would lie on the floor otherwise.
        x : "step", "epoch" or "time"
            What the plot runs over; the time is that spent in steps, without pauses.
        width, height : float
            In inches; by default higher where there are more than two panels.

        Raises
        ------
        ValueError
            If there is no such metric or axis, or if `smooth` is out of range.
        MissingExtraError
            If matplotlib is not installed.

        Examples
        --------
        >>> history.plot(["loss"], smooth=0.9, x="epoch").savefig("loss.svg")
        """
        from freezeviz.train._figure import curves_figure

        return curves_figure(self, width, height, metrics=metrics, smooth=smooth, log=log, x=x)

    def plot_cost(self, *, x: str = "step", width: float = 8.0, height: float = 4.5) -> "Figure":
        """Return a matplotlib figure of the time and memory of each step, with every freeze marked.

        The typical time between two changes is a bold line with its value: the difference between
        two of them is what a freeze saves.

        Parameters
        ----------
        x : "step", "epoch" or "time"
        width, height : float
            In inches.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        from freezeviz.train._figure import cost_figure

        return cost_figure(self, width, height, x=x)

    def plot_gradients(
        self,
        *,
        x: str = "step",
        most: int = MOST_ROWS,
        width: float = 8.0,
        height: float | None = None,
    ) -> "Figure":
        """Return a matplotlib figure of gradient norms over time: a heat map, a row for each layer.

        Gradients are measured on some steps of a run, and only while somebody watches: an explorer
        on a page, or `Run.watch_measures`.

        Parameters
        ----------
        x : "step", "epoch" or "time"
        most : int
            How many rows there may be: of more parameters than that, those of a module share one.
        width, height : float
            In inches; by default as high as the rows need.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.

        Examples
        --------
        >>> stop = trainer.watch_measures()
        >>> trainer.fit(3)
        >>> trainer.history.plot_gradients().savefig("gradients.png")
        """
        from freezeviz.train._figure import gradients_figure

        return gradients_figure(self, heat(*self.gradients, most), width, height, x=x)
