"""A PyTorch model as a tree of rows: every module and parameter once, with all its names.

Walked once, and again only when the model is another: whether it is still the one that was walked
takes a fraction of a walk, and with that the snapshot and all that follows from it are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch.nn.parameter import (  # pyright: ignore[reportMissingImports]
    UninitializedTensorMixin,  # pyright: ignore[reportAttributeAccessIssue]
)

from freezeviz.adapters._index import ParameterIndex, index_of
from freezeviz.adapters._protocol import LayerInfo
from freezeviz.adapters._torch_info import (
    buffer_info,
    detail,
    kind,
    parameter_info,
    takes_gradient,
)
from freezeviz.adapters._torch_standing import Standing, pointer
from freezeviz.errors import ModelError

__all__ = ["Entry", "Place", "TorchTree"]


# Tuples and no lists in both: most are empty, and of 10,000 modules a garbage collector that has
# thousands of lists more to look at takes longer than the walk.


@dataclass(slots=True, eq=False)
class Entry:
    """A parameter: its names, and the tensors that are its memory.

    One tensor, as a rule. Several where ``b.weight.data = a.weight.data`` tied two of them.
    """

    path: str
    tensors: tuple[Any, ...]
    aliases: tuple[str, ...] = ()

    @property
    def frozen(self) -> bool:
        return not any(tensor.requires_grad for tensor in self.tensors)


@dataclass(slots=True, eq=False)
class Place:
    """A module, with its names and what it owns."""

    path: str
    parent: str
    module: Any
    aliases: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    buffers: tuple[tuple[str, Any], ...] = ()


# Path, module, and the step to the module above; None above the root.
_Step = tuple[str, Any, "_Step | None"]


class TorchTree:
    """What of a model the adapter works on, as it is now.

    Attributes
    ----------
    places : list of Place
        The modules, parents first, in the order of ``named_modules()``.
    entries : list of Entry
        The parameters, in the order of ``named_parameters()``.

    Raises
    ------
    ModelError
        If a lazy layer has not seen a batch yet, so that it has no parameters to speak of.
    """

    def __init__(self, model: Any) -> None:
        self.places: list[Place] = []
        self.entries: list[Entry] = []
        self._by_id: dict[int, Entry] = {}
        self._by_memory: dict[Any, Entry] = {}
        self._walk(model)
        self._standing = Standing([place.module for place in self.places])

    def _walk(self, model: Any) -> None:
        places: dict[int, Place] = {}
        # Every path, not every module: the further paths of what is shared are its aliases. Not
        # recursive, as models may be deeper than the stack.
        todo: list[_Step] = [("", model, None)]
        while todo:
            step = todo.pop()
            path, module, above = step
            place = places.get(id(module))
            is_new = place is None
            if place is None:
                place = Place(path, above[0] if above is not None else "", module)
                places[id(module)] = place
                self.places.append(place)
            elif _is_inside_itself(step):
                continue
            else:
                place.aliases += (path,)
            prefix = f"{path}." if path else ""
            if module._parameters:
                self._take_parameters(place, prefix, is_new)
            if is_new and module._buffers:
                self._take_buffers(place, prefix)
            for name, child in reversed([*module._modules.items()]):
                if child is not None:
                    todo.append((prefix + name, child, step))

    # ---- what follows from it ------------------------------------------------------------------

    @cached_property
    def by_name(self) -> dict[str, Entry]:
        """The parameters by each of their names."""
        found = {entry.path: entry for entry in self.entries}
        found.update((name, entry) for entry in self.entries for name in entry.aliases)
        return found

    @cached_property
    def index(self) -> ParameterIndex:
        """The index of the snapshot."""
        return index_of(self.snapshot)

    @cached_property
    def carriers(self) -> np.ndarray:
        """The node of `index` that decides whether a module is held, for each module."""
        return self.index.carriers(place.path for place in self.places)

    @cached_property
    def snapshot(self) -> LayerInfo:
        """The tree as plain values."""
        children: dict[str, list[LayerInfo]] = {place.path: [] for place in self.places}
        layer: LayerInfo | None = None
        # Backwards: every child is ready before its parent.
        for place, words in zip(reversed(self.places), reversed(self._details), strict=True):
            path, module = place.path, place.module
            layer = LayerInfo(
                path=path,
                name=path.rpartition(".")[2] or kind(module),
                kind=kind(module),
                detail=words,
                parameters=tuple(
                    parameter_info(e.path, e.aliases, e.tensors[0]) for e in place.entries
                ),
                buffers=tuple(buffer_info(name, tensor) for name, tensor in place.buffers),
                children=tuple(reversed(children[path])),
                aliases=place.aliases,
                bases=type(module).__mro__,
            )
            if path:
                children[place.parent].append(layer)
        assert layer is not None  # the root comes last
        return layer

    @cached_property
    def _details(self) -> list[str]:
        return [detail(place.module) for place in self.places]

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """Yield all names of parameters and buffers, with the tensor."""
        for entry in self.entries:
            for name in (entry.path, *entry.aliases):
                yield name, entry.tensors[0]
        for place in self.places:
            yield from place.buffers

    def holds(self) -> bool:
        """Whether the model is as it was, but for values, modes and what requires a gradient."""
        return self._standing.holds()

    # ---- the walk ------------------------------------------------------------------------------

    def _take_parameters(self, place: Place, prefix: str, is_new: bool) -> None:
        for name, tensor in place.module._parameters.items():
            if tensor is None:
                continue
            path = prefix + name
            if isinstance(tensor, UninitializedTensorMixin):
                raise _uninitialised(path, place.module)
            if not takes_gradient(tensor):
                # Indices and quantised weights: never trainable, so they are buffers here.
                if is_new:
                    place.buffers += ((path, tensor),)
                continue
            entry = self._by_id.get(id(tensor))
            if entry is None:
                self._take_new(place, path, tensor)
            else:
                entry.aliases += (path,)

    def _take_new(self, place: Place, path: str, tensor: Any) -> None:
        """Take in a tensor not seen before: as a further one of its memory, or as a new entry."""
        memory: Any = pointer(tensor)
        entry = self._by_memory.get(memory) if memory else None
        if entry is not None and not _same_layout(entry.tensors[0], tensor):
            memory = memory, tensor.shape, tensor.stride(), tensor.dtype
            entry = self._by_memory.get(memory)
        if entry is not None:
            entry.tensors += (tensor,)
            entry.aliases += (path,)
        else:
            entry = Entry(path, (tensor,))
            self.entries.append(entry)
            place.entries += (entry,)
            if memory:
                self._by_memory[memory] = entry
        self._by_id[id(tensor)] = entry

    def _take_buffers(self, place: Place, prefix: str) -> None:
        for name, tensor in place.module._buffers.items():
            if tensor is None:
                continue
            if isinstance(tensor, UninitializedTensorMixin):
                raise _uninitialised(prefix + name, place.module)
            place.buffers += ((prefix + name, tensor),)


def _same_layout(one: Any, other: Any) -> bool:
    return (
        one.shape == other.shape
        and one.stride() == other.stride()
        and one.dtype == other.dtype
        and one.device == other.device
    )


def _is_inside_itself(step: _Step) -> bool:
    """Return whether a module is among those above it: then it is not walked again."""
    module, above = step[1], step[2]
    while above is not None and above[1] is not module:
        above = above[2]
    return above is not None


def _uninitialised(path: str, module: Any) -> ModelError:
    return ModelError(
        f"{path!r} of {type(module).__name__} has no shape yet: call the model once on a batch, "
        "so that its lazy layers take theirs, and then explore or freeze it"
    )
