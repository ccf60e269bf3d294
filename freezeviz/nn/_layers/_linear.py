"""The linear layer and the identity."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.nn import init
from freezeviz.nn._layers import _joining
from freezeviz.nn._layers._activations import named
from freezeviz.nn._layers._checks import last_axis, sizes
from freezeviz.nn._module import Module

__all__ = ["Identity", "Linear"]


class Linear(Module):
    """``y = x @ weight.T + bias`` over the last axis.

    Parameters
    ----------
    input_dims, output_dims : int
    bias : bool
    activation : callable, optional
        A function applied to the output.
    rng : numpy.random.Generator, optional
        Draws the initial values.

    Attributes
    ----------
    weight : array of shape (output_dims, input_dims)
    bias : array of shape (output_dims,)
        Both uniform in ``±1/sqrt(input_dims)`` at first, as in MLX and PyTorch.

    Raises
    ------
    TypeError
        If `bias` is a function: an activation is given by name.
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    Source: ``mlx.nn.Linear``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.Linear(3, 2)(np.ones((5, 3), np.float32)).shape
    (5, 2)
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        *,
        activation: Callable[[Any], Any] | None = None,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        sizes(self, 0, input_dims=input_dims, output_dims=output_dims)
        if callable(bias):
            raise TypeError(
                f"Linear({input_dims}, {output_dims}, ...): bias is True or False, got {bias!r}; "
                "write activation=... for an activation"
            )
        if isinstance(activation, Module):
            raise TypeError(f"Linear's activation is a function, got the layer {activation!r}")
        self.activation = activation
        self._shape = (output_dims, input_dims)
        self._has_bias = bool(bias)
        self._initialise(rng)

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return new first values."""
        outputs, inputs = self._shape
        limit = 1.0 / math.sqrt(inputs) if inputs else 0.0
        draw = init.uniform(-limit, limit)
        values = {"weight": draw((outputs, inputs), rng=rng)}
        return values | {"bias": draw((outputs,), rng=rng)} if self._has_bias else values

    def __call__(self, x: Any) -> Any:
        """Return the layer's output.

        Parameters
        ----------
        x : array of shape (..., input_dims)

        Returns
        -------
        array of shape (..., output_dims)

        Raises
        ------
        ShapeError
            If the last axis is not of size ``input_dims``.
        """
        activation = self.activation
        if activation is None:
            return activated(self, x, None)
        name = named(activation)
        return activation(activated(self, x, None)) if name is None else activated(self, x, name)

    def _extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        shown = f"input_dims={inputs}, output_dims={outputs}, bias={'bias' in self}"
        if self.activation is None:
            return shown
        return f"{shown}, activation={getattr(self.activation, '__name__', self.activation)}"


_CALL = _joining.call_of(Linear)


def is_bare(layer: Any) -> bool:
    """Return whether a layer is just a linear one, and nobody can tell whether it is called."""
    # Exactly ours, without an activation; nobody listens to it or put something in its place.
    return type(layer) is Linear and layer.activation is None and _joining.call_of(Linear) is _CALL


def activated(layer: Linear, x: Any, activation: str | None) -> Any:
    """Return a layer's output under an activation that the kernels know."""
    weight = layer.weight
    last_axis(layer, x, "input_dims", weight.shape[1])
    bias = layer.bias if "bias" in layer else None
    if activation is None:
        return autodiff.linear(x, weight, bias)
    return autodiff.linear(x, weight, bias, activation=activation)


def with_activation(layers: Sequence[Any], at: int, x: Any) -> tuple[Any, int]:
    """Return what a linear layer and an activation after it make of `x`; see `_joining.Joint`."""
    layer = layers[at]
    name = _joining.activation_of(layers[at + 1]) if layer.activation is None else None
    return (layer(x), 1) if name is None else (activated(layer, x, name), 2)


class Identity(Module):
    """Returns its input; takes any arguments, so that it can stand in for any layer.

    Parameters
    ----------
    *args, **kwargs : anything
        Not used.

    Notes
    -----
    Source: ``mlx.nn.Identity``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.Identity()(np.ones(2))
    array([1., 1.])
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def __call__(self, x: Any) -> Any:
        """Return `x`."""
        return x
