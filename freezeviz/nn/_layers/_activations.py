"""Activations as functions and as modules."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.autodiff import stop_gradient
from freezeviz.nn._layers import _joining
from freezeviz.nn._module import Module

# Functions, not autodiff's primitives themselves: layers keep them, and functions can be pickled.


def relu(x: Any) -> Any:
    """Return `x` where positive, else zero.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    Source: ``mlx.nn.relu``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.relu(np.array([-1.0, 0.0, 2.0])).round(3)
    array([0., 0., 2.])
    """
    return autodiff.relu(x)


def sigmoid(x: Any) -> Any:
    """Return ``1 / (1 + exp(-x))``.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    Source: ``mlx.nn.sigmoid``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.sigmoid(np.array([-1.0, 0.0, 2.0])).round(3)
    array([0.269, 0.5  , 0.881])
    """
    return autodiff.sigmoid(x)


def softplus(x: Any) -> Any:
    """Return ``log(1 + exp(x))``, without overflow.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    Source: ``mlx.nn.softplus``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.softplus(np.array([-1.0, 0.0, 2.0])).round(3)
    array([0.313, 0.693, 2.127])
    """
    return autodiff.softplus(x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent of `x`.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    Source: ``mlx.nn.tanh``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.tanh(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.762,  0.   ,  0.964])
    """
    return np.tanh(x)


def softmax(x: Any, axis: int = -1) -> Any:
    """Return ``exp(x) / sum(exp(x))`` along `axis`.

    Parameters
    ----------
    x : array of any shape
    axis : int
        Along which the entries add up to one.

    Notes
    -----
    Source: ``mlx.nn.softmax``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.softmax(np.array([-1.0, 0.0, 2.0])).round(3)
    array([0.042, 0.114, 0.844])
    """
    return autodiff.softmax(x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Return ``log(softmax(x))`` along `axis`, without overflow.

    Parameters
    ----------
    x : array of any shape
    axis : int
        Along which the exponentials add up to one.

    Notes
    -----
    Source: ``mlx.nn.log_softmax``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.log_softmax(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-3.17, -2.17, -0.17])
    """
    return x - autodiff.logsumexp(x, axis=axis, keepdims=True)


def gelu(x: Any) -> Any:
    """Return the exact Gaussian error linear unit, ``x * Phi(x)``.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    D. Hendrycks, K. Gimpel: Gaussian Error Linear Units. arXiv:1606.08415. Source:
    ``mlx.nn.gelu``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.gelu(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.159,  0.   ,  1.954])
    """
    return autodiff.gelu(x)


def gelu_approx(x: Any) -> Any:
    """Return GELU's approximation by tanh, which GPT-2 uses.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    Source: ``mlx.nn.gelu_approx``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.gelu_approx(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.159,  0.   ,  1.955])
    """
    inner = (x + x * x * x * 0.044715) * math.sqrt(2.0 / math.pi)
    return x * 0.5 * (np.tanh(inner) + 1.0)


def silu(x: Any) -> Any:
    """Return ``x * sigmoid(x)``, also known as swish.

    Parameters
    ----------
    x : array of any shape

    Notes
    -----
    Source: ``mlx.nn.silu``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.silu(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.269,  0.   ,  1.762])
    """
    return x * sigmoid(x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """Return `x` where positive, else ``negative_slope * x``.

    Parameters
    ----------
    x : array of any shape
    negative_slope : float

    Notes
    -----
    Source: ``mlx.nn.leaky_relu``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.leaky_relu(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.01,  0.  ,  2.  ])
    """
    return np.where(stop_gradient(x) > 0, x, x * negative_slope)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """Return `x` where positive, else ``alpha * (exp(x) - 1)``.

    Parameters
    ----------
    x : array of any shape
    alpha : float
        Minus the limit for large negative `x`.

    Notes
    -----
    D.-A. Clevert, T. Unterthiner, S. Hochreiter: Exponential Linear Units. arXiv:1511.07289.
    Source: ``mlx.nn.elu``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.elu(np.array([-1.0, 0.0, 2.0])).round(3)
    array([-0.632,  0.   ,  2.   ])
    """
    positive = stop_gradient(x) > 0
    # The exponential of the negative part only: of the positive one it could overflow.
    return np.where(positive, x, np.expm1(np.where(positive, 0.0, x)) * alpha)


_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


def _documentation(name: str, fn: Callable[..., Any], with_options: bool) -> str:
    """Return what the function's documentation says, for a module that applies it."""
    said = inspect.cleandoc(fn.__doc__ or "")
    parts = [f"A layer that returns {said.partition(chr(10))[0].removeprefix('Return ')}"]
    if with_options:
        given = said.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
        # All but x, which is an argument of the call.
        given = given.partition("\n")[2]
        parts.append(f"Parameters\n----------\n{given}")
    unexpected = "TypeError\n    If there are other arguments."
    parts.append(f"Raises\n------\n{unexpected}")
    parts.append(f"Notes\n-----\nSource: ``mlx.nn.{name}``.")
    columns = 2 if name == "GLU" else 4
    parts.append(
        f"Examples\n--------\n>>> import numpy as np\n>>> from freezeviz import nn\n"
        f">>> nn.{name}()(np.ones((3, 4))).shape\n(3, {columns})"
    )
    return "\n\n".join(parts)


def as_module(
    name: str, fn: Callable[..., Any], *, module: str = __name__, **options: Any
) -> type[Module]:
    """Return a module class that applies an activation; options become its arguments.

    `module` is the Python module that the class will be found in, by pickle among others.
    """

    class Activation(Module):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__()
            given = dict(zip(options, args, strict=False)) | kwargs
            unknown = set(given) - set(options)
            if unknown or len(args) > len(options):
                raise TypeError(f"{name} takes {list(options) or 'no arguments'}, got {given}")
            self._options = options | given

        def __call__(self, x: Any) -> Any:
            return fn(x, **self._options)

        def _extra_repr(self) -> str:
            return ", ".join(f"{k}={v}" for k, v in self._options.items())

    Activation.__name__ = Activation.__qualname__ = name
    Activation.__doc__ = _documentation(name, fn, bool(options))
    Activation.__module__ = module
    # What help() and completion show.
    Activation.__signature__ = inspect.Signature(  # pyright: ignore[reportAttributeAccessIssue]
        [inspect.Parameter(o, _POSITIONAL, default=value) for o, value in options.items()]
    )
    return Activation


ELU = as_module("ELU", elu, alpha=1.0)
LeakyReLU = as_module("LeakyReLU", leaky_relu, negative_slope=0.01)
LogSoftmax = as_module("LogSoftmax", log_softmax, axis=-1)
ReLU = as_module("ReLU", relu)
Sigmoid = as_module("Sigmoid", sigmoid)
SiLU = as_module("SiLU", silu)
Softmax = as_module("Softmax", softmax, axis=-1)
Softplus = as_module("Softplus", softplus)
Tanh = as_module("Tanh", tanh)

_joining.add_activation(ReLU, lambda layer: "relu")
_joining.add_activation(Tanh, lambda layer: "tanh")

# The functions that kernels know, too, by the name that they know them by.
_NAMED = ((relu, "relu"), (gelu, "gelu"), (tanh, "tanh"), (autodiff.relu, "relu"))
_NAMED += ((autodiff.gelu, "gelu"), (np.tanh, "tanh"))


def named(activation: Any) -> str | None:
    """Return the name by which kernels know a function, None if they do not."""
    for function, name in _NAMED:
        if activation is function:
            return name
    return None


__all__ = [
    "ELU",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "elu",
    "gelu",
    "gelu_approx",
    "leaky_relu",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]
