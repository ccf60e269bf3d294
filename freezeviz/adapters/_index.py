"""Which parameters lie below which path: questions about all layers at once."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from freezeviz.adapters._protocol import LayerInfo
from freezeviz.paths import glob_pattern, is_glob

__all__ = ["ParameterIndex", "index_of"]

_last: "tuple[LayerInfo, ParameterIndex] | None" = None


def index_of(root: LayerInfo) -> "ParameterIndex":
    """Return the index of a snapshot. That of the latest one is kept."""
    global _last
    known = _last
    if known is None or known[0] is not root:
        known = _last = (root, ParameterIndex(root))
    return known[1]


class ParameterIndex:
    """The parameters of a snapshot, in the order of its tree, below every path above them.

    A *node* is a path that a parameter has, by any of its names, or that lies above such a path:
    a layer's, but also that of a list of layers. Names in the order of the nodes' tree make the
    names below a node one range, so that sums over all nodes are differences of one cumulative sum.

    Attributes
    ----------
    paths : tuple of str
        First paths of the parameters.
    ordinal : dict of str to int
        The parameter of each name, aliases included.
    nodes : dict of str to int
        Parents before children; the root, ``""``, is 0.
    parent, level : int array, shape (nodes,)
    start, end : int array, shape (nodes,)
        Of the range of names below a node.
    of_name, node_of_name : int array, shape (names,)
        The parameter of each name, in the order of the ranges, and the node that is this name.
    """

    def __init__(self, root: LayerInfo) -> None:
        parameters = list(root.all_parameters())
        self.paths: tuple[str, ...] = tuple(info.path for info in parameters)
        self.ordinal: dict[str, int] = {}
        for i, info in enumerate(parameters):
            self.ordinal[info.path] = i
        for i, info in enumerate(parameters):
            for name in info.aliases:
                self.ordinal.setdefault(name, i)
        names = list(self.ordinal)
        # The dot must sort before all else, or "a-b" would come between "a" and "a.b".
        plain = "\0" not in "".join(names)
        names.sort(key=(lambda n: n.replace(".", "\0")) if plain else (lambda n: n.split(".")))
        self.of_name = np.array([self.ordinal[name] for name in names], np.int64)
        self._open_nodes(names)

    def _open_nodes(self, names: Sequence[str]) -> None:
        nodes = self.nodes = {"": 0}
        parent, level, start, end = [-1], [0], [0], [len(names)]
        leaves: list[int] = []
        stack = [("", 0)]  # what the names in hand begin with, dot included, and its node
        for i, name in enumerate(names):
            while not name.startswith(stack[-1][0]):
                end[stack.pop()[1]] = i
            above, node = stack[-1]
            at = len(above)
            while at <= len(name):
                dot = name.find(".", at)
                path = name if dot < 0 else name[:dot]
                at = len(path) + 1
                if path in nodes:  # a name that begins with a dot
                    continue
                nodes[path] = len(parent)
                parent.append(node)
                level.append(level[node] + 1)
                start.append(i)
                end.append(len(names))
                node = nodes[path]
                stack.append((path + ".", node))
            leaves.append(node)
        self.node_of_name = np.array(leaves, np.int64)
        self.parent = np.array(parent, np.int64)
        self.level = np.array(level, np.int64)
        self.start = np.array(start, np.int64)
        self.end = np.array(end, np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def below(self, path: str) -> np.ndarray:
        """Return the parameters at or below a path, by any of their names, in order."""
        node = self.nodes.get(path)
        if node is None:
            return np.empty(0, np.int64)
        return np.unique(self.of_name[self.start[node] : self.end[node]])

    def matching(self, pattern: str) -> np.ndarray:
        """Return the nodes whose paths a glob matches, in order.

        Raises
        ------
        SelectorError
            If the pattern is malformed.
        """
        glob_pattern(pattern)  # raises what is wrong with it
        levels = pattern.split(".")
        if levels == ["**"]:
            return np.arange(len(self.nodes))
        number_of, numbers = self._last_names
        found = np.zeros(len(self.nodes), bool)
        found[0] = True
        for i, level in enumerate(levels):
            if level == "**":
                found = self._below_nodes(found, any_names=i == len(levels) - 1)
                continue
            if level == "*":
                fits = True
            elif is_glob(level):
                fullmatch = glob_pattern(level).fullmatch
                fits = np.array([fullmatch(name) is not None for name in number_of])[numbers]
            else:
                fits = numbers == number_of.get(level, -1)
            found = fits & found[self.parent]
            found[0] = False  # nothing is above the root
        return np.flatnonzero(found)

    def _below_nodes(self, nodes: np.ndarray, *, any_names: bool) -> np.ndarray:
        """Return what a level ``**`` leads to: in the end all below, else the nodes, too."""
        number_of, numbers = self._last_names
        nameless = numbers == number_of.get("", -1)
        found = np.zeros_like(nodes) if any_names else nodes.copy()
        for level in self.levels[1:]:
            above = self.parent[level]
            if any_names:
                found[level] = found[above] | nodes[above]
            else:
                found[level] |= found[above] & ~nameless[level]
        if any_names:  # "a.**" asks for something after the dot
            found[nameless & nodes[self.parent]] = False
        return found

    @cached_property
    def levels(self) -> list[np.ndarray]:
        """The nodes of each level, in order."""
        by_level = np.argsort(self.level, kind="stable")
        return np.split(by_level, np.flatnonzero(np.diff(self.level[by_level])) + 1)

    @cached_property
    def _last_names(self) -> tuple[dict[str, int], np.ndarray]:
        """A number for each name that a path ends with, and the number of each node's."""
        number_of: dict[str, int] = {}
        numbers = [number_of.setdefault(p.rpartition(".")[2], len(number_of)) for p in self.nodes]
        return number_of, np.array(numbers, np.int64)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return sums of `values`, shape (parameters,), over the names below each node."""
        total = np.concatenate(([0], np.cumsum(values[self.of_name], dtype=np.int64)))
        return total[self.end] - total[self.start]

    def covered(self, nodes: Iterable[int] | np.ndarray) -> np.ndarray:
        """Return the parameters below any of the nodes, as a bool array."""
        chosen = np.fromiter(nodes, np.int64)
        edges = np.zeros(len(self.of_name) + 1, np.int64)
        np.add.at(edges, self.start[chosen], 1)
        np.add.at(edges, self.end[chosen], -1)
        mask = np.zeros(len(self), bool)
        mask[self.of_name[np.cumsum(edges[:-1]) > 0]] = True
        return mask

    def mask(self, paths: Iterable[str]) -> np.ndarray:
        """Return parameters by any of their names, as a bool array; others are passed over."""
        mask = np.zeros(len(self), bool)
        known = self.ordinal
        mask[[known[path] for path in paths if path in known]] = True
        return mask

    def names(self, mask: np.ndarray) -> tuple[str, ...]:
        """Return the first paths of the parameters of a bool array."""
        return tuple(self.paths[i] for i in np.flatnonzero(mask).tolist())

    def carriers(self, layers: Iterable[str]) -> np.ndarray:
        """Return the node whose parameters decide whether a layer is held, for each layer.

        That is the layer's own, or the nearest above it that has parameters.
        """
        nodes = self.nodes
        found = []
        for layer in layers:
            while layer not in nodes:
                layer = layer.rpartition(".")[0]
            found.append(nodes[layer])
        return np.array(found, np.int64)

    def meant(
        self, carriers: np.ndarray, changed: np.ndarray, frozen: np.ndarray, hold: bool
    ) -> np.ndarray:
        """Return which layers are held, or let go, when parameters were changed.

        The rule of `ModelAdapter.set_frozen`, for all layers at once.

        Parameters
        ----------
        carriers : int array, shape (layers,)
            From `carriers`.
        changed, frozen : bool array, shape (parameters,)
            What was changed, and what is frozen now.
        hold : bool

        Returns
        -------
        bool array, shape (layers,)
        """
        n_changed = self.sums(changed)
        if hold:
            other = (n_changed > 0) & (n_changed == self.end - self.start)
        else:
            other = (n_changed > 0) & (self.sums(frozen) == 0)
        return other[carriers]
