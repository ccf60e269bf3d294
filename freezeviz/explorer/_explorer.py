"""`explore`: a model or a run, to look at and to act on."""

import weakref
from collections.abc import Callable
from html import escape
from typing import Any

from freezeviz.adapters import adapt
from freezeviz.explorer._controller import Controller
from freezeviz.explorer._html import html_tree
from freezeviz.explorer._text import shown_rows, text_tree, totals_line
from freezeviz.train import Trainer

MOST_LINES = 80

# One explorer a target, so that all views of a run are of one controller and one drawing of the
# curve. By id, as models need not be hashable; an explorer keeps its target, so no id is reused.
_known: "weakref.WeakValueDictionary[int, Explorer]" = weakref.WeakValueDictionary()

Face = Callable[["Explorer"], dict[str, Any] | None]


class Explorer:
    """A model, or the run that trains it, as a tree to look at and to act on.

    Printed, it is a text; in a notebook, with the extra `notebook`, a tree to click on and, for a
    `Trainer`, a dashboard. Everything that can be clicked is a method of the `controller`.

    Attributes
    ----------
    target : model or Trainer
    controller : Controller
    trainer : Trainer or None
    """

    def __init__(self, target: Any) -> None:
        self.target = target
        self.trainer = target if isinstance(target, Trainer) else None
        adapter = target.adapter if isinstance(target, Trainer) else adapt(target)
        self.controller = Controller(adapter, self.trainer)
        self.face: Face | None = None
        self.hint = ""  # a line below what is printed, from whoever gives the face

    def __repr__(self) -> str:
        structure, frozen, held, _ = self.controller.masks()
        states = structure.states(frozen)
        rows = shown_rows(structure, states, parameters=False)
        tree = text_tree(structure, states, held, rows, limit=MOST_LINES)
        lines = [tree, totals_line(structure, frozen), self.hint]
        return "\n".join(line for line in lines if line)

    def html(self, *, limit: int = 500) -> str:
        """The tree as nested lists, escaped: modules, and parameters of those partly frozen."""
        structure, frozen, held, _ = self.controller.masks()
        rows = shown_rows(structure, structure.states(frozen), parameters=False)
        tree = html_tree(structure, frozen, held, rows, limit=limit)
        return f"{tree}<p>{escape(self.hint)}</p>" if self.hint else tree

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        self.controller.refresh()
        bundle = self.face(self) if self.face is not None else None
        return bundle or {"text/plain": repr(self), "text/html": self.html()}


def explore(target: Any, *, face: Face | None = None) -> Explorer:
    """Return the explorer of a model or a run; always the same one as long as somebody has it.

    Parameters
    ----------
    target : model of a supported framework, or Trainer
    face : callable, optional
        Makes what a notebook shows: given the explorer, returns a MIME bundle, or None for text and
        HTML. `freezeviz.widgets`, which stands above this room, gives its own.

    Raises
    ------
    TypeError
        If no adapter is registered for the model.
    """
    explorer = _known.get(id(target))
    if explorer is None:
        explorer = _known[id(target)] = Explorer(target)
    else:
        explorer.controller.refresh()
    if face is not None:
        explorer.face = face
    return explorer
