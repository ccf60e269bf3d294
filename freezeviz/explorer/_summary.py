"""`summary`: a model as a table of its tree, in text or HTML."""

from typing import Any

import numpy as np

from freezeviz.adapters import adapt
from freezeviz.explorer._html import html_tree
from freezeviz.explorer._structure import build_structure
from freezeviz.explorer._text import shown_rows, text_tree, totals_line
from freezeviz.train import Trainer


class Summary:
    """A model's tree as it was when this was made: prints as text, shows as HTML in a notebook."""

    def __init__(self, model: Any, *, parameters: bool = False) -> None:
        adapter = model.adapter if isinstance(model, Trainer) else adapt(model)
        self._structure = build_structure(adapter.snapshot())
        index = self._structure.index
        self._frozen = np.zeros(len(self._structure), bool)
        self._frozen[[index[path] for path in adapter.frozen()]] = True
        self._held = np.zeros(len(self._structure), bool)
        self._held[[index[path] for path in adapter.held()]] = True
        states = self._structure.states(self._frozen)
        self._rows = shown_rows(self._structure, states, parameters=parameters)

    def __str__(self) -> str:
        states = self._structure.states(self._frozen)
        tree = text_tree(self._structure, states, self._held, self._rows)
        return f"{tree}\n{totals_line(self._structure, self._frozen)}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_tree(self._structure, self._frozen, self._held, self._rows)


def summary(model: Any, *, parameters: bool = False) -> Summary:
    """Return the model's tree with types, sizes and freeze states, to print or to show.

    Parameters
    ----------
    model : model of a supported framework, or Trainer
    parameters : bool
        List every parameter; otherwise only those whose module is partly frozen.

    Raises
    ------
    TypeError
        If no adapter is registered for the model.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> layer = model.layers[0].freeze()
    >>> print(fv.summary(model))
    name        type           parameters  state
    Sequential  Sequential             23  ◐ mixed
    ├ layers.0  Linear  4 → 3          15  ❄ frozen
    ├ layers.1  ReLU                    –  –
    └ layers.2  Linear  3 → 2           8  ○ trainable
    23 parameters: 8 trainable, 15 frozen (65.2 %)
    """
    return Summary(model, parameters=parameters)
