"""Layers that are computed together with those that follow them.

A linear layer and the activation after it are one kernel, where nobody can see the difference:
both are exactly the layers of this library, nobody replaced their ``__call__``, and nobody listens
to the calls of layers (which puts a function around it, see `freezeviz.nn._calls`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from freezeviz.nn import _calls

Joint = Callable[[Sequence[Any], int, Any], tuple[Any, int]]
"""``joint(layers, at, x) -> (value, taken)``: what layer number `at` and perhaps some of those
that follow it make of `x`, and how many layers that were, at least one."""

_joints: dict[type, tuple[Any, Joint]] = {}
_activations: dict[type, tuple[Any, Callable[[Any], str | None]]] = {}


def add_joint(cls: type, joint: Joint) -> None:
    """Let `call` ask a function wherever layers of exactly this class have others after them."""
    _joints[cls] = call_of(cls), joint


def add_activation(cls: type, name: Callable[[Any], str | None]) -> None:
    """Say that layers of exactly this class may be activations that kernels know by a name."""
    _activations[cls] = call_of(cls), name


def call_of(cls: type) -> Any:
    """Return what calls instances of a class; to be compared with what it was."""
    return _calls.call_of(cls)


def _is(function: Any, cls: type) -> bool:
    return cls.__call__ is function or call_of(cls) is function


def activation_of(layer: Any) -> str | None:
    """Return the name of the activation that a layer is, None if it is none that kernels know."""
    known = _activations.get(type(layer))
    if known is None or not _is(known[0], type(layer)):
        return None
    return known[1](layer)


def call(layers: Sequence[Any], x: Any) -> Any:
    """Return what layers, called one after the other, make of `x`."""
    at, last = 0, len(layers) - 1
    while at <= last:
        layer = layers[at]
        known = _joints.get(type(layer)) if at < last else None
        if known is None or not _is(known[0], type(layer)):
            x = layer(x)
            at += 1
        else:
            x, taken = known[1](layers, at, x)
            at += taken
    return x
