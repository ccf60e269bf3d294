"""A model's tree, kept from step to step for as long as the model consists of the same parts.

Walking a small model takes as long as computing it. What a walk reads are the model's containers:
the members of its modules, and the lists and dicts in them. So a kept walk is good as long as each
of those has the same keys, and under them the same objects; comparing them takes no Python loop.
Nobody has to tell that something was put, appended or taken away. What else a walk depends on
raises `_members.generation` when it changes. What is frozen is not kept, but asked of the modules
each time.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import is_, itemgetter
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from freezeviz.autodiff import Tracer
from freezeviz.nn import _bind, _members, _updating
from freezeviz.nn._members import Entry, Slot, Tree


class Walk:
    """A `Tree` with what it was made from, and with what a training step does with it.

    Attributes
    ----------
    tree : Tree
        Its entries are shared by all who have this walk, and are not to be changed.
    entries : dict
        The parameters by their first path.
    """

    def __init__(self, root: Any):
        self._generation = _members.generation
        self.tree = Tree(root)
        self.entries = {entry.path: entry for entry in self.tree.parameters}
        self._root = root
        self._dicts: list[dict[Any, Any]] = []
        self._lists: list[list[Any]] = []
        self._entered: set[int] = set()
        self._can_be_kept = True
        for _, module in self.tree.modules:
            self._enter(module._members)
        # A module that loses a member says so, and more of them make its length another one.
        members = {id(module._members) for _, module in self.tree.modules}
        self._keyed = [d for d in self._dicts if id(d) not in members]
        # Views of the dicts' values, which show what is in them when they are looked at.
        self._parts = [*map(dict.values, self._dicts), *self._lists, *self._keyed]
        self._lengths = [*map(len, self._parts)]
        self._found = [*chain.from_iterable(self._parts)]
        self._asks = [_ask(entry) for entry in self.tree.parameters]
        self._plan: Plan | None = None
        self._spots: dict[str, list[tuple[Any, Any, int]]] = {}

    def _enter(self, container: Any) -> None:
        if id(container) in self._entered:
            return
        self._entered.add(id(container))
        if type(container) is dict:
            self._dicts.append(container)
            values: Iterable[Any] = container.values()
        elif type(container) is list:
            self._lists.append(container)
            values = container
        else:  # a class of somebody else's, which may show what it likes
            self._can_be_kept = False
            return
        for value in values:
            if isinstance(value, dict | list):
                self._enter(value)

    def is_good(self) -> bool:
        """Return whether a new walk would find the same."""
        return (
            self._can_be_kept
            and self._generation == _members.generation
            and [*map(len, self._parts)] == self._lengths
            and all(map(is_, chain.from_iterable(self._parts), self._found))
        )

    def plan(self) -> "Plan":
        """Return what to do with the parameters that are trainable now."""
        trainable = [
            entry
            for entry, frozen, name in self._asks
            if (name not in frozen if frozen is not None else not entry.frozen)
        ]
        plan = self._plan
        if plan is None or plan.entries != trainable:
            plan = self._plan = Plan(self._root, trainable)
        return plan

    def put(self, entries: Sequence[Entry], values: Sequence[Any], apart: bool) -> None:
        """Put new arrays where these entries stand.

        Parameters
        ----------
        entries : sequence of Entry
            None of them frozen.
        values : sequence of array
        apart : bool
            Whether it is known that they share no memory, with each other or with anything that
            the model holds. If it is not, the next walk has to look.
        """
        if not apart or not self._can_be_kept:
            self._can_be_kept = False
            for entry, value in zip(entries, values, strict=True):
                _updating.put(entry, value)
            return
        found, spots = self._found, self._spots or self._find_spots()
        for entry, value in zip(entries, values, strict=True):
            if type(value) is Tracer:
                _updating.refuse_traced(entry, value)
            for container, key, place in spots[entry.path]:
                container[key] = found[place] = value
            entry.value = value

    def _find_spots(self) -> dict[str, list[tuple[Any, Any, int]]]:
        """Return where the arrays of each parameter stand, in the model and in what was found."""
        keys = [(id(d), key) for d in self._dicts for key in d]
        keys += [(id(values), i) for values in self._lists for i in range(len(values))]
        places = {key: place for place, key in enumerate(keys)}
        self._spots = {
            entry.path: [(s.container, s.key, places[id(s.container), s.key]) for s in entry.slots]
            for entry in self.tree.parameters
        }
        return self._spots


def _ask(entry: Entry) -> tuple[Entry, dict[str, Any] | None, str]:
    """Return where to ask whether an entry is frozen; None where it takes more than one look."""
    slot = entry.slots[0]
    single = len(entry.slots) == 1 and not entry.governed
    return entry, slot.owner._frozen if single else None, slot.name


class Plan:
    """What a step does with the same trainable parameters as the step before.

    Attributes
    ----------
    entries : list of Entry
        The trainable parameters.
    paths : list of str
        Their first paths.
    """

    def __init__(self, root: Any, trainable: list[Entry]):
        self.entries = trainable
        self.paths = [entry.path for entry in trainable]
        members: dict[int, list[tuple[str, int]]] = {}
        self._deep: list[tuple[Slot, int]] = []
        for i, entry in enumerate(trainable):
            for slot in entry.slots:
                if slot.container is slot.owner._members:
                    members.setdefault(id(slot.owner), []).append((slot.key, i))
                else:
                    self._deep.append((slot, i))
        self._members = list(members.items())
        marked = [_Mark(entry, i) for i, entry in enumerate(trainable)]
        template = _updating.nested(root, marked) if marked else {}  # pyright: ignore[reportArgumentType]
        self._nest = _builder(template)
        places: list[int] = []
        self._read = _reader(template, places)
        self._arrays = [np.ndarray] * len(trainable)
        order = sorted(range(len(places)), key=places.__getitem__)
        self._order = None if order == places else order

    def bind(self, scope: _bind.Scope, values: Sequence[Any]) -> None:
        """Let values stand for the parameters."""
        if scope.values:  # those of an outer call
            for entry, value in zip(self.entries, values, strict=True):
                for slot in entry.slots:
                    scope.bind_slot(slot, value)
            return
        bound = scope.values
        for module, places in self._members:
            bound[module] = {name: values[i] for name, i in places}
        for slot, i in self._deep:
            scope.bind_slot(slot, values[i])

    def nest(self, values: Sequence[Any]) -> Any:
        """Return values, one for each parameter, nested as the model is."""
        return self._nest(values)

    def flatten(self, tree: Any) -> list[Any] | None:
        """Return the arrays of a tree that `nest` could have made, None if it could not."""
        found: list[Any] = []
        try:
            self._read(tree, found)
        except (_OtherwiseError, LookupError):
            return None
        if [*map(type, found)] != self._arrays:
            return None
        return found if self._order is None else [found[i] for i in self._order]


class _Mark:
    """Stands for an entry in a template: its value is its place among the trainable ones."""

    __slots__ = ("slots", "value")

    def __init__(self, entry: Entry, place: int):
        self.slots = entry.slots
        self.value = _Place(place)


class _Place:
    __slots__ = ("index",)

    def __init__(self, index: int):
        self.index = index


def _builder(template: Any) -> Callable[[Sequence[Any]], Any]:
    """Return a function that gives values in the nesting of a template."""
    if type(template) is _Place:
        return itemgetter(template.index)
    if type(template) is list:
        builders = [_builder(part) if part else None for part in template]  # {}: of what has none
        return lambda values: [build(values) if build else {} for build in builders]
    if all(type(part) is _Place for part in template.values()):
        places = [(key, part.index) for key, part in template.items()]
        return lambda values: {key: values[i] for key, i in places}
    items = [(key, _builder(part)) for key, part in template.items()]
    return lambda values: {key: build(values) for key, build in items}


class _OtherwiseError(Exception):
    """A tree is not nested as a template is."""


def _reader(template: Any, order: list[int]) -> Callable[[Any, list[Any]], None]:
    """Return a function that adds the leaves of a tree to a list; `order` gets their places."""
    kind, size = type(template), len(template)
    items = list(template.items() if kind is dict else enumerate(template))
    if size and all(type(part) is _Place for _, part in items):
        keys = [key for key, _ in items]
        order += [part.index for _, part in items]

        def read_arrays(tree: Any, found: list[Any]) -> None:
            if type(tree) is not kind or len(tree) != size:
                raise _OtherwiseError
            for key in keys:
                found.append(tree[key])

        return read_arrays
    empty: list[Any] = []
    readers: list[tuple[Any, Callable[[Any, list[Any]], None] | None]] = []
    for key, part in items:
        if type(part) is _Place:
            order.append(part.index)
            readers.append((key, None))
        elif part:
            readers.append((key, _reader(part, order)))
        else:
            empty.append(key)

    def read(tree: Any, found: list[Any]) -> None:
        if type(tree) is not kind or len(tree) != size:
            raise _OtherwiseError
        for key, inside in readers:
            if inside is None:
                found.append(tree[key])
            else:
                inside(tree[key], found)
        for key in empty:
            part = tree[key]
            if type(part) is not dict or part:
                raise _OtherwiseError

    return read


class Keeper:
    """Keeps the walk of one model, for as long as somebody keeps this."""

    __slots__ = ("__weakref__", "root", "walk")

    def __init__(self, root: Any):
        self.root = root
        self.walk: Walk | None = None

    def get(self) -> Walk:
        """Return the kept walk, or a new one where that is not good any more."""
        if _bind.current.get() is not None:  # values that are bound are those of one call
            return Walk(self.root)
        walk = self.walk
        if walk is None or not walk.is_good():
            walk = self.walk = Walk(self.root)
        return walk


# By id: a module may say what equals it. The keeper keeps its model, so the id stays its own.
_keepers: WeakValueDictionary[int, Keeper] = WeakValueDictionary()


def keeper(root: Any) -> Keeper:
    """Return the one who keeps the walk of a model, for all who want it."""
    found = _keepers.get(id(root))
    if found is None:
        found = _keepers[id(root)] = Keeper(root)
    return found


def walked(root: Any) -> Walk:
    """Return a walk of a model: the one that is kept, if one is."""
    found = _keepers.get(id(root))
    return Walk(root) if found is None else found.get()


def forget() -> None:
    """Let go of all kept walks: they would keep the arrays alive that a model has given up."""
    for kept in list(_keepers.values()):
        kept.walk = None
