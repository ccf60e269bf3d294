"""The picture of what a run costs: seconds of a step and memory, with what was frozen when."""

from typing import TYPE_CHECKING

import numpy as np

from freezeviz.train._axis import Axis
from freezeviz.train._cost import ceiling, cost_levels
from freezeviz.train._decimate import block_means, decimate
from freezeviz.train._layout import BLUE, INK, PALE, SKY, Layout, cleared, say_empty, stacked
from freezeviz.train._panels import FreezeState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from freezeviz.train._history import History

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "bytes"))


def draw_cost(figure: "Figure", history: "History", *, x: str = "step") -> None:
    """Draw the time of each step and, where it was measured, memory.

    "kept" is what the tape kept for the backward pass, "memory" what the process held.

    A bold line is the typical (median) time between two changes of the freeze state, with its
    value: the difference between two of them is what a freeze saves.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    history : History
    x : "step", "epoch" or "time"
    """
    steps = history.steps
    axis = Axis.of(history, x)
    layout = Layout.of(figure)
    cleared(figure)
    last = int(max([1, *steps["step"][-1:]]))
    frozen = FreezeState(history, axis, layout, last)
    nothing = np.full(len(steps["step"]), np.nan)
    measured = [
        (title, values)
        for name, title in (("saved_bytes", "kept"), ("memory", "memory"))
        if np.isfinite(values := steps.get(name, nothing)).any()
    ]
    panels = stacked(figure, layout, frozen.floor, frozen.ceiling, 1 + len(measured))
    for panel in panels:
        panel.grid(axis="y", color=PALE, linewidth=0.5)
        panel.set_axisbelow(True)
        frozen.draw_on(panel)
    if np.isfinite(steps.get("seconds", nothing)).any():
        _draw_seconds(panels[0], history, axis, layout, frozen.last)
    else:
        panels[0].set_ylabel("step time")
        say_empty(panels[0], "no step was timed yet", layout)
    for panel, (title, values) in zip(panels[1:], measured, strict=True):
        _draw_bytes(panel, axis.at(steps["step"]), values, title)
    for panel in panels:
        panel.yaxis.label.set(size=layout.points, color=INK)
    frozen.draw_around(figure, panels)


def _draw_seconds(
    axes: "Axes", history: "History", axis: Axis, layout: Layout, right: float
) -> None:
    steps = history.steps
    seconds = steps["seconds"]
    levels = cost_levels(history)
    top = ceiling(block_means(steps["step"], seconds)[1], levels)
    unit, name = next((u for u in UNITS if top >= 2 * u[0]), UNITS[-1])
    x, y = block_means(axis.at(steps["step"]), np.where(np.isfinite(seconds), seconds, np.nan))
    y = y / unit
    axes.plot(x, y, color=SKY, linewidth=0.7, alpha=0.8)
    axes.set_ylim(0, top / unit)
    axes.set_ylabel(f"{name} per step")
    for level in levels:
        ends = axis.at(np.array([level.start, level.end], float))
        axes.plot(ends, [level.seconds / unit] * 2, color=BLUE, linewidth=2, solid_capstyle="butt")
    taken: list[tuple[float, float]] = []  # in pixels
    for level in sorted(levels, key=lambda level: level.start - level.end):  # the longest first
        a = float(axis.at(np.array([level.start], float))[0])
        value = level.seconds / unit
        text = f"{value:.3g} {name}"
        left = a / right * layout.axes_width + 4
        end = left + 0.6 * layout.font * len(text)
        if end > layout.axes_width or any(left < past and first < end for first, past in taken):
            continue  # no room between its neighbours: the line says it
        taken.append((left, end))
        axes.annotate(
            text, (a, min(value, 0.97 * top / unit)), xytext=(4, 3), textcoords="offset points",
            color=INK, fontsize=layout.points, va="bottom",
        )  # fmt: skip


def _draw_bytes(axes: "Axes", x: np.ndarray, values: np.ndarray, title: str) -> None:
    known = np.isfinite(values)
    top = float(values[known].max())
    unit, name = next((u for u in BYTES if top >= u[0]), BYTES[-1])
    px, py = decimate(x[known], values[known] / unit)
    marker = "o" if len(px) <= 60 else ""
    axes.plot(px, py, color=BLUE, linewidth=1.2, marker=marker, ms=3, clip_on=False)
    axes.set_ylim(0, 1.1 * top / unit or 1.0)
    axes.set_ylabel(f"{title} ({name})")
