"""One-dimensional convolution, channels last."""

import math
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.errors import ShapeError
from freezeviz.nn import init
from freezeviz.nn._layers._checks import channels_last, single, sizes, where
from freezeviz.nn._module import Module

__all__ = ["Conv1d"]


class Conv1d(Module):
    """One-dimensional convolution, channels last.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int
    groups : int
    bias : bool
    rng : numpy.random.Generator, optional

    Attributes
    ----------
    weight : array of shape (out_channels, kernel_size, in_channels / groups)
        Uniform in ``±1/sqrt(in_channels / groups * kernel_size)`` at first.
    bias : array of shape (out_channels,)
        Zero at first.

    Raises
    ------
    ValueError
        If `groups` does not divide the channels, or a size is out of range.

    Notes
    -----
    Layout, arguments and initial values are those of ``mlx.nn.Conv1d``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.Conv1d(4, 8, kernel_size=3, padding=1)(np.ones((2, 10, 4), np.float32)).shape
    (2, 10, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        sizes(self, 1, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv1d: in_channels={in_channels} and out_channels={out_channels} must both be "
                f"divisible by groups={groups}"
            )
        kernel = single("kernel_size", kernel_size, 1)
        self.stride = single("stride", stride, 1)
        self.padding = single("padding", padding, 0)
        self.dilation = single("dilation", dilation, 1)
        self.groups = groups
        self._shape = (out_channels, kernel, in_channels // groups)
        self._has_bias = bool(bias)
        self._initialise(rng)

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return new first values."""
        outputs, kernel, per_group = self._shape
        limit = 1.0 / math.sqrt(per_group * kernel)
        values = {"weight": init.uniform(-limit, limit)(self._shape, rng=rng)}
        return values | {"bias": init.constant(0.0)((outputs,))} if self._has_bias else values

    def __call__(self, x: Any) -> Any:
        """Return the layer's output.

        Parameters
        ----------
        x : array of shape (batch, length, in_channels)

        Returns
        -------
        array of shape (batch, out_length, out_channels)

        Raises
        ------
        ShapeError
            If `x` has another shape, or is shorter than the kernel.
        """
        weight = self.weight
        outputs, kernel, per_group = weight.shape
        channels_last(self, x, "batch, length, channels", per_group * self.groups)
        batch, length, channels = x.shape
        reach = self.dilation * (kernel - 1) + 1
        if length + 2 * self.padding < reach:
            raise ShapeError(
                f"{where(self)}: the input's length {length}, padded by {self.padding} on each "
                f"side, is smaller than the kernel's reach of {reach}"
            )
        y = autodiff.conv2d(
            x.reshape(batch, 1, length, channels),
            weight.reshape(outputs, 1, kernel, per_group),
            self.bias if "bias" in self else None,
            stride=(1, self.stride),
            padding=(0, self.padding),
            dilation=(1, self.dilation),
            groups=self.groups,
        )
        return y.reshape(batch, y.shape[2], outputs)

    def _extra_repr(self) -> str:
        outputs, kernel, per_group = self.weight.shape
        return (
            f"{per_group * self.groups}, {outputs}, kernel_size={kernel}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, "
            f"bias={'bias' in self}"
        )
