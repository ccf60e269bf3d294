"""Which modules compute the same of the same input, why others do not, and whether that holds."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np

from freezeviz.backend import is_array
from freezeviz.nn import BatchNorm, Dropout, Module, Sequential
from freezeviz.nn._members import Tree, own, private_modules

SMALL = 1 << 16  # bytes of a buffer that is compared in every step


class Outline:
    """A model's modules, as far as a cache has to know them.

    Parameters
    ----------
    model : Module
    impure : dict
        ``id(module)`` to why it may not be answered, as far as that was found out by calling it.
    opened : dict
        By their ids, modules that give something else than an array: what is in them may be
        answered, they may not.

    Attributes
    ----------
    reasons : dict
        ``id(module)`` to why a module does not compute the same of the same input, in words; what
        is not in it does, as far as one can tell without calling it.
    first : str or None
        The first of these reasons, in the order of the tree.
    first_moving : str or None
        The same, if it is not that a parameter trains.
    constants : list of arrays
        The frozen parameters.
    frozen : bool
        Whether there are any.
    paths : dict
        ``id(module)`` to path.
    """

    def __init__(self, model: Module, impure: dict[int, str], opened: dict[int, Any]) -> None:
        self._opened = opened
        tree = Tree(model, private=True)
        self.modules = tree.modules
        self.paths = {id(module): path for path, module in tree.modules}
        self.constants = [
            slot.value
            for entry in tree.parameters
            if entry.frozen
            for slot in entry.slots
            if is_array(slot.value)
        ]
        self.frozen = bool(self.constants)
        # The freezing of a tied array is that of any of its names, and of a wrapper above it.
        tied = [slot.owner for e in tree.parameters if len(e.slots) > 1 for slot in e.slots]
        self._freezing = [*tied, *(module for _, module in tree.modules if module._governed)]
        trains: dict[int, str] = {}
        for entry in tree.parameters:
            if not entry.frozen:
                for slot in entry.slots:
                    trains.setdefault(id(slot.owner), f"{_named(entry.path)} trains")
        self.reasons: dict[int, str] = {}
        self.first: str | None = None
        self.first_moving: str | None = None
        self._tried: set[int] = set()
        for path, module in tree.modules:
            reason = trains.get(id(module))
            moving = impure.get(id(module)) or _moves(module, path)
            if self.first is None and reason is None:
                self.first_moving = moving
            reason = reason or moving
            if reason is not None:
                self.reasons[id(module)] = reason
                self.first = self.first or reason
        self._spread(model)

    def _spread(self, module: Any) -> str | None:
        """Enter a module's reason, which may be one of a module within it."""
        if id(module) in self._tried:
            return self.reasons.get(id(module))
        self._tried.add(id(module))
        for child in children(module):
            reason = self._spread(child)
            if reason is not None:
                self.reasons.setdefault(id(module), reason)
        return self.reasons.get(id(module))

    @property
    def state(self) -> tuple[Any, ...]:
        """What it depends on whether anything can be done: compared, not read."""
        return tuple(self.reasons.items()), tuple(map(id, self.constants))

    def may_answer(self, layer: Any) -> bool:
        """Return whether a layer of a `Sequential` may be answered; functions are judged later."""
        return self.is_pure(layer) if isinstance(layer, Module) else callable(layer)

    def is_pure(self, module: Any) -> bool:
        """Return whether a part of the model may be answered from what is known."""
        key = id(module)
        return key not in self.reasons and key in self.paths and key not in self._opened

    def tops(self, module: Any) -> list[Any]:
        """Return the modules whose calls to hear of: pure ones in others, and `Sequential`s."""
        found: dict[int, Any] = {}
        stack = [module]
        while stack:
            at = stack.pop()
            if self.is_pure(at):
                found[id(at)] = at
                continue
            if type(at) is Sequential:
                # It is told itself; its layers are not, so that it can join them as always.
                found[id(at)] = at
                stack.extend(child for child in children(at) if not self.is_pure(child))
            else:
                stack.extend(children(at))
        return list(found.values())

    def watch(self) -> "Watch":
        """Return what tells when something of this is not so any more."""
        modules = [module for _, module in self.modules if id(module) not in self.reasons]
        sequences = [m for _, m in self.modules if type(m) is Sequential]
        return Watch(modules, sequences, self._freezing)


def children(module: Any) -> list[Any]:
    """Return the modules directly in one, those in private lists, too."""
    found = [value for _, slot, value in own(module) if slot is None]
    return found + [value for _, value in private_modules(module)]


def _named(path: str) -> str:
    return path or "the model"


def _moves(module: Any, path: str) -> str | None:
    if isinstance(module, BatchNorm):
        if "running_mean" not in module:
            return f"{_named(path)} is {type(module).__name__} without running statistics"
        if module.training:
            return f"{_named(path)} is {type(module).__name__} in training mode: hold it"
    if isinstance(module, Dropout) and module.p and module.training:
        return f"{_named(path)} is {type(module).__name__} in training mode: hold it"
    for name, value in vars(module).items():
        if hasattr(type(value), "__next__"):
            return f"{_named(path)} holds an iterator, {name}: it gives something else each time"
    return None


class Watch:
    """Tells whether modules are what they were, by the identity of all that stands in them.

    A frozen array is read-only and another one when it changes; so is every value that is assigned.
    Small buffers, which can be written into, are compared.

    Parameters
    ----------
    modules : list of Module
    sequences : list of Sequential
        Of these, which layers they have.
    freezing : list of Module
        Of these, what they freeze.

    Attributes
    ----------
    large : list of array
        Buffers that can be written into and are not compared.
    """

    def __init__(self, modules: list[Any], sequences: list[Any], freezing: list[Any]) -> None:
        self._dicts: list[dict[Any, Any]] = []
        self._lists: list[list[Any]] = []
        self._keyed: list[dict[Any, Any]] = []  # of which the keys count
        self._buffers: list[tuple[np.ndarray, bytes]] = []
        self.large: list[np.ndarray] = []
        for module in modules:
            self._dicts += [vars(module), module._members]
            self._enter(module._members.values())
            self._enter(v for k, v in vars(module).items() if k not in ("_members", "_frozen"))
        for sequence in sequences:  # also where not all of it may be answered
            self._dicts.append(sequence._members)
            self._lists.append(sequence.layers)
        self._keyed += [module._frozen for module in [*modules, *freezing]]
        self._governed = [(module, module._governed) for module in freezing]
        # Views of the dicts' values, which show what is in them when they are looked at.
        self._parts = [*map(dict.values, self._dicts), *self._lists, *self._keyed]
        self._lengths = [*map(len, self._parts)]
        self._filled = [part for part in self._parts if part]
        self._found = [*chain.from_iterable(self._filled)]

    def _enter(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, dict):
                self._dicts.append(value)
                self._keyed.append(value)
                self._enter(value.values())
            elif isinstance(value, list):
                self._lists.append(value)
                self._enter(value)
            elif type(value) is np.ndarray and value.flags.writeable:
                if value.nbytes <= SMALL:
                    self._buffers.append((value, value.tobytes()))
                elif value.ndim:
                    self.large.append(value)

    def holds(self) -> bool:
        """Return whether everything is as it was."""
        if [*map(len, self._parts)] != self._lengths:
            return False
        try:
            # The same objects count as equal without a look.
            if [*chain.from_iterable(self._filled)] != self._found:
                return False
        except Exception:  # two arrays, or what is of users' classes, may not be comparable
            return False
        # Loops, not any() and all(): done in every step, and mostly there is nothing to look at.
        for module, governed in self._governed:
            if module._governed is not governed:
                return False
        for array, known in self._buffers:  # noqa: SIM110
            if array.tobytes() != known:
                return False
        return True
