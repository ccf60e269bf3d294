"""A growing table made small enough to be sent to a page again and again."""

from collections.abc import Mapping
from typing import Any

import numpy as np

MOST = 1024  # buckets: about as many as a plot has pixels
LARGEST = 3.4e38  # of a float32, in which values travel


class Buckets:
    """Columns that grow, in at most `most` buckets of equally many rows.

    A bucket has of each column the smallest and the largest value, in the order in which they came,
    and the mean. As long as there are no more rows than buckets, each row is one. NaN and infinite
    values are gaps; a bucket that holds nothing else stays one.

    An update costs as much as there are new rows, and all of them only when the buckets become
    wider, which is after the double number of rows.

    Parameters
    ----------
    most : int
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.width = 1  # rows to a bucket
        self.rows = 0
        self._x = np.zeros(0, np.int32)
        self._values: dict[str, np.ndarray] = {}
        self._means: dict[str, np.ndarray] = {}

    def update(self, table: Mapping[str, np.ndarray]) -> None:
        """Take in the rows that are new.

        Parameters
        ----------
        table : mapping of name to array, shape (n,)
            With ``"step"``; the rows of the call before come first, unchanged but for the last,
            which may have been filled in meanwhile.
        """
        names = [name for name in table if name != "step"]
        rows = len(table["step"])
        if rows < self.rows or names != list(self._values):
            self.width, self.rows = 1, 0
        width = self.width
        while -(-rows // width) > self.most:
            width *= 2
        # Whole buckets stay as they are.
        whole = max(self.rows - 1, 0) // width if width == self.width else 0
        self._x = _grown(
            self._x, whole * _points(width), _places(table["step"][whole * width :], width)
        )
        for name in names:
            values, means = _reduced(table[name][whole * width :], width)
            none = np.zeros(0, np.float32)
            self._values[name] = _grown(
                self._values.get(name, none), whole * _points(width), values
            )
            self._means[name] = _grown(self._means.get(name, none), whole, means)
        for name in self._values.keys() - set(names):
            del self._values[name], self._means[name]
        self.width, self.rows = width, rows

    def as_trait(self) -> dict[str, Any]:
        """Return what the page needs; arrays as bytes, which travel as they are.

        Returns
        -------
        table : dict
            ``width``, ``rows``; ``x``: int32 steps, one to a bucket of one row, two to a wider one;
            ``y``: for each column float32 values at these steps; ``mean``: for each column a
            float32 to a bucket, empty where a bucket is one row. NaN is a gap.
        """
        wide = self.width > 1
        return {
            "width": self.width,
            "rows": self.rows,
            "x": self._x.tobytes(),
            "y": {name: values.tobytes() for name, values in self._values.items()},
            "mean": {name: m.tobytes() for name, m in self._means.items()} if wide else {},
        }


def _points(width: int) -> int:
    return 1 if width == 1 else 2


def _grown(old: np.ndarray, keep: int, new: np.ndarray) -> np.ndarray:
    return np.concatenate([old[:keep], new]) if keep else new


def _places(steps: np.ndarray, width: int) -> np.ndarray:
    """Return the steps at which a bucket's values are drawn: its first and its middle one."""
    if width == 1:
        return steps.astype(np.int32)
    starts = np.arange(0, len(steps), width)
    sizes = np.minimum(width, len(steps) - starts)
    places = np.stack([steps[starts], steps[starts + sizes // 2]], axis=1)
    return places.reshape(-1).astype(np.int32)


def _reduced(values: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the extreme values of each bucket in order of time, flat, and the means."""
    known = np.isfinite(values)
    clipped = np.clip(np.where(known, values, np.nan), -LARGEST, LARGEST)
    if width == 1:
        flat = clipped.astype(np.float32)
        return flat, flat
    buckets = -(-len(values) // width)
    padded = np.full(buckets * width, np.nan)
    padded[: len(values)] = clipped
    padded = padded.reshape(buckets, width)
    gap = np.isnan(padded)
    lowest = np.where(gap, np.inf, padded).argmin(axis=1)
    highest = np.where(gap, -np.inf, padded).argmax(axis=1)
    rows = np.arange(buckets)
    first, second = (
        padded[rows, np.minimum(lowest, highest)],
        padded[rows, np.maximum(lowest, highest)],
    )
    counts = width - gap.sum(axis=1)
    # Divided first: the sum of values near the largest would have no room.
    shares = np.where(gap, 0.0, padded) / np.maximum(counts, 1)[:, None]
    means = np.where(counts > 0, shares.sum(axis=1), np.nan)
    extremes = np.stack([first, second], axis=1).reshape(-1)
    return extremes.astype(np.float32), means.astype(np.float32)
