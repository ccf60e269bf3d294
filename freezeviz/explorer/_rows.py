"""The rows of a tree as records, for code that looks at them one by one."""

from typing import NamedTuple

import numpy as np

from freezeviz.explorer._structure import STATES, Structure


class Row(NamedTuple):
    """One row of the tree: a module, or a parameter.

    Attributes
    ----------
    path : str
        Dotted path; the model's own is ``""``.
    name : str
        What the tree shows: the path without the parent's, ``"layers.0"``.
    kind, detail : str
        ``"Linear"`` and ``"64 → 128"``; of a parameter ``"parameter"`` and its shape.
    level : int
        Depth, 0 for the model.
    n_parameters, n_bytes : int
        Numbers in the parameters of this row and of all below it.
    state : str
        ``"trainable"``, ``"mixed"``, ``"frozen"``, or ``"none"``: there is nothing to freeze.
    held : bool
        Running statistics and dropout of this module stand still too.
    has_buffers : bool
        The module itself has buffers.
    aliases : tuple of str
        Further paths of a shared module or a tied parameter.
    """

    path: str
    name: str
    kind: str
    detail: str
    level: int
    n_parameters: int
    n_bytes: int
    state: str
    held: bool
    has_buffers: bool
    aliases: tuple[str, ...]


def make_rows(structure: Structure, frozen: np.ndarray, held: np.ndarray) -> list[Row]:
    """Return all rows; `frozen` and `held` are bool arrays of shape (rows,)."""
    states = [STATES[state] for state in structure.states(frozen).tolist()]
    columns = zip(
        structure.paths,
        structure.labels,
        structure.kinds,
        structure.details,
        structure.level.tolist(),
        structure.n_parameters.tolist(),
        structure.n_bytes.tolist(),
        states,
        held.tolist(),
        structure.has_buffers.tolist(),
        structure.aliases,
        strict=True,
    )
    return list(map(Row._make, columns))
