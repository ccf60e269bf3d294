"""The picture of a run: `draw_history` on a matplotlib figure, object interface only.

Every colour is given, none is left to the user's style: the figure stays readable on its own white
ground, whatever is around it. The colours are Okabe and Ito's, which colour-blind people can tell
apart; frozen and thawed differ by the kind of line as well.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from freezeviz.train._decimate import decimate, is_noisy, smooth, stretches
from freezeviz.train._groups import Group
from freezeviz.train._marks import MOST_LABELS, Label, place_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from freezeviz.train._history import History, Mark

BLUE, SKY, VERMILION, ORANGE, GREEN = "#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73"
INK, GREY, PALE = "#222222", "#666666", "#DDDDDD"
LINES: dict[str, dict[str, Any]] = {
    "freeze": {"colors": BLUE, "linestyles": "-"},
    "unfreeze": {"colors": ORANGE, "linestyles": [(0, (4, 2))]},
    "rate": {"colors": GREY, "linestyles": ":"},
    "several": {"colors": GREY, "linestyles": "-"},
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """Sizes in pixels, chosen by the size of the figure: nothing is measured while drawing."""

    width: float
    height: float
    dpi: float
    font: float

    @classmethod
    def of(cls, figure: "Figure") -> "_Layout":
        dpi = figure.dpi
        width, height = figure.get_figwidth() * dpi, figure.get_figheight() * dpi
        return cls(width, height, dpi, font=float(np.clip(height / 36, 9, 13)))

    @property
    def points(self) -> float:
        return self.font * 72 / self.dpi

    @property
    def left(self) -> float:
        return 5.7 * self.font

    @property
    def axes_width(self) -> float:
        return self.width - self.left - 2 * self.font

    def axes(self, figure: "Figure", bottom: float, top: float) -> "Axes":
        """Add axes between two heights, in pixels from the lower edge."""
        from matplotlib.ticker import MaxNLocator, NullLocator

        box = (self.left / self.width, bottom / self.height)
        size = (self.axes_width / self.width, (top - bottom) / self.height)
        axes = figure.add_axes((*box, *size), facecolor="none")
        axes.tick_params(colors=INK, labelsize=self.points, length=3, width=0.6, color=GREY, pad=2)
        axes.xaxis.set_major_locator(NullLocator())  # only the lowest axes get ticks: 3 ms each
        bins = max(2, int((top - bottom) / (2.2 * self.font)))
        axes.yaxis.set_major_locator(MaxNLocator(bins, steps=[1, 2, 5, 10]))
        axes.yaxis.set_label_coords(-3.9 * self.font / self.axes_width, 0.5)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(GREY)
            spine.set_linewidth(0.6)
        return axes


def draw_history(figure: "Figure", history: "History") -> None:
    """Draw losses, accuracies and what was frozen when; what was on the figure is removed.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Of any size; made for 600 by 300 pixels and more.
    history : History
        May grow in another thread meanwhile.

    Notes
    -----
    Curves are reduced to about 1,200 points, so drawing takes the same time after 100 steps and
    after 100,000. The freeze state is drawn as a strip below: a bar for each group of parameters
    that were frozen at the same times, and as a shade over the curves, darker where more is frozen.
    """
    steps, validation = history.steps, history.validation
    layout = _Layout.of(figure)
    for axes in list(figure.axes):
        figure.delaxes(axes)  # clear() would also reset axes that nobody sees again: 10 ms
    figure.clear()
    figure.set_facecolor("white")
    groups = history.groups
    last = int(max([1, *steps["step"][-1:], *validation["step"][-1:]]))
    has_accuracy = bool(
        np.isfinite(steps["accuracy"]).any() or np.isfinite(validation["accuracy"]).any()
    )

    em = layout.font
    marks = history.marks
    labels = place_labels(marks, last, layout.axes_width, em)
    label_rows = max([label.row + 1 for label in labels], default=0)
    bars = _bars(groups, most=max(2, int(0.2 * layout.height / (1.25 * em))))
    low = 3.1 * em
    strip_top = low + 1.25 * em * len(bars)
    high = layout.height - (0.8 + 1.2 * label_rows) * em
    floor = strip_top + (0.5 * em if bars else 0)

    panels: list[Axes] = []
    if has_accuracy:
        middle = floor + 0.36 * (high - floor)
        panels.append(layout.axes(figure, middle + 0.5 * em, high))
        panels.append(layout.axes(figure, floor, middle - 0.3 * em))
        _draw_accuracy(panels[1], steps, validation)
    else:
        panels.append(layout.axes(figure, floor, high))
    _draw_losses(panels[0], steps, validation, layout)

    for axes in panels:
        axes.set_xlim(0, last)
        axes.grid(axis="y", color=PALE, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.yaxis.label.set(size=layout.points, color=INK)
        _shade(axes, groups, last, len(history.parameters))
        _draw_lines(axes, marks, last, layout)
    _draw_labels(panels[0], labels, layout)
    lowest = panels[-1]
    if bars:
        lowest = layout.axes(figure, low, strip_top)
        _draw_bars(lowest, bars, last, layout)
    _label_steps(lowest, layout)
    if not len(steps["step"]):
        panels[0].set_yticks([])
        panels[0].text(
            0.5, 0.5, "no steps yet", transform=panels[0].transAxes,
            ha="center", va="center", color=GREY, fontsize=1.3 * layout.points,
        )  # fmt: skip


def _draw_losses(
    axes: "Axes", steps: dict[str, np.ndarray], validation: dict[str, np.ndarray], layout: _Layout
) -> None:
    x, loss = steps["step"], steps["loss"]
    bad = ~np.isfinite(loss)
    known = np.where(bad, np.nan, loss)
    _curve(axes, x, known, "training", BLUE)
    val = np.where(np.isfinite(validation["loss"]), validation["loss"], np.nan)
    _dots(axes, validation["step"], val, "validation", VERMILION)
    log = _spread_too_wide(known)
    if log:
        from matplotlib.ticker import FuncFormatter, NullLocator

        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("loss (log)" if log else "loss")
    if len(x):
        axes.legend(
            loc="upper right", fontsize=layout.points, labelcolor=INK, frameon=True, framealpha=0.8,
            edgecolor="none", facecolor="white", borderpad=0.2, handlelength=1.4, ncols=3,
            borderaxespad=0.2, columnspacing=1.0,
        )  # fmt: skip
    _mark_bad(axes, x, bad, layout)


def _draw_accuracy(
    axes: "Axes", steps: dict[str, np.ndarray], validation: dict[str, np.ndarray]
) -> None:
    _curve(axes, steps["step"], steps["accuracy"], "training", BLUE)
    _dots(axes, validation["step"], validation["accuracy"], "validation", VERMILION)
    axes.set_ylabel("accuracy")
    axes.set_ylim(top=1.02)
    low = axes.get_ylim()[0]
    axes.set_ylim(bottom=0.0 if low < 0.5 else low)


def _curve(axes: "Axes", x: np.ndarray, y: np.ndarray, label: str, color: str) -> None:
    """Draw a curve; a noisy one thin and pale with its moving mean on top."""
    if is_noisy(y):
        axes.plot(*decimate(x, y), color=SKY, linewidth=0.6, alpha=0.55)
        x, y = decimate(x, smooth(y, max(5, len(y) // 40)))
    else:
        x, y = decimate(x, y)
    alone = len(y) == 1
    axes.plot(
        x,
        y,
        color=color,
        linewidth=1.4,
        label=label,
        marker="o" if alone else "",
        ms=4,
        clip_on=not alone,
    )


def _dots(axes: "Axes", x: np.ndarray, y: np.ndarray, label: str, color: str) -> None:
    if len(x):
        x, y = decimate(x, y)
        marker = "o" if len(x) <= 60 else ""
        axes.plot(
            x, y, color=color, linewidth=1.2, marker=marker, ms=3.5, label=label, clip_on=False
        )


def _spread_too_wide(loss: np.ndarray) -> bool:
    """Whether most of the curve would lie on the floor of a linear scale."""
    known = loss[~np.isnan(loss)]
    return len(known) > 1 and known.min() > 0 and bool(known.max() > 25 * np.median(known))


def _mark_bad(axes: "Axes", x: np.ndarray, bad: np.ndarray, layout: _Layout) -> None:
    """Mark where the loss was NaN or infinite: a cross, and a bar as long as it lasts."""
    found = stretches(bad)
    if not found:
        return
    top = axes.get_xaxis_transform()
    for first, end in found[:50]:
        axes.plot(
            [x[first], x[end - 1]], [0.03, 0.03], transform=top, color=VERMILION, linewidth=2,
            marker="x", markevery=[0], ms=6, mew=1.8, clip_on=False, solid_capstyle="butt",
        )  # fmt: skip
    axes.annotate(
        "loss not finite", (x[found[0][0]], 0.03), xycoords=top, xytext=(6, 4),
        textcoords="offset points", color=VERMILION, fontsize=layout.points, va="bottom",
    )  # fmt: skip


def _shade(axes: "Axes", groups: tuple[Group, ...], last: int, parameters: int) -> None:
    """Shade the frozen stretches, the darker the larger the share of frozen parameters."""
    change: dict[int, int] = {}
    for group in groups:
        for span in group.spans:
            end = last if span.end is None else span.end
            change[span.start] = change.get(span.start, 0) + group.size
            change[end] = change.get(end, 0) - group.size
    moments = sorted(change)
    ranges: list[tuple[int, int]] = []
    colors: list[tuple[float, float, float, float]] = []
    frozen = 0
    for start, end in pairwise(moments):
        frozen += change[start]
        if frozen and end > start:
            ranges.append((start, end - start))
            colors.append((0.34, 0.71, 0.91, 0.07 + 0.18 * frozen / max(parameters, 1)))
    if ranges:
        axes.broken_barh(
            ranges, (0, 1), transform=axes.get_xaxis_transform(), facecolors=colors, zorder=0.5
        )


def _draw_lines(axes: "Axes", marks: "tuple[Mark, ...]", last: int, layout: _Layout) -> None:
    """Draw a line for every mark; of those that fall on the same pixel, one."""
    for kind in ("rate", "unfreeze", "freeze"):
        columns = {
            round(m.step / last * layout.axes_width / 2): m.step for m in marks if m.kind == kind
        }
        if columns:
            axes.vlines(
                list(columns.values()), 0, 1, transform=axes.get_xaxis_transform(),
                linewidth=1.1 if len(marks) <= MOST_LABELS else 0.6, zorder=1.5, **LINES[kind],
            )  # fmt: skip


def _draw_labels(axes: "Axes", labels: list[Label], layout: _Layout) -> None:
    """Write labels above the axes, each with its line going on up to it."""
    from matplotlib.transforms import ScaledTranslation

    height = axes.get_position().height * layout.height
    for label in labels:
        up = (0.35 + 1.2 * label.row) * layout.font
        offset = ScaledTranslation(
            label.left / layout.dpi, up / layout.dpi, axes.figure.dpi_scale_trans
        )
        axes.text(
            0, 1, label.text, transform=axes.transAxes + offset,
            fontsize=layout.points, color=INK, va="bottom", ha="left",
        )  # fmt: skip
        axes.vlines(
            label.step, 1, 1 + (up + 0.6 * layout.font) / height,
            transform=axes.get_xaxis_transform(), linewidth=1.1, clip_on=False, **LINES[label.kind],
        )  # fmt: skip


def _bars(groups: tuple[Group, ...], most: int) -> list[tuple[str, list[tuple[int, int | None]]]]:
    """Return a name and spans for each bar of the strip; what does not fit shares the last one."""
    bars = [(group.label, [(s.start, s.end) for s in group.spans]) for group in groups]
    if len(bars) <= most:
        return bars
    rest = bars[most - 1 :]
    shared = [span for _, spans in rest for span in spans]
    return [*bars[: most - 1], (f"{len(rest)} more", shared)]


def _draw_bars(
    axes: "Axes",
    bars: list[tuple[str, list[tuple[int, int | None]]]],
    last: int,
    layout: _Layout,
) -> None:
    axes.set_xlim(0, last)
    axes.set_ylim(len(bars), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    for row, (label, spans) in enumerate(bars):
        ranges = [(a, (last if b is None else b) - a) for a, b in spans]
        axes.broken_barh(ranges, (row + 0.06, 0.88), facecolors=SKY, alpha=0.75, linewidth=0)
        start = ranges[0][0]
        late = start > 0.6 * last
        axes.text(
            start, row + 0.52, f" {label} " if not late else f"{label} ",
            ha="right" if late else "left", va="center", fontsize=0.92 * layout.points, color=INK,
        )  # fmt: skip
    axes.text(
        -0.012, 0.5, "frozen", transform=axes.transAxes,
        ha="right", va="center", fontsize=layout.points, color=INK,
    )  # fmt: skip


def _label_steps(axes: "Axes", layout: _Layout) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.set_xlabel("step", color=INK, fontsize=layout.points, labelpad=1)
