"""Sets of kernels: which of them are in force, in the order in which they are asked.

A fused primitive always has portable kernels, which run on any array library. A set is a second
family of kernels for some calls, those that it accepts; it gives the same values to rounding.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

# In the order in which they are asked; what no set accepts is computed by the portable kernels.
ORDER = ("numba", "numpy")


class Kernels(NamedTuple):
    """What a set has for one fused primitive; see `Fused` for `forward` and `backward`.

    Attributes
    ----------
    set : str
        One of `ORDER`.
    accepts : callable
        ``accepts(needs, *args, **options) -> bool``: whether these kernels take that call. Asked in
        every call, so it has to be quick.
    """

    set: str
    accepts: Callable[..., bool]
    forward: Callable[..., Any]
    backward: Callable[..., Any]


_in_force: frozenset[str] = frozenset({"numpy"})
_listeners: list[Callable[[], None]] = []


def in_force() -> frozenset[str]:
    """Return the names of the sets that are asked."""
    return _in_force


def put_in_force(names: frozenset[str]) -> None:
    """Choose the sets that are asked from now on; residuals of the others stay good."""
    global _in_force
    if unknown := names - set(ORDER):
        raise ValueError(f"there are no kernels called {sorted(unknown)}; known: {ORDER}")
    _in_force = names
    for changed in _listeners:
        changed()


def chosen(kernels: list[Kernels]) -> tuple[Kernels, ...]:
    """Return those of some kernels that are in force, in the order in which they are asked."""
    return tuple(
        sorted((k for k in kernels if k.set in _in_force), key=lambda k: ORDER.index(k.set))
    )


def on_change(function: Callable[[], None]) -> None:
    """Call a function after every change."""
    _listeners.append(function)
