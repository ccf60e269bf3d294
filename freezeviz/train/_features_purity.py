"""Which modules compute the same of the same input, why others do not, and whether that holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from freezeviz import random
from freezeviz.backend import is_array
from freezeviz.nn import BatchNorm, Dropout, Module, Sequential, _bind
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
        self._owners = {id(slot.owner): slot.owner for e in tree.parameters for slot in e.slots}
        self._governing = [module for _, module in tree.modules if module._governed]
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
        modules: dict[int, Any] = {}
        for _, module in self.modules:
            if id(module) not in self.reasons:
                modules[id(module)] = module
                for _, slot, _ in own(module):
                    if slot is not None:
                        modules[id(slot.owner)] = slot.owner
        sequences = [m for _, m in self.modules if type(m) is Sequential]
        return Watch([*modules.values(), *self._governing], sequences)


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
    """

    def __init__(self, modules: list[Any], sequences: list[Any]) -> None:
        self._cells: list[tuple[Any, tuple[Any, ...]]] = []
        self._names: list[tuple[Any, tuple[Any, ...]]] = []
        self._buffers: list[tuple[np.ndarray, bytes]] = []
        for module in modules:
            self._cell(vars(module))
            self._cell(module._members)
            self._names.append((module._frozen, tuple(module._frozen)))
            self._enter(module._members.values())
            self._enter(v for k, v in vars(module).items() if k not in ("_members", "_frozen"))
        for sequence in sequences:  # also where not all of it may be answered
            self._cell(sequence._members)
            self._cell(sequence.layers)

    def _cell(self, mapping: Any) -> None:
        values = mapping.values() if isinstance(mapping, dict) else mapping
        self._cells.append((mapping, tuple(values)))

    def _enter(self, values: Any) -> None:
        for value in values:
            if isinstance(value, dict | list):
                self._cell(value)
                self._enter(value.values() if isinstance(value, dict) else value)
            elif type(value) is np.ndarray and value.flags.writeable and value.nbytes <= SMALL:
                self._buffers.append((value, value.tobytes()))

    def holds(self) -> bool:
        """Return whether everything is as it was."""
        try:
            for mapping, values in self._cells:
                now = mapping.values() if type(mapping) is dict else mapping
                if tuple(now) != values:
                    return False
        except ValueError:  # two arrays that are not the same object cannot be compared like that
            return False
        for names, known in self._names:
            if tuple(names) != known:
                return False
        return all(array.tobytes() == known for array, known in self._buffers)


class Guard:
    """Notices what a computation does besides computing, and takes it back.

    That is: it draws, it moves buffers, or a module of a user's changes its attributes.
    """

    def __init__(self) -> None:
        self._drew = False
        self._scope: Any = None
        self._own: list[tuple[Any, dict[str, Any]]] = []  # of users' classes: attributes, before

    def _generator(self) -> np.random.Generator:
        self._drew = True
        return np.random.default_rng(0)

    @contextmanager
    def watching(self, model: Module) -> Iterator[None]:
        """Let nothing that is computed in the block have an effect on the model."""
        tree = Tree(model, private=True)
        self._scope = _bind.Scope(tree.paths)
        for _, module in tree.modules:
            if not type(module).__module__.startswith("freezeviz."):
                for attributes in (vars(module), module._members):
                    self._own.append((attributes, dict(attributes)))
        try:
            with _bind.entered(self._scope), random.using(self._generator):
                yield
        finally:
            self._restore()

    def seen(self) -> str | None:
        """Return what was noticed since this was last asked, in words."""
        seen = None
        if self._restore():
            seen = "changes its own attributes"
        if self._scope.buffers:
            seen = "moves its buffers"
        if self._drew:
            seen = "draws random numbers"
        self._drew = False
        self._scope.buffers.clear()
        self._scope.values.clear()
        return seen

    def _restore(self) -> bool:
        changed = False
        for attributes, before in self._own:
            if attributes.keys() != before.keys() or any(
                attributes[name] is not value for name, value in before.items()
            ):
                changed = True
                attributes.clear()
                attributes.update(before)
        return changed
