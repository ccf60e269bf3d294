"""Orders to freeze and unfreeze, and which of them lead from one state to another."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from freezeviz.adapters._index import ParameterIndex


@dataclass(frozen=True, slots=True)
class Order:
    """Freeze or unfreeze exactly these parameters; unfreezing lets their modules go, or not.

    Attributes
    ----------
    frozen : bool or None
        None: freeze if any is trainable when it is carried out, else unfreeze.
    paths : tuple of str
        In the order of the tree.
    hold : bool
        Hold the modules, too.
    what : str
        Words for the paths.
    let_go : bool
        Of an order to unfreeze; false leaves held what is held.
    """

    frozen: bool | None
    paths: tuple[str, ...]
    hold: bool = False
    what: str = ""
    let_go: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What is frozen and held, as bool arrays of shape (parameters,) and (layers,)."""

    frozen: np.ndarray
    held: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """An order, with its parameters as a bool array."""

    frozen: bool
    parameters: np.ndarray
    hold: bool = False
    let_go: bool = True


class Rule:
    """What freezing and holding do to a state, by the rule that all adapters follow.

    Parameters
    ----------
    index : ParameterIndex
    layers : iterable of str
        First paths of all layers.
    """

    def __init__(self, index: ParameterIndex, layers: Iterable[str]) -> None:
        self.index = index
        self.carriers = index.carriers(layers)

    def fresh(self) -> State:
        """The state of a model where everything is trainable."""
        return State(np.zeros(len(self.index), bool), np.zeros(len(self.carriers), bool))

    def after(self, state: State, moves: Iterable[Move]) -> State:
        """The state after some moves."""
        for move in moves:
            changed = move.parameters
            if move.frozen:
                frozen, held = state.frozen | changed, state.held
                if move.hold:
                    held = held | self.index.meant(self.carriers, changed, frozen, True)
            else:
                frozen, held = state.frozen & ~changed, state.held
                if move.let_go:
                    held = held & ~self.index.meant(self.carriers, changed, frozen, False)
            state = State(frozen, held)
        return state

    def below(self, layers: np.ndarray) -> np.ndarray:
        """The parameters that decide whether any of these layers (a bool array) is held."""
        return self.index.covered(np.unique(self.carriers[layers]))

    def freezing(
        self, state: State, parameters: np.ndarray, hold: bool, locked: np.ndarray
    ) -> list[Move]:
        """The moves that freeze parameters, and hold what they can without holding the locked.

        A layer without parameters is held with the nearest above it that has some, so that one is
        not held either; what is below it is, in two moves neither of which has all of it.

        Parameters
        ----------
        state : State
        parameters : bool array, shape (parameters,)
        hold : bool
        locked : bool array, shape (layers,)
        """
        at_once = [Move(True, parameters, hold)]
        locked = locked & ~state.held
        if not (hold and (self.after(state, at_once).held & locked).any()):
            return at_once
        halves = self._halves(parameters, self._barred(locked))
        rest = parameters & ~halves[0] & ~halves[1]
        moves = [Move(True, half, True) for half in halves] + [Move(True, rest)]
        moves = [move for move in moves if move.parameters.any()]
        if (self.after(state, moves).held & locked).any():  # by further names of tied parameters
            return [Move(True, parameters)]
        return moves

    def unfreezing(self, state: State, parameters: np.ndarray, locked: np.ndarray) -> list[Move]:
        """The moves that unfreeze parameters, and let go what they can but for the locked.

        What is above a locked layer without parameters stays held with it, though nothing in it may
        be frozen any more. The rest is let go while something beside it is frozen for a moment.

        Parameters
        ----------
        state : State
        parameters : bool array, shape (parameters,)
        locked : bool array, shape (layers,)
        """
        at_once = self.after(state, [Move(False, parameters)])
        locked = locked & state.held
        if not (locked & ~at_once.held).any():
            return [Move(False, parameters)]
        keeping = Move(False, parameters, let_go=False)
        barred = self._barred(locked)
        if not (state.held & ~at_once.held & ~barred[self.carriers]).any():
            return [keeping]
        emptied = barred & (self.index.sums(at_once.frozen) == 0)
        within = self.index.covered(np.flatnonzero(emptied & (self.index.sums(parameters) > 0)))
        moves: list[Move] = []
        now = state
        for half in self._halves(parameters, barred):
            for move in (Move(True, within & ~half & ~now.frozen), Move(False, half)):
                if move.parameters.any():
                    moves.append(move)
                    now = self.after(now, [move])
        moves.append(Move(False, now.frozen & ~at_once.frozen, let_go=False))
        if (locked & ~now.held).any():  # by further names of tied parameters
            return [keeping]
        return moves

    def held_with(self, layers: np.ndarray) -> np.ndarray:
        """The layers that are held, and let go, only with one of these; all bool (layers,)."""
        return self._barred(layers)[self.carriers]

    def _halves(self, parameters: np.ndarray, barred: np.ndarray) -> list[np.ndarray]:
        """Parameters of the largest nodes that are not barred, in two parts.

        By turns: no barred node has all of its parameters in one of them.
        """
        pieces = np.flatnonzero(~barred & barred[self.index.parent.clip(0)])
        pieces = pieces[np.argsort(self.index.start[pieces], kind="stable")]
        return [parameters & self.index.covered(pieces[i::2]) for i in range(2)]

    def _barred(self, layers: np.ndarray) -> np.ndarray:
        """The nodes that have all parameters which decide of these layers, as a bool array."""
        index = self.index
        barred = np.zeros(len(index.parent), bool)
        barred[self.carriers[layers]] = True
        for level in range(int(index.level.max()), 0, -1):
            barred[index.parent[(index.level == level) & barred]] = True
        above = index.parent.clip(0)
        alike = (index.start == index.start[above]) & (index.end == index.end[above])
        while (more := alike & barred[above] & ~barred).any():
            barred |= more
        return barred

    def moves(self, state: State, target: State, *, keeping: bool = False) -> list[Move]:
        """The moves that lead from a state to another: few of them where that is possible.

        Not every state can be reached: two modules with the same parameters, say, are held both
        or not at all. What is frozen is always right in the end.

        Parameters
        ----------
        state, target : State
        keeping : bool
            Moves may unfreeze and leave held what is held.
        """
        found: list[tuple[int, list[Move]]] = []
        for attempt in (self._together, self._by_turns, self._one_by_one, self._step_by_step):
            moves = attempt(state, target)
            if not (keeping or all(move.let_go for move in moves)):
                continue
            off = int((self.after(state, moves).held != target.held).sum())
            if not off:
                return moves
            found.append((off, moves))
        return min(found, key=lambda each: each[0])[1]

    def _together(self, state: State, target: State) -> list[Move]:
        moves: list[Move] = []

        def make(frozen: bool, parameters: np.ndarray, hold: bool = False) -> None:
            nonlocal state
            if parameters.any():
                moves.append(Move(frozen, parameters, hold))
                state = self.after(state, moves[-1:])

        # Only unfreezing lets go, so what stays frozen is frozen again.
        let_go = self.below(state.held & ~target.held)
        make(False, let_go | (state.frozen & ~target.frozen))
        make(True, self.below(target.held & ~state.held), True)
        make(True, target.frozen & ~state.frozen)
        make(False, state.frozen & ~target.frozen)
        return moves

    def _by_turns(self, state: State, target: State) -> list[Move]:
        """Hold and let go so that nothing else is."""
        moves: list[Move] = []

        def make(*more: Move) -> None:
            nonlocal state
            more = tuple(move for move in more if move.parameters.any())
            moves.extend(more)
            state = self.after(state, more)

        let_go = self.below(state.held & ~target.held)
        make(*self.unfreezing(state, let_go, target.held))
        taken = self.below(target.held & ~state.held)
        make(*self.freezing(state, taken, True, ~target.held))
        make(Move(True, target.frozen & ~state.frozen))
        make(*self.unfreezing(state, state.frozen & ~target.frozen, target.held))
        return moves

    def _one_by_one(self, state: State, target: State) -> list[Move]:
        return self._from_above(state, target, target.frozen)

    def _step_by_step(self, state: State, target: State) -> list[Move]:
        return self._from_above(state, target, np.ones_like(target.frozen))

    def _from_above(self, state: State, target: State, again: np.ndarray) -> list[Move]:
        """Set the layers with the most parameters first: what is done to them reaches others.

        Parameters
        ----------
        state, target : State
        again : bool array, shape (parameters,)
            What is frozen again after it was unfrozen to let a layer go. Few make few moves; all
            keep a layer above held whose last frozen parameters these are.
        """
        moves: list[Move] = []

        def make(move: Move) -> None:
            nonlocal state
            if move.parameters.any():
                moves.append(move)
                state = self.after(state, [move])

        carriers, example = np.unique(self.carriers, return_index=True)
        sizes = (self.index.end - self.index.start)[carriers]
        for i in np.argsort(-sizes, kind="stable").tolist():
            layer = example[i]
            if state.held[layer] == target.held[layer]:
                continue
            parameters = self.index.covered([int(carriers[i])])
            if target.held[layer]:
                make(Move(True, parameters, True))
            else:
                frozen = state.frozen & parameters & again
                make(Move(False, parameters))
                make(Move(True, frozen))
        make(Move(True, target.frozen & ~state.frozen))
        make(Move(False, state.frozen & ~target.frozen))
        return moves
