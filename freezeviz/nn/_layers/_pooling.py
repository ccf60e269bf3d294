"""Pooling beside `MaxPool2d`, channels last."""

from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.errors import ShapeError
from freezeviz.nn._layers._checks import channels_last, pair, single, where
from freezeviz.nn._module import Module

__all__ = ["AdaptiveAvgPool2d", "AvgPool1d", "AvgPool2d", "MaxPool1d"]

Pair = tuple[int, int]
_IMAGE = "batch, height, width, channels"
_SEQUENCE = "batch, length, channels"


class _Pool1d(Module):
    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int] = 0,
    ):
        super().__init__()
        self.kernel_size = single("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else single("stride", stride, 1)
        self.padding = single("padding", padding, 0)

    def _check(self, x: Any) -> None:
        channels_last(self, x, _SEQUENCE)
        _fits(self, ("length",), x.shape[1:2], (self.kernel_size,), (self.padding,))

    def _extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def _fits(layer: Module, axes: Any, size: Any, kernel: Any, padding: Any) -> None:
    for name, n, k, p in zip(axes, size, kernel, padding, strict=True):
        if n + 2 * p < k:
            raise ShapeError(
                f"{where(layer)}: the input's {name} {n}, padded by {p} on each side, is smaller "
                f"than the window of {k}"
            )


class MaxPool1d(_Pool1d):
    """The maximum of each window, channels last.

    Parameters
    ----------
    kernel_size : int
    stride : int, optional
        The kernel's size by default.
    padding : int
        Counts as minus infinity.

    Raises
    ------
    ValueError
        If a window could lie in the padding alone.

    Notes
    -----
    Arguments are those of ``mlx.nn.MaxPool1d``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.MaxPool1d(2)(np.ones((1, 6, 3), np.float32)).shape
    (1, 3, 3)
    """

    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int] = 0,
    ):
        super().__init__(kernel_size, stride, padding)
        if 2 * self.padding > self.kernel_size:
            raise ValueError(
                f"MaxPool1d: padding={self.padding} is more than half of "
                f"kernel_size={self.kernel_size}: a window could lie in the padding alone"
            )

    def __call__(self, x: Any) -> Any:
        """Return the maxima.

        Parameters
        ----------
        x : array of shape (batch, length, channels)

        Returns
        -------
        array of shape (batch, out_length, channels)

        Raises
        ------
        ShapeError
            If `x` has another shape, or is shorter than the window.
        """
        self._check(x)
        y = autodiff.max_pool2d(
            _as_image(x),
            kernel_size=(1, self.kernel_size),
            stride=(1, self.stride),
            padding=(0, self.padding),
        )
        return y.reshape(y.shape[0], *y.shape[2:])


class AvgPool1d(_Pool1d):
    """The mean of each window, channels last.

    Parameters
    ----------
    kernel_size : int
    stride : int, optional
        The kernel's size by default.
    padding : int
        Of zeros, which count in the means.

    Notes
    -----
    Arguments are those of ``mlx.nn.AvgPool1d``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.AvgPool1d(2)(np.ones((1, 6, 3), np.float32)).shape
    (1, 3, 3)
    """

    def __call__(self, x: Any) -> Any:
        """Return the means.

        Parameters
        ----------
        x : array of shape (batch, length, channels)

        Returns
        -------
        array of shape (batch, out_length, channels)

        Raises
        ------
        ShapeError
            If `x` has another shape, or is shorter than the window.
        """
        self._check(x)
        y = _means(_as_image(x), (1, self.kernel_size), (1, self.stride), (0, self.padding))
        return y.reshape(y.shape[0], *y.shape[2:])


def _as_image(x: Any) -> Any:
    batch, length, channels = x.shape
    return x.reshape(batch, 1, length, channels)


class AvgPool2d(Module):
    """The mean of each window, channels last.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        The kernel's size by default.
    padding : int or (int, int)
        Of zeros, which count in the means.

    Notes
    -----
    Arguments are those of ``mlx.nn.AvgPool2d``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.AvgPool2d(2)(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
    ):
        super().__init__()
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("stride", stride, 1)
        self.padding = pair("padding", padding, 0)

    def __call__(self, x: Any) -> Any:
        """Return the means.

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
        channels_last(self, x, _IMAGE)
        _fits(self, ("height", "width"), x.shape[1:3], self.kernel_size, self.padding)
        return _means(x, self.kernel_size, self.stride, self.padding)

    def _extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def _means(x: Any, kernel: Pair, stride: Pair, padding: Pair) -> Any:
    """Return the means of windows of an image."""
    if any(padding):
        x = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    if kernel == stride:
        (kh, kw), (n, h, w, c) = kernel, x.shape
        h, w = h // kh, w // kw
        if (h * kh, w * kw) != x.shape[1:3]:
            x = x[:, : h * kh, : w * kw, :]
        return x.reshape(n, h, kh, w, kw, c).mean(axis=(2, 4))
    # A mean over rows of means over columns: kh + kw additions instead of kh * kw.
    for axis in (1, 2):
        x = _means_along(x, axis, kernel[axis - 1], stride[axis - 1])
    return x


def _means_along(x: Any, axis: int, kernel: int, stride: int) -> Any:
    if kernel == stride == 1:
        return x
    last = (x.shape[axis] - kernel) // stride * stride
    lead = (slice(None),) * axis
    total = x[(*lead, slice(0, last + 1, stride), ...)]
    for i in range(1, kernel):
        total = total + x[(*lead, slice(i, i + last + 1, stride), ...)]
    return total / kernel


class AdaptiveAvgPool2d(Module):
    """The means of as many windows as are asked for, of nearly equal size, channels last.

    The window of output row ``i`` goes from row ``floor(i * height / out_height)`` up to, not
    including, ``ceil((i + 1) * height / out_height)``; the columns likewise. An output size of 1
    is the mean over the image.

    Parameters
    ----------
    output_size : int or pair of (int or None)
        Height and width of the output; None leaves the input's.

    Raises
    ------
    ValueError
        If `output_size` is none of these.

    Notes
    -----
    After PyTorch's layer of this name; MLX has none. Source: ``torch.nn.AdaptiveAvgPool2d``,
    channels last.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.AdaptiveAvgPool2d(1)(np.ones((2, 7, 5, 3), np.float32)).shape
    (2, 1, 1, 3)
    """

    def __init__(self, output_size: int | tuple[int | None, int | None]):
        super().__init__()
        size = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)
        valid = len(size) == 2 and all(n is None or (isinstance(n, int) and n > 0) for n in size)
        if not valid:
            raise ValueError(
                "AdaptiveAvgPool2d: output_size is an int or a pair, each above zero or None, "
                f"got {output_size!r}"
            )
        self.output_size = size

    def __call__(self, x: Any) -> Any:
        """Return the means.

        Parameters
        ----------
        x : array of shape (batch, height, width, channels)

        Returns
        -------
        array of shape (batch, out_height, out_width, channels)

        Raises
        ------
        ShapeError
            If `x` has another shape, or no rows or columns.
        """
        channels_last(self, x, _IMAGE)
        height, width = x.shape[1:3]
        if not height or not width:
            raise ShapeError(
                f"{where(self)} needs at least one row and column, got x of shape {tuple(x.shape)}"
            )
        rows, columns = self.output_size
        rows, columns = rows or height, columns or width
        if height % rows == 0 and width % columns == 0:
            kernel = (height // rows, width // columns)
            return _means(x, kernel, kernel, (0, 0))
        return _adapted(_adapted(x, 1, rows), 2, columns)

    def _extra_repr(self) -> str:
        return f"output_size={self.output_size}"


def _adapted(x: Any, axis: int, out: int) -> Any:
    """Return the means of `out` windows along an axis."""
    n = x.shape[axis]
    lead = (slice(None),) * axis
    parts = [
        x[(*lead, slice(i * n // out, -(-(i + 1) * n // out)), ...)].mean(axis=axis, keepdims=True)
        for i in range(out)
    ]
    return np.concatenate(parts, axis=axis)
