"""The steering side of a controller: rows that are selected and found, and the run."""

from collections.abc import Iterable

from freezeviz.errors import RunError, SelectorError
from freezeviz.explorer._controller_look import ControllerLook
from freezeviz.explorer._notices import Change


class ControllerHand(ControllerLook):
    """What of a `Controller` changes nothing of the model: selecting, finding, starting a run."""

    # ---- selected ------------------------------------------------------------------------------

    def select_rows(self, paths: Iterable[str], *, show: bool = True) -> None:
        """Select these rows and no others.

        Parameters
        ----------
        paths : iterable of str
        show : bool
            Unfold what is above a row that is selected alone.

        Raises
        ------
        SelectorError
            If the model has no such path; the selection stays as it was then.
        """
        rows = self._rows(paths)
        selected = tuple(self.structure.paths[row] for row in rows)
        if selected != self._selected:
            self._selected = selected
            self._notices.tell(Change("selection", selected))
        if show and len(rows) == 1:
            self._unfold_to(rows[0])

    def select_all(self) -> None:
        """Select all rows."""
        self.select_rows(self.structure.paths)

    def select_none(self) -> None:
        """Select nothing."""
        self.select_rows(())

    def next_found(self, text: str | None = None) -> str | None:
        """Select the next row with a text below the selected one; from the top again after the end.

        Parameters
        ----------
        text : str, optional
            As for `search`; by default what was searched for last.

        Returns
        -------
        path : str or None
            None if there is no such row; the selection stays as it was then.

        Raises
        ------
        SelectorError
            If there is no text, and nothing was searched for.

        Examples
        --------
        >>> controller = fv.explore(model).controller
        >>> controller.next_found("bias"), controller.next_found(), controller.previous_found()
        ('layers.0.bias', 'layers.1.bias', 'layers.0.bias')
        >>> controller.select_none()
        """
        return self._go_to_found(text, back=False)

    def previous_found(self, text: str | None = None) -> str | None:
        """Select the row with a text before the selected one; see `next_found`."""
        return self._go_to_found(text, back=True)

    def _go_to_found(self, text: str | None, *, back: bool) -> str | None:
        self._look_first()
        sought = self._sought if text is None else text
        if not sought:
            raise SelectorError("nothing to find: expected a text, or a search() before")
        paths = self.search(sought)
        if not paths:
            return None
        index, selected = self.structure.index, self.selected
        here = index[selected[0 if back else -1]] if selected else -1
        if back:
            before = [path for path in paths if index[path] < here]
            path = (before or paths)[-1]
        else:
            path = next((path for path in paths if index[path] > here), paths[0])
        self.select_rows([path])
        return path

    # ---- the run -------------------------------------------------------------------------------

    def start(self, epochs: int) -> None:
        """Start the run in the background.

        Raises
        ------
        RunError
            If there is none, it cannot be started from outside, or it is under way.
        """
        run = self._run_for("start")
        if not run.can_start:
            raise RunError("this run cannot be started from here: its own loop does that")
        run.start(epochs)

    def pause(self) -> None:
        """Make the run wait after the step in hand.

        Raises
        ------
        RunError
            If there is none, or none under way.
        """
        self._run_for("pause").pause()

    def resume(self) -> None:
        """Let a paused run go on.

        Raises
        ------
        RunError
            If there is none, or none under way.
        """
        self._run_for("resume").resume()

    def stop(self) -> None:
        """End the run after the step in hand; nothing happens if it is not under way.

        Raises
        ------
        RunError
            If there is none.
        """
        self._run_for("stop").stop()
