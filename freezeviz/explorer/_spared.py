"""Orders that hold no locked layer."""

from dataclasses import dataclass, field

import numpy as np

from freezeviz.explorer._orders import Move, State
from freezeviz.explorer._tree_state import TreeModel

# Of an order: freeze (None: toggle), which parameters, hold.
Part = tuple[bool | None, np.ndarray, bool]


@dataclass(frozen=True, slots=True)
class Spared:
    """What is to be ordered so that no locked layer is held.

    Attributes
    ----------
    parts : list of Part
    unheld : bool array, shape (layers,)
        The locked layers that would have been held: those without parameters of their own.
    beside : list of str
        Others without parameters, which cannot be held without these.
    """

    parts: list[Part]
    unheld: np.ndarray
    beside: list[str] = field(default_factory=list)


def not_holding(locked: np.ndarray, model: TreeModel, state: State, parts: list[Part]) -> Spared:
    """Return what does the same as `parts` and holds no locked layer (a bool array, (layers,))."""
    if not (locked.any() and any(hold for *_, hold in parts)):
        return Spared(parts, np.zeros(len(locked), bool))
    s, rule = model.structure, model.rule
    spared = Spared([], np.zeros(len(locked), bool))
    for to, mask, hold in parts:
        moves = rule.freezing(state, mask, hold, locked)
        freezes = to if to is not None else not state.frozen[mask].all()
        after = rule.after(state, moves)
        if not freezes or (len(moves) == 1 and moves[0].hold == hold):
            spared.parts.append((to, mask, hold))
            state = rule.after(state, [Move(freezes, mask, hold)])
            continue
        # Which of the two a toggle is, is decided now.
        spared.parts.extend((True, move.parameters, move.hold) for move in moves)
        lost = rule.after(state, [Move(True, mask, hold)]).held & ~after.held
        spared.unheld[lost & locked] = True
        rows = model.layer_rows[lost & ~locked]
        spared.beside.extend(s.paths[row] for row in rows[s.end[rows] == rows + 1].tolist())
        state = after
    return spared
