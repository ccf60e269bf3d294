"""What a run has been through: losses, accuracies, and what was frozen when."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from freezeviz.train._columns import Columns
from freezeviz.train._events import (
    Event,
    FreezeChanged,
    LearningRateChanged,
    StepDone,
    Validated,
)
from freezeviz.train._groups import Group, frozen_groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        self._steps = Columns("step", "epoch", "loss", "accuracy")
        self._validation = Columns("step", "epoch", "loss", "accuracy")
        self._marks: list[Mark] = []
        self._spans: dict[str, tuple[Span, ...]] = {path: (Span(0, None),) for path in frozen}
        self._grouped: tuple[dict[str, tuple[Span, ...]], tuple[Group, ...]] = ({}, ())

    # ---- reading ---------------------------------------------------------------------------

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """Columns ``step epoch loss accuracy``, a row per step (views; accuracy may be NaN)."""
        return self._steps.read()

    @property
    def validation(self) -> dict[str, np.ndarray]:
        """Columns ``step epoch loss accuracy``, a row per pass over the validation data."""
        return self._validation.read()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Every freeze, unfreeze and change of the learning rate, in order."""
        return tuple(self._marks)

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

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        return (
            f"History({len(self._steps)} steps, {len(self._validation)} validations, "
            f"{len(self._marks)} changes)"
        )

    # ---- growing ---------------------------------------------------------------------------

    def add(self, event: Event) -> None:
        """Take in what an event tells. One that a history does not keep changes nothing."""
        if isinstance(event, StepDone):
            accuracy = np.nan if event.accuracy is None else event.accuracy
            self._steps.append(event.step, event.epoch, event.loss, accuracy)
        elif isinstance(event, Validated):
            accuracy = np.nan if event.accuracy is None else event.accuracy
            self._validation.append(event.step, event.epoch, event.loss, accuracy)
        elif isinstance(event, FreezeChanged):
            kind = "freeze" if event.frozen else "unfreeze"
            self._change_spans(event.paths, event.frozen, event.step)
            self._marks.append(Mark(event.step, kind, event.label))
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
            ``step``, ``epoch``, ``loss``, ``accuracy`` (a value per step; accuracy None where there
            is none), ``validation_step``, ``validation_epoch``, ``validation_loss``,
            ``validation_accuracy``; ``changes``: list of ``{step, kind, label}``; ``frozen``: list
            of ``{path, start, end}``, `end` None where it is frozen still.
        """
        columns: dict[str, Any] = {}
        for prefix, table in (("", self.steps), ("validation_", self.validation)):
            columns[prefix + "step"] = [int(v) for v in table["step"]]
            columns[prefix + "epoch"] = [int(v) for v in table["epoch"]]
            columns[prefix + "loss"] = table["loss"].tolist()
            accuracies = table["accuracy"].tolist()
            columns[prefix + "accuracy"] = [None if a != a else a for a in accuracies]
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

        Columns: ``step epoch loss accuracy validation_loss validation_accuracy changes``. What is
        not there stays empty; several changes after one step are separated by ``"; "``.
        """
        rows: dict[int, dict[str, Any]] = {}

        def row(step: float) -> dict[str, Any]:
            return rows.setdefault(int(step), {"step": int(step)})

        for prefix, table in (("", self.steps), ("validation_", self.validation)):
            for step, epoch, loss, accuracy in zip(
                *(c.tolist() for c in table.values()), strict=True
            ):
                entry = row(step)
                entry["epoch"] = int(epoch)
                entry[prefix + "loss"] = loss
                entry[prefix + "accuracy"] = "" if accuracy != accuracy else accuracy
        for mark in self._marks:
            entry = row(mark.step)
            entry["changes"] = "; ".join(filter(None, (entry.get("changes"), mark.label)))

        names = [
            "step",
            "epoch",
            "loss",
            "accuracy",
            "validation_loss",
            "validation_accuracy",
            "changes",
        ]
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(rows[step] for step in sorted(rows))

    def plot(self, *, width: float = 8.0, height: float = 4.5) -> "Figure":
        """Return a matplotlib figure of losses and accuracies with every freeze marked on it.

        Parameters
        ----------
        width, height : float
            In inches.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        from freezeviz.train._figure import history_figure

        return history_figure(self, width, height)
