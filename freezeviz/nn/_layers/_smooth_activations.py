"""Activations without corners, beyond those in ``_activations.py``."""

from typing import Any

import numpy as np

from freezeviz.autodiff import stop_gradient
from freezeviz.errors import ShapeError
from freezeviz.nn._layers import _joining
from freezeviz.nn._layers._activations import (
    as_module,
    elu,
    gelu,
    gelu_approx,
    relu,
    sigmoid,
    softmax,
    softplus,
)
from freezeviz.nn._module import Module

__all__ = [
    "CELU",
    "GELU",
    "GLU",
    "SELU",
    "LogSigmoid",
    "Mish",
    "ReLU2",
    "Softmin",
    "Softsign",
    "celu",
    "gelu_fast_approx",
    "glu",
    "log_sigmoid",
    "mish",
    "relu2",
    "selu",
    "softmin",
    "softsign",
]

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


def celu(x: Any, alpha: float = 1.0) -> Any:
    """Return `x` where positive, else ``alpha * (exp(x / alpha) - 1)``.

    Parameters
    ----------
    x : array of any shape
    alpha : float
        Minus the limit for large negative `x`; not zero.

    Raises
    ------
    ValueError
        If `alpha` is zero.

    Notes
    -----
    J. T. Barron: Continuously Differentiable Exponential Linear Units. arXiv:1704.07483. Source:
    ``mlx.nn.celu``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.celu(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.632,  0.   ,  2.   ])
    """
    if alpha == 0:
        raise ValueError("celu divides by alpha, got 0")
    positive = stop_gradient(x) > 0
    # The exponential of the negative part only: of the positive one it could overflow.
    return np.where(positive, x, np.expm1(np.where(positive, 0.0, x) / alpha) * alpha)


def selu(x: Any) -> Any:
    """Return the exponential linear unit that keeps mean 0 and variance 1 through a deep network.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    G. Klambauer et al.: Self-Normalizing Neural Networks. arXiv:1706.02515. The constants are the
    paper's to all digits, as in PyTorch; MLX rounds them to six, which changes 3e-6 of the value.
    Source: ``mlx.nn.selu``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.selu(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-1.111,  0.   ,  2.101])
    """
    return elu(x, _SELU_ALPHA) * _SELU_SCALE


def mish(x: Any) -> Any:
    """Return ``x * tanh(softplus(x))``.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    D. Misra: Mish: A Self Regularized Non-Monotonic Activation Function. arXiv:1908.08681. Source:
    ``mlx.nn.mish``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.mish(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.303,  0.   ,  1.944])
    """
    return x * np.tanh(softplus(x))


def softsign(x: Any) -> Any:
    """Return ``x / (1 + abs(x))``.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    Source: ``mlx.nn.softsign``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.softsign(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.5  ,  0.   ,  0.667])
    """
    return x / (np.abs(x) + 1.0)


def log_sigmoid(x: Any) -> Any:
    """Return ``log(sigmoid(x))``, without overflow at either end.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    Source: ``mlx.nn.log_sigmoid``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.log_sigmoid(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-1.313, -0.693, -0.127])
    """
    return -softplus(-x)


def relu2(x: Any) -> Any:
    """Return the square of ``max(x, 0)``.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    D. So et al.: Primer: Searching for Efficient Transformers. arXiv:2109.08668. Source:
    ``mlx.nn.relu2``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.relu2(np.array([-1.0, 0.0, 2.0])).round(3)
    array([0., 0., 4.])
    """
    return np.square(relu(x))


def softmin(x: Any, axis: int = -1) -> Any:
    """Return ``exp(-x) / sum(exp(-x))`` along `axis`.

    Parameters
    ----------
    x : array of any shape
    axis : int
        Along which the entries add up to one.

    Notes
    -----
    Source: ``mlx.nn.softmin``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.softmin(np.array([-1.0, 0.0, 2.0])).round(3)
    array([0.705, 0.259, 0.035])
    """
    return softmax(-x, axis=axis)


def glu(x: Any, axis: int = -1) -> Any:
    """Return ``a * sigmoid(b)``, where `a` and `b` are the halves of `x` along `axis`.

    Parameters
    ----------
    x : array of shape (..., 2 * n, ...)
    axis : int

    Returns
    -------
    array of shape (..., n, ...)

    Raises
    ------
    ShapeError
        If there is no such axis, or it cannot be halved.

    Notes
    -----
    Y. Dauphin et al.: Language Modeling with Gated Convolutional Networks. arXiv:1612.08083.
    Source: ``mlx.nn.glu``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.glu(np.array([1.0, 2.0, 0.0, 3.0])).round(3)
    array([0.5  , 1.905])
    """
    if not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
        raise ShapeError(f"glu halves x along axis {axis}, got x of shape {tuple(x.shape)}")
    a, b = np.split(x, 2, axis=axis)
    return a * sigmoid(b)


def gelu_fast_approx(x: Any) -> Any:
    """Return GELU's approximation by ``x * sigmoid(1.702 * x)``, off by up to 0.02.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    D. Hendrycks, K. Gimpel: Gaussian Error Linear Units. arXiv:1606.08415. Source:
    ``mlx.nn.gelu_fast_approx``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.gelu_fast_approx(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.154,  0.   ,  1.936])
    """
    return x * sigmoid(x * 1.702)


class GELU(Module):
    """The Gaussian error linear unit, exact or approximated.

    Parameters
    ----------
    approx : {'none', 'precise', 'tanh', 'fast'}
        `gelu`, `gelu_approx` (under two names, MLX's and PyTorch's) or `gelu_fast_approx`.

    Raises
    ------
    ValueError
        If `approx` is none of these.

    Notes
    -----
    Source: ``mlx.nn.GELU``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.GELU("fast")(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.154,  0.   ,  1.936])
    """

    def __init__(self, approx: str = "none"):
        super().__init__()
        if approx not in _GELU:
            raise ValueError(f"GELU: approx is one of {list(_GELU)}, got {approx!r}")
        self.approx = approx

    def __call__(self, x: Any) -> Any:
        """Return the activation of each entry.

        Parameters
        ----------
        x : array of any shape
        """
        return _GELU[self.approx](x)

    def _extra_repr(self) -> str:
        return f"approx={self.approx!r}"


_GELU = {"none": gelu, "precise": gelu_approx, "tanh": gelu_approx, "fast": gelu_fast_approx}

_joining.add_activation(GELU, lambda layer: "gelu" if layer.approx == "none" else None)

CELU = as_module("CELU", celu, module=__name__, alpha=1.0)
GLU = as_module("GLU", glu, module=__name__, axis=-1)
LogSigmoid = as_module("LogSigmoid", log_sigmoid, module=__name__)
Mish = as_module("Mish", mish, module=__name__)
ReLU2 = as_module("ReLU2", relu2, module=__name__)
SELU = as_module("SELU", selu, module=__name__)
Softmin = as_module("Softmin", softmin, module=__name__, axis=-1)
Softsign = as_module("Softsign", softsign, module=__name__)
