"""How many numbers parameters and states hold."""

import math
from collections.abc import Mapping
from typing import Any

from freezeviz.backend import is_array
from freezeviz.explicit._layout import Buffer, Items, Layout, Node, Parameter
from freezeviz.nn import Module
from freezeviz.tree import tree_flatten

__all__ = ["parameter_length", "state_length"]


def counts(layer: Module) -> tuple[int, int]:
    """Return the number of trainable parameters and of states of a layer."""
    layout = Layout(layer)
    frozen = {id(o.entry) for o in layout.occurrences() if o.freezing is not None}
    sizes = {True: 0, False: 0}
    states = 0

    def visit(part: Any) -> None:
        nonlocal states
        if isinstance(part, Parameter):
            sizes[id(part.entry) in frozen] += _size(part.entry.value)
        elif isinstance(part, Buffer):
            states += 0 if part.slot.value is None else _size(part.slot.value)
        elif isinstance(part, Node | Items):
            states += len(part.needs) if isinstance(part, Node) and part.shared is None else 0
            for child in part.parts.values():
                visit(child)

    visit(layout.root)
    return sizes[False], sizes[True] + states


def parameter_length(layer: Any) -> int:
    """Return how many numbers a layer's trainable parameters hold; frozen ones do not count.

    Parameters
    ----------
    layer : Module, or nested tree of parameters

    Notes
    -----
    Source: ``LuxCore.parameterlength``.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> lux.parameter_length(lux.freeze(lux.Dense(2, 2), ("weight",)))
    2
    """
    if isinstance(layer, Module):
        return counts(layer)[0]
    return sum(_size(leaf) for _, leaf in tree_flatten(_mapping(layer)))


def state_length(layer: Any) -> int:
    """Return how many numbers a layer's state holds, its frozen parameters included.

    Parameters
    ----------
    layer : Module, or nested tree of states
        A mode (``training``) and a generator (``rng``) count as one each, as in Lux.

    Notes
    -----
    Source: ``LuxCore.statelength``.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> lux.state_length(lux.freeze(lux.Dense(2, 2), ("weight",)))
    4
    """
    if isinstance(layer, Module):
        return counts(layer)[1]
    return sum(_size(leaf) for _, leaf in tree_flatten(_mapping(layer)) if leaf is not None)


def _mapping(tree: Any) -> Any:
    if not isinstance(tree, Mapping | list):
        raise TypeError(f"expected a layer or a nested dict, got {type(tree).__name__}")
    return tree


def _size(leaf: Any) -> int:
    return math.prod(leaf.shape) if is_array(leaf) or hasattr(leaf, "shape") else 1
