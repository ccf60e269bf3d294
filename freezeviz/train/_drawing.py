"""The picture of a run: `draw_history` on a matplotlib figure, object interface only.

Every colour is given, none is left to the user's style: the figure stays readable on its own white
ground, whatever is around it. The colours are Okabe and Ito's, which colour-blind people can tell
apart; frozen and thawed differ by the kind of line as well.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from freezeviz.train._axis import Axis
from freezeviz.train._decimate import decimate, ema, is_noisy
from freezeviz.train._decimate import smooth as moving_mean
from freezeviz.train._layout import (
    BLUE,
    INK,
    PALE,
    SKY,
    VERMILION,
    Layout,
    cleared,
    say_empty,
    stacked,
    use_log,
)
from freezeviz.train._panels import FreezeState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from freezeviz.train._history import History

Table = dict[str, np.ndarray]
NO_METRIC = ("step", "epoch", "seconds", "saved_bytes", "memory")


def metric_names(history: "History") -> list[str]:
    """Return what there is to be plotted: "loss", then every metric with a known value."""
    steps, validation = history.steps, history.validation
    names = dict.fromkeys([*steps, *validation])
    return ["loss"] + [
        name
        for name in names
        if name not in (*NO_METRIC, "loss")
        and any(np.isfinite(table[name]).any() for table in (steps, validation) if name in table)
    ]


def draw_history(
    figure: "Figure",
    history: "History",
    *,
    metrics: Sequence[str] | None = None,
    smooth: float | None = None,
    log: bool | None = None,
    x: str = "step",
) -> None:
    """Draw losses, accuracies and what was frozen when; what was on the figure is removed.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Of any size; made for 600 by 300 pixels and more.
    history : History
        May grow in another thread meanwhile.
    metrics : sequence of str, optional
        What to draw, a panel each; by default the loss and every metric there is.
    smooth : float, optional
        Factor of an exponential moving mean, 0 for none. By default a noisy curve gets a centred
        moving mean. What is smoothed is drawn as it is too, thin and pale.
    log : bool, optional
        Whether vertical scales are logarithmic (accuracy's never is). By default the loss's is,
        if most of it would lie on the floor otherwise.
    x : "step", "epoch" or "time"

    Raises
    ------
    ValueError
        If there is no such metric or axis, or if `smooth` is not from 0 to below 1.

    Notes
    -----
    Curves are reduced to about 1,200 points, so drawing takes the same time after 100 steps and
    after 100,000. The freeze state is drawn as a strip below: a bar for each group of parameters
    that were frozen at the same times, and as a shade over the curves, darker where more is frozen.
    """
    steps, validation = history.steps, history.validation
    names = _checked_metrics(history, metrics)
    if smooth is not None and not 0 <= smooth < 1:
        raise ValueError(f"smooth must be from 0 to below 1, got {smooth!r}")
    axis = Axis.of(history, x)
    layout = Layout.of(figure)
    cleared(figure)
    last = int(max([1, *steps["step"][-1:], *validation["step"][-1:]]))
    frozen = FreezeState(history, axis, layout, last)
    panels = stacked(figure, layout, frozen.floor, frozen.ceiling, len(names))
    for panel, name in zip(panels, names, strict=True):
        panel.set_xlim(0, frozen.last)
        bad = history.bad_losses if name == "loss" else ()
        _draw_metric(panel, name, steps, validation, axis, layout, smooth, log, bad)
        panel.grid(axis="y", color=PALE, linewidth=0.5)
        panel.set_axisbelow(True)
        panel.yaxis.label.set(size=layout.points, color=INK)
        frozen.draw_on(panel)
    if len(steps["step"]):
        _legend(panels[0], layout)
    frozen.draw_around(figure, panels)
    if not len(steps["step"]):
        say_empty(panels[0], "no steps yet", layout)


def _checked_metrics(history: "History", metrics: Sequence[str] | None) -> list[str]:
    if metrics is None:
        return metric_names(history)
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    known = [n for n in {**history.steps, **history.validation} if n not in NO_METRIC]
    for name in names:
        if name not in known:
            raise ValueError(f"metrics: no {name!r} in this history; it has {', '.join(known)}")
    if not names:
        raise ValueError("metrics: expected at least one name, got none")
    return names


def _draw_metric(
    axes: "Axes",
    name: str,
    steps: Table,
    validation: Table,
    axis: Axis,
    layout: Layout,
    smooth: float | None,
    log: bool | None,
    bad: tuple[tuple[int, int], ...],
) -> None:
    nothing = np.zeros(0)
    y = steps.get(name, nothing)
    # A metric may be one that not every step has: only a loss that is bad is a gap.
    kept = np.isfinite(y)
    for first, last in bad:
        kept |= (steps["step"] >= first) & (steps["step"] <= last)
    x, y = axis.at(steps["step"][: len(y)][kept]), y[kept]
    known = np.where(np.isfinite(y), y, np.nan)
    if not np.isnan(known).all():
        _curve(axes, x, known, "training", smooth)
    val = validation.get(name, nothing)
    val = np.where(np.isfinite(val), val, np.nan)
    if not np.isnan(val).all():
        _dots(axes, axis.at(validation["step"]), val, "validation", VERMILION)
    accuracy = name == "accuracy"
    chosen = name == "loss" and _spread_too_wide(known) if log is None else log
    if chosen and not accuracy and _has_positive(known, val):
        from freezeviz.train._drawing_log import number_log

        use_log(axes)
        number_log(axes)
        name = f"{name} (log)"
    axes.set_ylabel(_shortened(name), parse_math=False)
    if accuracy:
        axes.set_ylim(top=1.02)
        low = axes.get_ylim()[0]
        axes.set_ylim(bottom=0.0 if low < 0.5 else low)
    _mark_bad(axes, axis, bad, layout)


def _curve(axes: "Axes", x: np.ndarray, y: np.ndarray, label: str, smooth: float | None) -> None:
    """Draw a curve; a smoothed one thin and pale with its moving mean on top."""
    if is_noisy(y) if smooth is None else smooth > 0:
        axes.plot(*decimate(x, y), color=SKY, linewidth=0.6, alpha=0.55)
        mean = moving_mean(y, max(5, len(y) // 40)) if smooth is None else ema(y, smooth)
        x, y = decimate(x, mean)
    else:
        x, y = decimate(x, y)
    alone = int(np.sum(~np.isnan(y))) == 1
    axes.plot(
        x, y, color=BLUE, linewidth=1.4, label=label,
        marker="o" if alone else "", ms=4, clip_on=not alone,
    )  # fmt: skip


def _dots(axes: "Axes", x: np.ndarray, y: np.ndarray, label: str, color: str) -> None:
    x, y = decimate(x, y)
    marker = "o" if len(x) <= 60 else ""
    axes.plot(x, y, color=color, linewidth=1.2, marker=marker, ms=3.5, label=label, clip_on=False)


def _legend(axes: "Axes", layout: Layout) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="upper right", fontsize=layout.points, labelcolor=INK, frameon=True, framealpha=0.8,
            edgecolor="none", facecolor="white", borderpad=0.2, handlelength=1.4, ncols=3,
            borderaxespad=0.2, columnspacing=1.0,
        )  # fmt: skip


def _spread_too_wide(loss: np.ndarray) -> bool:
    """Whether most of the curve would lie on the floor of a linear scale."""
    known = loss[~np.isnan(loss)]
    return len(known) > 1 and known.min() > 0 and bool(known.max() > 25 * np.median(known))


def _has_positive(*curves: np.ndarray) -> bool:
    return any(bool((curve[~np.isnan(curve)] > 0).any()) for curve in curves)


def _mark_bad(axes: "Axes", axis: Axis, bad: tuple[tuple[int, int], ...], layout: Layout) -> None:
    """Mark where the loss was NaN or infinite: a cross, and a bar as long as it lasts."""
    if not bad:
        return
    top = axes.get_xaxis_transform()
    ends = axis.at(np.array(bad[:50], float))
    for first, last in ends.tolist():
        axes.plot(
            [first, last], [0.03, 0.03], transform=top, color=VERMILION, linewidth=2,
            marker="x", markevery=[0], ms=6, mew=1.8, clip_on=False, solid_capstyle="butt",
        )  # fmt: skip
    axes.annotate(
        "loss not finite", (float(ends[0, 0]), 0.03), xycoords=top, xytext=(6, 4),
        textcoords="offset points", color=VERMILION, fontsize=layout.points, va="bottom",
    )  # fmt: skip


def _shortened(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"
