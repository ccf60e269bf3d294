"""What views of a model show of it, as far as all of them do alike."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from freezeviz.errors import DataError, SelectorError, closest
from freezeviz.explorer._structure import Structure

# In the order in which they stand; static/js/columns.js has the same.
COLUMNS = (
    "type",
    "shape",
    "count",
    "bytes",
    "state",
    "backward",
    "gradient",
    "trend",
    "update",
    "time",
    "saved",
)
ALWAYS = "state"
USUAL_COLUMNS = ("type", "count", "state", "backward")
PLOTS = ("curves", "gradients", "cost")
AXES = ("step", "epoch", "time")

FOLDED, UNFOLDED = 1, 2


def columns_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return known columns in their order, with the one that is always there.

    Raises
    ------
    SelectorError
        If there is no such column.
    """
    if not isinstance(names, Iterable):
        raise SelectorError(f"expected names of columns, got {names!r}")
    wanted = {names, ALWAYS} if isinstance(names, str) else {*map(str, names), ALWAYS}
    for name in sorted(map(str, wanted - {*COLUMNS})):
        hint = closest(name, COLUMNS)
        raise SelectorError(f"no column {name!r}.{hint} Known: {', '.join(COLUMNS)}.")
    return tuple(name for name in COLUMNS if name in wanted)


class PlotLook(NamedTuple):
    """How the plots of a run are shown.

    Attributes
    ----------
    plot : str
        ``"curves"``, ``"gradients"`` or ``"cost"``.
    x : str
        ``"step"``, ``"epoch"`` or ``"time"``.
    log : bool
        The loss on a logarithmic scale.
    smooth : float
        What is kept of the mean at each step, from 0 (off) to below 1.
    metrics : tuple of str or None
        Of the curves; None shows all.
    table : bool
        Numbers in place of the drawing.
    """

    plot: str = "curves"
    x: str = "step"
    log: bool = False
    smooth: float = 0.8
    metrics: tuple[str, ...] | None = None
    table: bool = False

    def checked(self) -> "PlotLook":
        """Return it as it is, of plain values.

        Raises
        ------
        DataError
            If a value is none of those above; the message names it.
        """
        for name, value, known in (("plot", self.plot, PLOTS), ("x", self.x, AXES)):
            if value not in known:
                expected = ", ".join(map(repr, known))
                raise DataError(f"{name}: expected one of {expected}, got {value!r}")
        smooth: Any = self.smooth
        if not isinstance(smooth, int | float | np.number) or not 0 <= smooth < 1:
            raise DataError(f"smooth: expected a number from 0 to below 1, got {smooth!r}")
        metrics = self.metrics
        if metrics is not None:
            is_list = isinstance(metrics, Iterable) and not isinstance(metrics, str)
            metrics = tuple(metrics) if is_list else ()
            if not metrics or not all(isinstance(name, str) for name in metrics):
                raise DataError(f"metrics: expected a list of names, or None, got {self.metrics!r}")
        return self._replace(
            log=bool(self.log), smooth=float(smooth), metrics=metrics, table=bool(self.table)
        )


class Looks(NamedTuple):
    """What was said of how views show a model; None where nobody has said anything.

    Attributes
    ----------
    folds : uint8 array, shape (rows,)
        `FOLDED`, `UNFOLDED`, or 0.
    columns : tuple of str or None
    plots : PlotLook or None
    """

    folds: np.ndarray
    columns: tuple[str, ...] | None
    plots: PlotLook | None


class Folds:
    """Which rows were folded and unfolded; of the others nobody has said anything."""

    def __init__(self) -> None:
        self._structure: Structure | None = None
        self._marks = np.zeros(0, np.uint8)

    def marks(self, structure: Structure) -> np.ndarray:
        """Return `FOLDED`, `UNFOLDED` or 0 for each row: uint8, shape (rows,), to be read."""
        before = self._structure
        if before is not structure:
            marks = np.zeros(len(structure), np.uint8)
            for row in np.flatnonzero(self._marks).tolist():
                at = structure.index.get(before.paths[row]) if before is not None else None
                if at is not None:
                    marks[at] = self._marks[row]
            self._structure, self._marks = structure, marks
        return self._marks

    def mark(self, structure: Structure, rows: slice | list[int], mark: int) -> bool:
        """Fold or unfold rows; returns whether that changed anything."""
        before = self.marks(structure)
        marks = before.copy()
        marks[rows] = mark
        self._marks = marks
        return not np.array_equal(marks, before)

    def paths(self, structure: Structure, mark: int) -> frozenset[str]:
        """Return the paths of the rows with a mark that have something below them."""
        inner = structure.end > np.arange(len(structure)) + 1
        rows = np.flatnonzero((self.marks(structure) == mark) & inner)
        return frozenset(structure.paths[row] for row in rows.tolist())
