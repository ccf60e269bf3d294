"""Locks: nodes that no action of the explorer changes."""

from collections.abc import Sequence

import numpy as np

from freezeviz.explorer._tree_state import TreeModel


class Locks:
    """Which nodes are locked, by path: a lock outlives a module that is replaced."""

    def __init__(self) -> None:
        self._paths: dict[str, None] = {}
        self._known: tuple[TreeModel, tuple[str, ...], np.ndarray] | None = None

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def add(self, path: str) -> None:
        """Lock a node."""
        self._paths = {**self._paths, path: None}

    def remove(self, path: str) -> None:
        """Unlock a node."""
        self._paths = {other: None for other in self._paths if other != path}

    def paths(self, model: TreeModel) -> tuple[str, ...]:
        """The locked nodes that there are, in the order of the tree."""
        index = model.structure.index
        return tuple(sorted((p for p in self._paths if p in index), key=index.__getitem__))

    def mask(self, model: TreeModel) -> np.ndarray:
        """The parameters that are locked, as a bool array in the index's order."""
        paths = self.paths(model)
        if self._known is None or self._known[0] is not model or self._known[1] != paths:
            index = model.structure.index
            mask = model.parameters_of(index[path] for path in paths)
            self._known = model, paths, mask
        return self._known[2]

    def layers(self, model: TreeModel) -> np.ndarray:
        """The layers that are locked, as a bool array of shape (layers,)."""
        s = model.structure
        mask = np.zeros(len(s), bool)
        for path in self.paths(model):
            row = s.index[path]
            mask[row : s.end[row]] = True
        return mask[model.layer_rows]

    def concerned(self, model: TreeModel, left: np.ndarray) -> list[str]:
        """The locked nodes that have some of these parameters (a bool array)."""
        index = model.structure.index
        return [
            path for path in self.paths(model) if (model.parameters_of([index[path]]) & left).any()
        ]

    def above(self, model: TreeModel, layers: np.ndarray) -> list[str]:
        """The locked nodes that are, or have, some of these layers (a bool array)."""
        s = model.structure
        rows = np.zeros(len(s), bool)
        rows[model.layer_rows[layers]] = True
        paths = self.paths(model) if layers.any() else ()
        return [path for path in paths if rows[s.index[path] : s.end[s.index[path]]].any()]


def locked_words(paths: Sequence[str]) -> str:
    """A sentence that tells which nodes were left as they are."""
    named = ", ".join(repr(path or "the model") for path in paths[:3])
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"{named}{more}: locked, and left as it was"


def beside_words(paths: Sequence[str]) -> str:
    """Words for layers without parameters that go with one that is locked."""
    if not paths:
        return ""
    named = ", ".join(repr(path) for path in paths[:3])
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f". Nor could these be changed either, as they go together: {named}{more}"


def left_words(paths: Sequence[str]) -> str:
    """Words for locked nodes, as the end of a label."""
    n = len(paths)
    return f" ({n} locked left as {'it is' if n == 1 else 'they are'})" if n else ""
