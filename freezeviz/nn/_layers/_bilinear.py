"""The bilinear layer."""

import math
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.errors import ShapeError
from freezeviz.nn import init
from freezeviz.nn._layers._checks import sizes, where
from freezeviz.nn._module import Module

__all__ = ["Bilinear"]


class Bilinear(Module):
    """``y[k] = x2 @ weight[k] @ x1 + bias[k]`` over the last axis of two inputs.

    Parameters
    ----------
    input1_dims, input2_dims, output_dims : int
    bias : bool
    rng : numpy.random.Generator, optional
        Draws the initial values.

    Attributes
    ----------
    weight : array of shape (output_dims, input2_dims, input1_dims)
    bias : array of shape (output_dims,)
        Both uniform in ``±1/sqrt(input1_dims)`` at first.

    Raises
    ------
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    Arguments, layout and initial values are those of ``mlx.nn.Bilinear``. PyTorch has the axes of
    the two inputs the other way round in its weight.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.Bilinear(3, 4, 2)(np.ones((5, 3), np.float32), np.ones((5, 4), np.float32)).shape
    (5, 2)
    """

    def __init__(
        self,
        input1_dims: int,
        input2_dims: int,
        output_dims: int,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        sizes(self, 0, input1_dims=input1_dims, input2_dims=input2_dims, output_dims=output_dims)
        self._shape = (output_dims, input2_dims, input1_dims)
        self._has_bias = bool(bias)
        self._initialise(rng)

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return new first values."""
        outputs, _, dims1 = self._shape
        limit = 1.0 / math.sqrt(dims1) if dims1 else 0.0
        draw = init.uniform(-limit, limit)
        values = {"weight": draw(self._shape, rng=rng)}
        return values | {"bias": draw((outputs,), rng=rng)} if self._has_bias else values

    def __call__(self, x1: Any, x2: Any) -> Any:
        """Return the layer's output.

        Parameters
        ----------
        x1 : array of shape (..., input1_dims)
        x2 : array of shape (..., input2_dims)

        Returns
        -------
        array of shape (..., output_dims)

        Raises
        ------
        ShapeError
            If a last axis has another size, or the axes before it differ.
        """
        weight = self.weight
        outputs, dims2, dims1 = weight.shape
        lead = tuple(x1.shape[:-1])
        if tuple(x1.shape) != (*lead, dims1) or tuple(x2.shape) != (*lead, dims2):
            raise ShapeError(
                f"{where(self)} expects x1 of shape (..., input1_dims={dims1}) and x2 of shape "
                f"(..., input2_dims={dims2}) with the same axes before the last, "
                f"got {tuple(x1.shape)} and {tuple(x2.shape)}"
            )
        n = math.prod(lead)
        # First with x1, in one large product; then with x2, sample by sample.
        half = autodiff.linear(
            x1.reshape(n, dims1), weight.reshape(outputs * dims2, dims1), None
        ).reshape(n, outputs, dims2)
        y = np.matmul(half, x2.reshape(n, dims2, 1)).reshape(*lead, outputs)
        return y + self.bias if "bias" in self else y

    def _extra_repr(self) -> str:
        outputs, dims2, dims1 = self.weight.shape
        return (
            f"input1_dims={dims1}, input2_dims={dims2}, output_dims={outputs}, "
            f"bias={'bias' in self}"
        )
