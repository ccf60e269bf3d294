"""A model of our own as the adapter sees it: walked once, and again only when it is another.

Walking 10,000 modules takes a tenth of a second, and a click asks for it several times. Whether a
model is still the one that was walked takes a tenth of that: the same lists and dicts with the
same things in them. Only arrays may be other ones, of the same shape and dtype, as optimizers and
freezing put new ones in; what was tied must be tied still, and nothing else.
"""

import math
from collections.abc import Iterable
from functools import cached_property, lru_cache
from itertools import chain
from operator import is_
from typing import Any

import numpy as np

from freezeviz.adapters._index import ParameterIndex, index_of
from freezeviz.adapters._protocol import BufferInfo, LayerInfo, ParameterInfo
from freezeviz.backend import is_array, memory_key
from freezeviz.nn import Embedding, Module, _bind
from freezeviz.nn._members import Entry, Slot, Tree

__all__ = ["NativeTree"]


class _Members:
    """What stood in one dict or list; `start` is where in the row of all things it begins."""

    __slots__ = ("container", "keys", "start", "values")

    def __init__(self, container: Any, start: int) -> None:
        self.container = container
        self.start = start
        is_dict = isinstance(container, dict)
        self.keys = list(container) if is_dict else list(range(len(container)))
        self.values: Any = container.values() if is_dict else container  # as they are now


class NativeTree:
    """A model's tree, and what follows from it.

    Attributes
    ----------
    tree : Tree
        Values in it may be old ones, slots are not.
    """

    def __init__(self, model: Module) -> None:
        self.tree = Tree(model, all_paths=True)
        # Entries by their memory, and whether they are buffers: those are tied to no parameter.
        self._by_key: dict[Any, Entry] = dict(self.tree._entries)
        self._in_scope = _bind.current.get() is not None
        self._modules: list[tuple[Module, dict[str, Any], set[str]]] = []
        self._members: list[_Members] = []
        self._things: list[Any] = []  # all that stands in them, in a row
        todo: list[Any] = []
        for _, module in self.tree.modules:
            self._modules.append((module, module._members, set(module._buffer_names)))
            todo.append(module._members)
            while todo:
                members = _Members(todo.pop(), len(self._things))
                self._members.append(members)
                self._things.extend(members.values)
                todo.extend(value for value in members.values if isinstance(value, dict | list))
        self._sizes = [len(members.keys) for members in self._members]
        self._keys_of_dicts = [m.keys for m in self._members if isinstance(m.container, dict)]

    # ---- what follows from it ------------------------------------------------------------------

    def prepare(self) -> None:
        """Make all that is made when it is needed first."""
        for name in ("entries", "index", "carriers", "_keys", "_spoken", "_entry_of", "_places"):
            getattr(self, name)

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The parameters by each of their names."""
        return {name: e for e in self.tree.parameters for name in (e.path, *e.aliases)}

    @cached_property
    def index(self) -> ParameterIndex:
        """The index of the snapshot."""
        return index_of(self.snapshot)

    @cached_property
    def carriers(self) -> np.ndarray:
        """The node of `index` that decides whether a module is held, for each module."""
        return self.index.carriers(path for path, _ in self.tree.modules)

    @cached_property
    def snapshot(self) -> LayerInfo:
        """The tree as plain values."""
        tree = self.tree
        parameters = _by_owner(tree.parameters)
        buffers = _by_owner(tree.buffers)
        children: dict[str, list[LayerInfo]] = {path: [] for path, _ in tree.modules}
        parents = _parents([path for path, _ in tree.modules])
        layers: dict[str, LayerInfo] = {}
        # Depth first backwards: every child is ready before its parent.
        for (path, module), detail in zip(
            reversed(tree.modules), reversed(self._details), strict=True
        ):
            parent = parents.get(path, "")
            kind = type(module)
            layers[path] = LayerInfo(
                path,
                path[len(parent) :].lstrip(".") or kind.__name__,
                kind.__name__,
                detail,
                tuple(map(_parameter, parameters.get(id(module), ()))),
                tuple(map(_buffer, buffers.get(id(module), ()))),
                tuple(reversed(children[path])),
                tuple(tree.module_aliases.get(path, ())),
                kind.__mro__,
            )
            if path:
                children[parent].append(layers[path])
        return layers[""]

    @cached_property
    def _details(self) -> list[str]:
        return [_detail(module) for _, module in self.tree.modules]

    @cached_property
    def _spoken(self) -> list[tuple[Module, str]]:
        """Modules whose detail is of more than their arrays' shapes, with it."""
        silent = Module._extra_repr
        return [
            (module, detail)
            for (module, *_), detail in zip(self._modules, self._details, strict=True)
            if not _has_matrix(module) and type(module)._extra_repr is not silent
        ]

    @cached_property
    def _entry_of(self) -> dict[tuple[int, Any], Entry]:
        entries = self.tree.parameters + self.tree.buffers
        return {(id(s.container), s.key): e for e in entries for s in e.slots}

    @cached_property
    def _places(self) -> dict[tuple[int, Any], int]:
        """Where in the row of all things each stands."""
        return {
            (id(members.container), key): members.start + i
            for members in self._members
            for i, key in enumerate(members.keys)
        }

    @cached_property
    def _keys(self) -> dict[Entry, Any]:
        return {entry: key for key, entry in self._by_key.items()}

    # ---- whether it is still true --------------------------------------------------------------

    def holds(self) -> bool:
        """Whether the model is as it was, but for other arrays in the same places."""
        if self._in_scope or _bind.current.get() is not None:
            return False
        for module, members, buffers in self._modules:
            # (`is not`: a module that was read from a file has another dict.)
            if module._members is not members or module._buffer_names != buffers:
                return False
            if module._governed:
                return False
        if any(_detail(module) != detail for module, detail in self._spoken):
            return False
        containers = [members.container for members in self._members]
        if list(map(len, containers)) != self._sizes:
            return False
        if [list(c) for c in containers if isinstance(c, dict)] != self._keys_of_dicts:
            return False
        # Without a loop over each: the usual case, of tens of thousands of things.
        things = chain.from_iterable(members.values for members in self._members)
        if all(map(is_, things, self._things)):
            return True
        return self._take_all()

    def _take_all(self) -> bool:
        """Take in whatever stands there now, if it is arrays like those before."""
        changed: list[tuple[_Members, int]] = []
        for members in self._members:
            for i, value in enumerate(members.values):
                before = self._things[members.start + i]
                if value is not before:
                    if not _alike(value, before):
                        return False
                    changed.append((members, i))
        return self._take(changed)

    def take(self, slots: Iterable[Slot]) -> None:
        """Take in new arrays of slots that were frozen or unfrozen: views of the same memory."""
        things, places = self._things, self._places
        for _, _, container, key in slots:
            things[places[id(container), key]] = container[key]

    def _take(self, changed: list[tuple[_Members, int]]) -> bool:
        """Take in new arrays, if they are tied as those before were."""
        entry_of = self._entry_of
        places = [(id(members.container), members.keys[i]) for members, i in changed]
        new: dict[Entry, Any] = {}
        for entry in dict.fromkeys(entry_of[place] for place in places if place in entry_of):
            is_buffer = self._keys[entry][1]
            keys = {(memory_key(slot.value), is_buffer) for slot in entry.slots}
            if len(keys) > 1:
                return False
            new[entry] = keys.pop()
        moved = {entry: key for entry, key in new.items() if self._keys[entry] != key}
        for entry in moved:
            self._by_key.pop(self._keys[entry], None)
        for entry, key in moved.items():
            if key in self._by_key:
                return False
            self._by_key[key] = entry
        self._keys.update(moved)
        for members, i in changed:
            self._things[members.start + i] = members.container[members.keys[i]]
        return True


def _alike(value: Any, before: Any) -> bool:
    """Whether one array stands for another: it may be frozen, or updated, since."""
    return (
        is_array(value)
        and is_array(before)
        and value.shape == before.shape
        and value.dtype == before.dtype
    )


def _by_owner(entries: list[Entry]) -> dict[int, list[Entry]]:
    grouped: dict[int, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(id(entry.slots[0].owner), []).append(entry)
    return grouped


def _parents(paths: list[str]) -> dict[str, str]:
    """Return the nearest path above each: containers that are no modules are skipped."""
    known = set(paths)
    parents = {}
    for path in paths:
        parent = path.rpartition(".")[0]
        while parent and parent not in known:
            parent = parent.rpartition(".")[0]
        parents[path] = parent
    return parents


def _parameter(entry: Entry) -> ParameterInfo:
    # By position, here and above: of 10,000 modules, names took a twentieth of a second.
    value = entry.value
    shape, dtype = tuple(value.shape), value.dtype
    size = math.prod(shape)
    names = tuple(entry.aliases)
    return ParameterInfo(entry.path, shape, _dtype_name(dtype), size, size * dtype.itemsize, names)


@lru_cache(maxsize=64)
def _dtype_name(dtype: Any) -> str:
    return str(dtype)  # a twentieth of a millisecond


def _buffer(entry: Entry) -> BufferInfo:
    info = _parameter(entry)
    return BufferInfo(info.path, info.shape, info.dtype, info.nbytes)


def _detail(module: Module) -> str:
    if not _has_matrix(module):
        return module._extra_repr()
    weight: Any = module._members["weight"]
    kernel = "×".join(map(str, weight.shape[1:-1]))
    inputs = weight.shape[-1] * vars(module).get("groups", 1)
    return f"{inputs} → {weight.shape[0]}{', ' if kernel else ''}{kernel}"


def _has_matrix(module: Module) -> bool:
    weight: Any = module._members.get("weight")
    return getattr(weight, "ndim", 0) >= 2 and not isinstance(module, Embedding)
