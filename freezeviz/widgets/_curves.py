"""A run's history in the form in which the page draws it: see `static/js/curves.js`.

Arrays go over the wire as bytes, little-endian. Everything is small however long the run is, and
what is done again and again costs as much as there is news.
"""

from typing import Any

import numpy as np

from freezeviz.train import History
from freezeviz.train._axis import epoch_knots
from freezeviz.train._cost import Level, cost_levels
from freezeviz.train._heat import Heat
from freezeviz.widgets._buckets import Buckets

MOST_BAD = 50  # stretches of losses that are not finite: more than that nobody tells apart
MOST_KNOTS = 512
MOST_MARKS = 2_000  # the newest; a plot has fewer pixels


class Curves:
    """The traits ``curves`` and ``marks`` of one run, brought up to date when asked for.

    Parameters
    ----------
    history : History
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self._steps, self._validation = Buckets(), Buckets()
        self._levels: tuple[Level, ...] = ()

    def as_trait(self) -> dict[str, Any]:
        """Return what the curves are drawn from.

        Returns
        -------
        curves : dict
            ``steps`` and ``validation``: tables as `Buckets.as_trait` returns them; ``bad``: first
            and last step of stretches whose loss is not finite; ``knots``: int32 steps and float32
            epochs between which epochs pass evenly; ``levels``: start, end and typical seconds of a
            step between two changes of the freeze state; ``text``: all that in words.
        """
        steps, validation = self.history.steps, self.history.validation
        self._steps.update(_values(steps))
        self._validation.update(_values(validation))
        self._levels = cost_levels(self.history, self._levels)
        return {
            "steps": self._steps.as_trait(),
            "validation": self._validation.as_trait(),
            "bad": [list(stretch) for stretch in self.history.bad_losses[:MOST_BAD]],
            "knots": _knots(steps),
            "levels": [[level.start, level.end, level.seconds] for level in self._levels],
            "text": summary(self.history),
        }

    def marks(self) -> dict[str, Any]:
        """Return the trait ``marks``: what was changed when, and what was frozen meanwhile."""
        marks, groups = self.history.marks, self.history.groups
        return {
            "marks": [[mark.step, mark.kind, mark.label] for mark in marks[-MOST_MARKS:]],
            "groups": [
                {
                    "label": group.label,
                    "size": group.size,
                    "spans": [[span.start, span.end] for span in group.spans[-MOST_MARKS:]],
                }
                for group in groups
            ],
            "parameters": len(self.history.parameters),
        }


def part(history: History, first: int, last: int) -> dict[str, Any]:
    """Return a trait like ``curves`` of the steps from `first` to `last`, in finer buckets."""
    tables = {}
    for name, table in (("steps", history.steps), ("validation", history.validation)):
        low = int(np.searchsorted(table["step"], first, side="left"))
        high = int(np.searchsorted(table["step"], last, side="right"))
        buckets = Buckets()
        buckets.update({column: values[low:high] for column, values in _values(table).items()})
        tables[name] = buckets.as_trait()
    return tables


def heat_trait(heat: Heat) -> dict[str, Any]:
    """Return the trait ``heat``: names of rows, int32 steps, float32 norms row by row."""
    low, high = heat.limits
    norms = np.clip(heat.norms, 0.0, 3.4e38)
    return {
        "labels": list(heat.labels),
        "steps": heat.steps.astype(np.int32).tobytes(),
        "norms": norms.astype(np.float32).tobytes(),
        "low": low,
        "high": high,
    }


def summary(history: History) -> str:
    """Return what the curves show in words, for those who cannot see them."""
    steps, validation = history.steps, history.validation
    if not len(steps["step"]):
        return "Loss plot: no steps yet."
    parts = [f"Loss plot after {int(steps['step'][-1]):,} steps"]
    for name, table in (("training", steps), ("validation", validation)):
        if not len(table["step"]):
            continue
        text = f"{name} loss {table['loss'][-1]:.4g}"
        if np.isfinite(table["accuracy"][-1]):
            text += f", accuracy {100 * table['accuracy'][-1]:.1f} %"
        parts.append(text)
    text = "; ".join(parts) + "."
    if marks := history.marks:
        last = ", ".join(f"{mark.label} after step {mark.step:,}" for mark in marks[-3:])
        text += f" {len(marks)} change{'s' if len(marks) > 1 else ''}, the last: {last}."
    return text


def _values(table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: column for name, column in table.items() if name != "epoch"}


def _knots(steps: dict[str, np.ndarray]) -> dict[str, bytes]:
    step, epoch = epoch_knots(steps["step"], steps["epoch"])
    if len(step) > MOST_KNOTS:
        chosen = np.linspace(0, len(step) - 1, MOST_KNOTS).round().astype(int)
        step, epoch = step[chosen], epoch[chosen]
    return {"x": step.astype(np.int32).tobytes(), "y": epoch.astype(np.float32).tobytes()}
