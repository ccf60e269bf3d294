"""The figure that `History.plot` returns. Imported only there: it loads matplotlib."""

from io import BytesIO
from typing import TYPE_CHECKING

from freezeviz.errors import MissingExtraError

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError(
        "drawing needs matplotlib, which is not installed: pip install 'freezeviz[notebook]', "
        "or pip install matplotlib"
    ) from error

from freezeviz.train._drawing import draw_history

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


def history_figure(history: "History", width: float, height: float) -> Figure:
    """Return a figure of a history, of a size in inches."""
    figure = HistoryFigure(figsize=(width, height), dpi=100)
    draw_history(figure, history)
    return figure
