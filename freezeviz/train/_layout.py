"""Sizes and axes of the pictures of a run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from freezeviz.train._axis import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, SKY, VERMILION, ORANGE, GREEN = "#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73"
INK, GREY, PALE = "#222222", "#666666", "#DDDDDD"


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes in pixels, chosen by the size of the figure: nothing is measured while drawing."""

    width: float
    height: float
    dpi: float
    font: float
    left: float
    right: float

    @classmethod
    def of(cls, figure: "Figure", *, names: int = 0, right: float = 2.0) -> "Layout":
        """Return the layout of a figure.

        Parameters
        ----------
        figure : Figure
        names : int
            Characters of the longest name left of the axes, where there are names.
        right : float
            Room on the right, in sizes of the font.
        """
        dpi = figure.dpi
        width, height = figure.get_figwidth() * dpi, figure.get_figheight() * dpi
        font = float(np.clip(height / 36, 0.09 * dpi, 0.13 * dpi))
        left = min(max(5.7 * font, (0.56 * names + 1.5) * font), 0.4 * width)
        return cls(width, height, dpi, font, left, right * font)

    @property
    def points(self) -> float:
        """The size of the font in points."""
        return self.font * 72 / self.dpi

    @property
    def axes_width(self) -> float:
        """How wide axes are."""
        return self.width - self.left - self.right

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

    def label_x(self, axes: "Axes", over: str) -> None:
        """Give the lowest axes their ticks and what they count."""
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=over == "step"))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: f"{x:,.0f}" if over == "step" else f"{x:,g}")
        )
        axes.set_xlabel(LABELS[over], color=INK, fontsize=self.points, labelpad=1)


def stacked(figure: "Figure", layout: Layout, floor: float, ceiling: float, n: int) -> "list[Axes]":
    """Return panels between two heights, from top to bottom: the first is the largest."""
    em = layout.font
    share = {1: 0.0, 2: 0.36, 3: 0.27}.get(n, 0.8 / n)
    edges = [floor + i * share * (ceiling - floor) for i in range(n)] + [ceiling]
    return [
        layout.axes(
            figure,
            edges[i] + (0.5 * em if i else 0.0),
            ceiling if i == n - 1 else edges[i + 1] - 0.3 * em,
        )
        for i in range(n - 1, -1, -1)
    ]


def cleared(figure: "Figure") -> None:
    """Take everything off a figure; its ground becomes white."""
    for axes in list(figure.axes):
        figure.delaxes(axes)  # clear() would also reset axes that nobody sees again: 10 ms
    figure.clear()
    figure.set_facecolor("white")


def say_empty(axes: "Axes", text: str, layout: Layout) -> None:
    """Write in the middle of axes why they are empty."""
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes,
        ha="center", va="center", color=GREY, fontsize=1.3 * layout.points,
    )  # fmt: skip


def use_log(axes: "Axes") -> None:
    """Make the vertical scale logarithmic; values that have no logarithm are left out."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
