"""`Controller`: everything that can be clicked, as methods; no browser needed."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from freezeviz.adapters import ModelAdapter
from freezeviz.errors import FreezevizWarning, LockedError, SelectorError
from freezeviz.explorer import _presets as presets
from freezeviz.explorer._controller_hand import ControllerHand
from freezeviz.explorer._dispatcher import Action
from freezeviz.explorer._locks import beside_words, left_words, locked_words
from freezeviz.explorer._notices import Change
from freezeviz.explorer._orders import Move, Order
from freezeviz.explorer._spared import Part, sparing
from freezeviz.explorer._tree_state import TreeModel
from freezeviz.paths import is_glob
from freezeviz.train import Run
from freezeviz.train._commands import describe


class Controller(ControllerHand):
    """The tree of a model, and what can be done with it. Usable from any thread.

    With a run, commands go through it: while it is under way they take effect between two steps,
    and until then stand in `pending`. Without one they take effect at once. Whatever a command
    consists of, one `undo` takes it back.

    All pages of a model show the same selection, unfolded rows, columns and plots: what is said of
    them here shows there, and what somebody does on a page is read here. Searching, filtering,
    previews and details are questions, and answer who asked.

    Modules that were replaced, and what was frozen on the model itself, are noticed before every
    command while nothing trains, and by `refresh`. While a training runs, `refresh` looks at the
    structure and leaves the question what is frozen to the training thread, after its next step.

    Parameters
    ----------
    adapter : ModelAdapter
    run : Run, optional
        See `attach`.

    Attributes
    ----------
    is_watched : bool
        Somebody refreshes it whenever the model may have changed (after every cell of a notebook),
        so commands need not look first.

    Examples
    --------
    >>> controller = fv.explore(model).controller
    >>> controller.toggle("layers.0")
    >>> [row.state for row in controller.rows() if row.path == "layers.0"]
    ['frozen']
    >>> controller.undo()
    """

    def __init__(self, adapter: ModelAdapter, run: Run | None = None) -> None:
        super().__init__(adapter)
        self._dispatcher.look_for_run()
        if run is not None:
            self.attach(run)

    def attach(self, run: Run) -> None:
        """Let commands go through a run from now on, and show what happens in it.

        A run of this model that is under way is found without it.

        Raises
        ------
        RunError
            If another run is under way.
        """
        self._dispatcher.attach(run)

    def follow(self, run: Run) -> None:
        """Show what happens in a run; commands go through it unless another is under way."""
        self._dispatcher.follow(run)

    # ---- locked --------------------------------------------------------------------------------

    def lock(self, path: str) -> None:
        """Let no command of this controller change a node, or what is below it.

        Commands on more than this node change the rest. What code does to the model or asks of the
        run is not kept from happening. A layer without parameters is held and let go with those
        around it: locked, it is left out of both, and so are others that can only go with it.

        Raises
        ------
        SelectorError
            If the model has no such path.
        """
        path = self.structure.paths[self._row(path)]
        with self._lock:
            self._locks.add(path)
        self._notices.tell(Change("locks", (path,), f"lock {path or 'everything'}"))

    def unlock(self, path: str) -> None:
        """Let commands change a locked node again; nothing happens if it is not locked.

        Raises
        ------
        SelectorError
            If the model has no such path.
        """
        path = self.structure.paths[self._row(path)]
        with self._lock:
            self._locks.remove(path)
        self._notices.tell(Change("locks", (path,), f"unlock {path or 'everything'}"))

    def note(self, text: str, paths: Iterable[str] = ()) -> None:
        """Let those who watch know of something that changes nothing; a page shows the text."""
        self._notices.tell(Change("note", tuple(paths), text))

    # ---- doing ---------------------------------------------------------------------------------

    def toggle(self, path: str, hold: bool = False) -> None:
        """Freeze all below `path` if anything there is trainable, else unfreeze all.

        Where there are no parameters nothing happens, and a `FreezevizWarning` says so.

        Parameters
        ----------
        path : str
        hold : bool
            Hold the modules, too, if it comes to freezing.

        Raises
        ------
        SelectorError
            If the model has no such path.
        LockedError
            If it is locked.
        """
        self.toggle_many([path], hold)

    def toggle_many(self, paths: Iterable[str] | None = None, hold: bool = False) -> None:
        """Freeze all below these rows if anything there is trainable, else unfreeze all.

        Parameters
        ----------
        paths : iterable of str, optional
            By default the selected rows.
        hold : bool

        Raises
        ------
        SelectorError
            If the model has no such path.
        LockedError
            If all of it is locked.
        """
        rows = self._rows(self.selected if paths is None else paths)
        model = self._tree.model
        mask = model.parameters_of(rows)
        words = _row_words(model, rows)
        if not mask.any():
            s = model.structure
            shown = ", ".join(f"{s.paths[row] or 'the model'} ({s.kinds[row]})" for row in rows[:3])
            self._warn(
                f"{shown} has no parameters: nothing to freeze"
                if rows
                else "no row is named, and none is selected: nothing to freeze"
            )
            return
        locked = self._locks.mask(model)
        if not (mask & ~locked).any():
            by = ", ".join(repr(path) for path in self._locks.concerned(model, mask)[:3])
            raise LockedError(f"{words}: locked by {by}; unlock() it before it is changed")
        self._act(model, [Part(None, mask, hold)], words, tuple(rows))

    def freeze(self, what: Any, hold: bool = False) -> None:
        """Freeze parameters.

        Parameters
        ----------
        what : selector
            See `freezeviz.select`; ``""`` is the whole model. In a list, paths of rows are taken
            as they stand.
        hold : bool
            Hold their modules, too: no dropout in them, statistics stand still.

        Raises
        ------
        SelectorError
            If nothing matches; nothing is frozen then.
        """
        model, mask, words, rows = self._meant(what)
        self._act(model, [Part(True, mask, hold)], words, rows)

    def unfreeze(self, what: Any) -> None:
        """Make parameters trainable again and let go what was held.

        Raises
        ------
        SelectorError
            If nothing matches; nothing is changed then.
        """
        model, mask, words, rows = self._meant(what)
        self._act(model, [Part(False, mask)], words, rows)

    def hold(self, what: Any) -> None:
        """Freeze parameters and hold their modules: no dropout in them, statistics stand still.

        Raises
        ------
        SelectorError
            If nothing matches; nothing is changed then.
        """
        self.freeze(what, hold=True)

    def release(self, what: Any) -> None:
        """Let go the modules that are held; what is frozen stays so.

        A module that has more frozen parameters than those meant stays held. Where nothing is held
        a `FreezevizWarning` says so.

        Raises
        ------
        SelectorError
            If nothing matches; nothing is changed then.
        """
        model, mask, words, rows = self._meant(what)
        now = self._tree.look()[1]
        frozen = now.frozen & mask
        moves = [Move(False, mask), Move(True, frozen)]
        if np.array_equal(model.rule.after(now, moves).held, now.held):
            self._warn(f"nothing that is held is in {words}, and in it alone: nothing to release")
            return
        parts: list[Part] = [Part(False, mask), Part(True, frozen)]
        self._act(model, parts, words, rows, f"release {words}")

    def presets(self) -> dict[str, str]:
        """Names of the presets, and what they do, in words."""
        return presets.labels(self._tree.model)

    def apply_preset(self, name: str, at: str | None = None, hold: bool = False) -> None:
        """Freeze and unfreeze what a preset asks for.

        Parameters
        ----------
        name : str
            ``head_only``, ``all_but_head``, ``biases_only``, ``norms_only``: that trains, all else
            is frozen. ``up_to`` and ``after``: freeze all up to `at` and including it, or all after
            it, in the order in which the layers are called if a step was measured, else in that of
            their definition. ``invert``: what is frozen trains, what trains is frozen.
        at : str, optional
            A path, not the model's own; by default that of the selected row, if it is one.
        hold : bool
            Hold what is frozen, too.

        Raises
        ------
        SelectorError
            If there is no such preset or path, or nothing of what it is about. Nothing is changed
            then.

        Examples
        --------
        >>> controller = fv.explore(model).controller
        >>> controller.apply_preset("up_to", at="layers.0")
        >>> controller.undoable
        'freeze everything up to layers.0'
        >>> controller.undo()
        """
        self._look_first()
        if at is None and len(self.selected) == 1:
            at = self.selected[0]
        row = None if at is None else self._row(at)
        if row == 0 and name in presets.NEED_PLACE:
            raise SelectorError(
                f"{name}: expected the path of a row below the model in at=..., got the model's "
                "own; freeze('') freezes everything"
            )
        model, now = self._tree.look()
        measures = getattr(self.run, "measures", None)
        order = getattr(measures, "order", None) or None
        wanted = presets.wanted(name, model, now.frozen, row, order)
        label = presets.LABELS[name].partition(":")[0]
        if row is not None and name in presets.NEED_PLACE:
            here = model.structure.paths[row]
            label = label.replace("here", here)
        label = label[:1].lower() + label[1:]
        # What is so already needs no order, but for what is on its way to be changed.
        all_of_it = hold or bool(self._dispatcher.pending_rows())
        unfreeze = wanted.unfreeze & (now.frozen | all_of_it)
        freeze = wanted.freeze & (~now.frozen | all_of_it)
        parts: list[Part] = [Part(False, unfreeze), Part(True, freeze, hold)]
        self._act(model, parts, "", (0,), label)

    def undo(self) -> None:
        """Take back the last change. While requests are pending it waits until they are applied."""
        self._look_first()
        self._dispatcher.step_back("undo")

    def redo(self) -> None:
        """Make the change again that was taken back last."""
        self._look_first()
        self._dispatcher.step_back("redo")

    # ---- how it is done ------------------------------------------------------------------------

    def _meant(self, what: Any) -> tuple[TreeModel, np.ndarray, str, tuple[int, ...]]:
        """What a selector picks: the model, the parameters, words for them, rows to show it."""
        self._look_first()
        model = self._tree.model
        index = model.structure.index
        if (
            isinstance(what, list | tuple)
            and what
            and all(isinstance(path, str) and path in index for path in what)
        ):
            rows = tuple(sorted({index[path] for path in what}))
            mask = model.parameters_of(rows)
            words = _row_words(model, rows)
            if not mask.any():
                raise SelectorError(f"{words}: no parameters there, nothing to freeze or unfreeze")
            return model, mask, words, rows
        mask = model.picker.pick(what)
        if isinstance(what, str) and what in index and not is_glob(what):
            return model, mask, describe(what, ()), (index[what],)
        rows = tuple(model.parameter_rows[mask].tolist())
        return model, mask, describe(what, model.index.names(mask)), rows

    def _act(
        self,
        model: TreeModel,
        parts: list[Part],
        words: str,
        rows: tuple[int, ...],
        label: str = "",
    ) -> None:
        """Carry out what was asked for, but for what is locked.

        Parameters
        ----------
        model : TreeModel
        parts : list of Part
        words : str
            For what is frozen or unfrozen; empty: those that fit each part.
        rows : tuple of int
            Those that show it.
        label : str
            For all parts together; by default the words of the only one.
        """
        locked = self._locks.mask(model)
        state = self._tree.look()[1]
        left = np.zeros(len(locked), bool)
        for to, mask, hold, _ in parts:
            left |= mask & locked & (True if to is None or hold else state.frozen != to)
        spared = self._locks.concerned(model, left) if left.any() else []
        parts = [part._replace(parameters=part.parameters & ~locked) for part in parts]
        without = sparing(self._locks.layers(model), model, state, parts)
        parts = without.parts
        spared += self._locks.above(model, without.left)
        note = left_words(spared)
        if len(parts) > 1 and not label:
            verb = "unfreeze" if parts[-1].frozen is False else "freeze"
            label = f"{verb} {words}"
        orders: list[Order] = []
        for to, mask, hold, let_go in parts:
            if mask.any():
                what = (words or self._tree.words(model, mask)) + note
                orders.append(Order(to, model.index.names(mask), hold, what, let_go))
        if orders:
            self._dispatcher.give(Action(tuple(orders), rows, label and label + note))
        if spared:
            self._warn(locked_words(spared) + beside_words(without.beside))

    def _warn(self, message: str) -> None:
        warnings.warn(message, FreezevizWarning, stacklevel=4)


def _row_words(model: TreeModel, rows: Iterable[int]) -> str:
    paths = [model.structure.paths[row] or "everything" for row in rows]
    return paths[0] if len(paths) == 1 else f"{len(paths)} rows"
