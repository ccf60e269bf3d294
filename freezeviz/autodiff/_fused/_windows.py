"""Where the windows of a kernel lie in an image, channels last."""

from collections.abc import Iterator
from typing import Any


def out_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Return how many positions a window has along an axis of `size`."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def geometry(shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """Return how many positions a window has along each axis."""
    return tuple(
        out_size(n, k, s, q, d)
        for n, k, s, q, d in zip(shape, kernel, stride, padding, dilation, strict=True)
    )


def slices(kernel: Any, stride: Any, dilation: Any, out: Any) -> Iterator[tuple[Any, ...]]:
    """Yield, for each position within the window, the index of what all windows see there."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            yield (
                slice(None),
                slice(top, top + stride[0] * (out[0] - 1) + 1, stride[0]),
                slice(left, left + stride[1] * (out[1] - 1) + 1, stride[1]),
                ...,
            )
