"""The adapter of freezeviz' own models."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from freezeviz import backend
from freezeviz.adapters._protocol import BufferInfo, LayerInfo, ParameterInfo
from freezeviz.errors import SelectorError, closest
from freezeviz.nn import Embedding, Module
from freezeviz.nn._freezing import freeze, release, unfreeze
from freezeviz.nn._members import Entry, Tree

__all__ = ["NativeAdapter"]


class NativeAdapter:
    """The adapter of an `nn.Module`."""

    framework = "freezeviz"

    def __init__(self, model: Module):
        self.model = model

    def snapshot(self) -> LayerInfo:
        """Return the model's structure as it is now."""
        tree = Tree(self.model, all_paths=True)
        parameters = _by_owner(tree.parameters)
        buffers = _by_owner(tree.buffers)
        children: dict[str, list[LayerInfo]] = {path: [] for path, _ in tree.modules}
        parents = _parents([path for path, _ in tree.modules])
        layers: dict[str, LayerInfo] = {}
        # Depth first backwards: every child is ready before its parent.
        for path, module in reversed(tree.modules):
            parent = parents.get(path, "")
            layers[path] = LayerInfo(
                path=path,
                name=path[len(parent) :].lstrip(".") or type(module).__name__,
                kind=type(module).__name__,
                detail=_detail(module),
                parameters=tuple(_parameter(e) for e in parameters.get(id(module), ())),
                buffers=tuple(_buffer(e) for e in buffers.get(id(module), ())),
                children=tuple(reversed(children[path])),
                aliases=tuple(tree.module_aliases.get(path, ())),
                bases=type(module).__mro__,
            )
            if path:
                children[parent].append(layers[path])
        return layers[""]

    def frozen(self) -> frozenset[str]:
        """Return the paths of the parameters that are frozen now."""
        return frozenset(e.path for e in Tree(self.model).parameters if e.frozen)

    def held(self) -> frozenset[str]:
        """Return the paths of the layers that are held now."""
        return frozenset(path for path, module in self.model.named_modules() if module.held)

    def training(self) -> bool:
        """Return whether the model is in train mode."""
        return bool(vars(self.model)["_training"])

    def set_frozen(self, paths: Iterable[str], frozen: bool, hold: bool | None = None) -> None:
        """Freeze or unfreeze parameters by path; a tied array by any of its paths.

        Raises
        ------
        SelectorError
            If the model has no such parameter; nothing changes then.
        """
        tree = Tree(self.model, all_paths=True)
        entries = {name: e for e in tree.parameters for name in (e.path, *e.aliases)}
        wanted = list(dict.fromkeys(paths))
        for path in wanted:
            if path not in entries:
                raise SelectorError(f"no parameter {path!r} in the model.{closest(path, entries)}")
        change = freeze if frozen else unfreeze
        for path in wanted:
            for slot in entries[path].slots:
                change(slot)
        if not frozen:
            slots = [slot for path in wanted for slot in entries[path].slots]
            release((module for _, module in tree.modules), slots)
        if hold is not None:
            _hold(tree, {id(entries[path]) for path in wanted}, hold)

    def read(self, path: str) -> np.ndarray:
        """Return a copy of a parameter or buffer on the host.

        Raises
        ------
        SelectorError
            If the model has none of that path.
        """
        value = _at(self.model, path)
        if value is not None:
            return np.array(backend.to_numpy(value))
        tree = Tree(self.model, all_paths=True)
        arrays = tree.parameters + tree.buffers
        for entry in arrays:
            if path in (entry.path, *entry.aliases):
                return np.array(backend.to_numpy(entry.slots[0].value))
        known = [entry.path for entry in arrays]
        raise SelectorError(f"no array {path!r} in the model.{closest(path, known)}")


def _at(model: Module, path: str) -> Any:
    """Return the array that a path leads to, without walking the whole model; None if unclear."""
    here: Any = model
    for name in path.split("."):
        if name.startswith("_") and isinstance(here, Module):
            return None
        inside = here._members if isinstance(here, Module) else here
        if isinstance(inside, list) and name.isdecimal() and int(name) < len(inside):
            here = inside[int(name)]
        elif isinstance(inside, dict) and name in inside:
            here = inside[name]
        else:
            return None
    return here if backend.is_array(here) else None


def _hold(tree: Tree, changed: set[int], hold: bool) -> None:
    """Hold the modules all of whose parameters, and of all below them, were changed.

    Or let go of those that had some changed and now have none that is frozen. A module without
    parameters (a Dropout) goes with the nearest above it that has some.
    """
    below: dict[str, list[Entry]] = {"": tree.parameters}
    for entry in tree.parameters:
        for above in {a for path in (entry.path, *entry.aliases) for a in _ancestors(path)}:
            below.setdefault(above, []).append(entry)
    for path, module in tree.modules:
        while path not in below:
            path = path.rpartition(".")[0]
        entries = below[path]
        if hold:
            meant = bool(entries) and all(id(e) in changed for e in entries)
        else:
            meant = any(id(e) in changed for e in entries) and not any(e.frozen for e in entries)
        if meant:
            vars(module)["_held"] = hold


def _ancestors(path: str) -> list[str]:
    """Return the paths above a path, without the root's."""
    names = path.split(".")[:-1]
    return [".".join(names[:n]) for n in range(1, len(names) + 1)]


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
    value = entry.value
    size = math.prod(value.shape)
    return ParameterInfo(
        path=entry.path,
        shape=tuple(value.shape),
        dtype=str(value.dtype),
        size=size,
        nbytes=size * value.dtype.itemsize,
        aliases=tuple(entry.aliases),
    )


def _buffer(entry: Entry) -> BufferInfo:
    info = _parameter(entry)
    return BufferInfo(info.path, info.shape, info.dtype, info.nbytes)


def _detail(module: Module) -> str:
    weight: Any = module._members.get("weight")
    if isinstance(module, Embedding) or getattr(weight, "ndim", 0) < 2:
        return module._extra_repr()
    kernel = "×".join(map(str, weight.shape[1:-1]))
    inputs = weight.shape[-1] * vars(module).get("groups", 1)
    return f"{inputs} → {weight.shape[0]}{', ' if kernel else ''}{kernel}"
