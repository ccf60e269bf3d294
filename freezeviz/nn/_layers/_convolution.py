"""Convolution and pooling, channels last."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.autodiff._fused._windows import geometry
from freezeviz.errors import ShapeError
from freezeviz.nn import init
from freezeviz.nn._layers import _joining
from freezeviz.nn._layers._checks import channels_last, pair, sizes, where
from freezeviz.nn._module import Module

__all__ = ["Conv2d", "Flatten", "MaxPool2d"]

_LAYOUT = "batch, height, width, channels"


def _fits(layer: Module, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> None:
    for axis, size in zip((0, 1), x.shape[1:3], strict=True):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        if size + 2 * padding[axis] < reach:
            raise ShapeError(
                f"{where(layer)}: the input's {('height', 'width')[axis]} {size}, padded by "
                f"{padding[axis]} on each side, is smaller than the kernel's reach of {reach}"
            )


class Conv2d(Module):
    """Two-dimensional convolution, channels last.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (int, int)
    groups : int
    bias : bool
    rng : numpy.random.Generator, optional

    Attributes
    ----------
    weight : array of shape (out_channels, kernel_height, kernel_width, in_channels / groups)
    bias : array of shape (out_channels,)

    Raises
    ------
    ValueError
        If `groups` does not divide the channels, or a size is out of range.

    Notes
    -----
    Layout, arguments and initial values are those of ``mlx.nn.Conv2d``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.Conv2d(3, 5, 3, padding=1)(np.ones((2, 8, 8, 3), np.float32)).shape
    (2, 8, 8, 5)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        sizes(self, 1, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: in_channels={in_channels} and out_channels={out_channels} must both be "
                f"divisible by groups={groups}"
            )
        kernel = pair("kernel_size", kernel_size, 1)
        self.stride = pair("stride", stride, 1)
        self.padding = pair("padding", padding, 0)
        self.dilation = pair("dilation", dilation, 1)
        self.groups = groups
        self._shape = (out_channels, *kernel, in_channels // groups)
        self._has_bias = bool(bias)
        self._initialise(rng)

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return new first values."""
        outputs, height, width, per_group = self._shape
        limit = math.sqrt(1.0 / (per_group * height * width))
        values = {"weight": init.uniform(-limit, limit)(self._shape, rng=rng)}
        return values | {"bias": init.constant(0.0)((outputs,))} if self._has_bias else values

    def __call__(self, x: Any) -> Any:
        """Return the layer's output.

        Parameters
        ----------
        x : array of shape (batch, height, width, in_channels)

        Returns
        -------
        array of shape (batch, out_height, out_width, out_channels)

        Raises
        ------
        ShapeError
            If `x` has another shape, or is smaller than the kernel.
        """
        return _convolved(self, x)

    def _extra_repr(self) -> str:
        outputs, height, width, per_group = self.weight.shape
        return (
            f"{per_group * self.groups}, {outputs}, kernel_size={(height, width)}, "
            f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"groups={self.groups}, bias={'bias' in self}"
        )


def _convolved(layer: Conv2d, x: Any, **end: Any) -> Any:
    """Return a layer's output with an end to it that the kernels know."""
    weight = layer.weight
    channels_last(layer, x, _LAYOUT, weight.shape[3] * layer.groups)
    _fits(layer, x, weight.shape[1:3], layer.stride, layer.padding, layer.dilation)
    return autodiff.conv2d(
        x,
        weight,
        layer.bias if "bias" in layer else None,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        **end,
    )


class MaxPool2d(Module):
    """The maximum of each window, channels last.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        The kernel's size by default.
    padding : int or (int, int)

    Raises
    ------
    ValueError
        If a size is out of range, or the padding is more than half of the kernel.

    Notes
    -----
    Source: ``mlx.nn.MaxPool2d``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.MaxPool2d(2)(np.ones((2, 8, 8, 3), np.float32)).shape
    (2, 4, 4, 3)
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ):
        super().__init__()
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("stride", stride, 1)
        self.padding = pair("padding", padding, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(
                f"MaxPool2d: padding={self.padding} is more than half of "
                f"kernel_size={self.kernel_size}: a window could lie in the padding alone"
            )

    def __call__(self, x: Any) -> Any:
        """Return the maxima.

        Parameters
        ----------
        x : array of shape (batch, height, width, channels)

        Returns
        -------
        array of shape (batch, out_height, out_width, channels)

        Raises
        ------
        ShapeError
            If `x` has another shape, or is smaller than the window.
        """
        channels_last(self, x, _LAYOUT)
        _fits(self, x, self.kernel_size, self.stride, self.padding, (1, 1))
        return autodiff.max_pool2d(
            x, kernel_size=self.kernel_size, stride=self.stride, padding=self.padding
        )

    def _extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


_MAX_POOL = _joining.call_of(MaxPool2d)


def _pool_of(layer: Any) -> int | None:
    """Return the side of a layer's windows if it pools square ones that lie side by side."""
    if type(layer) is not MaxPool2d or _joining.call_of(MaxPool2d) is not _MAX_POOL:
        return None
    side = layer.kernel_size[0]
    plain = layer.kernel_size == layer.stride == (side, side) and layer.padding == (0, 0)
    return side if plain else None


def _with_end(layers: Sequence[Any], at: int, x: Any) -> tuple[Any, int]:
    """Let a convolution end with the ReLU and the pooling behind it."""
    if _joining.activation_of(layers[at + 1]) != "relu":
        return layers[at](x), 1
    pool = _pool_of(layers[at + 2]) if at + 2 < len(layers) else None
    if pool is None:
        return _convolved(layers[at], x, activation="relu"), 2
    layer, shape = layers[at], getattr(x, "shape", ())
    if len(shape) == 4:
        kernel = layer.weight.shape[1:3]
        out = geometry(shape[1:3], kernel, layer.stride, layer.padding, layer.dilation)
        if min(out) < pool:
            # Too small for a window: the layer that finds that says so.
            return _convolved(layer, x, activation="relu"), 2
    return _convolved(layer, x, activation="relu", pool=pool), 3


_joining.add_joint(Conv2d, _with_end)


class Flatten(Module):
    """Makes the axes from `start_axis` to `end_axis` one.

    Parameters
    ----------
    start_axis, end_axis : int

    Notes
    -----
    Source: ``torch.nn.Flatten``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.Flatten()(np.ones((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1):
        super().__init__()
        self.start_axis = start_axis
        self.end_axis = end_axis

    def __call__(self, x: Any) -> Any:
        """Return `x` with the axes joined.

        Raises
        ------
        ShapeError
            If `x` has too few axes.
        """
        start, end = self.start_axis, self.end_axis
        if not -x.ndim <= start < x.ndim or not -x.ndim <= end < x.ndim:
            raise ShapeError(
                f"{where(self)} joins the axes {start} to {end}, got x of shape {tuple(x.shape)}"
            )
        start, end = start % x.ndim, end % x.ndim
        joined = math.prod(x.shape[start : end + 1])
        return x.reshape((*x.shape[:start], joined, *x.shape[end + 1 :]))

    def _extra_repr(self) -> str:
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"
