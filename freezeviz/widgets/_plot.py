"""The loss plot as a PNG. Imported late: it loads matplotlib."""

from io import BytesIO

import numpy as np

from freezeviz.errors import MissingExtraError

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError(
        "the loss plot needs matplotlib, which is not installed: pip install 'freezeviz[notebook]'"
    ) from error

from freezeviz.train import History, draw_history
from freezeviz.widgets._curves import summary

WIDTH = 640  # CSS pixels, where nobody says otherwise
NARROWEST, WIDEST = 300, 800
SHARPEST = 2.0  # drawn for screens up to this density: beyond, nobody sees what it costs


class Plot:
    """A figure that is kept and drawn again. Not thread-safe: one thread draws."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.figure = Figure()
        self._canvas = FigureCanvasAgg(self.figure)

    def png(self, width: int = 0, ratio: float = 1.0) -> bytes:
        """Draw the history as it is now.

        Parameters
        ----------
        width : int
            In CSS pixels; 0 for the usual one.
        ratio : float
            The screen's pixels to a CSS pixel.
        """
        wide = float(np.clip(width or WIDTH, NARROWEST, WIDEST))
        high = 130 + 0.33 * wide
        self.figure.set_dpi(100 * float(np.clip(ratio, 1.0, SHARPEST)))
        self.figure.set_size_inches(wide / 100, high / 100)
        draw_history(self.figure, self.history)
        out = BytesIO()
        # Level 1: 3 times as fast as the usual 6 for 1.2 times the bytes, which go over loopback.
        self._canvas.print_png(out, pil_kwargs={"compress_level": 1})
        return out.getvalue()

    def text(self) -> str:
        """Return what the plot shows in words, for those who cannot see it."""
        return summary(self.history)
