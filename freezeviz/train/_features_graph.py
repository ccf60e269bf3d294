"""What is done with the samples before anything trains: notes that can be computed on any rows."""

from typing import Any

import numpy as np

from freezeviz.backend import is_array
from freezeviz.train._features_store import Rows
from freezeviz.train._features_value import BatchSize, StandIn

MOST_NODES = 4096  # of a model that makes others in every step there is nothing to learn
MOST_CONSTANTS = 4  # arrays that were met in one place: more of them is no constant
LARGEST_CONSTANT = 1 << 22  # bytes that are compared in every step


class UnknownError(Exception):
    """An argument of which nobody can say whether it is the same the next time."""


class Node:
    """A value that the samples determine: a function of other nodes and of constants.

    Attributes
    ----------
    function : callable or None
        None for the samples themselves.
    args, options
        What it is called with: nodes in the place of values, `BatchSize` for their number.
    parents : tuple of Node
    rows : tuple of int or None
        The shape of a sample's row; None if the first axis does not count the samples.
    dtype : dtype or None
    opaque : bool
        The result is no array: it is computed whenever it is wanted.
    judged, separate : bool
        Whether it was looked into, and found that a sample's row depends on that sample alone.
    store : Rows or None
        Where its rows are kept.
    """

    __slots__ = (
        "args", "dtype", "function", "judged", "opaque", "options", "parents", "rows", "separate",
        "store",
    )  # fmt: skip

    def __init__(self, function: Any, args: Any, options: Any, parents: tuple["Node", ...]) -> None:
        self.function = function
        self.args = args
        self.options = options
        self.parents = parents
        self.rows: tuple[int, ...] | None = None
        self.dtype: Any = None
        self.opaque = self.judged = self.separate = False
        self.store: Rows | None = None


class Graph:
    """All that was noted so far, each computation once.

    Parameters
    ----------
    x : array of shape (samples, ...)
    constants : iterable of arrays
        Arrays that are the same as long as they are the same objects: the frozen ones of the model.
    """

    def __init__(self, x: Any, constants: Any) -> None:
        self.source = Node(None, (), {}, ())
        self.source.rows = tuple(x.shape[1:])
        self.source.dtype = x.dtype
        self.source.judged = self.source.separate = True
        self.nodes: dict[Any, Node] = {}
        self._constants = {id(array): array for array in constants}
        self._met: dict[Any, list[Any]] = {}
        self._alive: list[Any] = []  # what is known by its id

    def note(self, function: Any, args: Any, options: Any) -> tuple[Node, bool]:
        """Return the node of a computation, and whether it is a new one; may raise UnknownError."""
        if len(args) == 1 and not options and type(args[0]) is StandIn:
            # A layer's call, as a rule: a third of the time of the general way.
            key = (function, args[0].node)
            node = self.nodes.get(key)
            if node is not None:
                return node, False
        else:
            place = _Place(self, function)
            key = (function, place.key(args), place.key(options) if options else None)
            node = self.nodes.get(key)
            if node is not None:
                return node, False
        if len(self.nodes) >= MOST_NODES:
            raise UnknownError
        parents: dict[Node, None] = {}
        noted = _noted(args, parents), _noted(options, parents)
        node = self.nodes[key] = Node(function, *noted, tuple(parents))
        return node, True

    def constant(self, array: Any, place: Any) -> Any:
        """Return a key for an array that is no value of the batch; may raise UnknownError."""
        if id(array) in self._constants:
            return id(array)
        if type(array) is not np.ndarray or array.nbytes > LARGEST_CONSTANT:
            raise UnknownError
        met = self._met.setdefault((*place, array.shape, array.dtype.str), [])
        for i, known in enumerate(met):
            if np.array_equal(known.view(np.uint8), _bytes(array)):
                return "met", array.shape, array.dtype.str, i
        if len(met) >= MOST_CONSTANTS:
            raise UnknownError
        met.append(_bytes(array).copy())
        return "met", array.shape, array.dtype.str, len(met) - 1

    def keep(self, thing: Any) -> int:
        """Return the id of a thing that is kept, so that no other has it."""
        self._alive.append(thing)
        return id(thing)


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


_ATOMS = (int, float, complex, bool, str, bytes, type(None), type(Ellipsis))


class _Place:
    """Makes keys of the arguments of one call."""

    __slots__ = ("at", "function", "graph", "parents")

    def __init__(self, graph: Graph, function: Any) -> None:
        self.graph = graph
        self.function = function
        self.at = 0

    def key(self, value: Any) -> Any:
        kind = type(value)
        if kind is StandIn:
            return value.node
        if kind in _ATOMS:
            # 1, 1.0 and True are equal, and so are 0.0 and -0.0.
            return kind, repr(value) if kind is float or kind is complex else value
        if kind is tuple or kind is list:
            return kind, *[self.key(v) for v in value]
        if kind is BatchSize:
            return BatchSize
        if kind is dict:
            return dict, *[(k, self.key(v)) for k, v in value.items()]
        if kind is slice:
            return slice, self.key(value.start), self.key(value.stop), self.key(value.step)
        if is_array(value):
            self.at += 1
            return self.graph.constant(value, (self.function, self.at))
        if isinstance(value, np.generic):
            return kind, value.tobytes()
        if isinstance(value, type | np.dtype) or callable(value):
            return "thing", value
        raise UnknownError


def _noted(value: Any, parents: dict[Node, None]) -> Any:
    """Return arguments with nodes in the place of stand-ins, and gather those."""
    kind = type(value)
    if kind is StandIn:
        parents[value.node] = None
        return value.node
    if kind is tuple or kind is list:
        return kind([_noted(v, parents) for v in value])
    if kind is dict:
        return {k: _noted(v, parents) for k, v in value.items()}
    if kind is slice:
        return slice(*(_noted(v, parents) for v in (value.start, value.stop, value.step)))
    if kind is np.ndarray and value.flags.writeable:
        return value.copy()  # it was compared by what is in it
    return value


def resolved(value: Any, values: Any, size: int) -> Any:
    """Return noted arguments with values in the place of nodes: ``values(node)``."""
    kind = type(value)
    if kind is Node:
        return values(value)
    if kind is tuple or kind is list:
        return kind([resolved(v, values, size) for v in value])
    if kind is dict:
        return {k: resolved(v, values, size) for k, v in value.items()}
    if kind is BatchSize:
        return size
    if kind is slice:
        parts = (value.start, value.stop, value.step)
        return slice(*(resolved(v, values, size) for v in parts))
    return value


def computed(node: Node, values: Any, size: int) -> Any:
    """Return a node's value from those of its parents."""
    args = resolved(node.args, values, size)
    return node.function(*args, **resolved(node.options, values, size))


def ancestors(nodes: Any) -> list[Node]:
    """Return some nodes and all that they are computed of, each after its parents."""
    found: dict[Node, None] = {}
    stack = [(node, False) for node in nodes]
    while stack:
        node, done = stack.pop()
        if done:
            found[node] = None
        elif node not in found:
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents if parent not in found)
    return list(found)
