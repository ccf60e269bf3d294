"""The showing side of a controller: what all views of a model show alike."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from freezeviz.adapters import ModelAdapter
from freezeviz.errors import RunError
from freezeviz.explorer._controller_view import ControllerView
from freezeviz.explorer._looks import (
    FOLDED,
    UNFOLDED,
    USUAL_COLUMNS,
    Folds,
    Looks,
    PlotLook,
    columns_of,
)
from freezeviz.explorer._notices import Change


class ControllerLook(ControllerView):
    """What of a `Controller` is about looks: unfolded rows, columns, plots and files of them."""

    def __init__(self, adapter: ModelAdapter) -> None:
        super().__init__(adapter)
        self._folds = Folds()
        self._columns: tuple[str, ...] | None = None  # nobody has chosen
        self._plots: PlotLook | None = None

    def looks(self) -> Looks:
        """What was said of how views show this model."""
        with self._lock:
            return Looks(self._folds.marks(self.structure), self._columns, self._plots)

    # ---- unfolded ------------------------------------------------------------------------------

    def collapse(self, path: str = "") -> None:
        """Fold a row: what is below it shows neither in pages nor in what is printed.

        Raises
        ------
        SelectorError
            If the model has no such path.

        Examples
        --------
        >>> controller = fv.explore(model).controller
        >>> controller.collapse()
        >>> print(fv.explore(model))
        name  type  parameters  state
        Net   Net           32  ○ trainable
        32 parameters: 32 trainable, 0 frozen (0.0 %)
        >>> controller.expand()
        """
        self._mark([([self._row(path)], FOLDED)])

    def collapse_all(self) -> None:
        """Fold all rows but the model's own."""
        self._mark([(slice(1, None), FOLDED), ([0], UNFOLDED)])

    def expand(self, path: str = "", *, deep: bool = True) -> None:
        """Unfold a row, and those above it.

        Parameters
        ----------
        path : str
        deep : bool
            Unfold all below it, too.

        Raises
        ------
        SelectorError
            If the model has no such path.
        """
        row = self._row(path)
        below = slice(row, int(self.structure.end[row])) if deep else [row]
        self._mark([(below, UNFOLDED), (self._above(row), UNFOLDED)])

    def _unfold_to(self, row: int) -> None:
        self._mark([(self._above(row), UNFOLDED)])

    def _above(self, row: int) -> list[int]:
        above: list[int] = []
        while (row := int(self.structure.parent[row])) >= 0:
            above.append(row)
        return above

    def _mark(self, marks: list[tuple[slice | list[int], int]]) -> None:
        with self._lock:
            changed = [self._folds.mark(self.structure, rows, mark) for rows, mark in marks]
        if any(changed):
            self._notices.tell(Change("look"))

    @property
    def collapsed(self) -> frozenset[str]:
        """Paths of the rows that were folded, in code or on a page."""
        return self._folded(FOLDED)

    @property
    def expanded(self) -> frozenset[str]:
        """Paths of the rows that were unfolded, in code or on a page.

        Of others, pages show what there is room for at first, and what is printed shows all.
        """
        return self._folded(UNFOLDED)

    def _folded(self, mark: int) -> frozenset[str]:
        with self._lock:
            return self._folds.paths(self.structure, mark)

    # ---- columns -------------------------------------------------------------------------------

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that pages show beside the name; a narrow one may leave some out."""
        return USUAL_COLUMNS if self._columns is None else self._columns

    def show_columns(self, names: Iterable[str]) -> None:
        """Let pages show these columns and no others, but for the state.

        What is printed, and what stays in a saved notebook, has columns of its own.

        Parameters
        ----------
        names : iterable of str
            Of ``type``, ``shape``, ``count``, ``bytes``, ``state``, ``backward`` (what backward
            does there), and of what is measured while training: ``gradient`` (norm), ``trend``,
            ``update`` (its size to that of the weights), ``time`` (share of a step), ``saved``
            (bytes kept for backward).

        Raises
        ------
        SelectorError
            If there is no such column.

        Examples
        --------
        >>> controller = fv.explore(model).controller
        >>> controller.show_columns(["time", "type", "saved"])
        >>> controller.columns
        ('type', 'state', 'time', 'saved')
        """
        columns = columns_of(names)
        if columns != self._columns:
            self._columns = columns
            self._notices.tell(Change("look"))

    # ---- plots ---------------------------------------------------------------------------------

    @property
    def plots(self) -> PlotLook:
        """How pages show the plots of the run."""
        return self._plots or PlotLook()

    def show_plots(self, **look: Any) -> None:
        """Let pages show the plots like this.

        Parameters
        ----------
        plot, x, log, smooth, metrics, table
            As in `PlotLook`; what is not named stays as it is.

        Raises
        ------
        TypeError
            If a name is none of these.
        DataError
            If a value is none that it can have.

        Examples
        --------
        >>> controller = fv.explore(trainer).controller
        >>> controller.show_plots(log=True, smooth=0.95)
        >>> controller.plots.plot, controller.plots.smooth
        ('curves', 0.95)
        """
        plots = self._wanted(look)
        if plots != self._plots:
            self._plots = plots
            self._notices.tell(Change("look"))

    def export(self, path: str | PathLike[str], **look: Any) -> None:
        """Save the plot that is shown as PNG or SVG, or all numbers of the run as CSV.

        Parameters
        ----------
        path : path
            Its suffix says which: ``.png``, ``.svg`` or ``.csv``.
        plot, x, log, smooth, metrics
            As in `show_plots`, for this picture alone; by default those of `plots`.

        Raises
        ------
        DataError
            If the suffix is none of these, a value none that it can have, or if the history has not
            what is asked for.
        MissingExtraError
            If a picture is asked for and matplotlib is not installed.
        RunError
            If there is no run.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> controller = fv.explore(trainer).controller
        >>> with TemporaryDirectory() as folder:
        ...     controller.export(f"{folder}/cost.svg", plot="cost")
        """
        from freezeviz.explorer._export import export

        plots = self._wanted(look)
        path = Path(path)
        suffix = path.suffix.lower().removeprefix(".")
        history = self._run_for("export from").history
        path.write_bytes(export(history, suffix, plots)[2])

    def _wanted(self, look: dict[str, Any]) -> PlotLook:
        unknown = look.keys() - {*PlotLook._fields}
        if unknown:
            known = ", ".join(PlotLook._fields)
            raise TypeError(f"expected some of {known}, got {min(unknown)!r}")
        return self.plots._replace(**look).checked()

    def _run_for(self, order: str) -> Any:
        self._dispatcher.look_for_run()
        run = self.run
        if run is None:
            raise RunError(
                f"there is no run to {order}: this explorer has a model alone. Make a Trainer of "
                "it and explore that, or train it in a loop over freezeviz.steps()"
            )
        return run
