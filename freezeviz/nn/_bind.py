"""Values that stand in for a model's arrays during one call.

Arrays are looked up through the scope in force (`Module.__getattr__`), so a call can run with
tracers, or with parameters and states given from outside, and the model itself never holds
anything but its own plain arrays: a loss that raises leaves nothing behind, and another thread
that reads the model meanwhile sees what was there before.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Scope:
    """What is bound during a call.

    Attributes
    ----------
    values : dict
        ``{id(module): {member name: value}}``, looked up instead of the module's own members.
    buffers : dict
        ``{id(module): {buffer name: value}}``, the new values that buffers got during the call.
    modules : dict
        ``{id(module): module}``, the modules that are bound.
    paths : dict
        ``{id(module): path}``, for messages.
    training : dict
        ``{id(module): bool}``, modes given from outside.
    """

    __slots__ = ("buffers", "modules", "paths", "training", "values")

    def __init__(self, modules: Mapping[int, Any], paths: Mapping[int, str]):
        self.modules = modules
        self.paths = paths
        self.values: dict[int, dict[str, Any]] = {}
        self.buffers: dict[int, dict[str, Any]] = {}
        self.training: dict[int, bool] = {}

    def bind(self, module: Any, name: str, value: Any) -> None:
        self.values.setdefault(id(module), {})[name] = value

    def set_buffer(self, module: Any, name: str, value: Any) -> None:
        self.bind(module, name, value)
        self.buffers.setdefault(id(module), {})[name] = value

    def commit(self) -> None:
        """Give the modules the buffer values that the call computed."""
        for key, values in self.buffers.items():
            module = self.modules[key]
            for name, value in values.items():
                setattr(module, name, value)


current: ContextVar[Scope | None] = ContextVar("freezeviz_scope", default=None)


@contextmanager
def entered(scope: Scope) -> Iterator[Scope]:
    """Put a scope in force for the block. Scopes nest: the inner one sees the outer one's values."""
    outer = current.get()
    if outer is not None:
        for key, values in outer.values.items():
            scope.values[key] = values | scope.values.get(key, {})
        scope.training = outer.training | scope.training
    token = current.set(scope)
    try:
        yield scope
    finally:
        current.reset(token)
