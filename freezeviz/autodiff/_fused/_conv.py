"""Two-dimensional convolution, channels last."""

import math
from typing import Any

from freezeviz.autodiff import _functions as f
from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._count import gemm
from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._fused._sums import sum_rows
from freezeviz.backend import array_namespace

# The convolution is a matrix product with the input's windows ("columns"): for every output
# position, the kh * kw * channels values that the kernel sees there, cut out of the padded input
# by one strided slice per kernel position. The input's gradient adds the columns' gradient back
# through the same slices.


def out_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Return how many positions a window has along an axis of `size`."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _slices(kernel, stride, dilation, out):
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            yield (
                slice(None),
                slice(top, top + stride[0] * (out[0] - 1) + 1, stride[0]),
                slice(left, left + stride[1] * (out[1] - 1) + 1, stride[1]),
                ...,
            )


def _geometry(shape, kernel, stride, padding, dilation):
    return tuple(
        out_size(n, k, s, q, d)
        for n, k, s, q, d in zip(shape, kernel, stride, padding, dilation, strict=True)
    )


def _reference(x, weight, bias, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """Return the cross-correlation of `x` with `weight`.

    Parameters
    ----------
    x : array of shape (batch, height, width, in_channels)
    weight : array of shape (out_channels, kernel_height, kernel_width, in_channels / groups)
    bias : array of shape (out_channels,) or None
    stride, padding, dilation : pair of int
    groups : int

    Returns
    -------
    array of shape (batch, out_height, out_width, out_channels)
    """
    kernel = tuple(weight.shape[1:3])
    out = _geometry(x.shape[1:3], kernel, stride, padding, dilation)
    if any(padding):
        x = f.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    views = [p.getitem(x, index=index) for index in _slices(kernel, stride, dilation, out)]
    columns = f.stack(views, axis=3)
    per_in, per_out = weight.shape[3], weight.shape[0] // groups
    parts = []
    for group in range(groups):
        inner = slice(group * per_in, (group + 1) * per_in)
        outer = slice(group * per_out, (group + 1) * per_out)
        rows = f.reshape(columns[..., inner], (-1, kernel[0] * kernel[1] * per_in))
        flat = f.reshape(p.getitem(weight, index=(outer, ...)), (per_out, -1))
        parts.append(p.matmul(rows, p.swap(flat)))
    y = parts[0] if groups == 1 else f.concatenate(parts, axis=1)
    y = f.reshape(y, (x.shape[0], *out, weight.shape[0]))
    return y if bias is None else y + bias


def _columns(x: Any, kernel, stride, padding, dilation, out, groups) -> Any:
    """Return the windows, of shape (groups, batch * positions, kernel * channels per group)."""
    xp = array_namespace(x)
    n, per = x.shape[0], x.shape[3] // groups
    padded = _padded(x, padding)
    padded = xp.reshape(padded, (*padded.shape[:3], groups, per))
    columns = xp.empty((groups, n, *out, kernel[0] * kernel[1], per), dtype=x.dtype)
    for k, index in enumerate(_slices(kernel, stride, dilation, out)):
        columns[..., k, :] = xp.permute_dims(padded[index], (3, 0, 1, 2, 4))
    return xp.reshape(columns, (groups, n * out[0] * out[1], kernel[0] * kernel[1] * per))


def _padded(x: Any, padding) -> Any:
    if not any(padding):
        return x
    xp = array_namespace(x)
    (n, h, w, c), (top, left) = x.shape, padding
    padded = xp.zeros((n, h + 2 * top, w + 2 * left, c), dtype=x.dtype)
    padded[:, top : top + h, left : left + w, :] = x
    return padded


def _forward(needs, x, weight, bias, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    xp = array_namespace(x, weight)
    kernel = tuple(weight.shape[1:3])
    out = _geometry(x.shape[1:3], kernel, stride, padding, dilation)
    columns = _columns(x, kernel, stride, padding, dilation, out, groups)
    per_out = weight.shape[0] // groups
    flat = xp.reshape(weight, (groups, per_out, -1))
    if groups == 1:
        y = gemm(columns[0, ...], flat[0, ...].T)
    else:
        y = gemm(columns, xp.matrix_transpose(flat))  # (groups, positions, per_out)
        y = xp.reshape(xp.permute_dims(y, (1, 0, 2)), (-1, weight.shape[0]))
    if bias is not None:
        if bias.dtype == y.dtype:
            y += bias
        else:
            y = y + bias
    y = xp.reshape(y, (x.shape[0], *out, weight.shape[0]))
    # The columns are kh * kw times the input: keep the input and cut them again for dweight.
    kept_x = x if needs[1] else None
    kept_weight = weight if needs[0] else None
    shapes = (tuple(x.shape), tuple(weight.shape))
    return y, (kept_x, kept_weight, shapes, (stride, padding, dilation), groups, out)


def _backward(g, needs, residual):
    x, weight, (x_shape, weight_shape), (stride, padding, dilation), groups, out = residual
    xp = array_namespace(g)
    kernel, per_out = weight_shape[1:3], weight_shape[0] // groups
    dx = dw = db = None
    if needs[2]:
        db = sum_rows(xp.reshape(g, (math.prod(g.shape[:3]), groups * per_out)))
    flat_g = xp.reshape(g, (math.prod(g.shape[:3]), groups, per_out))
    flat_g = xp.permute_dims(flat_g, (1, 0, 2))  # (groups, positions, per_out)
    if needs[1]:
        columns = _columns(x, kernel, stride, padding, dilation, out, groups)
        dw = xp.reshape(gemm(xp.matrix_transpose(flat_g), columns), weight_shape)
    if needs[0]:
        flat = xp.reshape(weight, (groups, per_out, -1))
        dcolumns = gemm(flat_g, flat)
        n, h, w, channels = x_shape
        per = channels // groups
        dcolumns = xp.reshape(dcolumns, (groups, n, *out, kernel[0] * kernel[1], per))
        top, left = padding
        full = xp.zeros((n, h + 2 * top, w + 2 * left, groups, per), dtype=g.dtype)
        for k, index in enumerate(_slices(kernel, stride, dilation, out)):
            full[index] += xp.permute_dims(dcolumns[..., k, :], (1, 2, 3, 0, 4))
        full = xp.reshape(full, (n, h + 2 * top, w + 2 * left, channels))
        dx = full[:, top : top + h, left : left + w, :]
    return dx, dw, db


conv2d = Fused("conv2d", _forward, _backward, _reference)
