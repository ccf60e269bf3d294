"""What a plot runs over: steps, epochs or seconds of training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from freezeviz.train._history import History

Over = Literal["step", "epoch", "time"]
LABELS: dict[str, str] = {"step": "step", "epoch": "epoch", "time": "seconds of training"}


@dataclass(frozen=True, slots=True)
class Axis:
    """A way to say how far a run is: a function of the number of steps done, by its knots.

    Attributes
    ----------
    name : "step", "epoch" or "time"
    steps, values : array, shape (k,)
        Between two knots the function is straight; without knots it is the step itself.
    """

    name: Over
    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, history: "History", over: str) -> "Axis":
        """Return the axis of that name.

        Raises
        ------
        ValueError
            If there is no such axis, or if the history does not know the seconds of its steps.
        """
        steps = history.steps
        if over == "step":
            return cls("step", np.zeros(0), np.zeros(0))
        if over == "epoch":
            return cls("epoch", *epoch_knots(steps["step"], steps["epoch"]))
        if over == "time":
            seconds = steps.get("seconds")
            if seconds is None or not (known := np.isfinite(seconds)).any():
                raise ValueError(
                    "x='time': this history has no seconds of its steps; use x='step' or 'epoch'"
                )
            spent = np.cumsum(np.where(known, seconds, 0.0))
            return cls("time", np.append(0.0, steps["step"]), np.append(0.0, spent))
        raise ValueError(f"x={over!r}: expected 'step', 'epoch' or 'time'")

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Return where numbers of steps lie on this axis."""
        if self.name == "step":
            return steps
        return np.interp(steps, self.steps, self.values)

    def last(self, step: int) -> float:
        """Return where the axis ends when the last of all steps is this; more than 0."""
        if self.name == "step":
            return float(step)
        return max(float(self.at(np.array([float(step)]))[0]), 1e-9)


def epoch_knots(step: np.ndarray, epoch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and epochs between which epochs pass evenly.

    The last epoch may not be over: it is as long as the one before, if there was one; the first is
    taken for complete.

    Parameters
    ----------
    step, epoch : array, shape (n,)
        Columns of a history; the epochs count from 0.
    """
    if not len(step):
        return np.zeros(1), np.zeros(1)
    ends = np.flatnonzero(np.diff(epoch))  # the last row of every epoch but the last one
    knots, done = np.append(0.0, step[ends]), np.append(epoch[:1], epoch[ends] + 1)
    past = step[-1] - knots[-1]
    usual = knots[-1] - knots[-2] if len(knots) > 1 else past
    share = min(past / usual, 1.0) if usual else 1.0
    return np.append(knots, step[-1]), np.append(done, epoch[-1] + share)
