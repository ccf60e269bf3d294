"""Activations as functions and as modules."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.autodiff import stop_gradient
from freezeviz.nn._module import Module

# Functions, not autodiff's primitives themselves: layers keep them, and functions can be pickled.


def relu(x: Any) -> Any:
    """Return `x` where positive, else zero."""
    return autodiff.relu(x)


def sigmoid(x: Any) -> Any:
    """Return ``1 / (1 + exp(-x))``."""
    return autodiff.sigmoid(x)


def softplus(x: Any) -> Any:
    """Return ``log(1 + exp(x))``, without overflow."""
    return autodiff.softplus(x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent of `x`."""
    return np.tanh(x)


def softmax(x: Any, axis: int = -1) -> Any:
    """Return ``exp(x) / sum(exp(x))`` along `axis`."""
    return autodiff.softmax(x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Return ``log(softmax(x))`` along `axis`, without overflow."""
    return x - autodiff.logsumexp(x, axis=axis, keepdims=True)


def gelu(x: Any) -> Any:
    """Return the exact Gaussian error linear unit, ``x * Phi(x)``.

    Notes
    -----
    D. Hendrycks, K. Gimpel: Gaussian Error Linear Units. arXiv:1606.08415.
    """
    return autodiff.gelu(x)


def gelu_approx(x: Any) -> Any:
    """Return GELU's approximation by tanh, which GPT-2 uses."""
    inner = (x + x * x * x * 0.044715) * math.sqrt(2.0 / math.pi)
    return x * 0.5 * (np.tanh(inner) + 1.0)


def silu(x: Any) -> Any:
    """Return ``x * sigmoid(x)``, also known as swish."""
    return x * sigmoid(x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """Return `x` where positive, else ``negative_slope * x``."""
    return np.where(stop_gradient(x) > 0, x, x * negative_slope)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """Return `x` where positive, else ``alpha * (exp(x) - 1)``."""
    positive = stop_gradient(x) > 0
    # The exponential of the negative part only: of the positive one it could overflow.
    return np.where(positive, x, np.expm1(np.where(positive, 0.0, x)) * alpha)


_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


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
    Activation.__doc__ = f"{(fn.__doc__ or '').strip().splitlines()[0]}\n"
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
