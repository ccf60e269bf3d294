"""Maximum pooling of 2x2 windows that lie side by side."""

import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._fused._pool import max_pool2d
from freezeviz.autodiff._numpy._calls import DTYPES
from freezeviz.autodiff._numpy._masks import let_through
from freezeviz.autodiff._sets import Kernels

# Of what is read and written for some images at a time, so that it stays in the cache.
_BLOCK_BYTES = 1 << 20


def _quarters(z: np.ndarray) -> list[np.ndarray]:
    """Return the entries of each window by their position in it; an odd last row is left out."""
    h, w = z.shape[1] // 2 * 2, z.shape[2] // 2 * 2
    return [z[:, i:h:2, j:w:2] for i in (0, 1) for j in (0, 1)]


def halve(z: np.ndarray, out: np.ndarray, which: np.ndarray | None) -> None:
    """Write the maximum of each window, and if asked for the position of the first one."""
    a, b, c, d = _quarters(z)
    top, bottom = np.maximum(a, b), np.maximum(c, d)
    np.maximum(top, bottom, out=out)
    if which is None:
        return
    right, below = b > a, bottom > top
    # The right one of the top two or of the bottom two. Of truth values in bytes these operations
    # take a tenth of a choice with np.where.
    other = d > c
    other ^= right
    other &= below
    right ^= other
    np.multiply(below.view(np.uint8), 2, out=which)
    which += right.view(np.uint8)


def unpool(g: np.ndarray, which: np.ndarray, z: np.ndarray) -> None:
    """Write the cotangent of each window to the position of its maximum, and zeros elsewhere."""
    h, w = z.shape[1:3]
    if h % 2 or w % 2:
        z[:, h // 2 * 2 :] = 0
        z[:, :, w // 2 * 2 :] = 0
    g = np.ascontiguousarray(g)
    for k, quarter in enumerate(_quarters(z)):
        let_through(g, which == k, quarter)


def _accepts(needs, x, *, kernel_size, stride, padding=(0, 0)):
    return (
        kernel_size == (2, 2)
        and stride == (2, 2)
        and padding == (0, 0)
        and type(x) is np.ndarray
        and x.dtype in DTYPES
        and x.size > 0
    )


def _blocks(shape: tuple[int, ...], itemsize: int) -> list[slice]:
    n, h, w, c = shape
    step = max(1, _BLOCK_BYTES // (h * w * c * itemsize))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def _forward(needs, x, *, kernel_size, stride, padding=(0, 0)):
    n, h, w, c = x.shape
    out = _pool.empty((n, h // 2, w // 2, c), x.dtype)
    which = _pool.empty(out.shape, np.uint8) if needs[0] else None
    for block in _blocks(x.shape, x.itemsize):
        halve(x[block], out[block], None if which is None else which[block])
    return out, (which, x.shape) if needs[0] else None


def _backward(g, needs, residual):
    which, shape = residual
    dx = _pool.empty(shape, g.dtype)
    for block in _blocks(shape, g.itemsize):
        unpool(g[block], which[block], dx[block])
    return (dx,)


max_pool2d.add(Kernels("numpy", _accepts, _forward, _backward))
