"""Activations with corners. At a corner the derivative is PyTorch's."""

from typing import Any

import numpy as np

from freezeviz.autodiff import stop_gradient
from freezeviz.errors import ShapeError
from freezeviz.nn import init as initialisers
from freezeviz.nn._layers._activations import as_module
from freezeviz.nn._layers._checks import sizes, where
from freezeviz.nn._module import Module

__all__ = [
    "HardShrink",
    "HardTanh",
    "Hardswish",
    "PReLU",
    "ReLU6",
    "Softshrink",
    "Step",
    "hard_shrink",
    "hard_tanh",
    "hardswish",
    "prelu",
    "relu6",
    "softshrink",
    "step",
]


def hard_tanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """Return `x`, cut off at `min_val` and `max_val`.

    Parameters
    ----------
    x : array of any shape
    min_val, max_val : float

    Raises
    ------
    ValueError
        If `min_val` is not below `max_val`.

    Notes
    -----
    Source: ``mlx.nn.hard_tanh``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.hard_tanh(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-1.,  0.,  1.])
    """
    if not min_val < max_val:
        raise ValueError(f"hard_tanh: min_val is below max_val, got {min_val} and {max_val}")
    plain = stop_gradient(x)
    # Not np.clip, whose slope on the bounds themselves is one.
    inside = (plain > min_val) & (plain < max_val)
    return np.where(inside, x, np.clip(plain, min_val, max_val))


def relu6(x: Any) -> Any:
    """Return `x`, cut off at 0 and 6.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    A. Howard et al.: MobileNets. arXiv:1704.04861. Source: ``mlx.nn.relu6``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.relu6(np.array([-1.0, 0.0, 2.0])).round(3)
    array([0., 0., 2.])
    """
    return hard_tanh(x, 0.0, 6.0)


def hardswish(x: Any) -> Any:
    """Return ``x * relu6(x + 3) / 6``.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    A. Howard et al.: Searching for MobileNetV3. arXiv:1905.02244. Source: ``mlx.nn.hardswish``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.hardswish(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.333,  0.   ,  1.667])
    """
    return x * relu6(x + 3.0) / 6.0


def hard_shrink(x: Any, lambd: float = 0.5) -> Any:
    """Return `x` where it is farther than `lambd` from zero, else zero.

    Parameters
    ----------
    x : array of any shape
    lambd : float
        Not negative.

    Notes
    -----
    Source: ``mlx.nn.hard_shrink``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.hard_shrink(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-1.,  0.,  2.])
    """
    # In this order NaN stays NaN.
    return np.where(np.abs(stop_gradient(x)) <= lambd, 0.0, x)


def softshrink(x: Any, lambd: float = 0.5) -> Any:
    """Return `x` moved by `lambd` towards zero, and no further than zero.

    Parameters
    ----------
    x : array of any shape
    lambd : float
        Not negative.

    Notes
    -----
    Source: ``mlx.nn.softshrink``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.softshrink(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.5,  0. ,  1.5])
    """
    plain = stop_gradient(x)
    return np.where(np.abs(plain) <= lambd, 0.0, x - np.sign(plain) * lambd)


def step(x: Any, threshold: float = 0.0) -> Any:
    """Return 1 where `x` is at least `threshold`, else 0, in the dtype of `x`: flat everywhere.

    Parameters
    ----------
    x : array of any shape
    threshold : float

    Notes
    -----
    Source: ``mlx.nn.step``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.step(np.array([-1.0, 0.0, 2.0])).round(3)
    array([0., 1., 1.])
    """
    plain = stop_gradient(x)
    return (plain >= threshold).astype(plain.dtype)


def prelu(x: Any, alpha: Any) -> Any:
    """Return `x` where positive, else ``alpha * x``.

    Parameters
    ----------
    x : array of any shape
    alpha : array that broadcasts to the shape of `x`

    Notes
    -----
    K. He et al.: Delving Deep into Rectifiers. arXiv:1502.01852. Source: ``mlx.nn.prelu``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.prelu(np.array([-1.0, 2.0]), 0.25)
    array([-0.25,  2.  ])
    """
    return np.where(stop_gradient(x) > 0, x, x * alpha)


class PReLU(Module):
    """`x` where positive, else ``weight * x``.

    Parameters
    ----------
    num_parameters : int
        One for all channels, or one for each.
    init : float
        The first value of `weight`.

    Attributes
    ----------
    weight : array of shape (num_parameters,)

    Raises
    ------
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    K. He et al.: Delving Deep into Rectifiers. arXiv:1502.01852. Arguments are those of
    ``mlx.nn.PReLU``; channels are last.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.PReLU()(np.array([-1.0, 2.0]))
    array([-0.25,  2.  ])
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        super().__init__()
        sizes(self, 1, num_parameters=num_parameters)
        self.num_parameters = num_parameters
        self._init = init
        self._initialise()

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return first values."""
        return {"weight": initialisers.constant(self._init)((self.num_parameters,))}

    def __call__(self, x: Any) -> Any:
        """Return the activation of each entry.

        Parameters
        ----------
        x : array of shape (..., num_parameters), or any if there is one parameter

        Raises
        ------
        ShapeError
            If there are several parameters, and another number of channels.
        """
        n = self.num_parameters
        if n != 1 and tuple(x.shape[-1:]) != (n,):
            raise ShapeError(
                f"{where(self)} expects x of shape (..., num_parameters={n}), got {tuple(x.shape)}"
            )
        return prelu(x, self.weight)

    def _extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


HardShrink = as_module("HardShrink", hard_shrink, module=__name__, lambd=0.5)
HardTanh = as_module("HardTanh", hard_tanh, module=__name__, min_val=-1.0, max_val=1.0)
Hardswish = as_module("Hardswish", hardswish, module=__name__)
ReLU6 = as_module("ReLU6", relu6, module=__name__)
Softshrink = as_module("Softshrink", softshrink, module=__name__, lambd=0.5)
Step = as_module("Step", step, module=__name__, threshold=0.0)
