"""What steps cost between two changes of the freeze state, so that one sees what a freeze saves."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from freezeviz.train._history import History

FEWEST = 3  # steps: the typical one of fewer is none
SAMPLES = 2048  # of a stretch: its median costs the same after 100 steps and after 100,000
MOST_LEVELS = 100


@dataclass(frozen=True, slots=True)
class Level:
    """The typical seconds of the steps after `start`, up to `end`: their median."""

    start: int
    end: int
    seconds: float


def cost_levels(history: "History", known: tuple[Level, ...] = ()) -> tuple[Level, ...]:
    """Return the typical seconds of a step for each stretch between freezes and thaws, in order.

    Stretches of fewer than three measured steps have none; of very many the last ones count.

    Parameters
    ----------
    history : History
    known : tuple of Level
        What this returned earlier for the same history: stretches that are over are not looked at
        again.
    """
    steps = history.steps
    if "seconds" not in steps or not len(steps["step"]):
        return ()
    step, seconds = steps["step"], steps["seconds"]
    changes = {mark.step for mark in history.marks if mark.kind != "rate"}
    edges = sorted({0, *changes, int(step[-1])})[-MOST_LEVELS - 1 :]
    cached = {(level.start, level.end): level for level in known}
    levels: list[Level] = []
    for start, end in pairwise(edges):
        level = cached.get((start, end))
        if level is None:
            first, past = np.searchsorted(step, [start, end], side="right").tolist()
            stride = max(1, (past - first) // SAMPLES)
            found = seconds[first:past:stride]
            found = found[np.isfinite(found)]
            if len(found) >= FEWEST:
                level = Level(start, end, float(np.median(found)))
        if level is not None:
            levels.append(level)
    return tuple(levels)


def ceiling(values: np.ndarray, levels: tuple[Level, ...] = ()) -> float:
    """Return how far up a plot of times has to reach: those that took very long are cut off.

    Where the typical ones are known, so are many that took long, as on a busy machine.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return 1.0
    usual = float(np.percentile(known, 98))
    most = 4 * max((level.seconds for level in levels), default=np.inf)
    return max(min(float(known.max()) * 1.05, 1.6 * usual, most), 1e-9)
