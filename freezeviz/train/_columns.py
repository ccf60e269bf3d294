"""A table of numbers that grows at the end and can be read while it grows."""

import numpy as np


class Columns:
    """Named columns of float64.

    Appending costs the same at the millionth row as at the first (the buffer doubles), and another
    thread may read at any time: it sees whole rows, of the moment when it looked.

    Parameters
    ----------
    *names : str
    """

    def __init__(self, *names: str) -> None:
        self._index = {name: i for i, name in enumerate(names)}
        self._rows = np.empty((64, len(names)))
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def append(self, *values: float) -> None:
        """Add a row."""
        n = self._n
        if n == len(self._rows):
            grown = np.empty((2 * n, self._rows.shape[1]))
            grown[:n] = self._rows
            self._rows = grown
        self._rows[n] = values
        self._n = n + 1  # last: whoever reads the new length finds the row complete

    def __getitem__(self, name: str) -> np.ndarray:
        """Return one column, a read-only view of shape (rows,)."""
        n = self._n  # before the buffer: a buffer may be newer than the length, never older
        column = self._rows[:n, self._index[name]]
        column.flags.writeable = False
        return column

    def read(self) -> dict[str, np.ndarray]:
        """Return all columns, of equal length even if a row is being added meanwhile."""
        n = self._n
        rows = self._rows[:n]
        rows.flags.writeable = False
        return {name: rows[:, i] for name, i in self._index.items()}
