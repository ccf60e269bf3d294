"""Losses of classifiers, and between distributions."""

from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.autodiff import stop_gradient
from freezeviz.backend import array_namespace
from freezeviz.errors import DataError, ShapeError
from freezeviz.nn._losses._reduction import as_float, check_reduction, has_axis, reduce, same_shape


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
        If a class index is out of range. On a GPU that is not checked, for which the host would
        wait in every step: there, indices wrap around.
    ValueError
        If `label_smoothing` is outside of ``[0, 1)``.

    Notes
    -----
    Source: ``mlx.nn.losses.cross_entropy``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> logits = np.array([[2.0, 0.0], [0.0, 3.0]])
    >>> nn.losses.cross_entropy(logits, np.array([0, 1])).round(3)
    array([0.127, 0.049])
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
    if _is_integral(targets):
        check_classes("cross_entropy", logits, targets)
        if weights is None and not label_smoothing:
            check_reduction(reduction, targets.size)
            return autodiff.softmax_cross_entropy(logits, targets=targets, reduction=reduction)
        loss = autodiff.softmax_cross_entropy(logits, targets=targets)
        if label_smoothing:
            total = autodiff.logsumexp(logits, axis=-1)
            smooth = total - logits.mean(axis=-1)
            loss = loss * (1.0 - label_smoothing) + smooth * label_smoothing
    else:
        same_shape("cross_entropy with probabilities", logits, targets)
        targets = as_float(targets, logits)
        if label_smoothing:
            targets = targets * (1.0 - label_smoothing) + label_smoothing / classes
        loss = targets.sum(axis=-1) * autodiff.logsumexp(logits, axis=-1)
        loss = loss - (logits * targets).sum(axis=-1)
    if weights is not None:
        same_shape("cross_entropy's weights", loss, weights)
        loss = loss * weights
    return reduce(loss, reduction)


def _is_integral(x: Any) -> bool:
    if type(x) is np.ndarray:
        return x.dtype.kind in "iu"
    return array_namespace(stop_gradient(x)).isdtype(x.dtype, "integral")


def check_classes(name: str, logits: Any, targets: Any) -> None:
    """Raise unless the targets are class numbers for logits with the classes on the last axis."""
    classes = logits.shape[-1]
    if tuple(targets.shape) != tuple(logits.shape[:-1]):
        raise ShapeError(
            f"{name} expects class targets of shape {tuple(logits.shape[:-1])} for logits "
            f"of shape {tuple(logits.shape)}, got {tuple(targets.shape)}"
        )
    # On a GPU the check would make the host wait for the device in every step.
    if isinstance(targets, np.ndarray) and not _are_below(targets, classes):
        low, high = int(targets.min()), int(targets.max())
        raise DataError(
            f"{name} got the class {low if low < 0 else high} for logits of {classes} classes: "
            f"targets run from 0 to {classes - 1}"
        )


def _are_below(targets: np.ndarray, classes: int) -> bool:
    """Return whether all numbers are from 0 to less than `classes`."""
    if not targets.size:
        return True
    if targets.dtype in _UNSIGNED:
        # As unsigned numbers negative ones are the largest: one look at them all instead of two.
        targets = targets.view(_UNSIGNED[targets.dtype])
    elif targets.min() < 0:
        return False
    return int(np.maximum.reduce(targets, axis=None)) < classes


_UNSIGNED = {np.dtype(f"i{size}"): np.dtype(f"u{size}") for size in (4, 8)}


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

    Notes
    -----
    Source: ``mlx.nn.losses.binary_cross_entropy``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.losses.binary_cross_entropy(np.array([2.0, -1.0]), np.array([1.0, 0.0])).round(3)
    np.float64(0.22)
    """
    same_shape("binary_cross_entropy", inputs, targets)
    targets = as_float(targets, inputs)
    if with_logits:
        loss = autodiff.softplus(inputs) - inputs * targets
    else:
        loss = -(targets * _log(inputs) + (1.0 - targets) * _log(1.0 - inputs))
    if weights is not None:
        same_shape("binary_cross_entropy's weights", loss, weights)
        loss = loss * weights
    return reduce(loss, reduction)


def _log(p: Any) -> Any:
    """Return the logarithm, cut off at -100 as in PyTorch and MLX, so that zero stays finite."""
    positive = stop_gradient(p) > 0
    log = np.maximum(np.log(np.where(positive, p, 1.0)), -100.0)
    return np.where(positive, log, -100.0)


def nll_loss(inputs: Any, targets: Any, axis: int = -1, reduction: str = "none") -> Any:
    """Return the negative of the log probability of each target class.

    Parameters
    ----------
    inputs : array of shape (..., classes)
        Log probabilities (`nn.log_softmax` of logits, say), with the classes along `axis`.
    targets : integer array of shape (...)
    axis : int
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DataError
        If a target is no integer, or out of range; the latter is not checked on a GPU.

    Notes
    -----
    Source: ``mlx.nn.losses.nll_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> log_probs = np.log([[0.25, 0.75]])
    >>> nn.losses.nll_loss(log_probs, np.array([1])).round(3)
    array([0.288])
    """
    has_axis("nll_loss", inputs, axis)
    if axis % inputs.ndim != inputs.ndim - 1:
        inputs = np.moveaxis(inputs, axis, -1)
    if not _is_integral(targets):
        raise DataError(f"nll_loss expects integer targets, got {targets.dtype}")
    check_classes("nll_loss", inputs, targets)
    picked = np.take_along_axis(inputs, targets[..., None], axis=-1)
    return reduce(-picked[..., 0], reduction)


def kl_div_loss(inputs: Any, targets: Any, axis: int = -1, reduction: str = "none") -> Any:
    """Return the Kullback-Leibler divergence of the targets' distribution from the inputs'.

    Parameters
    ----------
    inputs : array of shape (..., classes)
        Log probabilities of the prediction.
    targets : array of the same shape
        Log probabilities, too; minus infinity is a probability of zero and adds nothing.
    axis : int
        Of the classes; summed over.
    reduction : {'none', 'mean', 'sum'}
        The mean is over the distributions, which PyTorch calls ``'batchmean'``.

    Returns
    -------
    array of shape (...), or a scalar

    Raises
    ------
    ShapeError
        If the shapes differ, or there is no such axis.

    Notes
    -----
    Source: ``mlx.nn.losses.kl_div_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> p, q = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    >>> nn.losses.kl_div_loss(p, q).round(3)
    array([0.131])
    """
    same_shape("kl_div_loss", inputs, targets)
    has_axis("kl_div_loss", inputs, axis)
    # 0 * (-inf - x) would be NaN; the limit is zero.
    possible = stop_gradient(targets) > -np.inf
    difference = np.where(possible, targets, 0.0) - np.where(possible, inputs, 0.0)
    return reduce((np.exp(targets) * difference).sum(axis=axis), reduction)
