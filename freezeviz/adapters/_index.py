"""Which parameters lie below which path: questions about all layers at once."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from freezeviz.adapters._protocol import LayerInfo
from freezeviz.paths import compile_glob, is_glob

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

    def matching(self, pattern: str) -> list[int]:
        """Return the nodes whose paths a glob matches, level by level: few of all are looked at.

        Raises
        ------
        SelectorError
            If the pattern is malformed.
        """
        compile_glob(pattern)  # raises what is wrong with it
        levels = pattern.split(".")
        if levels == ["**"]:
            return list(range(len(self.nodes)))
        children = self._children
        found = [0]
        for i, level in enumerate(levels):
            if level == "**" and found == [0] and i < len(levels) - 1:
                found = self._below_root
            elif level == "**":
                found = self._below_nodes(found, any_names=i == len(levels) - 1)
            elif is_glob(level):
                matches = compile_glob(level)
                found = [
                    child
                    for node in found
                    for name, child in children[node].items()
                    if matches(name)
                ]
            else:
                found = [child for node in found if (child := children[node].get(level))]
        return found

    def _below_nodes(self, nodes: list[int], *, any_names: bool) -> list[int]:
        """Return what a level ``**`` leads to: in the end all below, else the nodes, too."""
        found: dict[int, None] = {} if any_names else dict.fromkeys(nodes)
        todo = list(nodes)
        while todo:
            for name, child in self._children[todo.pop()].items():
                if name or any_names:
                    todo.append(child)
                    found[child] = None
        if any_names:  # "a.**" asks for something after the dot
            for node in nodes:
                found.pop(self._children[node].get("", -1), None)
        return list(found)

    @cached_property
    def _below_root(self) -> list[int]:
        return self._below_nodes([0], any_names=False)

    @cached_property
    def _children(self) -> list[dict[str, int]]:
        """Of each node, what lies directly below it by name."""
        none: dict[str, int] = {}
        children = [none] * len(self.nodes)
        for (path, node), above in zip(self.nodes.items(), self.parent.tolist(), strict=True):
            if above >= 0:
                if children[above] is none:
                    children[above] = {}
                children[above][path.rpartition(".")[2]] = node
        return children

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
