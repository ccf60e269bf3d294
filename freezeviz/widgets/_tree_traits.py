"""The traits of the tree: structure, state, and what else a view of it needs to know."""

from typing import Any

import numpy as np

from freezeviz.explorer import Controller, Structure
from freezeviz.widgets._columns import columns, state_bytes


class TreeTraits:
    """Reads a controller, and remembers which structure the pages have.

    Parameters
    ----------
    controller : Controller

    Attributes
    ----------
    structure, version
        What the pages have; the version grows with every new structure.
    presets : dict of str to str
        Names and labels.
    selected : dict
        ``n`` (grows with every change), ``view`` (who selected; empty: code did) and ``rows``.
    looks : dict
        ``columns`` and ``plots``, as far as somebody has said how they are shown.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.structure: Structure = controller.structure
        self.version = 0
        self.presets: dict[str, str] = {}
        self.selected: dict[str, Any] = {"n": 0, "view": "", "rows": []}
        self.looks: dict[str, Any] = {}
        self._paths: tuple[str, ...] = ()

    def traits(self) -> dict[str, Any]:
        """Return the state, and the structure if it is a new one."""
        controller = self._controller
        structure, frozen, held, pending = controller.masks()
        locked = np.zeros(len(structure), bool)
        locked[[structure.index[path] for path in controller.locked]] = True
        states = structure.states(frozen)
        traits: dict[str, Any] = {"state": state_bytes(states, held, pending, locked)}
        if structure is not self.structure or self.version == 0:
            self.structure = structure
            self.version += 1
            self.presets = dict(controller.presets())
            traits["tree"] = columns(structure, self.version)
        folds, shown, plots = controller.looks()
        if len(folds) == len(structure):  # else it changed meanwhile, and there will be more news
            traits["folds"] = folds.tobytes() if folds.any() else b""
        self.looks = {"columns": shown, "plots": plots and plots._asdict()}
        paths = tuple(controller.selected)
        if paths != self._paths:
            self._note_selected("", paths)
        return traits

    def select(self, view: str, paths: list[str]) -> None:
        """Take in what was selected in a view."""
        self._controller.select_rows(paths, show=False)
        self._note_selected(view, tuple(self._controller.selected))

    def _note_selected(self, view: str, paths: tuple[str, ...]) -> None:
        self._paths = paths
        index = self._controller.structure.index
        rows = [index[path] for path in paths if path in index]
        self.selected = {"n": self.selected["n"] + 1, "view": view, "rows": rows}
