"""The fewest paths to freeze and unfreeze that lead from one state to another.

Of every node of the paths' tree three costs are worked out, from below: what it takes to bring all
below it to the target if nothing above it was frozen or unfrozen (*untouched*), if the last thing
above it was an unfreeze (*trainable*), or a freeze (*frozen*). A node may be left as it comes, or
be frozen or unfrozen itself, at the cost of its text, after which that counts for those below.
"""

from typing import NamedTuple

import numpy as np

from freezeviz.adapters._index import ParameterIndex
from freezeviz.freezing._grammar import quoted

TERM = 12.0  # of a term, besides its letters: one long path is better than two short ones
NEVER = 1e12
UNTOUCHED, TRAINABLE, FROZEN = range(3)


class Flip(NamedTuple):
    """A path that is frozen or unfrozen, after so many above it were."""

    path: str
    frozen: bool
    depth: int


class Cover:
    """Finds such paths, for one index."""

    def __init__(self, index: ParameterIndex) -> None:
        self.index = index
        self.paths = list(index.nodes)
        self.weights = np.array([TERM + len(quoted(path)) for path in self.paths])
        first = {path: i for i, path in enumerate(index.paths)}
        # Further names of a tied parameter: what its first name wants is enough.
        self._names = np.array(
            [first.get(self.paths[node], -1) == i for node, i in self._leaves()], bool
        )
        by_level = np.argsort(index.level, kind="stable")
        edges = np.flatnonzero(np.diff(index.level[by_level])) + 1
        # The root is the only one of its level; nodes of a level with one parent stand together.
        self._levels = []
        for nodes in reversed(np.split(by_level, edges)[1:]):
            above = index.parent[nodes]
            starts = np.flatnonzero(np.diff(above, prepend=-1))
            self._levels.append((nodes, starts, above[starts]))
        self._children: list[list[int]] | None = None

    def _leaves(self) -> list[tuple[int, int]]:
        index = self.index
        return list(zip(index.node_of_name.tolist(), index.of_name.tolist(), strict=True))

    def solve(
        self,
        current: np.ndarray,
        target: np.ndarray,
        free: np.ndarray | None = None,
        kept: np.ndarray | None = None,
    ) -> "Solution":
        """Return what is best to freeze and unfreeze.

        Parameters
        ----------
        current, target : bool array, shape (parameters,)
            What is frozen, and what is to be.
        free : bool array, shape (parameters,)
            Parameters that may come out either way.
        kept : bool array, shape (parameters,)
            Parameters that no unfreezing may touch.
        """
        index = self.index
        n = len(self.paths)
        wanted = target[index.of_name]
        matters = self._names if free is None else self._names & ~free[index.of_name]
        leave = np.zeros((3, n))
        wrong = np.stack((current[index.of_name] != wanted, wanted, ~wanted)) & matters
        leave[:, index.node_of_name] = np.where(wrong, NEVER, 0.0)
        to_trainable = self.weights
        if kept is not None:
            to_trainable = np.where(index.sums(kept) > 0, NEVER, self.weights)
        for nodes, starts, above in self._levels:
            costs = _best(leave[:, nodes], to_trainable[nodes], self.weights[nodes])
            leave[:, above] += np.add.reduceat(costs, starts, axis=1)
        root = _best(leave[:, :1], to_trainable[:1], self.weights[:1])
        return Solution(self, float(root[UNTOUCHED, 0]), leave, to_trainable)

    def children(self) -> list[list[int]]:
        if self._children is None:
            self._children = [[] for _ in self.paths]
            for node, above in enumerate(self.index.parent.tolist()[1:], 1):
                self._children[above].append(node)
        return self._children

    def paths_of(self, mask: np.ndarray) -> list[str]:
        """Return the fewest paths whose parameters are exactly these (a bool array)."""
        nothing = np.zeros_like(mask)
        return [flip.path for flip in self.solve(nothing, mask, kept=np.ones_like(mask)).flips()]


class Solution(NamedTuple):
    """The cost of the best paths, and what they are."""

    cover: Cover
    cost: float
    leave: np.ndarray
    to_trainable: np.ndarray

    def flips(self) -> list[Flip]:
        """The paths, those above before those below."""
        leave = self.leave.tolist()
        weights, to_trainable = self.cover.weights.tolist(), self.to_trainable.tolist()
        children = self.cover.children()
        flips: list[Flip] = []
        todo = [(0, UNTOUCHED, 0)]
        while todo:
            node, state, depth = todo.pop()
            trainable = leave[TRAINABLE][node] + to_trainable[node]
            frozen = leave[FROZEN][node] + weights[node]
            if min(trainable, frozen) < leave[state][node]:
                state = FROZEN if frozen <= trainable else TRAINABLE
                flips.append(Flip(self.cover.paths[node], state == FROZEN, depth))
                depth += 1
            if leave[state][node] > 0:
                todo += [(child, state, depth) for child in reversed(children[node])]
        return flips


def _best(leave: np.ndarray, to_trainable: np.ndarray, to_frozen: np.ndarray) -> np.ndarray:
    flipped = np.minimum(leave[TRAINABLE] + to_trainable, leave[FROZEN] + to_frozen)
    return np.minimum(leave, flipped)
