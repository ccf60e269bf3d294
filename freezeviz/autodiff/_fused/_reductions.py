"""What losses have in common: the reduction of the values of samples to one number."""

from typing import Any

from freezeviz.autodiff import _functions as f
from freezeviz.autodiff import _primitives as p
from freezeviz.backend import array_namespace


def reduced(values: Any, reduction: str) -> Any:
    """Return the mean or the sum of traced or plain values, or with ``'none'`` the values."""
    if reduction == "mean":
        return f.mean(values)
    return p.sum_(values) if reduction == "sum" else values


def reduced_raw(values: Any, reduction: str) -> Any:
    """Return what `reduced` does, of plain arrays."""
    if reduction == "none":
        return values
    xp = array_namespace(values)
    return xp.mean(values) if reduction == "mean" else xp.sum(values)


def spread(g: Any, factor: float, size: int, reduction: str) -> Any:
    """Return the cotangent of each value, times a factor, from that of their reduction."""
    return g * (factor / size if reduction == "mean" else factor)
