"""A table of numbers that grows at the end and can be read while it grows."""

from collections.abc import Iterable

import numpy as np


class Columns:
    """Named columns of float64.

    Appending costs the same at the millionth row as at the first (the buffer doubles), and another
    thread may read at any time: it sees whole rows, of the moment when it looked. A column that
    comes later is NaN in the rows before.

    Parameters
    ----------
    *names : str
    """

    def __init__(self, *names: str) -> None:
        # One tuple, replaced at once: a reader never meets names that the buffer has no column of.
        self._table = ({name: i for i, name in enumerate(names)}, np.empty((64, len(names))))
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def append(self, /, *values: float, **more: float) -> None:
        """Add a row: values of the first columns in order, and of others by name."""
        n = self._n
        index, rows = self._with_columns(more)
        if n == len(rows):
            grown = np.empty((2 * n, rows.shape[1]))
            grown[:n] = rows
            rows = grown
            self._table = index, rows
        row = rows[n]
        if len(values) == len(row):
            row[:] = values
        else:
            row[: len(values)] = values
            row[len(values) :] = np.nan
            for name, value in more.items():
                row[index[name]] = value
        self._n = n + 1  # last: whoever reads the new length finds the row complete

    def amend(self, /, **values: float) -> None:
        """Set numbers of the last row; without rows, do nothing."""
        if self._n:
            index, rows = self._with_columns(values)
            for name, value in values.items():
                rows[self._n - 1, index[name]] = value

    def _with_columns(self, names: Iterable[str]) -> tuple[dict[str, int], np.ndarray]:
        """Return the table, with columns of these names."""
        index, rows = self._table
        added = [name for name in names if name not in index]
        if added:
            index = index | {name: len(index) + i for i, name in enumerate(added)}
            gap = np.full((len(rows), len(added)), np.nan)
            rows = np.concatenate([rows, gap], axis=1)
            self._table = index, rows
        return index, rows

    def __getitem__(self, name: str) -> np.ndarray:
        """Return one column, a read-only view of shape (rows,)."""
        return self.read()[name]

    def read(self) -> dict[str, np.ndarray]:
        """Return all columns, of equal length even if a row is being added meanwhile."""
        n = self._n  # before the buffer: a buffer may be newer than the length, never older
        index, rows = self._table
        rows = rows[:n]
        rows.flags.writeable = False
        return {name: rows[:, i] for name, i in index.items()}
