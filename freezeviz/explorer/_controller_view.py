"""The readable side of a controller: rows, states, search, previews, code."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from freezeviz.adapters import ModelAdapter
from freezeviz.errors import SelectorError, closest
from freezeviz.explorer._code import code_of, policy_of
from freezeviz.explorer._details import Details, details
from freezeviz.explorer._dispatcher import Dispatcher
from freezeviz.explorer._locks import Locks
from freezeviz.explorer._notices import Change, Notices
from freezeviz.explorer._preview import Preview, preview
from freezeviz.explorer._rows import Row
from freezeviz.explorer._structure import Structure
from freezeviz.explorer._tree_state import TreeState
from freezeviz.freezing import Policy
from freezeviz.train import OwnRun, Run


class ControllerView:
    """What can be read from a `Controller`, and what it is composed of."""

    def __init__(self, adapter: ModelAdapter) -> None:
        self.adapter = adapter
        self.is_watched = False
        self._tree = TreeState(adapter)
        self._lock = self._tree.lock
        self._notices = Notices()
        self._locks = Locks()
        self._selected: tuple[str, ...] = ()
        self._sought = ""  # what was searched for last
        self._dispatcher = Dispatcher(adapter, self._tree, self._notices, self._locks)
        # Of the model, and kept as long as it is, whichever explorer they came from.
        self.own_run: OwnRun | None = None
        self.optimizer: Any = None
        self.end_watch: Callable[[], object] = lambda: None

    @property
    def run(self) -> Run | None:
        """The run that commands go through."""
        return self._dispatcher.run

    @property
    def structure(self) -> Structure:
        """The rows without their state, as columns; replaced when the model's structure changed."""
        return self._tree.structure

    def rows(self) -> list[Row]:
        """All rows, modules and parameters, top to bottom, with their state."""
        return self._tree.rows()

    def masks(self) -> tuple[Structure, np.ndarray, np.ndarray, np.ndarray]:
        """The structure and, row by row, whether it is a frozen parameter, held, pending."""
        with self._lock:
            structure, frozen, held = self._tree.masks()
            pending = np.zeros(len(structure), bool)
            pending[self._dispatcher.pending_rows()] = True
            return structure, frozen, held, pending

    @property
    def pending(self) -> tuple[str, ...]:
        """Paths of rows for which something was requested that is not applied yet."""
        with self._lock:
            return tuple(self.structure.paths[row] for row in self._dispatcher.pending_rows())

    @property
    def undoable(self) -> str | None:
        """What `undo` would take back, in a few words; None if there is nothing."""
        return self._dispatcher.deeds.undoable

    @property
    def redoable(self) -> str | None:
        """What `redo` would do again, in a few words; None if there is nothing."""
        return self._dispatcher.deeds.redoable

    def search(self, text: str) -> list[str]:
        """Paths of the rows with `text`, whatever the case, in a path or the type."""
        model = self._tree.model
        self._sought = text
        return [model.structure.paths[row] for row in model.finder.search(text)]

    def filter(
        self,
        *,
        state: str | Collection[str] | None = None,
        kind: str | Collection[str] | None = None,
        statistics: bool | None = None,
        text: str | None = None,
    ) -> list[str]:
        """Paths of the rows that pass all filters; None passes everything.

        Parameters
        ----------
        state : str or collection of str
            One or more of ``trainable``, ``frozen``, ``mixed``, ``none``, ``held``, ``locked``,
            ``pending``.
        kind : str or collection of str
            Types of modules, ``"parameter"`` for parameters.
        statistics : bool
            Whether the module has buffers of its own, such as running statistics.
        text : str
            As for `search`.

        Raises
        ------
        ValueError
            If there is no such state.

        Examples
        --------
        >>> fv.explore(model).controller.filter(kind="Linear", state=["trainable", "mixed"])
        ['layers.0', 'layers.1', 'head']
        """
        with self._lock:
            model, now = self._tree.look()
            on_its_way = self._dispatcher.pending_rows()
        s = model.structure
        frozen, held, locked, pending = (np.zeros(len(s), bool) for _ in range(4))
        pending[on_its_way] = True
        frozen[model.parameter_rows] = now.frozen
        held[model.layer_rows] = now.held
        for path in self._locks.paths(model):
            row = s.index[path]
            locked[row : s.end[row]] = True
        rows = model.finder.filter(
            s.states(frozen),
            {"held": held, "pending": pending, "locked": locked},
            state=state,
            kind=kind,
            statistics=statistics,
            text=text,
        )
        return [s.paths[row] for row in rows]

    def kinds(self) -> dict[str, int]:
        """How many modules there are of each type, the most frequent first."""
        return self._tree.model.finder.kinds()

    def preview(self, what: Any, action: str = "freeze") -> Preview:
        """What a command would do, without doing it.

        Parameters
        ----------
        what : selector
            See `freezeviz.select`. One that is wrong, or not typed to its end yet, is no error
            here: `Preview.error` tells.
        action : str
            ``"freeze"``, ``"unfreeze"`` or ``"toggle"``.

        Raises
        ------
        ValueError
            If there is no such action.

        Examples
        --------
        >>> found = fv.explore(model).controller.preview("**.bias - head")
        >>> found.changes
        ('layers.0.bias', 'layers.1.bias')
        >>> fv.explore(model).controller.preview("**.bias - ").error is None
        False
        """
        self._look_first()
        model, now = self._tree.look()
        return preview(model, now, self._locks.mask(model), what, action)

    def tied(self, path: str) -> tuple[str, ...]:
        """Where else the array, or the module, of a row is used: its further paths.

        Of a module, also the parameters that it has from elsewhere.

        Raises
        ------
        SelectorError
            If the model has no such path.
        """
        row = self._row(path)
        s = self.structure
        borrowed = s.tied[s.tied[:, 0] == row, 1].tolist() if len(s.tied) else []
        return (*s.aliases[row], *(s.paths[other] for other in borrowed))

    def details(self, path: str) -> Details:
        """A node in detail: docstring, place of its code, its arrays with range and histogram.

        The arrays are read and counted now, in the thread that calls.

        Raises
        ------
        SelectorError
            If the model has no such path.

        Examples
        --------
        >>> weight = fv.explore(model).controller.details("head").parameters[0]
        >>> weight.path, weight.shape, weight.minimum < weight.mean < weight.maximum
        ('head.weight', (2, 3), True)
        """
        row = self._row(path)
        model, now = self._tree.look()
        s = model.structure
        owner = int(s.parent[row]) if s.is_parameter[row] else row
        layer = next(x for x in model.picker.layers if x.path == s.paths[owner])
        frozen = frozenset(model.index.names(now.frozen))
        return details(self.adapter, layer, s.paths[row] if row != owner else None, frozen)

    def prepare(self) -> None:
        """Work out, in any thread, what the first change of this model will need."""
        self._tree.model.rule  # noqa: B018  (made when it is asked for first)
        prepare = getattr(self.adapter, "prepare", None)
        # While it trains, the training thread alone looks at the model.
        if prepare is not None and not self._dispatcher.is_running:
            prepare()

    def policy(self) -> Policy:
        """The shortest policy found that brings a fresh model to the present state.

        What no policy can say (a module that is held while the only module in it is not) is left
        out, with a `FreezevizWarning`.
        """
        self._look_first()
        return policy_of(*self._tree.look())

    def code(self) -> str:
        """Python that brings a fresh model, under the name ``model``, to the present state.

        Of a PyTorch model it is plain PyTorch, and a held part is held without freezeviz: the
        explorer of that fresh model shows it as frozen, not as held. A `policy` brings both.

        Examples
        --------
        >>> controller = fv.explore(model).controller
        >>> controller.apply_preset("head_only")
        >>> print(controller.code(), end="")
        import freezeviz as fv
        <BLANKLINE>
        fv.freeze(model, "layers")
        >>> controller.undo()
        """
        return code_of(self.adapter, self.policy())

    def subscribe(self, callback: Callable[[Change], object]) -> Callable[[], None]:
        """Have `callback` called after every change; returns a function that ends that.

        It is called in the thread that made the change, which in a running training is the training
        thread. One that raises is reported with an `ObserverWarning` and gets no more calls.
        """
        return self._notices.subscribe(callback)

    @property
    def selected(self) -> tuple[str, ...]:
        """Paths of the selected rows, in the order of the tree."""
        index = self.structure.index
        return tuple(sorted((p for p in self._selected if p in index), key=index.__getitem__))

    @property
    def locked(self) -> tuple[str, ...]:
        """Paths of the nodes that are locked, in the order of the tree."""
        return self._locks.paths(self._tree.model)

    def refresh(self) -> bool:
        """Look at the model again; returns whether anything is other than was known."""
        self._dispatcher.look_for_run()
        with self._tree.still():
            changed = self._tree.restructure()
            paths = self._dispatcher.read()
        if changed:
            self._dispatcher.forget_requests()
            self._notices.tell(Change("structure"))
        if paths is not None:
            self._notices.tell(Change("state", paths, "changed on the model itself"))
        return changed or paths is not None

    # ---- the rows that paths name ---------------------------------------------------------------

    def _look_first(self) -> None:
        self._dispatcher.look_for_run()
        if not self._dispatcher.is_running and not self.is_watched:
            self.refresh()

    def _row(self, path: str) -> int:
        return self._rows([path])[0]

    def _rows(self, paths: Iterable[str]) -> list[int]:
        """Rows of paths, or of one, in the order of the tree, each once."""
        paths = [paths] if isinstance(paths, str) else list(paths)
        for path in paths:
            if not isinstance(path, str):
                raise TypeError(f"a row is named by its path, a text, got {type(path).__name__}")
        self._look_first()
        if any(path not in self.structure.index for path in paths):
            self.refresh()
        index = self.structure.index
        for path in paths:
            if path not in index:
                hint = closest(path, index)
                raise SelectorError(f"no path {path!r} in {self.structure.kinds[0]}.{hint}")
        return sorted({index[path] for path in paths})
