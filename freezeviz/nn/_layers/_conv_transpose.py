"""Transposed convolution, channels last."""

import math
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.errors import ShapeError
from freezeviz.nn import init
from freezeviz.nn._layers._checks import channels_last, pair, sizes, where
from freezeviz.nn._module import Module

__all__ = ["ConvTranspose2d"]

Pair = tuple[int, int]


class ConvTranspose2d(Module):
    """Transposed two-dimensional convolution, channels last: what upsamples in a decoder.

    Each input position adds the kernel, times its value, to the output at `stride` times its
    place. The height is ``(height - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 +
    output_padding``, and so is the width.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (int, int)
        The padding is cut off on each side.
    output_padding : int or (int, int)
        Rows and columns added at the end.
    bias : bool
    rng : numpy.random.Generator, optional

    Attributes
    ----------
    weight : array of shape (out_channels, kernel_height, kernel_width, in_channels)
        Uniform in ``±1/sqrt(in_channels * kernel_height * kernel_width)`` at first.
    bias : array of shape (out_channels,)
        Zero at first.

    Raises
    ------
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    Layout, arguments and initial values are those of ``mlx.nn.ConvTranspose2d``. Source: V.
    Dumoulin, F. Visin: A guide to convolution arithmetic for deep learning. arXiv:1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.ConvTranspose2d(4, 2, kernel_size=2, stride=2)(np.ones((1, 5, 5, 4), np.float32)).shape
    (1, 10, 10, 2)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        output_padding: int | Pair = 0,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        sizes(self, 1, in_channels=in_channels, out_channels=out_channels)
        kernel = pair("kernel_size", kernel_size, 1)
        self.stride = pair("stride", stride, 1)
        self.padding = pair("padding", padding, 0)
        self.dilation = pair("dilation", dilation, 1)
        self.output_padding = pair("output_padding", output_padding, 0)
        self._shape = (out_channels, *kernel, in_channels)
        self._has_bias = bool(bias)
        self._initialise(rng)

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return new first values."""
        limit = 1.0 / math.sqrt(math.prod(self._shape[1:]))
        values = {"weight": init.uniform(-limit, limit)(self._shape, rng=rng)}
        bias = {"bias": init.constant(0.0)(self._shape[:1])}
        return values | bias if self._has_bias else values

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
            If `x` has another shape, or nothing of the output is left by the padding.
        """
        weight = self.weight
        channels_last(self, x, "batch, height, width, channels", weight.shape[3])
        size = self._out_size(x.shape[1:3], weight.shape[1:3])
        y = _cut(_transposed(x, weight, self.stride, self.dilation), self.padding, size)
        return y + self.bias if "bias" in self else y

    def _out_size(self, size: Pair, kernel: Pair) -> Pair:
        out = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + extra
            for n, k, s, p, d, extra in zip(
                size, kernel, self.stride, self.padding, self.dilation, self.output_padding,
                strict=True,
            )
        ]  # fmt: skip
        if min(size) < 1 or min(out) < 1:
            raise ShapeError(
                f"{where(self)}: an input of height and width {tuple(size)} would give an output "
                f"of {tuple(out)}: both must be at least (1, 1)"
            )
        return out[0], out[1]

    def _extra_repr(self) -> str:
        outputs, height, width, inputs = self.weight.shape
        return (
            f"{inputs}, {outputs}, kernel_size={(height, width)}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, "
            f"output_padding={self.output_padding}, bias={'bias' in self}"
        )


# With stride s, the rows r, r + s, r + 2s, ... of the output see only the kernel's rows r, r + s,
# ...: a transposed convolution is s * s ordinary ones with kernels of a part of the size, whose
# outputs interleave. They are computed as one, with s * s times the channels. Stretching the
# input with zeros, which is the usual picture, would multiply zeros (s * s - 1) of s * s times.


def _transposed(x: Any, weight: Any, stride: Pair, dilation: Pair) -> Any:
    """Return the whole output, before anything is cut off; at least of the size of the reach."""
    if stride == (1, 1):
        reach = tuple(d * (k - 1) for d, k in zip(dilation, weight.shape[1:3], strict=True))
        kernel = np.flip(weight, (1, 2))
        return autodiff.conv2d(x, kernel, None, padding=reach, dilation=dilation)
    (sh, sw), channels = stride, weight.shape[0]
    kernel, (kh, kw) = _phases(_dilated(weight, dilation), stride)
    y = autodiff.conv2d(x, kernel, None, padding=(kh - 1, kw - 1))
    n, h, w, _ = y.shape
    y = y.reshape(n, h, w, sh, sw, channels).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(n, h * sh, w * sw, channels)


def _dilated(weight: Any, dilation: Pair) -> Any:
    """Return a kernel with zeros between its entries."""
    if dilation == (1, 1):
        return weight
    (dh, dw), (outputs, kh, kw, inputs) = dilation, weight.shape
    gaps = ((0, 0), (0, 0), (0, dh - 1), (0, 0), (0, dw - 1), (0, 0))
    spread = np.pad(weight.reshape(outputs, kh, 1, kw, 1, inputs), gaps)
    spread = spread.reshape(outputs, kh * dh, kw * dw, inputs)
    return spread[:, : dh * (kh - 1) + 1, : dw * (kw - 1) + 1, :]


def _phases(weight: Any, stride: Pair) -> tuple[Any, Pair]:
    """Return the kernels of all phases as one with many output channels, and its size."""
    (sh, sw), (outputs, kh, kw, inputs) = stride, weight.shape
    h, w = -(-kh // sh), -(-kw // sw)
    if (h * sh, w * sw) != (kh, kw):
        weight = np.pad(weight, ((0, 0), (0, h * sh - kh), (0, w * sw - kw), (0, 0)))
    split = weight.reshape(outputs, h, sh, w, sw, inputs).transpose(2, 4, 0, 1, 3, 5)
    # Turned round, since conv2d is a cross-correlation.
    return np.flip(split, (3, 4)).reshape(sh * sw * outputs, h, w, inputs), (h, w)


def _cut(y: Any, padding: Pair, size: Pair) -> Any:
    """Return the part of `y` that begins after the padding, with zeros where `y` ends before."""
    missing = [max(0, p + n - have) for p, n, have in zip(padding, size, y.shape[1:3], strict=True)]
    if any(missing):
        y = np.pad(y, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    (top, left), (height, width) = padding, size
    return y[:, top : top + height, left : left + width, :]
