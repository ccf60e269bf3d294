"""Linear layers with activations between them, computed at once where they are small.

See `freezeviz.autodiff._chain`, and `freezeviz.nn._layers._joining` for where nobody can see it.
"""

from collections.abc import Sequence
from typing import Any

from freezeviz.autodiff._chain import Link, can_begin, chain
from freezeviz.nn import _bind
from freezeviz.nn._layers import _joining
from freezeviz.nn._layers._linear import Linear, with_activation

_ACTIVATIONS = ("relu", "tanh")


def chained(layers: Sequence[Any], at: int, x: Any) -> tuple[Any, int]:
    """Return what layers make of `x`, and how many were taken; see `_joining.Joint`."""
    if not can_begin(x):
        return with_activation(layers, at, x)
    scope = _bind.current.get()
    values = None if scope is None else scope.values
    links: list[Link] = []
    i, end = at, len(layers)
    while i < end:
        layer = layers[i]
        if type(layer) is not Linear or layer.activation is not None:
            break
        members = layer._members
        bound = None if values is None else values.get(id(layer))
        if bound:
            members = members | bound
        activation = _joining.activation_of(layers[i + 1]) if i + 1 < end else None
        if activation is not None and activation not in _ACTIVATIONS:
            break
        links.append((members.get("weight"), members.get("bias"), activation))
        i += 1 if activation is None else 2
    if i > at + 2:
        value = chain(x, links)
        if value is not None:
            return value, i - at
    return with_activation(layers, at, x)
