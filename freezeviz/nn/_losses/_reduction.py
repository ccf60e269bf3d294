"""What the losses share: reduction, and checks of what they are given."""

from typing import Any

from freezeviz.autodiff import stop_gradient
from freezeviz.backend import array_namespace
from freezeviz.errors import DataError, ShapeError


def reduce(loss: Any, reduction: str) -> Any:
    """Return a loss reduced as asked for."""
    check_reduction(reduction, loss.size)
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.mean()


def check_reduction(reduction: str, size: int) -> None:
    """Raise unless so many values can be reduced like this."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction is 'none', 'mean' or 'sum', got {reduction!r}")
    if reduction == "mean" and size == 0:
        raise DataError("the mean of a loss over an empty batch has no value")


def same_shape(name: str, predictions: Any, targets: Any) -> None:
    """Raise unless two arrays have one shape."""
    if tuple(predictions.shape) != tuple(targets.shape):
        raise ShapeError(
            f"{name} expects targets of the predictions' shape {tuple(predictions.shape)}, "
            f"got {tuple(targets.shape)}"
        )


def as_float(targets: Any, predictions: Any) -> Any:
    """Return targets in a dtype that keeps the predictions': float32 - int64 would be float64."""
    if targets.dtype == predictions.dtype:
        return targets
    xp = array_namespace(stop_gradient(targets))
    whole = xp.isdtype(targets.dtype, ("integral", "bool"))
    return xp.astype(targets, predictions.dtype) if whole else targets


def has_axis(name: str, x: Any, axis: int) -> None:
    """Raise unless an array has an axis."""
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{name}: no axis {axis} in an array of shape {tuple(x.shape)}")
