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


class Flips(NamedTuple):
    """Paths that are frozen or unfrozen, each after so many above it were.

    Attributes
    ----------
    nodes : int array, shape (flips,)
        Those above before those below.
    frozen : bool array, shape (flips,)
    depth : int array, shape (flips,)
    """

    nodes: np.ndarray
    frozen: np.ndarray
    depth: np.ndarray


class Cover:
    """Finds such paths, for one index."""

    def __init__(self, index: ParameterIndex) -> None:
        self.index = index
        self.paths = list(index.nodes)
        self.weights = np.array([TERM + len(quoted(path)) for path in self.paths])
        # Further names of a tied parameter: what its first name wants is enough.
        first = np.array([index.nodes[path] for path in index.paths], np.int64)
        self._names = index.node_of_name == first[index.of_name]
        # The root is the only one of its level; nodes of a level with one parent stand together.
        self._levels = []
        for nodes in reversed(index.levels[1:]):
            above = index.parent[nodes]
            starts = np.flatnonzero(np.diff(above, prepend=-1))
            self._levels.append((nodes, starts, above[starts]))

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

    def paths_of(self, mask: np.ndarray) -> list[str]:
        """Return the fewest paths whose parameters are exactly these (a bool array)."""
        nothing = np.zeros_like(mask)
        flips = self.solve(nothing, mask, kept=np.ones_like(mask)).flips()
        return [self.paths[node] for node in flips.nodes.tolist()]


class Solution(NamedTuple):
    """The cost of the best paths, and what they are."""

    cover: Cover
    cost: float
    leave: np.ndarray
    to_trainable: np.ndarray

    def flips(self) -> Flips:
        """What to freeze and unfreeze."""
        cover, leave = self.cover, self.leave
        index = cover.index
        trainable = leave[TRAINABLE] + self.to_trainable
        frozen = leave[FROZEN] + cover.weights
        flipped = np.minimum(trainable, frozen) < leave
        becomes = np.where(frozen <= trainable, FROZEN, TRAINABLE)
        state = np.full(len(becomes), UNTOUCHED)
        depth = np.zeros(len(becomes), np.int64)
        asked = np.zeros(len(becomes), bool)  # whether the best paths may be at it, or below
        flips = np.zeros(len(becomes), bool)
        asked[0] = True
        for nodes in index.levels:
            if nodes[0]:
                above = index.parent[nodes]
                state[nodes], depth[nodes], asked[nodes] = state[above], depth[above], asked[above]
            nodes = nodes[asked[nodes]]
            here = nodes[flipped[state[nodes], nodes]]
            flips[here], state[here] = True, becomes[here]
            depth[here] += 1
            asked[nodes] = leave[state[nodes], nodes] > 0
        nodes = np.flatnonzero(flips)
        return Flips(nodes, state[nodes] == FROZEN, depth[nodes] - 1)


def _best(leave: np.ndarray, to_trainable: np.ndarray, to_frozen: np.ndarray) -> np.ndarray:
    flipped = np.minimum(leave[TRAINABLE] + to_trainable, leave[FROZEN] + to_frozen)
    return np.minimum(leave, flipped)
