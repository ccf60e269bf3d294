"""The rows of a model and what of them is frozen and held: what a controller knows."""

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from freezeviz.adapters import LayerInfo, ModelAdapter
from freezeviz.adapters._index import ParameterIndex
from freezeviz.explorer._deeds import Transition
from freezeviz.explorer._filters import Finder
from freezeviz.explorer._garbage import no_collection
from freezeviz.explorer._orders import Move, Order, Rule, State
from freezeviz.explorer._rows import Row, make_rows
from freezeviz.explorer._structure import Structure, build_structure
from freezeviz.freezing._pick import Picker

T = TypeVar("T")


class TreeModel:
    """A model's structure, and what follows from it alone; replaced as a whole.

    Attributes
    ----------
    snapshot : LayerInfo
    structure : Structure
    picker : Picker
        Answers selectors.
    index : ParameterIndex
    parameter_rows, layer_rows : int array
        Rows of the parameters, in the order of the index, and of the layers.
    rule : Rule
    finder : Finder
    """

    def __init__(self, adapter: ModelAdapter, snapshot: LayerInfo) -> None:
        self.snapshot = snapshot
        self.structure: Structure = build_structure(snapshot)
        self.picker = Picker(adapter, snapshot)
        self.parameter_rows = np.flatnonzero(self.structure.is_parameter)
        self.layer_rows = np.flatnonzero(~self.structure.is_parameter)
        self.finder = Finder(self.structure)
        self._kept: dict[str, Any] = {}

    # Not needed for the first look at a model.

    @property
    def index(self) -> ParameterIndex:
        return self.picker.index

    @cached_property
    def rule(self) -> Rule:
        return Rule(self.index, (self.structure.paths[i] for i in self.layer_rows.tolist()))

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once: what follows from the structure and is seldom needed."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def parameters_of(self, rows: Iterable[int]) -> np.ndarray:
        """The parameters of rows and of all below them, as a bool array in the index's order."""
        s = self.structure
        mask = np.zeros(len(s), bool)
        for row in rows:
            mask[s.parameters_below(row)] = True
        return mask[self.parameter_rows]


class TreeState:
    """The state of a tree, changed and read under one lock.

    The state of a module is never stored: it is worked out from its parameters, of all rows at
    once.
    """

    def __init__(self, adapter: ModelAdapter) -> None:
        self.adapter = adapter
        self.lock = threading.RLock()
        with no_collection(keep=True), self.still():
            self.model = TreeModel(adapter, adapter.snapshot())
            self._frozen = self._mask(adapter.frozen())
            self._held = self._mask(adapter.held())

    def still(self) -> AbstractContextManager[object]:
        """A block in which the adapter need not look again and again whether the model changed."""
        still = getattr(self.adapter, "still", None)
        return nullcontext() if still is None else still()

    @property
    def structure(self) -> Structure:
        """The rows without their state."""
        return self.model.structure

    # ---- looking -------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """All rows as records."""
        with self.lock:
            return make_rows(self.structure, self._frozen, self._held)

    def masks(self) -> tuple[Structure, np.ndarray, np.ndarray]:
        """The structure and, of each of its rows, whether it is a frozen parameter, and held."""
        with self.lock:
            return self.structure, self._frozen.copy(), self._held.copy()

    def look(self) -> tuple[TreeModel, State]:
        """The structure and the state, by parameters and layers."""
        with self.lock:
            model = self.model
            return model, State(self._frozen[model.parameter_rows], self._held[model.layer_rows])

    def words(self, model: TreeModel, mask: np.ndarray) -> str:
        """A few words for some parameters: the path of the module whose parameters they are."""
        s, rows = model.structure, model.parameter_rows[mask]
        count = f"{len(rows)} parameters"
        if not len(rows):
            return count
        above = int(rows[0])
        while above >= 0 and s.end[above] <= rows[-1]:
            above = int(s.parent[above])
        if above < 0 or not np.array_equal(s.parameters_below(above), rows):
            return count
        # The highest such module: a lone child has the parameters of its parent.
        parent = int(s.parent[above])
        while parent >= 0 and len(s.parameters_below(parent)) == len(rows):
            above, parent = parent, int(s.parent[parent])
        return s.paths[above] or "everything"

    # ---- changing ------------------------------------------------------------------------------

    def restructure(self) -> bool:
        """Take in a changed structure; returns whether it had changed."""
        snapshot = self.adapter.snapshot()
        with self.lock:
            if snapshot is self.model.snapshot or snapshot == self.model.snapshot:
                return False
            frozen, held = self._names(self._frozen), self._names(self._held)
            self.model = TreeModel(self.adapter, snapshot)
            self._frozen, self._held = self._mask(frozen), self._mask(held)
            return True

    def read(self) -> tuple[str, ...] | None:
        """Read what is frozen and held; returns the parameters that differ, None without news."""
        with self.still():
            frozen, held = self.adapter.frozen(), self.adapter.held()
        with self.lock:
            new_frozen, new_held = self._mask(frozen), self._mask(held)
            differs = new_frozen != self._frozen
            news = bool(differs.any()) or not np.array_equal(new_held, self._held)
            self._frozen, self._held = new_frozen, new_held
            return self._names(differs) if news else None

    def note(self, frozen: bool, paths: Iterable[str], hold: bool | None) -> Transition:
        """Take in that these parameters are (un)frozen now; returns what that changed."""
        with self.lock:
            before, held_before = self._frozen, self._held
            named = self._mask(paths)
            self._frozen = before | named if frozen else before & ~named
            if hold is not None:
                self._held = self._mask(self.adapter.held())
            return Transition(
                self.structure,
                self._frozen & ~before,
                before & ~self._frozen,
                self._held & ~held_before,
                held_before & ~self._held,
            )

    def orders(
        self, transition: Transition, *, back: bool, spared: np.ndarray, locked: np.ndarray
    ) -> tuple[list[Order], np.ndarray, np.ndarray]:
        """What makes a change again or takes it back; and which of `spared`, of `locked` it spares.

        Parameters
        ----------
        transition : Transition
            It may be of a structure that was replaced since: what is gone is passed over.
        back : bool
        spared : bool array, shape (parameters,)
            Parameters that stay as they are.
        locked : bool array, shape (layers,)
            Layers that are not held by it, and not let go.
        """
        model, now = self.look()
        froze, thawed, held, released = (
            mask
            if transition.structure is model.structure
            else self._mask(transition.structure.paths[i] for i in np.flatnonzero(mask))
            for mask in transition.masks
        )
        if back:
            froze, thawed, held, released = thawed, froze, released, held
        parameters, layers = model.parameter_rows, model.layer_rows
        frozen = (now.frozen | froze[parameters]) & ~thawed[parameters]
        target_held = (now.held | held[layers]) & ~released[layers]
        left = spared & (frozen != now.frozen)
        if spared.any():
            frozen = np.where(spared, now.frozen, frozen)
            still = (model.index.sums(spared) > 0)[model.rule.carriers]
            unheld = model.rule.below(still & (target_held != now.held))
            left |= spared & unheld
            target_held = np.where(still, now.held, target_held)
        apart = locked & (target_held != now.held)
        if apart.any():
            target_held = np.where(model.rule.held_with(apart), now.held, target_held)
        moves = model.rule.moves(now, State(frozen, target_held), keeping=True)
        return [self.order(model, move) for move in moves], left, apart

    def order(self, model: TreeModel, move: Move) -> Order:
        """A move as an order."""
        mask = move.parameters
        words = self.words(model, mask)
        return Order(move.frozen, model.index.names(mask), move.hold, words, move.let_go)

    # ---- small things --------------------------------------------------------------------------

    def _mask(self, paths: Iterable[str]) -> np.ndarray:
        mask = np.zeros(len(self.structure), bool)
        index = self.structure.index
        mask[[index[path] for path in paths if path in index]] = True
        return mask

    def _names(self, mask: np.ndarray) -> tuple[str, ...]:
        return tuple(self.structure.paths[i] for i in np.flatnonzero(mask))
