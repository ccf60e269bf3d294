"""Values that stand in for a model's arrays during one call.

Arrays are looked up through the scope in force (`Module.__getattr__`, `Tree`), so a call can run
with tracers, or with parameters and states given from outside, and the model itself never holds
anything but its own plain arrays: a loss that raises leaves nothing behind, and another thread
that reads the model meanwhile sees what was there before.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Scope:
    """What is bound during a call; within the call of another scope, what that one binds, too.

    Parameters
    ----------
    paths : dict
        ``id(module)`` to path, of the modules that are bound.

    Attributes
    ----------
    values : dict
        ``{id(module): {member name: value}}``, looked up instead of the module's own members.
    buffers : dict
        ``{id(module): (module, {buffer name: value})}``, what buffers became during the call.
    paths : dict
        As given, with those of the outer scope.
    training : dict
        ``{id(module): bool}``, modes given from outside.
    generators : dict
        ``{id(module): [given, advanced]}``, random generators given from outside. The given one
        is never drawn from: the other, its copy, comes with the first draw.
    """

    __slots__ = ("_containers", "_copied", "buffers", "generators", "paths", "training", "values")

    def __init__(self, paths: Mapping[int, str]):
        outer = current.get()
        self.buffers: dict[int, tuple[Any, dict[str, Any]]] = {}
        # Of lists and dicts by identity: the original, kept so that its id stays its own, and
        # what stands in for it.
        self._containers: dict[int, tuple[Any, Any]] = {}
        self._copied: set[int] = set()
        if outer is None:
            self.paths = paths
            self.values: dict[int, dict[str, Any]] = {}
            self.training: dict[int, bool] = {}
            self.generators: dict[int, list[Any]] = {}
        else:
            self.paths = {**outer.paths, **paths}
            self.values = {key: dict(values) for key, values in outer.values.items()}
            self.training = dict(outer.training)
            self.generators = dict(outer.generators)
            self._containers = dict(outer._containers)

    def bind(self, module: Any, name: str, value: Any) -> None:
        """Let a value stand for a module's member."""
        self.values.setdefault(id(module), {})[name] = value

    def bind_slot(self, slot: Any, value: Any) -> None:
        """Let a value stand for the array in a slot."""
        if slot.container is slot.owner._members:
            self.bind(slot.owner, slot.key, value)
            return
        top = slot.name.partition(".")[0]
        member = slot.owner._members[top]
        self.bind(slot.owner, top, self._stand_in(member))
        self._containers[id(slot.container)][1][slot.key] = value

    def _stand_in(self, container: Any) -> Any:
        """Return a copy of nested lists and dicts, made once; arrays and modules are shared."""
        original, now = self._containers.get(id(container), (container, container))
        if id(container) in self._copied:
            return now
        self._copied.add(id(container))
        new = copy.copy(now)
        self._containers[id(container)] = original, new
        for key, item in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(item, dict | list):
                new[key] = self._stand_in(item)
        return new

    def value_of(self, slot: Any) -> Any:
        """Return what stands in a slot: the bound value, or the module's own."""
        if slot.container is slot.owner._members:
            return self.values.get(id(slot.owner), {}).get(slot.key, slot.value)
        _, now = self._containers.get(id(slot.container), (None, slot.container))
        return now[slot.key]

    def set_buffer(self, module: Any, name: str, value: Any) -> None:
        """Give a buffer a new value, for the rest of the call and for the module after it."""
        self.bind(module, name, value)
        self.buffers.setdefault(id(module), (module, {}))[1][name] = value

    def generator_of(self, module: Any) -> Any:
        """Return the generator that a module draws from, None if none was given for it."""
        given = self.generators.get(id(module))
        if given is None:
            return None
        if given[1] is None:
            given[1] = copy.deepcopy(given[0])
        return given[1]

    def commit(self) -> None:
        """Give the modules the buffer values that the call computed."""
        for module, values in self.buffers.values():
            for name, value in values.items():
                setattr(module, name, value)


current: ContextVar[Scope | None] = ContextVar("freezeviz_scope", default=None)


@contextmanager
def entered(scope: Scope) -> Iterator[Scope]:
    """Put a scope in force for the block."""
    token = current.set(scope)
    try:
        yield scope
    finally:
        current.reset(token)


@contextmanager
def held(modules: Iterable[Any]) -> Iterator[None]:
    """Let modules compute as in eval mode for the block, within the scope in force."""
    outer = current.get()
    # A copy shares what is bound and what buffers become with the scope that it is a copy of.
    scope = Scope({}) if outer is None else copy.copy(outer)
    scope.training = scope.training | {id(module): False for module in modules}
    with entered(scope):
        yield


def members(module: Any) -> Mapping[str, Any]:
    """Return a module's members as the scope in force has them."""
    scope = current.get()
    bound = scope.values.get(id(module)) if scope is not None else None
    return module._members | bound if bound else module._members
