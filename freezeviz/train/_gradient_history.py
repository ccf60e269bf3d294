"""Norms of gradients over a whole run, in bounded memory."""

from threading import Lock

import numpy as np

COLUMNS = 200
MOST_BYTES = 64 * 2**20


class GradientHistory:
    """A row per parameter, a column per stretch of time; coarser, the longer the run.

    A column is the mean of some samples. When all columns are taken, each two become one, and from
    then on a column takes twice as many samples.

    Parameters
    ----------
    rows : int
    columns : int, optional
        How many at most; even. By default `COLUMNS`, fewer where there are very many rows.
    """

    def __init__(self, rows: int, columns: int | None = None) -> None:
        if columns is None:
            columns = min(COLUMNS, max(8, MOST_BYTES // (4 * max(rows, 1)) // 2 * 2))
        self._lock = Lock()
        self._norms = np.full((columns, rows), np.nan, np.float32)  # a sample is written at once
        self._steps = np.zeros(columns)
        self._full = 0  # columns that have all their samples
        self._group = 1  # samples in a column
        self._open: list[tuple[float, np.ndarray]] = []  # samples of the column that grows

    def add(self, step: int, norms: np.ndarray) -> None:
        """Add a sample, shape (rows,); NaN where there was no gradient."""
        with self._lock:
            self._open.append((float(step), norms.astype(np.float32)))
            if len(self._open) < self._group:
                return
            self._steps[self._full], self._norms[self._full] = self._mean_of_open()
            self._open = []
            self._full += 1
            if self._full == len(self._steps):
                self._halve()

    def _mean_of_open(self) -> tuple[float, np.ndarray]:
        steps, samples = zip(*self._open, strict=True)
        return float(np.mean(steps)), _mean(np.stack(samples))

    def _halve(self) -> None:
        half = len(self._steps) // 2
        for i in range(half):  # one at a time: a copy of all would take as much memory again
            self._norms[i] = _mean(self._norms[2 * i : 2 * i + 2])
        self._norms[half:] = np.nan
        self._steps[:half] = self._steps.reshape(half, 2).mean(axis=1)
        self._full, self._group = half, 2 * self._group

    def read(self, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return copies: steps, shape (c,), and norms, shape (rows, c), in order of time."""
        with self._lock:
            n = self._full
            steps, norms = self._steps[:n].copy(), self._norms[:n, rows].copy().T
            if self._open:
                step, mean = self._mean_of_open()
                steps = np.append(steps, step)
                norms = np.concatenate([norms, mean[rows, None]], axis=1)
        return steps, norms

    def moved(self, rows: int, where: dict[int, int]) -> "GradientHistory":
        """Return the same record with other rows: row ``where[i]`` of it is row `i` of this."""
        old, new = np.array(list(where), int), np.array(list(where.values()), int)
        with self._lock:
            other = GradientHistory(rows, len(self._steps))
            other._norms[:, new] = self._norms[:, old]
            other._steps = self._steps.copy()
            other._full, other._group = self._full, self._group
            for step, norms in self._open:
                placed = np.full(rows, np.nan, np.float32)
                placed[new] = norms[old]
                other._open.append((step, placed))
        return other


def _mean(samples: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis; NaN counts for nothing, unless there is nothing else."""
    known = ~np.isnan(samples)
    count = known.sum(axis=0)
    # In float64: two norms near float32's largest would have an infinite sum.
    total = np.where(known, samples, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
