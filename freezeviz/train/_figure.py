"""The figures that a `History` returns. Imported only there: it loads matplotlib."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

from freezeviz.errors import MissingExtraError

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError(
        "drawing needs matplotlib, which is not installed: pip install 'freezeviz[notebook]', "
        "or pip install matplotlib"
    ) from error

from freezeviz.train._drawing import draw_history, metric_names
from freezeviz.train._drawing_cost import draw_cost
from freezeviz.train._drawing_gradients import draw_gradients
from freezeviz.train._heat import Heat

if TYPE_CHECKING:
    from freezeviz.train._history import History


class HistoryFigure(Figure):
    """A matplotlib figure that notebooks show by themselves.

    They show a bare one only after ``%matplotlib inline``, or once pyplot was imported.
    """

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()


def curves_figure(history: "History", width: float, height: float | None, **look: Any) -> Figure:
    """Return a figure of losses and metrics; `look` as in `draw_history`."""
    if height is None:
        metrics = look.get("metrics")
        n = len(metric_names(history) if metrics is None else metrics)
        height = 4.5 if isinstance(metrics, str) else 4.5 + 1.1 * max(0, n - 2)
    figure = HistoryFigure(figsize=(width, height), dpi=100)
    draw_history(figure, history, **look)
    return figure


def cost_figure(history: "History", width: float, height: float, *, x: str) -> Figure:
    """Return a figure of the time and memory of steps."""
    figure = HistoryFigure(figsize=(width, height), dpi=100)
    draw_cost(figure, history, x=x)
    return figure


def gradients_figure(
    history: "History", gradients: Heat, width: float, height: float | None, *, x: str
) -> Figure:
    """Return a figure of gradients over time."""
    if height is None:
        height = min(max(3.0, 1.6 + 0.17 * len(gradients.labels)), 9.0)
    figure = HistoryFigure(figsize=(width, height), dpi=100)
    draw_gradients(figure, history, gradients, x=x)
    return figure
