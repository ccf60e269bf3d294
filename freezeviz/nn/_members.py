"""What a module consists of: its own arrays, its submodules, and the tree below it.

A member is an attribute that can hold arrays or modules: an array, a module, or lists and dicts
of them to any depth. Tuples and other objects are not entered (MLX's rule).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from freezeviz.backend import array_namespace, is_array, memory_key
from freezeviz.paths import join

if TYPE_CHECKING:
    from freezeviz.nn._module import Module


class Slot(NamedTuple):
    """A place in a module where an array stands: ``container[key]``, known there as `name`."""

    owner: "Module"
    name: str
    container: Any
    key: Any

    @property
    def value(self) -> Any:
        return self.container[self.key]

    @property
    def frozen(self) -> bool:
        return self.name in self.owner._frozen


class Entry:
    """An array of a model under its first path, with every slot and path that shares it."""

    __slots__ = ("aliases", "path", "slots", "value")

    def __init__(self, path: str, slot: Slot, value: Any):
        self.path = path
        self.value = value
        self.slots = [slot]
        self.aliases: list[str] = []

    @property
    def frozen(self) -> bool:
        return any(slot.frozen for slot in self.slots)


def is_parameter(value: Any) -> bool:
    """Return whether an array is learnable: integers and booleans are not."""
    return array_namespace(value).isdtype(value.dtype, ("real floating", "complex floating"))


def own(module: "Module") -> Iterator[tuple[str, Slot | None, Any]]:
    """Yield the arrays and modules that a module owns directly: name, slot and value.

    Lists and dicts are entered and give dotted names (``"w.0"``), other modules are not.
    """
    for name, value in module._members.items():
        yield from _leaves(module, name, module._members, name, value)


def _leaves(
    owner: "Module", name: str, container: Any, key: Any, value: Any
) -> Iterator[tuple[str, Slot | None, Any]]:
    if isinstance(value, dict):
        for k, v in value.items():
            yield from _leaves(owner, f"{name}.{k}", value, k, v)
    elif isinstance(value, list):
        for i, v in enumerate(value):
            yield from _leaves(owner, f"{name}.{i}", value, i, v)
    elif is_array(value):
        yield name, Slot(owner, name, container, key), value
    elif hasattr(type(value), "_is_freezeviz_module"):
        yield name, None, value


def own_parameters(module: "Module") -> Iterator[Slot]:
    """Yield the slots of the learnable arrays that a module owns directly."""
    for name, slot, value in own(module):
        if slot is not None and not _is_buffer(module, name, value) and name[0] != "_":
            yield slot


def _is_buffer(module: "Module", name: str, value: Any) -> bool:
    return name in module._buffer_names or not is_parameter(value)


class Tree:
    """A model walked once, in the order its members were assigned.

    Attributes
    ----------
    modules : list of (path, module)
        Each module once, under its first path; the root's is ``""``.
    module_aliases : dict
        First path of a shared module to its other paths.
    parameters, buffers : list of Entry
        Arrays that share memory are one entry.
    paths : dict
        ``id(module)`` to first path.
    """

    def __init__(self, root: "Module"):
        self.modules: list[tuple[str, Module]] = []
        self.module_aliases: dict[str, list[str]] = {}
        self.parameters: list[Entry] = []
        self.buffers: list[Entry] = []
        self.paths: dict[int, str] = {}
        self._entries: dict[Any, Entry] = {}
        self._walk(root, "", hidden=False)
        for first, others in self.module_aliases.items():
            for entry in self.parameters + self.buffers:
                if entry.path.startswith(first + ".") or not first:
                    tail = entry.path[len(first) :].lstrip(".")
                    entry.aliases += [join(other, tail) for other in others]

    def _walk(self, module: "Module", path: str, hidden: bool) -> None:
        self.paths[id(module)] = path
        self.modules.append((path, module))
        for name, slot, value in own(module):
            where = join(path, name)
            if slot is None:
                seen = self.paths.get(id(value))
                if seen is None:
                    self._walk(value, where, hidden or name[0] == "_")
                elif not is_ancestor(seen, where):
                    self.module_aliases.setdefault(seen, []).append(where)
            elif not hidden and name[0] != "_":
                self._add(where, slot, value, _is_buffer(module, name, value))

    def _add(self, path: str, slot: Slot, value: Any, buffer: bool) -> None:
        key = (memory_key(value), buffer)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(path, slot, value)
            (self.buffers if buffer else self.parameters).append(entry)
        else:
            entry.slots.append(slot)
            entry.aliases.append(path)


def is_ancestor(path: str, of: str) -> bool:
    """Return whether a module path is a true ancestor of another: a cycle, if they are one."""
    return not path or of.startswith(path + ".")
