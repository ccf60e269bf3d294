"""Losses: functions of predictions and targets.

Arguments follow ``mlx.nn.losses``: `reduction` is ``'none'``, ``'mean'`` or ``'sum'``.
"""

from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.autodiff import stop_gradient
from freezeviz.backend import array_namespace
from freezeviz.errors import DataError, ShapeError

__all__ = ["binary_cross_entropy", "cross_entropy", "mse_loss"]


def _reduce(loss: Any, reduction: str) -> Any:
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction != "mean":
        raise ValueError(f"reduction is 'none', 'mean' or 'sum', got {reduction!r}")
    if loss.size == 0:
        raise DataError("the mean of a loss over an empty batch has no value")
    return loss.mean()


def _same_shape(name: str, predictions: Any, targets: Any) -> None:
    if tuple(predictions.shape) != tuple(targets.shape):
        raise ShapeError(
            f"{name} expects targets of the predictions' shape {tuple(predictions.shape)}, "
            f"got {tuple(targets.shape)}"
        )


def _as_float(targets: Any, predictions: Any) -> Any:
    """Return targets in a dtype that keeps the predictions': float32 - int64 would be float64."""
    if targets.dtype == predictions.dtype:
        return targets
    xp = array_namespace(stop_gradient(targets))
    whole = xp.isdtype(targets.dtype, ("integral", "bool"))
    return xp.astype(targets, predictions.dtype) if whole else targets


def cross_entropy(
    logits: Any,
    targets: Any,
    weights: Any = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
    reduction: str = "none",
) -> Any:
    """Return the cross entropy between logits and classes.

    Parameters
    ----------
    logits : array of shape (..., classes)
        Unnormalised, with the classes along `axis`.
    targets : integer array of shape (...), or floating array of the logits' shape
        Class indices, or probabilities.
    weights : array of shape (...), optional
        Weight of each sample.
    axis : int
    label_smoothing : float
        Share of the probability that is spread evenly over the classes, in ``[0, 1)``.
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DataError
        If a class index is out of range.
    ValueError
        If `label_smoothing` is outside of ``[0, 1)``.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is in [0, 1), got {label_smoothing}")
    if logits.ndim == 0:
        raise ShapeError("cross_entropy expects logits of shape (..., classes), got a scalar")
    if not -logits.ndim <= axis < logits.ndim:
        raise ShapeError(f"cross_entropy: no axis {axis} in logits of shape {tuple(logits.shape)}")
    if axis % logits.ndim != logits.ndim - 1:
        logits = np.moveaxis(logits, axis, -1)
        targets = np.moveaxis(targets, axis, -1) if targets.ndim == logits.ndim else targets
    classes = logits.shape[-1]
    xp = array_namespace(stop_gradient(targets))
    if xp.isdtype(targets.dtype, "integral"):
        _check_classes(logits, targets, classes)
        loss = autodiff.softmax_cross_entropy(logits, targets=targets)
        if label_smoothing:
            total = autodiff.logsumexp(logits, axis=-1)
            smooth = total - logits.mean(axis=-1)
            loss = loss * (1.0 - label_smoothing) + smooth * label_smoothing
    else:
        _same_shape("cross_entropy with probabilities", logits, targets)
        targets = _as_float(targets, logits)
        if label_smoothing:
            targets = targets * (1.0 - label_smoothing) + label_smoothing / classes
        loss = targets.sum(axis=-1) * autodiff.logsumexp(logits, axis=-1)
        loss = loss - (logits * targets).sum(axis=-1)
    if weights is not None:
        _same_shape("cross_entropy's weights", loss, weights)
        loss = loss * weights
    return _reduce(loss, reduction)


def _check_classes(logits: Any, targets: Any, classes: int) -> None:
    if tuple(targets.shape) != tuple(logits.shape[:-1]):
        raise ShapeError(
            f"cross_entropy expects class targets of shape {tuple(logits.shape[:-1])} for logits "
            f"of shape {tuple(logits.shape)}, got {tuple(targets.shape)}"
        )
    # On a GPU the check would make the host wait for the device in every step.
    if isinstance(targets, np.ndarray) and targets.size:
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise DataError(
                f"cross_entropy got the class {wrong} for logits of {classes} classes: "
                f"targets run from 0 to {classes - 1}"
            )


def binary_cross_entropy(
    inputs: Any,
    targets: Any,
    weights: Any = None,
    with_logits: bool = True,
    reduction: str = "mean",
) -> Any:
    """Return the binary cross entropy.

    Parameters
    ----------
    inputs : array
        Logits, or probabilities if `with_logits` is false.
    targets : array of the same shape
        Zeros and ones, or probabilities.
    weights : array, optional
    with_logits : bool
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    _same_shape("binary_cross_entropy", inputs, targets)
    targets = _as_float(targets, inputs)
    if with_logits:
        loss = autodiff.softplus(inputs) - inputs * targets
    else:
        loss = -(targets * _log(inputs) + (1.0 - targets) * _log(1.0 - inputs))
    if weights is not None:
        _same_shape("binary_cross_entropy's weights", loss, weights)
        loss = loss * weights
    return _reduce(loss, reduction)


def _log(p: Any) -> Any:
    """Return the logarithm, cut off at -100 as in PyTorch and MLX, so that zero stays finite."""
    positive = stop_gradient(p) > 0
    log = np.maximum(np.log(np.where(positive, p, 1.0)), -100.0)
    return np.where(positive, log, -100.0)


def mse_loss(predictions: Any, targets: Any, reduction: str = "mean") -> Any:
    """Return the squared difference.

    Parameters
    ----------
    predictions, targets : array of the same shape
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes differ: broadcasting (n,) against (n, 1) is a classic silent mistake.
    """
    _same_shape("mse_loss", predictions, targets)
    return _reduce(np.square(predictions - _as_float(targets, predictions)), reduction)
