"""The picture of gradients over time: a heat map, a row for each layer."""

from typing import TYPE_CHECKING

import numpy as np

from freezeviz.train._axis import Axis
from freezeviz.train._heat import Heat
from freezeviz.train._layout import GREY, INK, Layout, cleared, say_empty
from freezeviz.train._panels import FreezeState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from freezeviz.train._history import History

LONGEST = 34  # characters of a row's name


def draw_gradients(figure: "Figure", history: "History", heat: Heat, *, x: str = "step") -> None:
    """Draw norms of gradients by colour, dark for small ones, on a logarithmic scale.

    Where a row was frozen there is no gradient: grey, with the strip below as its reason.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    history : History
    heat : Heat
    x : "step", "epoch" or "time"
    """
    axis = Axis.of(history, x)
    names = [_shortened(label) for label in heat.labels]
    layout = Layout.of(figure, names=max(map(len, names), default=0), right=8.0)
    cleared(figure)
    steps = history.steps["step"]
    last = int(max([1, *steps[-1:], *heat.steps[-1:]]))
    frozen = FreezeState(history, axis, layout, last)
    axes = layout.axes(figure, frozen.floor, frozen.ceiling)
    if len(heat.steps) and len(names):
        _draw_rows(figure, axes, axis, heat, layout, frozen)
        _name_rows(axes, names, layout, frozen.ceiling - frozen.floor)
    else:
        say_empty(axes, "no gradient was measured yet", layout)
    frozen.draw_on(axes, shades=False)
    frozen.draw_around(figure, [axes])


def column_edges(steps: np.ndarray) -> np.ndarray:
    """Return the steps between which each column is drawn: halfway to its neighbours.

    Parameters
    ----------
    steps : array, shape (c,), c > 0

    Returns
    -------
    edges : array, shape (c + 1,)
    """
    if len(steps) == 1:
        return np.array([0.0, float(steps[0])])
    middles = (steps[1:] + steps[:-1]) / 2
    return np.concatenate(
        [[max(0.0, 2 * steps[0] - middles[0])], middles, [2 * steps[-1] - middles[-1]]]
    )


def _draw_rows(
    figure: "Figure", axes: "Axes", axis: Axis, heat: Heat, layout: Layout, frozen: FreezeState
) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogFormatterSciNotation

    low, high = heat.limits
    edges = axis.at(np.minimum(column_edges(heat.steps), frozen.last_step))
    mesh = axes.pcolormesh(
        edges,
        np.arange(len(heat.labels) + 1),
        np.ma.masked_invalid(np.where(heat.norms > 0, np.maximum(heat.norms, low), heat.norms)),
        norm=LogNorm(low, high, clip=True),
        cmap=colormaps["cividis"].with_extremes(bad="#E4E4E4"),
        rasterized=True,  # hundreds of columns: a picture inside an SVG, not thousands of shapes
    )
    em = layout.font
    left = layout.left + layout.axes_width + 1.2 * em
    box = (left / layout.width, frozen.floor / layout.height)
    size = (em / layout.width, (frozen.ceiling - frozen.floor) / layout.height)
    bar = figure.colorbar(mesh, cax=figure.add_axes((*box, *size)))
    bar.ax.tick_params(labelsize=layout.points, colors=INK, length=3, width=0.6)
    if high / low < 10:
        bar.ax.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(2, 0.5)))
        bar.ax.tick_params(which="minor", labelsize=layout.points, colors=INK, length=2)
    else:
        bar.ax.minorticks_off()
    bar.set_label("gradient norm", size=layout.points, color=INK)
    bar.outline.set_edgecolor(GREY)
    bar.outline.set_linewidth(0.6)


def _name_rows(axes: "Axes", names: list[str], layout: Layout, height: float) -> None:
    """Name the rows; where they are too close, every second or fifth of them."""
    axes.set_ylim(len(names), 0)
    every = max(1, int(np.ceil(1.15 * layout.font * len(names) / height)))
    shown = range(0, len(names), every)
    axes.set_yticks([row + 0.5 for row in shown])
    axes.set_yticklabels([names[row] for row in shown], parse_math=False)
    axes.tick_params(axis="y", length=0)


def _shortened(label: str) -> str:
    return label if len(label) <= LONGEST else f"…{label[1 - LONGEST :]}"
