"""What was frozen when, on the axes of a picture: shades, lines, labels and bars."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from freezeviz.train._axis import Axis
from freezeviz.train._groups import Group
from freezeviz.train._layout import BLUE, GREY, INK, ORANGE, SKY, Layout
from freezeviz.train._marks import MOST_LABELS, Label, place_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from freezeviz.train._history import History, Mark

LINES: dict[str, dict[str, Any]] = {
    "freeze": {"colors": BLUE, "linestyles": "-"},
    "unfreeze": {"colors": ORANGE, "linestyles": [(0, (4, 2))]},
    "rate": {"colors": GREY, "linestyles": ":"},
    "several": {"colors": GREY, "linestyles": "-"},
}
FINE = 1_000_000  # labels are placed on a grid of so many places
Bars = list[tuple[str, list[tuple[int, int | None]]]]


class FreezeState:
    """What was frozen when, to be drawn over one axis by a given layout.

    Parameters
    ----------
    history : History
    axis : Axis
    layout : Layout
    last : int
        The step at the right end.
    """

    def __init__(self, history: "History", axis: Axis, layout: Layout, last: int) -> None:
        self.axis, self.layout = axis, layout
        self.marks: tuple[Mark, ...] = history.marks
        self.groups = history.groups
        self.parameters = len(history.parameters)
        self.last_step = last
        self.last = axis.last(last)
        spots = [
            replace(mark, step=round(float(self._at(mark.step)) / self.last * FINE))
            for mark in self.marks
        ]
        self.labels = place_labels(
            spots, FINE, layout.axes_width, layout.font, beyond=layout.right - layout.font
        )
        rows = max((label.row + 1 for label in self.labels), default=0)
        self.bars = _bars(self.groups, max(2, int(0.2 * layout.height / (1.25 * layout.font))))
        low = 3.1 * layout.font
        self._strip = (low, low + 1.25 * layout.font * len(self.bars))
        #: Between these heights is the room for axes, in pixels from the lower edge.
        self.floor = self._strip[1] + (0.5 * layout.font if self.bars else 0)
        self.ceiling = layout.height - (0.8 + 1.2 * rows) * layout.font

    def _at(self, step: int) -> np.ndarray:
        return self.axis.at(np.array(float(step)))

    def draw_on(self, axes: "Axes", *, shades: bool = True) -> None:
        """Draw shades and lines over a panel, and fix its horizontal scale."""
        axes.set_xlim(0, self.last)
        if shades:
            self._shade(axes)
        self._lines(axes)

    def draw_around(self, figure: "Figure", panels: "Sequence[Axes]") -> None:
        """Draw labels above the first of the panels, bars below the last, and the ticks."""
        self._labels(panels[0])
        lowest = panels[-1]
        if self.bars:
            lowest = self.layout.axes(figure, *self._strip)
            self._draw_bars(lowest)
        self.layout.label_x(lowest, self.axis.name)

    def _shade(self, axes: "Axes") -> None:
        """Shade the frozen stretches, the darker the larger the share of frozen parameters."""
        change: dict[int, int] = {}
        for group in self.groups:
            for span in group.spans:
                end = self.last_step if span.end is None else span.end
                change[span.start] = change.get(span.start, 0) + group.size
                change[end] = change.get(end, 0) - group.size
        moments = sorted(change)
        places = self.axis.at(np.array(moments, float)).tolist()
        ranges: list[tuple[float, float]] = []
        colors: list[tuple[float, float, float, float]] = []
        frozen = 0
        for moment, (start, end) in zip(moments, pairwise(places), strict=False):
            frozen += change[moment]
            if frozen and end > start:
                ranges.append((start, end - start))
                colors.append((0.34, 0.71, 0.91, 0.07 + 0.18 * frozen / max(self.parameters, 1)))
        if ranges:
            axes.broken_barh(
                ranges, (0, 1), transform=axes.get_xaxis_transform(), facecolors=colors, zorder=0.5
            )

    def _lines(self, axes: "Axes") -> None:
        """Draw a line for every mark; of those that fall on the same pixel, one."""
        per_pixel = self.layout.axes_width / self.last / 2
        for kind in ("rate", "unfreeze", "freeze"):
            places = [float(self._at(m.step)) for m in self.marks if m.kind == kind]
            columns = {round(place * per_pixel): place for place in places}
            if columns:
                axes.vlines(
                    list(columns.values()), 0, 1, transform=axes.get_xaxis_transform(),
                    linewidth=1.1 if len(self.marks) <= MOST_LABELS else 0.6, zorder=1.5,
                    **LINES[kind],
                )  # fmt: skip

    def _labels(self, axes: "Axes") -> None:
        """Write labels above the axes, each with its line going on up to it."""
        height = axes.get_position().height * self.layout.height
        for label in self.labels:
            self._label(axes, label, height)

    def _label(self, axes: "Axes", label: Label, height: float) -> None:
        from matplotlib.transforms import ScaledTranslation

        layout = self.layout
        up = (0.35 + 1.2 * label.row) * layout.font
        offset = ScaledTranslation(
            label.left / layout.dpi, up / layout.dpi, axes.figure.dpi_scale_trans
        )
        axes.text(
            0, 1, label.text, transform=axes.transAxes + offset, parse_math=False,
            fontsize=layout.points, color=INK, va="bottom", ha="left",
        )  # fmt: skip
        axes.vlines(
            label.step / FINE * self.last, 1, 1 + (up + 0.6 * layout.font) / height,
            transform=axes.get_xaxis_transform(), linewidth=1.1, clip_on=False, **LINES[label.kind],
        )  # fmt: skip

    def _draw_bars(self, axes: "Axes") -> None:
        points = self.layout.points
        axes.set_xlim(0, self.last)
        axes.set_ylim(len(self.bars), 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        for row, (label, spans) in enumerate(self.bars):
            edges = [(self._at(a), self._at(self.last_step if b is None else b)) for a, b in spans]
            ranges = [(float(a), float(b - a)) for a, b in edges]
            axes.broken_barh(ranges, (row + 0.06, 0.88), facecolors=SKY, alpha=0.75, linewidth=0)
            start = ranges[0][0]
            late = start > 0.6 * self.last
            axes.text(
                start, row + 0.52, f" {label} " if not late else f"{label} ", parse_math=False,
                ha="right" if late else "left", va="center", fontsize=0.92 * points, color=INK,
            )  # fmt: skip
        axes.text(
            -0.012, 0.5, "frozen", transform=axes.transAxes,
            ha="right", va="center", fontsize=points, color=INK,
        )  # fmt: skip


def _bars(groups: tuple[Group, ...], most: int) -> Bars:
    """Return a name and spans for each bar of the strip; what does not fit shares the last one."""
    bars = [(group.label, [(s.start, s.end) for s in group.spans]) for group in groups]
    if len(bars) <= most:
        return bars
    rest = bars[most - 1 :]
    shared = [span for _, spans in rest for span in spans]
    return [*bars[: most - 1], (f"{len(rest)} more", shared)]
