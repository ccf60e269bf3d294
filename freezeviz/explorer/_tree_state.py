"""The rows of a model and what of them is frozen and held: what a controller knows."""

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from freezeviz.adapters import ModelAdapter
from freezeviz.explorer._deeds import Deed
from freezeviz.explorer._rows import Row, make_rows
from freezeviz.explorer._structure import Structure, build_structure
from freezeviz.freezing import Selection
from freezeviz.paths import is_glob


class TreeState:
    """The state of a tree, changed and read under one lock.

    The state of a module is never stored: it is worked out from its parameters, of all rows at
    once.
    """

    def __init__(self, adapter: ModelAdapter) -> None:
        self.adapter = adapter
        self.lock = threading.RLock()
        self._snapshot = adapter.snapshot()
        self.structure: Structure = build_structure(self._snapshot)
        self._frozen = self._mask(adapter.frozen())
        self._held = self._mask(adapter.held())

    # ---- looking -------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """All rows as records."""
        with self.lock:
            return make_rows(self.structure, self._frozen, self._held)

    def masks(self) -> tuple[Structure, np.ndarray, np.ndarray]:
        """The structure and, of each of its rows, whether it is a frozen parameter, and held."""
        with self.lock:
            return self.structure, self._frozen.copy(), self._held.copy()

    def all_frozen(self, rows: list[int]) -> bool:
        """Whether all of these parameter rows are frozen."""
        with self.lock:
            return bool(self._frozen[rows].all())

    def selector(self, paths: Iterable[str]) -> Any:
        """What selects these parameters: if they are all of a module, its path."""
        s = self.structure
        rows = sorted(s.index[path] for path in paths)
        above = rows[0]
        while above >= 0 and s.end[above] <= rows[-1]:
            above = int(s.parent[above])
        if above < 0 or s.parameters_below(above) != rows:
            everything = tuple(s.paths[i] for i in np.flatnonzero(s.is_parameter))
            return Selection(self.adapter, everything, paths)
        # The highest such module: a lone child has the parameters of its parent.
        while s.parent[above] >= 0 and s.parameters_below(int(s.parent[above])) == rows:
            above = int(s.parent[above])
        return s.paths[above]

    def rows_of(self, what: Any, named: Iterable[str]) -> tuple[int, ...]:
        """The rows that show a request: the module that it names, else the parameters."""
        index = self.structure.index
        if isinstance(what, str) and what in index and not is_glob(what):
            return (index[what],)
        return tuple(index[path] for path in named if path in index)

    # ---- changing ------------------------------------------------------------------------------

    def restructure(self) -> bool:
        """Take in a changed structure; returns whether it had changed."""
        snapshot = self.adapter.snapshot()
        with self.lock:
            if snapshot == self._snapshot:
                return False
            frozen, held = self._names(self._frozen), self._names(self._held)
            self._snapshot = snapshot
            self.structure = build_structure(snapshot)
            self._frozen, self._held = self._mask(frozen), self._mask(held)
            return True

    def read(self) -> tuple[str, ...] | None:
        """Read what is frozen and held; returns the parameters that differ, None without news."""
        frozen, held = self.adapter.frozen(), self.adapter.held()
        with self.lock:
            new_frozen, new_held = self._mask(frozen), self._mask(held)
            differs = new_frozen != self._frozen
            news = bool(differs.any()) or not np.array_equal(new_held, self._held)
            self._frozen, self._held = new_frozen, new_held
            return self._names(differs) if news else None

    def note(
        self, frozen: bool, paths: Iterable[str], hold: bool | None, label: str
    ) -> Deed | None:
        """Take in that these parameters are (un)frozen now; None if they were."""
        with self.lock:
            s = self.structure
            named = tuple(path for path in paths if path in s.index)
            rows = [s.index[path] for path in named]
            pairs = list(zip(named, rows, strict=True))
            frozen_before = frozenset(path for path, row in pairs if self._frozen[row])
            held_before = frozenset(path for path, row in pairs if self._held[s.parent[row]])
            changed = tuple(path for path in named if (path in frozen_before) != frozen)
            self._frozen[rows] = frozen
            held_changed = False
            if hold is not None:
                held = self._mask(self.adapter.held())
                held_changed = not np.array_equal(held, self._held)
                self._held = held
            if not changed and not held_changed:
                return None
            return Deed(label, frozen, changed, hold, named, held_before, frozen_before)

    # ---- small things --------------------------------------------------------------------------

    def _mask(self, paths: Iterable[str]) -> np.ndarray:
        mask = np.zeros(len(self.structure), bool)
        index = self.structure.index
        mask[[index[path] for path in paths if path in index]] = True
        return mask

    def _names(self, mask: np.ndarray) -> tuple[str, ...]:
        return tuple(self.structure.paths[i] for i in np.flatnonzero(mask))
