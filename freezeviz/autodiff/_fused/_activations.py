"""Activations that other fused primitives end with, by name.

A kernel that computes `z` anyway hands it on here: the activation is no node of its own, and its
derivative comes from what is cheapest to keep.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._fused._gelu import gelu


class Activation(NamedTuple):
    """An activation for any array library.

    Attributes
    ----------
    reference : callable
        The function, composed of primitives.
    forward : callable
        ``forward(z, keep) -> (out, saved)`` of a plain array; `saved` is None unless asked for.
    backward : callable
        ``backward(g, saved)``, the cotangent of `z`.
    """

    reference: Callable[[Any], Any]
    forward: Callable[[Any, bool], tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]


def _by_output(fn: Callable[[Any], Any], backward: Callable[[Any, Any], Any]) -> Activation:
    """Return an activation whose derivative follows from its value."""

    def forward(z: Any, keep: bool) -> tuple[Any, Any]:
        out = fn(z)
        return out, out if keep else None

    return Activation(fn, forward, backward)


def _gelu_forward(z: Any, keep: bool) -> tuple[Any, Any]:
    return gelu.forward((keep,), z)


def _times(g: Any, derivative: Any) -> Any:
    return g * derivative


ACTIVATIONS: dict[str, Activation] = {
    "gelu": Activation(gelu.reference, _gelu_forward, _times),
    "relu": _by_output(p.relu, lambda g, out: p.masked(g, mask=out > 0)),
    "tanh": _by_output(p.tanh, lambda g, out: g * (1 - out * out)),
}


def activation(name: str) -> Activation:
    """Return an activation by its name.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    try:
        return ACTIVATIONS[name]
    except KeyError:
        known = sorted(ACTIVATIONS)
        raise ValueError(f"activation is None or one of {known}, got {name!r}") from None
