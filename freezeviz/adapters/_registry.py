"""Which adapter a model gets."""

import sys
from collections.abc import Callable
from typing import Any

from freezeviz.adapters._native import NativeAdapter
from freezeviz.adapters._protocol import ModelAdapter
from freezeviz.nn import Module

__all__ = ["adapt", "register"]


def _is_torch(model: Any) -> bool:
    # A model of PyTorch can only exist where that has been imported (to the end) already.
    module = getattr(getattr(sys.modules.get("torch"), "nn", None), "Module", None)
    return module is not None and isinstance(model, module)


def _torch_adapter(model: Any) -> ModelAdapter:
    from freezeviz.adapters._torch import TorchAdapter

    return TorchAdapter(model)


_registered: list[tuple[str, Callable[[Any], bool], Callable[[Any], ModelAdapter]]] = [
    ("freezeviz", lambda model: isinstance(model, Module), NativeAdapter),
    ("torch", _is_torch, _torch_adapter),
]


def register(
    framework: str, accepts: Callable[[Any], bool], factory: Callable[[Any], ModelAdapter]
) -> Callable[[], None]:
    """Add an adapter for the models of a framework, and return a function that takes it back.

    Parameters
    ----------
    framework : str
        Its name, for messages.
    accepts : callable
        Tells whether an object is a model of it. It must not import the framework: a model can
        only exist where that has been imported already (look into ``sys.modules``).
    factory : callable
        Makes the `ModelAdapter` of a model.
    """
    entry = (framework, accepts, factory)
    _registered.append(entry)

    def unregister() -> None:
        if entry in _registered:
            _registered.remove(entry)

    return unregister


def adapt(model: Any) -> ModelAdapter:
    """Return the adapter of a model.

    Raises
    ------
    TypeError
        If no adapter is registered for it.
    """
    if all(hasattr(type(model), name) for name in ("snapshot", "set_frozen", "read")):
        return model  # an adapter: its own
    # The newest first, so that a registered one can stand in for a built-in one.
    for _, accepts, factory in reversed(_registered):
        if accepts(model):
            return factory(model)
    known = ", ".join(framework for framework, _, _ in _registered)
    raise TypeError(
        f"expected a model of {known}, got {type(model).__module__}.{type(model).__qualname__}; "
        "freezeviz.adapters.register() adds a framework"
    )
