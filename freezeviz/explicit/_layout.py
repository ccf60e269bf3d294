"""Where a model's arrays stand in `ps` and `st`.

`ps` and `st` are nested like the model: a module is a dict of its members, a list stays a list.
Wrappers are no level. A layer that several paths lead to has its arrays under the first, and
``{}`` under the others; so has an array that several names share.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from freezeviz.backend import is_array
from freezeviz.explicit._needs import needs
from freezeviz.explicit._wrapper import WrapperLayer, wrapped_name
from freezeviz.nn import Module
from freezeviz.nn._members import Entry, Slot, Tree, is_module
from freezeviz.paths import KeyPath

Part = Any  # Parameter | Tied | Buffer | Items | Node


class Parameter(NamedTuple):
    """The place of a parameter."""

    entry: Entry


class Tied(NamedTuple):
    """Another name of a parameter that has its place elsewhere."""

    entry: Entry


class Buffer(NamedTuple):
    """The place of a buffer. Its value is None while it has none."""

    slot: Slot


class Items(NamedTuple):
    """A list (then `length` is given) or dict of parts."""

    parts: dict[Any, Part]
    length: int | None


class Node:
    """The place of a layer.

    Attributes
    ----------
    module : Module
        The layer itself, with the wrappers around it taken off.
    wrappers : list of WrapperLayer
        From the outermost.
    parts : dict
        By member, in order of assignment. Empty if the layer has its place elsewhere.
    shared : Node or None
        The layer's place, if it is elsewhere.
    """

    __slots__ = ("module", "parts", "shared", "wrappers")

    def __init__(self, module: Module, wrappers: list[WrapperLayer]):
        self.module = module
        self.wrappers = wrappers
        self.parts: dict[Any, Part] = {}
        self.shared: Node | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return needs(self.module)


class Occurrence(NamedTuple):
    """A parameter at one of the paths that lead to it.

    Attributes
    ----------
    path : KeyPath
    entry : Entry
    freezing : WrapperLayer or None
        The `FrozenLayer` that freezes it there.
    """

    path: KeyPath
    entry: Entry
    freezing: Any


class Layout:
    """The places of a model's arrays.

    Attributes
    ----------
    root : Node
    paths : dict
        ``id(module)`` to the layer's dotted path, wrappers included.
    """

    def __init__(self, model: Module):
        tree = Tree(model)
        self._entries = {(id(s.container), s.key): e for e in tree.parameters for s in e.slots}
        self._placed: set[int] = set()
        self._nodes: dict[int, Node] = {}
        self.paths: dict[int, str] = {}
        self.root = self._node(model, "")
        # Also those that only underscored members lead to: a call must not change them either.
        self.paths = tree.paths | self.paths

    def _node(self, module: Module, path: str) -> Node:
        wrappers: list[WrapperLayer] = []
        while (name := wrapped_name(module)) is not None:
            self.paths.setdefault(id(module), path)
            wrappers.append(module)  # pyright: ignore[reportArgumentType]
            module = module._members[name]
        node = Node(module, wrappers)
        node.shared = self._nodes.get(id(module))
        if node.shared is None:
            self.paths[id(module)] = path
            self._nodes[id(module)] = node
            members = module._members
            # A module's own underscored buffers are states; its other underscored members are none
            # of the model's (`Tree`).
            public = [k for k in members if k[0] != "_" or k in module._buffer_names]
            node.parts = self._parts(module, "", members, public, path)
        return node

    def _parts(
        self, owner: Module, prefix: str, container: Any, keys: Any, path: str
    ) -> dict[Any, Part]:
        parts = {}
        above = f"{path}." if path else ""
        for key in keys:
            part = self._part(owner, f"{prefix}{key}", container, key, f"{above}{key}")
            if part is not None:
                parts[key] = part
        return parts

    def _part(self, owner: Module, name: str, container: Any, key: Any, path: str) -> Part:
        value = container[key]
        entry = self._entries.get((id(container), key))
        if entry is not None:
            if id(entry) in self._placed:
                return Tied(entry)
            self._placed.add(id(entry))
            return Parameter(entry)
        if is_module(value):
            return self._node(value, path)
        if isinstance(value, dict):
            return Items(self._parts(owner, f"{name}.", value, value, path), None)
        if isinstance(value, list):
            parts = self._parts(owner, f"{name}.", value, range(len(value)), path)
            return Items(parts, len(value)) if parts else None
        if is_array(value) or name in owner._buffer_names:
            return Buffer(Slot(owner, name, container, key))
        return None

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield every parameter under every path that leads to it."""
        yield from self._occurrences(self.root, KeyPath(), (), frozenset())

    def _occurrences(
        self, part: Part, path: KeyPath, freezing: tuple[Any, ...], above: frozenset[int]
    ) -> Iterator[Occurrence]:
        if isinstance(part, Parameter | Tied):
            by = next((w for start, w in freezing if w._freezes(path[start:])), None)
            yield Occurrence(path, part.entry, by)
        elif isinstance(part, Items):
            for key, child in part.parts.items():
                yield from self._occurrences(child, path.child(key), freezing, above)
        elif isinstance(part, Node) and id(part.module) not in above:
            freezing += tuple((len(path), w) for w in part.wrappers)
            above |= {id(part.module)}
            for key, child in (part.shared or part).parts.items():
                yield from self._occurrences(child, path.child(key), freezing, above)


def template(part: Part) -> Any:
    """Return the nested tree of parameters below a part: an `Entry` at each place, `{}` in gaps.

    None for what has no place in `ps`.
    """
    if isinstance(part, Parameter):
        return part.entry
    if isinstance(part, Node):
        return _present(part.parts)
    if isinstance(part, Items):
        tree = _present(part.parts)
        return tree if part.length is None else as_list(tree, part.length)
    return None


def _present(parts: dict[Any, Part]) -> dict[Any, Any]:
    trees = {key: template(part) for key, part in parts.items()}
    return {key: tree for key, tree in trees.items() if tree is not None}


def as_list(items: dict[int, Any], length: int) -> list[Any]:
    """Return the items as a list, with ``{}`` in the gaps."""
    return [items.get(i, {}) for i in range(length)]


def all_paths(model: Module) -> dict[int, list[KeyPath]]:
    """Return every path that leads to each layer, by ``id(layer)``; a wrapper is no level."""
    paths: dict[int, list[KeyPath]] = defaultdict(list)

    def visit(value: Any, path: KeyPath, above: frozenset[int]) -> None:
        if isinstance(value, list | dict):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                visit(item, path.child(str(key)), above)
        elif is_module(value) and id(value) not in above:
            paths[id(value)].append(path)
            above |= {id(value)}
            name = wrapped_name(value)
            for key, item in value._members.items():
                if key[0] != "_":
                    visit(item, path if key == name else path.child(key), above)

    visit(model, KeyPath(), frozenset())
    return paths
