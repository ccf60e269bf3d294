"""Numbers on a logarithmic axis, of losses that stay within a decade too: as in the live charts.

Imported only while something is drawn: it loads matplotlib.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

FEW = 6  # intervals, where a scale is less than a decade
FLAT = 1.05  # highest by lowest: what is flatter is drawn as flat


class LogTicks(LogLocator):
    """Powers of ten; where fewer than two are in view, numbers between them.

    1, 2 and 5, or 1 and 3, if two or more of them are in view and have room, else round numbers.
    """

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return where ticks are between two limits; some may lie outside."""
        decades = super().tick_values(vmin, vmax)
        low, high = sorted((vmin, vmax))
        if _n_within(decades, low, high) >= 2 or not 0 < low < high < np.inf:
            return decades
        assert self.axis is not None  # matplotlib's: it asks a locator that is on an axis
        room = max(2, self.axis.get_tick_space())
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        for parts in ((1, 2, 5), (1, 3)):
            ticks = [float(power * part) for power in powers for part in parts]
            if 2 <= _n_within(ticks, low, high) <= room:
                return ticks
        return MaxNLocator(min(room, FEW), steps=[1, 2, 5, 10]).tick_values(low, high)


def number_log(axes: Axes) -> None:
    """Give a logarithmic vertical scale, with its curves on it, the numbers that it needs."""
    axes.yaxis.set_major_locator(LogTicks())
    low, high = max(axes.dataLim.ymin, axes.dataLim.minposy), axes.dataLim.ymax
    if 0 < low <= high < FLAT * low:
        # Numbers that differ in the fifth digit are wider than their place.
        axes.set_ylim(low / 2, 2 * high)


def _n_within(ticks: Sequence[float], low: float, high: float) -> int:
    values = np.asarray(ticks)
    return int(((values >= low) & (values <= high)).sum())
