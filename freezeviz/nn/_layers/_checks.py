"""Checks of inputs, with messages that name the layer and, within a model's call, its path."""

import operator
from typing import Any

from freezeviz.errors import ShapeError
from freezeviz.nn import _bind
from freezeviz.nn._module import Module


def where(layer: Module) -> str:
    """Return a layer's name for a message: its type, and its path while its model computes."""
    scope = _bind.current.get()
    path = scope.paths.get(id(layer)) if scope is not None else None
    return f"{type(layer).__name__} {path!r}" if path else type(layer).__name__


def last_axis(layer: Module, x: Any, name: str, size: int) -> None:
    """Raise unless the last axis of `x` has the size that the layer expects."""
    shape = getattr(x, "shape", None)
    if shape is None:
        raise ShapeError(f"{where(layer)} expects an array, got {type(x).__name__}")
    if len(shape) == 0 or shape[-1] != size:
        raise ShapeError(
            f"{where(layer)} expects x of shape (..., {name}={size}), got {tuple(shape)}"
        )


def channels_last(layer: Module, x: Any, layout: str, channels: int | None = None) -> None:
    """Raise unless `x` has the axes of `layout`, such as ``"batch, height, width, channels"``."""
    shape = getattr(x, "shape", None)
    ndim = layout.count(",") + 1
    if shape is not None and len(shape) == ndim and channels in (None, shape[-1]):
        return
    wanted = layout if channels is None else layout.replace("channels", f"channels={channels}")
    got = type(x).__name__ if shape is None else tuple(shape)
    raise ShapeError(f"{where(layer)} expects x of shape ({wanted}), got {got}")


def pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    """Return an int or a pair of ints as a pair."""
    values = value if isinstance(value, tuple | list) else (value, value)
    try:
        both = tuple(map(operator.index, values))
    except TypeError:
        both = ()
    if len(both) != 2 or min(both) < least:
        raise ValueError(f"{name} is an int or a pair of ints of at least {least}, got {value!r}")
    return both


def single(name: str, value: int | tuple[int], least: int) -> int:
    """Return an int or a tuple of one int as an int."""
    values = value if isinstance(value, tuple | list) else (value,)
    try:
        found = list(map(operator.index, values))
    except TypeError:
        found = []
    if len(found) != 1 or found[0] < least:
        raise ValueError(f"{name} is an int of at least {least}, got {value!r}")
    return found[0]


def sizes(layer: Module, least: int, **named: Any) -> None:
    """Raise unless sizes that a layer is made with, by the names of its arguments, are such.

    Raises
    ------
    ValueError
        If one is no int, or less than `least`.
    """
    for name, value in named.items():
        try:
            fits = not isinstance(value, bool) and operator.index(value) >= least
        except TypeError:
            fits = False
        if not fits:
            raise ValueError(
                f"{type(layer).__name__}: {name} is an int of at least {least}, got {value!r}"
            )


def positive_eps(layer: str, eps: float) -> float:
    """Return `eps`, which keeps a layer from dividing by zero."""
    if not eps > 0:
        raise ValueError(f"{layer}: eps is above zero, got {eps!r}")
    return eps
