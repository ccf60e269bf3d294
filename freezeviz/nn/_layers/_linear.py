"""The linear layer and the identity."""

import math
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.nn import init
from freezeviz.nn._layers._checks import last_axis
from freezeviz.nn._module import Module

__all__ = ["Identity", "Linear"]


class Linear(Module):
    """``y = x @ weight.T + bias`` over the last axis.

    Parameters
    ----------
    input_dims, output_dims : int
    bias : bool
    rng : numpy.random.Generator, optional
        Draws the initial values.

    Attributes
    ----------
    weight : array of shape (output_dims, input_dims)
    bias : array of shape (output_dims,)
        Both uniform in ``±1/sqrt(input_dims)`` at first, as in MLX and PyTorch.

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
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        limit = 1.0 / math.sqrt(input_dims) if input_dims else 0.0
        draw = init.uniform(-limit, limit)
        self.weight = draw((output_dims, input_dims), rng=rng)
        if bias:
            self.bias = draw((output_dims,), rng=rng)

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
        weight = self.weight
        last_axis(self, x, "input_dims", weight.shape[1])
        return autodiff.linear(x, weight, self.bias if "bias" in self else None)

    def _extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"input_dims={inputs}, output_dims={outputs}, bias={'bias' in self}"


class Identity(Module):
    """Returns its input; takes any arguments, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def __call__(self, x: Any) -> Any:
        """Return `x`."""
        return x
