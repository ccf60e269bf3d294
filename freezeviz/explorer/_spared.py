"""Orders that hold no locked layer, and let none go."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from freezeviz.explorer._orders import Move, State
from freezeviz.explorer._tree_state import TreeModel


class Part(NamedTuple):
    """What of something that was asked for is one order; as in `Order`, with a bool array."""

    frozen: bool | None
    parameters: np.ndarray
    hold: bool = False
    let_go: bool = True


@dataclass(frozen=True, slots=True)
class Spared:
    """What is to be ordered so that locked layers stay held, or not held, as they are.

    Attributes
    ----------
    parts : list of Part
    left : bool array, shape (layers,)
        The locked layers that would have been held, or let go: those without parameters of their
        own.
    beside : list of str
        Others that are not, as they cannot be without these.
    """

    parts: list[Part]
    left: np.ndarray
    beside: list[str] = field(default_factory=list)


def sparing(locked: np.ndarray, model: TreeModel, state: State, parts: list[Part]) -> Spared:
    """Return what does the same as `parts` to all but locked layers (a bool array, (layers,))."""
    spared = Spared([], np.zeros(len(locked), bool))
    if not locked.any():
        spared.parts.extend(parts)
        return spared
    s, rule = model.structure, model.rule
    for part in parts:
        to, mask, hold, _ = part
        ways = {
            True: rule.freezing(state, mask, hold, locked),
            False: rule.unfreezing(state, mask, locked),
        }
        freezes = to if to is not None else not state.frozen[mask].all()
        moves = ways[freezes]
        at_once, state = rule.after(state, [Move(freezes, mask, hold)]), rule.after(state, moves)
        # Which of the two a toggle is, is decided now if a locked layer hangs on it.
        as_asked = {True: Move(True, mask, hold), False: Move(False, mask)}
        if to is None and all(_is_one(ways[way], as_asked[way]) for way in ways):
            spared.parts.append(part)
            continue
        spared.parts.extend(Part(m.frozen, m.parameters, m.hold, m.let_go) for m in moves)
        lost = at_once.held != state.held
        spared.left[lost & locked] = True
        rows = model.layer_rows[lost & ~locked]
        spared.beside.extend(s.paths[row] for row in rows[s.end[rows] == rows + 1].tolist())
    return spared


def _is_one(moves: list[Move], move: Move) -> bool:
    return len(moves) == 1 and (moves[0].hold, moves[0].let_go) == (move.hold, move.let_go)
