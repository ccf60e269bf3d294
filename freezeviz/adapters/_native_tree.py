"""A model of our own as the adapter sees it: walked once, and again only when it is another.

Walking 10,000 modules takes a tenth of a second, and a click asks for it several times. Whether a
model is still the one that was walked takes a tenth of that: the same lists and dicts with the
same things in them. Only arrays may be other ones, of the same shape and dtype, as optimizers and
freezing put new ones in; what was tied must be tied still, and nothing else.
"""

import math
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from itertools import chain, repeat
from operator import attrgetter, is_, itemgetter
from typing import Any, TypeVar

import numpy as np

from freezeviz.adapters._index import ParameterIndex, index_of
from freezeviz.adapters._protocol import BufferInfo, LayerInfo, ParameterInfo
from freezeviz.backend import is_array, memory_key
from freezeviz.nn import Embedding, Module, _bind
from freezeviz.nn._members import Entry, Slot, Tree

__all__ = ["NativeTree"]

T = TypeVar("T")
_ENTERED = (dict, list)
_members_of, _buffer_names_of = itemgetter("_members"), itemgetter("_buffer_names")
_governed_of = attrgetter("_governed")


class NativeTree:
    """A model's tree, and what follows from it.

    Attributes
    ----------
    tree : Tree
        Values in it may be old ones, slots are not.
    """

    def __init__(self, model: Module) -> None:
        self.tree = Tree(model, all_paths=True)
        self._in_scope = _bind.current.get() is not None
        self._modules = [module for _, module in self.tree.modules]
        self._dicts = list(map(vars, self._modules))
        self._members = [module._members for module in self._modules]
        self._buffer_names = [frozenset(module._buffer_names) for module in self._modules]
        # All at once, here and in `holds`: ten thousand dicts, with tens of thousands of things.
        self._containers: list[Any] = []
        level: list[Any] = self._members
        while level:
            self._containers += level
            level = [x for c in level for x in _values(c) if isinstance(x, _ENTERED)]
        self._sizes = list(map(len, self._containers))
        # What stands in them and under which keys: as it is now, and as it was.
        self._values = list(map(_values, self._containers))
        self._keys_now = [c if isinstance(c, dict) else range(len(c)) for c in self._containers]
        self._things = list(chain.from_iterable(self._values))
        self._keys_there = list(chain.from_iterable(self._keys_now))

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
        parameters = _by_owner(tree.parameters, _parameter)
        buffers = _by_owner(tree.buffers, _buffer)
        parents = _parents([path for path, _ in tree.modules])
        below: dict[str, list[LayerInfo]] = {}
        root: Any = None
        # Depth first backwards: every child is ready before its parent.
        for (path, module), parent, detail in zip(
            reversed(tree.modules), reversed(parents), reversed(self._details), strict=True
        ):
            kind = type(module)
            layer = LayerInfo(
                path,
                path[len(parent) :].lstrip(".") or kind.__name__,
                kind.__name__,
                detail,
                tuple(parameters.get(id(module), ())),
                tuple(buffers.get(id(module), ())),
                tuple(reversed(below.get(path, ()))),
                tuple(tree.module_aliases.get(path, ())),
                kind.__mro__,
            )
            if path:
                below.setdefault(parent, []).append(layer)
            root = layer
        return root

    @cached_property
    def _details(self) -> list[str]:
        return [_detail(module) for _, module in self.tree.modules]

    @cached_property
    def _spoken(self) -> list[tuple[Module, str]]:
        """Modules whose detail is of more than their arrays' shapes, with it."""
        silent = Module._extra_repr
        return [
            (module, detail)
            for module, detail in zip(self._modules, self._details, strict=True)
            if not _has_matrix(module) and type(module)._extra_repr is not silent
        ]

    @cached_property
    def _entry_of(self) -> dict[tuple[int, Any], Entry]:
        entries = self.tree.parameters + self.tree.buffers
        return {(id(s.container), s.key): e for e in entries for s in e.slots}

    @cached_property
    def _spots(self) -> list[tuple[Any, Any]]:
        """The container and the key of each thing."""
        owners = chain.from_iterable(map(repeat, self._containers, self._sizes))
        return list(zip(owners, self._keys_there, strict=True))

    @cached_property
    def _places(self) -> dict[tuple[int, Any], int]:
        """Where in the row of all things each stands."""
        return {(id(container), key): i for i, (container, key) in enumerate(self._spots)}

    @cached_property
    def _keys(self) -> dict[Entry, Any]:
        """The memory of each entry, and whether it is a buffer: those are tied to no parameter."""
        tree = self.tree
        both = ((tree.parameters, False), (tree.buffers, True))
        return {e: (memory_key(e.value), buffer) for entries, buffer in both for e in entries}

    @cached_property
    def _by_key(self) -> dict[Any, Entry]:
        return {key: entry for entry, key in self._keys.items()}

    # ---- whether it is still true --------------------------------------------------------------

    def holds(self) -> bool:
        """Whether the model is as it was, but for other arrays in the same places."""
        if self._in_scope or _bind.current.get() is not None:
            return False
        # (`is`: a module that was read from a file has another dict.)
        if not all(map(is_, map(_members_of, self._dicts), self._members)):
            return False
        if list(map(_buffer_names_of, self._dicts)) != self._buffer_names:
            return False
        if any(map(_governed_of, self._modules)):
            return False
        if any(_detail(module) != detail for module, detail in self._spoken):
            return False
        if list(map(len, self._containers)) != self._sizes:
            return False
        if list(chain.from_iterable(self._keys_now)) != self._keys_there:
            return False
        things = chain.from_iterable(self._values)
        return all(map(is_, things, self._things)) or self._take_all()

    def _take_all(self) -> bool:
        """Take in whatever stands there now, if it is arrays like those before."""
        now = zip(chain.from_iterable(self._values), self._things, strict=True)
        changed = [i for i, (value, before) in enumerate(now) if value is not before]
        spots = [self._spots[i] for i in changed]
        values = [container[key] for container, key in spots]
        if not all(map(_alike, values, map(self._things.__getitem__, changed))):
            return False
        entry_of = self._entry_of
        places = [(id(container), key) for container, key in spots]
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
        for i, value in zip(changed, values, strict=True):
            self._things[i] = value
        return True

    def take(self, slots: Iterable[Slot]) -> None:
        """Take in new arrays of slots that were frozen or unfrozen: views of the same memory."""
        things, places = self._things, self._places
        for _, _, container, key in slots:
            things[places[id(container), key]] = container[key]


def _values(container: Any) -> Any:
    """Return what stands in a dict or a list, now and whenever it is asked for later."""
    return container.values() if isinstance(container, dict) else container


def _alike(value: Any, before: Any) -> bool:
    """Whether one array stands for another: it may be frozen, or updated, since."""
    return (
        is_array(value)
        and is_array(before)
        and value.shape == before.shape
        and value.dtype == before.dtype
    )


def _by_owner(entries: list[Entry], info: Callable[[Entry], T]) -> dict[int, list[T]]:
    grouped: dict[int, list[T]] = {}
    for entry in entries:
        grouped.setdefault(id(entry.slots[0].owner), []).append(info(entry))
    return grouped


def _parents(paths: list[str]) -> list[str]:
    """Return the nearest path above each: containers that are no modules are skipped."""
    nearest = {path: path for path in paths}
    parents = []
    for path in paths:
        above = path.rpartition(".")[0]
        parent = nearest.get(above)
        if parent is None:
            parent = above
            while parent not in nearest:
                parent = parent.rpartition(".")[0]
            nearest[above] = parent = nearest[parent]
        parents.append(parent)
    return parents


def _parameter(entry: Entry) -> ParameterInfo:
    # By position, here and above: of 10,000 modules, names took a twentieth of a second.
    value = entry.value
    dtype, size, nbytes = _measure(shape := tuple(value.shape), value.dtype)
    return ParameterInfo(entry.path, shape, dtype, size, nbytes, tuple(entry.aliases))


@lru_cache(maxsize=1024)
def _measure(shape: tuple[int, ...], dtype: Any) -> tuple[str, int, int]:
    size = math.prod(shape)
    return str(dtype), size, size * dtype.itemsize


def _buffer(entry: Entry) -> BufferInfo:
    info = _parameter(entry)
    return BufferInfo(info.path, info.shape, info.dtype, info.nbytes)


def _detail(module: Module) -> str:
    if not _has_matrix(module):
        return module._extra_repr()
    weight: Any = module._members["weight"]
    return _matrix_detail(tuple(weight.shape), vars(module).get("groups", 1))


@lru_cache(maxsize=1024)
def _matrix_detail(shape: tuple[int, ...], groups: Any) -> str:
    kernel = "×".join(map(str, shape[1:-1]))
    return f"{shape[-1] * groups} → {shape[0]}{', ' if kernel else ''}{kernel}"


def _has_matrix(module: Module) -> bool:
    weight: Any = module._members.get("weight")
    return getattr(weight, "ndim", 0) >= 2 and not isinstance(module, Embedding)
