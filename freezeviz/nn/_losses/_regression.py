"""Losses of regression."""

import math
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.errors import ShapeError
from freezeviz.nn._losses._reduction import as_float, check_reduction, reduce, same_shape


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

    Notes
    -----
    Source: ``mlx.nn.losses.mse_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.losses.mse_loss(np.array([0.5, 3.0]), np.array([0.0, 1.0]), reduction="none")
    array([0.25, 4.  ])
    """
    same_shape("mse_loss", predictions, targets)
    check_reduction(reduction, predictions.size)
    targets = as_float(targets, predictions)
    return autodiff.squared_error(predictions, targets, reduction=reduction)


def l1_loss(predictions: Any, targets: Any, reduction: str = "mean") -> Any:
    """Return the absolute difference.

    Parameters
    ----------
    predictions, targets : array of the same shape
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes differ.

    Notes
    -----
    Source: ``mlx.nn.losses.l1_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.losses.l1_loss(np.array([0.5, 3.0]), np.array([0.0, 1.0]), reduction="none")
    array([0.5, 2. ])
    """
    same_shape("l1_loss", predictions, targets)
    return reduce(np.abs(predictions - as_float(targets, predictions)), reduction)


def smooth_l1_loss(
    predictions: Any, targets: Any, beta: float = 1.0, reduction: str = "mean"
) -> Any:
    """Return half the squared difference over `beta` where it is small, else the absolute one.

    ``0.5 * d**2 / beta`` where ``d = abs(predictions - targets)`` is below `beta`, else
    ``d - 0.5 * beta``.

    Parameters
    ----------
    predictions, targets : array of the same shape
    beta : float
        With zero, this is `l1_loss`.
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `beta` is negative.

    Notes
    -----
    R. Girshick: Fast R-CNN. arXiv:1504.08083. Source: ``mlx.nn.losses.smooth_l1_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.losses.smooth_l1_loss(np.array([0.5, 3.0]), np.array([0.0, 0.0]), reduction="none")
    array([0.125, 2.5  ])
    """
    same_shape("smooth_l1_loss", predictions, targets)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta is not negative, got {beta}")
    if beta == 0:
        return l1_loss(predictions, targets, reduction)
    return reduce(_huber(predictions, targets, beta) / beta, reduction)


def huber_loss(inputs: Any, targets: Any, delta: float = 1.0, reduction: str = "none") -> Any:
    """Return half the squared difference where it is small, else `delta` times the absolute one.

    ``0.5 * d**2`` where ``d = abs(inputs - targets)`` is at most `delta`, else
    ``delta * (d - 0.5 * delta)``.

    Parameters
    ----------
    inputs, targets : array of the same shape
    delta : float
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `delta` is not above zero.

    Notes
    -----
    P. J. Huber: Robust Estimation of a Location Parameter. Annals of Statistics 53 (1964). Source:
    ``mlx.nn.losses.huber_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.losses.huber_loss(np.array([0.5, 3.0]), np.array([0.0, 0.0]))
    array([0.125, 2.5  ])
    """
    same_shape("huber_loss", inputs, targets)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta is above zero, got {delta}")
    return reduce(_huber(inputs, targets, delta), reduction)


def _huber(predictions: Any, targets: Any, delta: float) -> Any:
    size = np.abs(predictions - as_float(targets, predictions))
    small = np.minimum(size, delta)
    return small * small * 0.5 + (size - small) * delta


def log_cosh_loss(inputs: Any, targets: Any, reduction: str = "none") -> Any:
    """Return the logarithm of the hyperbolic cosine of the difference.

    Like half the squared difference where that is small, else like the absolute one.

    Parameters
    ----------
    inputs, targets : array of the same shape
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes differ.

    Notes
    -----
    Source: ``mlx.nn.losses.log_cosh_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.losses.log_cosh_loss(np.array([0.5, 3.0]), np.array([0.0, 1.0])).round(3)
    array([0.12 , 1.325])
    """
    same_shape("log_cosh_loss", inputs, targets)
    difference = inputs - as_float(targets, inputs)
    return reduce(np.logaddexp(difference, -difference) - math.log(2.0), reduction)


def gaussian_nll_loss(
    inputs: Any,
    targets: Any,
    vars: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    """Return the negative log likelihood of normal distributions.

    ``0.5 * (log(v) + (targets - inputs)**2 / v)`` with ``v = max(vars, eps)``.

    Parameters
    ----------
    inputs : array
        Predicted means.
    targets : array of the same shape
    vars : array of the same shape
        Predicted variances.
    full : bool
        Add the constant ``0.5 * log(2 * pi)``.
    eps : float
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes differ.

    Notes
    -----
    D. Nix, A. Weigend: Estimating the mean and variance of the target probability distribution.
    ICNN 1994. A variance below `eps` gets no gradient, as in MLX; PyTorch gives it one. Source:
    ``mlx.nn.losses.gaussian_nll_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.losses.gaussian_nll_loss(np.array([1.0]), np.array([1.5]), np.array([0.25])).round(3)
    np.float64(-0.193)
    """
    same_shape("gaussian_nll_loss", inputs, targets)
    if tuple(vars.shape) != tuple(inputs.shape):
        raise ShapeError(
            f"gaussian_nll_loss expects vars of the inputs' shape {tuple(inputs.shape)}, "
            f"got {tuple(vars.shape)}"
        )
    variances = np.maximum(vars, eps)
    squared = np.square(as_float(targets, inputs) - inputs)
    loss = (np.log(variances) + squared / variances) * 0.5
    return reduce(loss + 0.5 * math.log(2.0 * math.pi) if full else loss, reduction)
