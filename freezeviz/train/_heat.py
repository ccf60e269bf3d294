"""Rows of a heat map: gradients of parameters, put together where they are too many to be read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_ROWS = 40


@dataclass(frozen=True, slots=True)
class Heat:
    """Norms over time.

    Attributes
    ----------
    labels : tuple of str, length r
        A parameter or a module each; the whole model is "all".
    steps : array, shape (c,)
        After which step each column was measured, in order.
    norms : array, shape (r, c)
        NaN where there was no gradient: all of the row was frozen, or nobody measured it.
    """

    labels: tuple[str, ...]
    steps: np.ndarray
    norms: np.ndarray

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of a logarithmic scale of colours: what is below is as good as zero."""
        known = self.norms[np.isfinite(self.norms) & (self.norms > 0)]
        if not len(known):
            return 1e-3, 1.0
        # A single vanishing norm must not take all the colours: eight decades are enough.
        high = float(known.max())
        low = max(float(known.min()), high * 1e-8)
        return (low, high) if high > 1.0001 * low else (low / 2, high * 2)


def heat(paths: Sequence[str], steps: np.ndarray, norms: np.ndarray, most: int = MOST_ROWS) -> Heat:
    """Return the rows: parameters; where those are more than `most`, modules of some depth.

    The norm of a module is the root of the summed squares of those below it.

    Parameters
    ----------
    paths : sequence of str, length p
    steps : array, shape (c,)
    norms : array, shape (p, c)
        NaN where there was no gradient.
    """
    names = list(paths) if len(paths) <= most else _grouped([p.split(".") for p in paths], most)
    norms = np.asarray(norms, float)
    labels = tuple(dict.fromkeys(names))
    index = {label: i for i, label in enumerate(labels)}
    if len(labels) == len(paths):
        return Heat(labels, np.asarray(steps, float), norms)
    # Scaled by the largest: norms may be such that their squares have no room in a float.
    known = np.isfinite(norms)
    largest = float(norms[known].max()) if known.any() else 0.0
    squares = np.where(known, norms / (largest or 1.0), 0.0) ** 2
    row_of = np.array([index[name] for name in names])
    order = np.argsort(row_of, kind="stable")  # mostly they are in order already
    starts = np.flatnonzero(np.diff(row_of[order], prepend=-1))
    sums = np.add.reduceat(squares[order], starts)
    counts = np.add.reduceat(known[order], starts, dtype=int)
    together = np.where(counts > 0, np.sqrt(sums) * largest, np.nan)
    return Heat(labels, np.asarray(steps, float), together)


def _grouped(parts: list[list[str]], most: int) -> list[str]:
    """Return for each path the name of the row that it shares with others."""
    finer: list[str] = []
    for depth in range(max(len(p) for p in parts) - 1, -1, -1):
        # The module of a parameter, or one above it; a parameter of the model itself stays.
        names = [".".join(p[: min(depth, max(len(p) - 1, 1))]) or "all" for p in parts]
        n = len(set(names))
        if n <= most:
            # From a hundred layers to the one module of them all: rather a few layers to a row.
            return _neighbours(finer, names, most) if finer and 3 * n < most else names
        finer = names
    raise AssertionError("all in one row was too many")


def _neighbours(names: list[str], parents: list[str], most: int) -> list[str]:
    """Join neighbours of one parent, so many that at most about `most` rows are left."""
    by_parent: dict[str, dict[str, None]] = {}
    for name, parent in zip(names, parents, strict=True):
        by_parent.setdefault(parent, {})[name] = None
    each = -(-len(set(names)) // max(most - len(by_parent), 1))
    joined: dict[str, str] = {}
    for children in by_parent.values():
        below = list(children)
        for i in range(0, len(below), each):
            some = below[i : i + each]
            end = some[-1].rpartition(".")[2]
            label = some[0] if len(some) == 1 else f"{some[0]} to {end}"
            joined |= dict.fromkeys(some, label)
    return [joined[name] for name in names]
