"""Calling a model with parameters and states from outside."""

from collections.abc import Mapping
from typing import Any

from freezeviz.autodiff import stop_gradient
from freezeviz.explicit._checks import (
    check_names,
    checked_buffer,
    checked_generator,
    checked_mode,
    checked_parameter,
    entry_of,
    joined,
    present,
)
from freezeviz.explicit._layout import Buffer, Items, Layout, Node, Parameter
from freezeviz.explicit._split import has_leaves, map_leaves
from freezeviz.nn import Module, _bind

__all__ = ["apply"]


def apply(
    model: Any, x: Any, ps: Mapping[str, Any], st: Mapping[str, Any], *more: Any, **options: Any
) -> tuple[Any, dict[str, Any]]:
    """Return a model's output and its new states.

    Parameters
    ----------
    model : Module
        Any module. Its own arrays, modes and generators are neither used nor changed.
    x : array, or whatever the model takes first
    ps, st : dict
        As `setup` gives them. They are not changed.
    *more, **options
        Further arguments of the model's call.

    Returns
    -------
    y : what the model returns
    st : dict
        The states after the call: moved running statistics, advanced generators.

    Raises
    ------
    ParameterKeyError
        If `ps` or `st` lacks an entry of the model's, or has one that the model has not.
    ShapeError
        If an array has another shape than in the model.
    WeightsError
        If an entry is of another kind, or parameters and states are not split alike.

    Notes
    -----
    The model computes through the same lookup of arrays (`nn._bind`) as in the stateful face, so
    both give the same bits. Source: ``LuxCore.apply``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import explicit as lux
    >>> model = lux.Dense(3, 2)
    >>> ps, st = lux.setup(0, model)
    >>> y, st = lux.apply(model, np.ones((5, 3), np.float32), ps, st)
    >>> y.shape
    (5, 2)
    """
    call = _Call(model, ps, st)
    with _bind.entered(call.scope):
        y = model(x, *more, **options)
    return y, call.states(call.layout.root, st)


def check(model: Module, ps: Any, st: Any) -> None:
    """Raise unless parameters and states are all those of a model; see `apply`."""
    _Call(model, ps, st)


class _Call:
    """Values from outside, bound to the model's places, and the states read back after a call."""

    def __init__(self, model: Any, ps: Any, st: Any):
        if not isinstance(model, Module):
            raise TypeError(f"apply(model, x, ps, st) takes a model, got {type(model).__name__}")
        self.layout = Layout(model)
        self.scope = _bind.Scope(self.layout.paths)
        self._bind(self.layout.root, ps, st, ())

    def _bind(self, part: Any, ps: Any, st: Any, path: tuple[Any, ...]) -> None:
        if isinstance(part, Parameter):
            value = checked_parameter(part.entry.value, ps, path)
            for slot in part.entry.slots:
                self.scope.bind_slot(slot, value)
        elif isinstance(part, Buffer):
            self.scope.bind_slot(part.slot, checked_buffer(part.slot.value, st, path))
        elif isinstance(part, Items):
            self._bind_members(part, present(ps), present(st), path)
        elif isinstance(part, Node):
            self._bind_node(part, present(ps), present(st), path)

    def _bind_node(self, node: Node, ps: Any, st: Any, path: tuple[Any, ...]) -> None:
        if node.shared is not None and not has_leaves(ps) and not has_leaves(st):
            return  # its place is elsewhere
        for wrapper in node.wrappers:
            if wrapper._splits:
                ps, st = joined(node, ps, st, path)
        self._bind_members(node, ps, st, path)
        if "training" in node.needs:
            self.scope.training[id(node.module)] = checked_mode(st, path)
        if "rng" in node.needs:
            self.scope.generators[id(node.module)] = [checked_generator(st, path), None]

    def _bind_members(self, part: Node | Items, ps: Any, st: Any, path: tuple[Any, ...]) -> None:
        check_names(part, ps, st, path)
        for key, child in part.parts.items():
            self._bind(child, entry_of(ps, key), entry_of(st, key), (*path, key))

    def states(self, part: Any, st: Any) -> Any:
        """Return the states of a part after the call, nested as those before it."""
        if isinstance(part, Buffer):
            return stop_gradient(self.scope.value_of(part.slot))
        if not isinstance(part, Node | Items) or not isinstance(st, Mapping | list):
            return st
        if isinstance(part, Node):
            if part.shared is not None:
                return map_leaves(lambda leaf: leaf, st)
            return self._node_states(part, st, [w for w in part.wrappers if w._splits])
        if isinstance(st, list):
            return [self.states(part.parts.get(i), item) for i, item in enumerate(st)]
        return {key: self.states(part.parts.get(key), item) for key, item in st.items()}

    def _node_states(self, node: Node, st: Any, splitting: list[Any]) -> Any:
        if splitting:
            frozen = map_leaves(lambda leaf: leaf, st["frozen_params"])
            states = self._node_states(node, st["states"], splitting[1:])
            return {"frozen_params": frozen, "states": states}
        new = {key: self.states(node.parts.get(key), item) for key, item in st.items()}
        if "rng" in node.needs:
            given, advanced = self.scope.generators[id(node.module)]
            new["rng"] = given if advanced is None else advanced
        return new
