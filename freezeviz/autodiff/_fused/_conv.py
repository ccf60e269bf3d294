"""Two-dimensional convolution, channels last."""

import math
from typing import Any

from freezeviz.autodiff import _functions as f
from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._count import gemm
from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._fused._pool import max_pool2d
from freezeviz.autodiff._fused._sums import sum_rows
from freezeviz.autodiff._fused._windows import geometry, slices
from freezeviz.backend import array_namespace

# The convolution is a matrix product with the input's windows ("columns"): for every output
# position, the kh * kw * channels values that the kernel sees there, cut out of the padded input
# by one strided slice per kernel position. The input's gradient adds the columns' gradient back
# through the same slices.


def _reference(
    x,
    weight,
    bias,
    *,
    stride=(1, 1),
    padding=(0, 0),
    dilation=(1, 1),
    groups=1,
    activation=None,
    pool=None,
):
    """Return the cross-correlation of `x` with `weight`.

    Parameters
    ----------
    x : array of shape (batch, height, width, in_channels)
    weight : array of shape (out_channels, kernel_height, kernel_width, in_channels / groups)
    bias : array of shape (out_channels,) or None
    stride, padding, dilation : pair of int
    groups : int
    activation : {"relu"}, optional
        Applied to the output.
    pool : int, optional
        Side of the windows, one beside the other, of which the maximum is taken at last.

    Returns
    -------
    array of shape (batch, out_height, out_width, out_channels)
    """
    _check(activation)
    kernel = tuple(weight.shape[1:3])
    out = geometry(x.shape[1:3], kernel, stride, padding, dilation)
    if any(padding):
        x = f.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    views = [p.getitem(x, index=index) for index in slices(kernel, stride, dilation, out)]
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
    y = y if bias is None else y + bias
    y = p.relu(y) if activation else y
    return max_pool2d.reference(y, **_side_by_side(pool)) if pool else y


def _check(activation) -> None:
    if activation not in (None, "relu"):
        raise ValueError(f"conv2d() ends with 'relu' or nothing, got {activation=!r}")


def _side_by_side(pool):
    return {"kernel_size": (pool, pool), "stride": (pool, pool)}


def _columns(x: Any, kernel, stride, padding, dilation, out, groups) -> Any:
    """Return the windows, of shape (groups, batch * positions, kernel * channels per group)."""
    xp = array_namespace(x)
    n, per = x.shape[0], x.shape[3] // groups
    padded = _padded(x, padding)
    padded = xp.reshape(padded, (*padded.shape[:3], groups, per))
    columns = xp.empty((groups, n, *out, kernel[0] * kernel[1], per), dtype=x.dtype)
    for k, index in enumerate(slices(kernel, stride, dilation, out)):
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


def _forward(needs, x, weight, bias, *, activation=None, pool=None, **windows):
    _check(activation)
    y, kept = _convolved(needs, x, weight, bias, **windows)
    if activation:
        y = p.relu(y)
    value = y if activation and any(needs) else None
    positions = None
    if pool:
        y, positions = max_pool2d.forward((any(needs),), y, **_side_by_side(pool))
    if value is not None and pool:
        # Where the largest value of a window is zero, ReLU let nothing through.
        value = y
    return y, (kept, value, positions if any(needs) else None)


def _backward(g, needs, residual):
    kept, value, positions = residual
    if value is not None:
        g = p.masked(g, mask=value > 0)
    if positions is not None:
        (g,) = max_pool2d.backward(g, (True,), positions)
    return _pulled(g, needs, kept)


def _convolved(needs, x, weight, bias, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    xp = array_namespace(x, weight)
    kernel = tuple(weight.shape[1:3])
    out = geometry(x.shape[1:3], kernel, stride, padding, dilation)
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


def _pulled(g, needs, residual):
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
        for k, index in enumerate(slices(kernel, stride, dilation, out)):
            full[index] += xp.permute_dims(dcolumns[..., k, :], (1, 2, 3, 0, 4))
        full = xp.reshape(full, (n, h + 2 * top, w + 2 * left, channels))
        dx = full[:, top : top + h, left : left + w, :]
    return dx, dw, db


conv2d = Fused("conv2d", _forward, _backward, _reference)
