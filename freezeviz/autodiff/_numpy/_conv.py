"""Two-dimensional convolution of blocks of images whose windows stay in the cache.

The windows ("columns") of all images are kernel height times kernel width the input: cut out at
once, they would go through the main memory three times in a step, and so they are cut out again
for the weight's gradient. What follows a block's product is done while its result is at hand.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from freezeviz.autodiff import _pool
from freezeviz.autodiff._count import on_product
from freezeviz.autodiff._fused._conv import conv2d
from freezeviz.autodiff._fused._windows import geometry, slices
from freezeviz.autodiff._numpy._calls import DTYPES
from freezeviz.autodiff._numpy._masks import let_through
from freezeviz.autodiff._numpy._pool2d import halve, unpool
from freezeviz.autodiff._sets import Kernels

# Columns of so many bytes, within a second-level cache; but so many rows that a product is worth
# the call, and the sum of the blocks' weight gradients little beside it.
_BLOCK_BYTES = 3 << 19
_BLOCK_ROWS = 768
# Shorter runs of the input are copied by position in the window, where they are longer.
_SHORT_RUN = 8
_SUM = 256

Pair = tuple[int, int]


class _Call(NamedTuple):
    """The sizes of a convolution."""

    images: int
    size: Pair
    inputs: int
    kernel: Pair
    outputs: int
    stride: Pair
    padding: Pair
    dilation: Pair
    out: Pair

    @property
    def rows(self) -> int:
        """How many windows there are in an image."""
        return self.out[0] * self.out[1]

    @property
    def width(self) -> int:
        """How many values there are in a window."""
        return self.kernel[0] * self.kernel[1] * self.inputs

    @property
    def padded(self) -> Pair:
        return self.size[0] + 2 * self.padding[0], self.size[1] + 2 * self.padding[1]

    @property
    def pointwise(self) -> bool:
        """Whether the windows are the input's own positions."""
        ones = (1, 1)
        return self.kernel == ones and self.stride == ones and self.padding == (0, 0)

    def step(self, itemsize: int) -> int:
        """Return how many images a block has."""
        step = _BLOCK_BYTES // (self.rows * self.width * itemsize)
        return min(self.images, max(step, -(-_BLOCK_ROWS // self.rows)))

    def blocks(self, itemsize: int) -> Iterator[slice]:
        step = self.step(itemsize)
        for start in range(0, self.images, step):
            yield slice(start, min(start + step, self.images))


def _call(x_shape, weight_shape, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    n, h, w, c = x_shape
    kernel = tuple(weight_shape[1:3])
    out = geometry((h, w), kernel, stride, padding, dilation)
    return _Call(
        n, (h, w), c, kernel, weight_shape[0], stride, padding, dilation, out  # pyright: ignore
    )  # fmt: skip


class _Columns:
    """The windows of one block of images after the other, all in the same memory."""

    def __init__(self, x: np.ndarray, call: _Call):
        self._x, self._call = x, call
        step = call.step(x.itemsize)
        # With few channels, what lies side by side in a window is short, and a position of the
        # window in a row of the image is longer: then a window is a column, else a row.
        self._turned = call.kernel[1] * call.inputs < _SHORT_RUN
        self._windows = None
        if call.pointwise and x.flags.c_contiguous:
            return
        self._memory = _pool.empty((step * call.rows * call.width,), x.dtype)
        self._padded = None
        if any(call.padding):
            x = self._padded = _pool.empty((step, *call.padded, call.inputs), x.dtype)
            x.fill(0)
        sn, sh, sw, sc = x.strides
        (down, right), (far, wide) = call.stride, call.dilation
        shape = x.shape[0], *call.out, *call.kernel, call.inputs
        strides = sn, sh * down, sw * right, sh * far, sw * wide, sc
        self._windows = as_strided(x, shape, strides, writeable=False)

    def of(self, block: slice) -> np.ndarray:
        """Return the windows of these images as a matrix with a row for each."""
        call = self._call
        n = block.stop - block.start
        if self._windows is None:
            return self._x[block].reshape(n * call.rows, call.width)
        if self._padded is None:
            windows = self._windows[block]
        else:
            (top, left), (h, w) = call.padding, call.size
            np.copyto(self._padded[:n, top : top + h, left : left + w], self._x[block])
            windows = self._windows[:n]
        flat = self._memory[: n * call.rows * call.width]
        if self._turned:
            windows = windows.transpose(3, 4, 5, 0, 1, 2)
            np.copyto(flat.reshape(windows.shape), windows)
            return flat.reshape(call.width, n * call.rows).T
        np.copyto(flat.reshape(windows.shape), windows)
        return flat.reshape(n * call.rows, call.width)


def _accepts(needs, x, weight, bias, *, groups=1, activation=None, pool=None, **windows):
    return (
        groups == 1
        and pool in (None, 2)
        and activation in (None, "relu")
        and type(x) is type(weight) is np.ndarray
        and x.dtype == weight.dtype
        and x.dtype in DTYPES
        and (bias is None or (type(bias) is np.ndarray and bias.dtype == x.dtype))
        and x.size > 0
        and weight.size > 0
        and min(_call(x.shape, weight.shape, **windows).out) > 0
    )


def _forward(needs, x, weight, bias, *, activation=None, pool=None, **windows):
    call = _call(x.shape, weight.shape, **windows)
    flat = weight.reshape(call.outputs, call.width)
    h, w = call.out
    side = pool or 1
    out = _pool.empty((call.images, h // side, w // side, call.outputs), x.dtype)
    which = _pool.empty(out.shape, np.uint8) if pool and any(needs) else None
    scratch = None
    if pool:
        scratch = _pool.empty((call.step(x.itemsize), h, w, call.outputs), x.dtype)
    on_product((call.images * call.rows, call.width), (call.width, call.outputs))
    columns = _Columns(x, call)
    for block in call.blocks(x.itemsize):
        part, windows_of = out[block], columns.of(block)
        y = part if scratch is None else scratch[: part.shape[0]]
        np.matmul(windows_of, flat.T, out=y.reshape(-1, call.outputs))
        if pool:
            halve(y, part, None if which is None else which[block])
        # The largest value stays the largest with a bias and under ReLU: a quarter is left to do.
        # Of values that the bias rounds to one number, `which` may name another than the first.
        if bias is not None:
            part += bias
        if activation:
            np.maximum(part, 0, out=part)
            if which is not None:
                which[block] |= (part <= 0).view(np.uint8) << 2
    kept_x = x if needs[1] else None
    kept_weight = weight if needs[0] else None
    value = out if activation and not pool and any(needs) else None
    return out, (kept_x, kept_weight, value, which, call) if any(needs) else None


def _cotangents(
    g: np.ndarray, value: Any, which: Any, call: _Call
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the cotangent of the product, one block of images after the other."""
    scratch: Any = None
    if value is not None or which is not None:
        scratch = _pool.empty((call.step(g.itemsize), *call.out, call.outputs), g.dtype)
    for block in call.blocks(g.itemsize):
        part = g[block]
        if which is not None:
            z = scratch[: part.shape[0]]
            unpool(part, which[block], z)
        elif value is not None:
            z = scratch[: part.shape[0]]
            let_through(np.ascontiguousarray(part), value[block] > 0, z)
        else:
            z = np.ascontiguousarray(part)
        yield block, z


def _backward(g, needs, residual):
    x, weight, value, which, call = residual
    rows = call.images * call.rows
    dx: Any = None
    dw = db = pulled = columns = part_of_dw = None
    if needs[0]:
        dx = _pool.empty((call.images, *call.size, call.inputs), g.dtype)
        on_product((rows, call.outputs), (call.outputs, call.width))
        pulled = _puller(weight, call)
    if needs[1]:
        dw = np.zeros((call.width, call.outputs), g.dtype)
        part_of_dw = np.empty_like(dw)
        on_product((call.outputs, rows), (rows, call.width))
        columns = _Columns(x, call)
    if needs[2]:
        db = np.zeros(call.outputs)  # of many blocks: in float32 the sum would lose a digit
    for block, z in _cotangents(g, value, which, call):
        flat = z.reshape(-1, call.outputs)
        if db is not None:
            db += _sum_of_rows(flat)
        if columns is not None:
            dw += np.matmul(columns.of(block).T, flat, out=part_of_dw)
        if pulled is not None:
            pulled(z, dx[block])
    if dw is not None:
        dw = np.ascontiguousarray(dw.T).reshape(call.outputs, *call.kernel, call.inputs)
    return dx, dw, None if db is None else db.astype(g.dtype)


def _sum_of_rows(flat: np.ndarray) -> np.ndarray:
    """Return the sum over the rows, added up block by block as `sum_rows` does.

    As a product with ones: that takes a quarter of the time of a reduction.
    """
    n, width = flat.shape
    whole = n - n % _SUM
    ones = np.ones((1, _SUM), flat.dtype)
    sums = np.matmul(ones, flat[:whole].reshape(-1, _SUM, width))
    total = sums.sum(axis=0, dtype=np.float64)[0]
    return total if whole == n else total + np.matmul(ones[0, : n - whole], flat[whole:])


def _puller(weight: np.ndarray, call: _Call) -> Any:
    """Return what writes the input's cotangent of a block, from that of the product."""
    if call.pointwise:
        return _Pointwise(weight, call)
    side_by_side = call.stride[1] == call.dilation[1] == 1
    return _RowByRow(weight, call) if side_by_side else _TapByTap(weight, call)


class _Pointwise:
    def __init__(self, weight: np.ndarray, call: _Call):
        self._weight, self._call = weight.reshape(call.outputs, call.inputs), call

    def __call__(self, z: np.ndarray, dx: np.ndarray) -> None:
        call = self._call
        np.matmul(z.reshape(-1, call.outputs), self._weight, out=dx.reshape(-1, call.inputs))


class _Adding:
    """What adds cotangents of windows up, in the padded image where there is a padding."""

    def __init__(self, weight: np.ndarray, call: _Call):
        self._call = call
        self._step = call.step(weight.itemsize)
        self._padded = None
        if any(call.padding):
            self._padded = _pool.empty((self._step, *call.padded, call.inputs), weight.dtype)

    def __call__(self, z: np.ndarray, dx: np.ndarray) -> None:
        if self._padded is None:
            self._add(z, dx)
            return
        (top, left), (h, w) = self._call.padding, self._call.size
        padded = self._padded[: z.shape[0]]
        self._add(z, padded)
        np.copyto(dx, padded[:, top : top + h, left : left + w])

    def _add(self, z: np.ndarray, dx: np.ndarray) -> None:
        raise NotImplementedError


class _RowByRow(_Adding):
    """Within a row of the kernel the product itself adds up.

    An input position is seen by as many windows of a row as the kernel is wide. Their cotangents,
    side by side, times the weights of that row of the kernel: what is left to add are the rows,
    which lie in one piece. That is quicker than to add every position of the kernel by itself.
    """

    def __init__(self, weight: np.ndarray, call: _Call):
        super().__init__(weight, call)
        (kh, kw), o, c = call.kernel, call.outputs, call.inputs
        self._weight = np.ascontiguousarray(weight.transpose(2, 0, 1, 3)).reshape(kw * o, kh * c)
        (h, _), wide = call.out, call.padded[1]
        self._seen = _pool.empty((self._step, h, wide, kw, o), weight.dtype)
        self._seen.fill(0)  # beyond the first and last window of a row there is none
        self._rows = _pool.empty((self._step * h * wide, kh * c), weight.dtype)

    def _add(self, z: np.ndarray, dx: np.ndarray) -> None:
        call, n = self._call, z.shape[0]
        (kh, kw), (h, w) = call.kernel, call.out
        seen = self._seen[:n]
        for j in range(kw):
            np.copyto(seen[:, :, j : j + w, j], z)
        rows = self._rows[: n * h * call.padded[1]]
        np.matmul(seen.reshape(-1, kw * call.outputs), self._weight, out=rows)
        parts = rows.reshape(n, h, call.padded[1], kh, call.inputs)
        down, far = call.stride[0], call.dilation[0]
        first = slice(0, down * (h - 1) + 1, down)
        if down == 1:
            dx[:, h:] = 0
        else:
            dx.fill(0)
        np.copyto(dx[:, first], parts[..., 0, :])
        for i in range(1, kh):
            target = dx[:, i * far : i * far + down * (h - 1) + 1 : down]
            np.add(target, parts[..., i, :], out=target)


class _TapByTap(_Adding):
    """Every position of the kernel is added by itself: for any stride and dilation."""

    def __init__(self, weight: np.ndarray, call: _Call):
        super().__init__(weight, call)
        (kh, kw), o, c = call.kernel, call.outputs, call.inputs
        self._weight = np.ascontiguousarray(weight.transpose(1, 2, 0, 3)).reshape(kh * kw, o, c)
        self._taps = _pool.empty((kh * kw, self._step * call.rows, c), weight.dtype)

    def _add(self, z: np.ndarray, dx: np.ndarray) -> None:
        call, n = self._call, z.shape[0]
        taps = self._taps[:, : n * call.rows]
        np.matmul(z.reshape(-1, call.outputs), self._weight, out=taps)
        parts = taps.reshape(-1, n, *call.out, call.inputs)
        dx.fill(0)
        where = slices(call.kernel, call.stride, call.dilation, call.out)
        for index, part in zip(where, parts, strict=True):
            target = dx[index]
            np.add(target, part, out=target)


conv2d.add(Kernels("numpy", _accepts, _forward, _backward))
