"""What a command would do, before it does it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from freezeviz.errors import FreezevizError
from freezeviz.explorer._orders import State
from freezeviz.explorer._tree_state import TreeModel

ACTIONS = ("freeze", "unfreeze", "toggle")


@dataclass(frozen=True, slots=True)
class Preview:
    """What freezing or unfreezing by a selector would do.

    Attributes
    ----------
    paths : tuple of str
        The parameters that the selector picks.
    n_parameters, n_bytes : int
        Numbers in them, and the memory these take.
    changes : tuple of str
        Those whose state would change.
    locked : tuple of str
        Those that are locked, and would stay as they are.
    error : str or None
        What is wrong with the selector; then all else is empty.
    """

    paths: tuple[str, ...] = ()
    n_parameters: int = 0
    n_bytes: int = 0
    changes: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()
    error: str | None = None


def preview(model: TreeModel, state: State, locked: np.ndarray, what: Any, action: str) -> Preview:
    """Return what `action` on what `what` selects would do; a wrong selector is no error here."""
    if action not in ACTIONS:
        raise ValueError(f"action: expected one of {', '.join(ACTIONS)}, got {action!r}")
    try:
        picked = model.picker.pick(what)
    except (FreezevizError, TypeError, ValueError) as error:
        return Preview(error=str(error))
    free = picked & ~locked
    freezes = action == "freeze" or (action == "toggle" and not state.frozen[free].all())
    names = model.index.names
    rows = model.parameter_rows[picked]
    s = model.structure
    return Preview(
        names(picked),
        int(s.n_parameters[rows].sum()),
        int(s.n_bytes[rows].sum()),
        names(free & (state.frozen != freezes)),
        names(picked & locked),
    )
