"""`Controller`: everything that can be clicked, as methods; no browser needed."""

import logging
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from freezeviz.adapters import ModelAdapter
from freezeviz.errors import FreezevizWarning, ObserverWarning, SelectorError, closest
from freezeviz.explorer._deeds import Deed, Order, orders_to_repeat, orders_to_take_back
from freezeviz.explorer._rows import Row
from freezeviz.explorer._structure import Structure
from freezeviz.explorer._tree_state import TreeState
from freezeviz.freezing import select
from freezeviz.train import Event, Failed, Finished, FreezeChanged, StepDone, Stopped, Trainer

MOST_DEEDS = 1000

_log = logging.getLogger("freezeviz")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a view of the tree has to show.

    Attributes
    ----------
    kind : str
        ``"state"``: what is frozen or held; ``"pending"``: what was requested; ``"structure"``: the
        rows themselves.
    paths : tuple of str
        Parameters whose state changed, or rows that were asked to; empty for a new structure.
    label : str
        A few words: ``"freeze layers.0"``.
    """

    kind: str
    paths: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class _Request:
    """A command that the trainer has and did not carry out yet."""

    origin: str
    paths: tuple[str, ...]
    rows: tuple[int, ...]


class Controller:
    """The tree of a model, and what can be done with it. Usable from any thread.

    With a trainer, commands go through it: while it runs they take effect between two steps, and
    until then stand in `pending`. Without one they take effect at once.

    Modules that were replaced, and what was frozen on the model itself, are noticed before every
    command while nothing trains, and by `refresh`. While a training runs, `refresh` looks at the
    structure and leaves the question what is frozen to the training thread, after its next step.

    Parameters
    ----------
    adapter : ModelAdapter
    trainer : Trainer, optional

    Attributes
    ----------
    is_watched : bool
        Somebody refreshes it whenever the model may have changed (after every cell of a notebook),
        so commands need not look first: of 3,000 modules that takes a tenth of a second.

    Examples
    --------
    >>> controller = fv.explore(model).controller
    >>> controller.toggle("layers.0")
    >>> [row.state for row in controller.rows() if row.path == "layers.0"]
    ['frozen']
    >>> controller.undo()
    """

    def __init__(self, adapter: ModelAdapter, trainer: Trainer | None = None) -> None:
        self.adapter = adapter
        self.trainer = trainer
        self.is_watched = False
        self._tree = TreeState(adapter)
        self._lock = self._tree.lock
        self._callbacks: tuple[Callable[[Change], object], ...] = ()
        self._done: deque[Deed] = deque(maxlen=MOST_DEEDS)
        self._undone: deque[Deed] = deque(maxlen=MOST_DEEDS)
        self._requests: list[_Request] = []
        self._postponed: list[str] = []  # "undo" and "redo" that wait for requests
        self._look_again = False
        if trainer is not None:
            # Weakly: a trainer outlives the views of it and must not keep them.
            heard = weakref.WeakMethod(self._heard)
            weakref.finalize(self, trainer.subscribe(lambda e: (f := heard()) and f(e)))

    # ---- looking -------------------------------------------------------------------------------

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
            for request in self._requests:
                pending[list(request.rows)] = True
            return structure, frozen, held, pending

    @property
    def pending(self) -> tuple[str, ...]:
        """Paths of rows for which something was requested that is not applied yet."""
        with self._lock:
            rows = dict.fromkeys(row for request in self._requests for row in request.rows)
            return tuple(self.structure.paths[row] for row in rows)

    @property
    def undoable(self) -> str | None:
        """What `undo` would take back, in a few words; None if there is nothing."""
        with self._lock:
            return self._done[-1].label if self._done else None

    @property
    def redoable(self) -> str | None:
        """What `redo` would do again, in a few words; None if there is nothing."""
        with self._lock:
            return self._undone[-1].label if self._undone else None

    def search(self, text: str) -> list[str]:
        """Paths of the rows with `text`, whatever the case, in a path or the type."""
        wanted = text.casefold()
        s = self.structure
        return [
            path
            for path, kind, also in zip(s.paths, s.kinds, s.aliases, strict=True)
            if any(wanted in name.casefold() for name in (path, kind, *also))
        ]

    def subscribe(self, callback: Callable[[Change], object]) -> Callable[[], None]:
        """Have `callback` called after every change; returns a function that ends that.

        It is called in the thread that made the change, which in a running training is the training
        thread. One that raises is reported with an `ObserverWarning` and gets no more calls.
        """

        def entry(change: Change) -> object:
            return callback(change)

        with self._lock:
            self._callbacks = (*self._callbacks, entry)
        return lambda: self._unsubscribe(entry)

    # ---- doing ---------------------------------------------------------------------------------

    def toggle(self, path: str) -> None:
        """Freeze all below `path` if anything there is trainable, else unfreeze all.

        Where there are no parameters nothing happens, and a `FreezevizWarning` says so.

        Raises
        ------
        SelectorError
            If the model has no such path.
        """
        row = self._row(path)
        s = self.structure
        parameters = s.parameters_below(row)
        if not parameters:
            name = f"{s.paths[row] or 'the model'} ({s.kinds[row]})"
            message = f"{name} has no parameters: nothing to freeze"
            warnings.warn(message, FreezevizWarning, stacklevel=2)
            return
        what = s.paths[row]
        named = tuple(s.paths[i] for i in parameters)
        trainer = self.trainer
        if trainer is None:
            self._apply(Order(not self._tree.all_frozen(parameters), named), what, "click")
        else:
            request = _Request("click", named, (row,))
            self._request(request, lambda: trainer.toggle(what, origin="click"))

    def freeze(self, what: Any, hold: bool = False) -> None:
        """Freeze parameters.

        Parameters
        ----------
        what : selector
            See `freezeviz.select`; ``""`` is the whole model.
        hold : bool
            Hold their modules, too: no dropout in them, statistics stand still.

        Raises
        ------
        SelectorError
            If nothing matches; nothing is frozen then.
        """
        self._command(what, True, hold)

    def unfreeze(self, what: Any) -> None:
        """Make parameters trainable again and let go what was held.

        Raises
        ------
        SelectorError
            If nothing matches; nothing is changed then.
        """
        self._command(what, False, False)

    def undo(self) -> None:
        """Take back the last change. While requests are pending it waits until they are applied."""
        self._step_back("undo")

    def redo(self) -> None:
        """Make the change again that was taken back last."""
        self._step_back("redo")

    def refresh(self) -> bool:
        """Look at the model again; returns whether anything is other than was known."""
        changed = self._tree.restructure()
        if changed:
            with self._lock:
                self._requests.clear()
            self._tell(Change("structure"))
        if self._runs:
            # The events that tell what is frozen are on their way; only the training thread, which
            # sends them, can look at the model without overtaking one.
            self._look_again = True
            return changed
        return self._read() or changed

    # ---- commands on their way -----------------------------------------------------------------

    @property
    def _runs(self) -> bool:
        return self.trainer is not None and self.trainer.status in ("running", "paused")

    def _look_first(self) -> None:
        if not self._runs and not self.is_watched:
            self.refresh()

    def _row(self, path: str) -> int:
        self._look_first()
        if path not in self.structure.index:
            self.refresh()
        index = self.structure.index
        if path not in index:
            hint = closest(path, index)
            raise SelectorError(f"no path {path!r} in {self.structure.kinds[0]}.{hint}")
        return index[path]

    def _command(self, what: Any, frozen: bool, hold: bool) -> None:
        self._look_first()
        named = select(self.adapter.model, what).paths
        self._give(what, Order(frozen, named, hold), "click")

    def _give(self, what: Any, order: Order, origin: str) -> None:
        trainer = self.trainer
        if trainer is None:
            self._apply(order, what, origin)
            return

        def make() -> None:
            if order.frozen:
                trainer.freeze(what, order.hold, origin=origin)
            else:
                trainer.unfreeze(what, origin=origin)

        rows = self._tree.rows_of(what, order.paths)
        self._request(_Request(origin, order.paths, rows), make)

    def _request(self, request: _Request, make: Callable[[], None]) -> None:
        """Note a request, then make it: its event may come before the call returns."""
        with self._lock:
            self._requests.append(request)
        try:
            make()
        except BaseException:
            with self._lock:
                self._requests.remove(request)
            raise
        if request in self._requests:
            self._tell(Change("pending", tuple(self.structure.paths[row] for row in request.rows)))

    def _apply(self, order: Order, what: Any, origin: str) -> None:
        """Carry an order out on the model itself."""
        hold = (True if order.hold else None) if order.frozen else False
        self.adapter.set_frozen(order.paths, order.frozen, hold)
        name = (what or "everything") if isinstance(what, str) else f"{len(order.paths)} parameters"
        label = f"{'freeze' if order.frozen else 'unfreeze'} {name}"
        self._applied(order.frozen, order.paths, hold, label, origin)

    def _step_back(self, origin: str) -> None:
        self._look_first()
        with self._lock:
            if self._requests:
                self._postponed.append(origin)
                return
            source, target = self._done, self._undone
            if origin == "redo":
                source, target = target, source
            if not source:
                return
            deed = source.pop()
            target.append(deed)
        orders = (orders_to_take_back if origin == "undo" else orders_to_repeat)(deed)
        for order in orders:
            # Parameters may be gone with a module that was replaced since.
            paths = tuple(path for path in order.paths if path in self.structure.index)
            if paths:
                what = self._tree.selector(paths)
                self._give(what, Order(order.frozen, paths, order.hold), origin)

    # ---- what happened -------------------------------------------------------------------------

    def _heard(self, event: Event) -> None:
        """Take in an event of the trainer; in the training thread, once a step."""
        if isinstance(event, StepDone):
            if self._look_again:
                self._look_again = False
                self._read()
        elif isinstance(event, FreezeChanged):
            self._answered(event)
            self._applied(event.frozen, event.paths, event.hold, event.label, event.origin)
            self._resume_postponed()
        elif isinstance(event, Failed | Finished | Stopped):
            with self._lock:
                forgotten, self._requests = self._requests, []
            if forgotten:
                self._tell(Change("pending"))
            self._resume_postponed()

    def _answered(self, event: FreezeChanged) -> None:
        with self._lock:
            for i, request in enumerate(self._requests):
                if request.origin == event.origin and request.paths == event.paths:
                    del self._requests[i]
                    return

    def _resume_postponed(self) -> None:
        with self._lock:
            if self._requests:
                return
            waiting, self._postponed = self._postponed, []
        for origin in waiting:
            self._step_back(origin)

    def _applied(
        self, frozen: bool, paths: tuple[str, ...], hold: bool | None, label: str, origin: str
    ) -> None:
        with self._lock:
            deed = self._tree.note(frozen, paths, hold, label)
            if deed is not None and origin not in ("undo", "redo"):
                self._done.append(deed)
                self._undone.clear()
        self._tell(Change("state", deed.changed if deed else (), label))

    def _read(self) -> bool:
        paths = self._tree.read()
        if paths is not None:
            self._tell(Change("state", paths, "changed on the model itself"))
        return paths is not None

    # ---- telling -------------------------------------------------------------------------------

    def _unsubscribe(self, entry: Callable[[Change], object]) -> None:
        with self._lock:
            self._callbacks = tuple(other for other in self._callbacks if other is not entry)

    def _tell(self, change: Change) -> None:
        for entry in self._callbacks:
            try:
                entry(change)
            except Exception as error:
                self._unsubscribe(entry)
                message = (
                    f"a subscriber of the explorer raised {type(error).__name__}: {error}. "
                    "It gets no more calls."
                )
                try:
                    warnings.warn(message, ObserverWarning, stacklevel=2)
                except ObserverWarning:  # warnings may be errors, but this one ends no command
                    _log.warning(message, exc_info=error)
