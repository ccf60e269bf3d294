"""Convolution with ReLU and pooling: image by image, from product to result in the cache."""

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._count import on_product
from freezeviz.autodiff._fused import conv2d
from freezeviz.autodiff._numba import _conv_tiles as tiles
from freezeviz.autodiff._numba._blas import SGEMM, gemm
from freezeviz.autodiff._numba._compiled import FLAG, INT, POINTER, kernel, read, write
from freezeviz.autodiff._numba._launch import (
    MATRIX,
    SMALL,
    VECTOR,
    is_plain,
    launch,
    most_threads,
)
from freezeviz.autodiff._sets import Kernels

f4 = nb.float32
# Values of a row of a window below which windows are cut out.
_NARROW = 16
# Of the padding, the kernel, and of the padded image its width; see `_Sizes`.
_SIZES = (INT, INT, INT, INT, INT, INT, INT, FLAG)
_BYTES4 = write(4, nb.uint8)


@kernel(
    *(POINTER, read(4), read(2), read(1), write(4), _BYTES4, FLAG, FLAG, FLAG),
    *(write(2), write(2), write(2), *_SIZES, INT),
    parallel=True,
)
def _conv(
    blas, x, weight, bias, y, which, relu, pooled, keep,
    results, columns, padded, top, left, kh, kw, ho, wo, wp, narrow, threads,
):  # fmt: skip
    n, h, w, c = x.shape
    o, width = weight.shape
    size = (n + threads - 1) // threads
    pitch = wo if narrow else wp
    flat = x.reshape(-1)
    wa = weight.ctypes.data
    for t in nb.prange(threads):
        z, p, cols = results[t], padded[t], columns[t]
        if top or left:
            for i in range((h + 2 * top) * wp * c):
                p[i] = f4(0.0)
        for image in range(t * size, min(n, (t + 1) * size)):
            start = image * h * w * c
            at = x.ctypes.data + start * 4
            if top or left:
                tiles.pad(x[image], p, top, left, wp)
                at = p.ctypes.data
            if narrow:
                if top or left:
                    tiles.cut(p, 0, cols, ho, wo, wp, c, kh, kw)
                else:
                    tiles.cut(flat, start, cols, ho, wo, wp, c, kh, kw)
                ca, za = cols.ctypes.data, z.ctypes.data
                gemm(blas, ho * wo, o, width, ca, width, False, wa, width, True, 0.0, za, o)
            else:
                tiles.wide_product(blas, at, wa, z.ctypes.data, ho, wo, wp, c, kh, kw, o)
            if pooled:
                where = which[image] if keep else which[0]
                tiles.finish_pooled(z, pitch, bias, y[image], where, keep, relu)
            else:
                tiles.finish(z, pitch, bias, y[image], relu)


@kernel(
    *(POINTER, read(4), read(4), read(4), read(4, nb.uint8), FLAG, FLAG, read(2)),
    *(write(4), write(2), write(1), FLAG, FLAG, FLAG, write(2), write(2, nb.float64)),
    *(write(2), write(2), write(2), write(2), INT, INT, *_SIZES, INT),
    parallel=True,
)
def _conv_back(
    blas, x, g, y, which, relu, pooled, weight,
    dx, dw, db, to_x, to_w, to_b, dws, dbs,
    results, columns, padded, dpadded, c, width, top, left, kh, kw, ho, wo, wp, narrow, threads,
):  # fmt: skip
    n, o = g.shape[0], g.shape[3]
    size = (n + threads - 1) // threads
    pitch = wo if narrow else wp
    flat, dflat = x.reshape(-1), dx.reshape(-1)
    wa = weight.ctypes.data
    for t in nb.prange(threads):
        z, p, dp, cols = results[t], padded[t], dpadded[t], columns[t]
        dwt, dbt = dws[t], dbs[t]
        # Nothing comes from positions that no window of a pooling has, and none is between rows.
        for i in range(ho * pitch * o):
            z[i] = f4(0.0)
        if to_w:
            for i in range(dwt.size):
                dwt[i] = f4(0.0)
            if top or left:
                for i in range(p.size):
                    p[i] = f4(0.0)
        if to_b:
            for i in range(o):
                dbt[i] = 0.0  # of all positions of all images: in float32 a digit would be lost
        for image in range(t * size, min(n, (t + 1) * size)):
            if pooled:
                tiles.begin_pooled(g[image], which[image], z, pitch)
            else:
                tiles.begin(g[image], y[image] if relu else g[image], relu, z, pitch)
            za = z.ctypes.data
            if to_b:
                tiles.add_columns(z, ho * pitch, o, dbt)
            if to_w:
                start = image * x.shape[1] * x.shape[2] * c
                at = x.ctypes.data + start * 4
                if top or left:
                    tiles.pad(x[image], p, top, left, wp)
                    at = p.ctypes.data
                da = dwt.ctypes.data
                if narrow:
                    if top or left:
                        tiles.cut(p, 0, cols, ho, wo, wp, c, kh, kw)
                    else:
                        tiles.cut(flat, start, cols, ho, wo, wp, c, kh, kw)
                    ca = cols.ctypes.data
                    gemm(blas, o, width, ho * wo, za, o, True, ca, width, False, 1.0, da, width)
                else:
                    tiles.wide_to_weight(blas, at, za, da, ho, wo, wp, c, kh, kw, o)
            if to_x:
                start = image * dx.shape[1] * dx.shape[2] * c
                at = dx.ctypes.data + start * 4
                if top or left:
                    at = dp.ctypes.data
                    for i in range(dp.size):
                        dp[i] = f4(0.0)
                else:
                    for i in range(start, start + dx.shape[1] * dx.shape[2] * c):
                        dflat[i] = f4(0.0)
                if narrow:
                    ca = cols.ctypes.data
                    gemm(blas, ho * wo, width, o, za, o, False, wa, width, False, 0.0, ca, width)
                    if top or left:
                        tiles.add_back(cols, dp, 0, ho, wo, wp, c, kh, kw)
                    else:
                        tiles.add_back(cols, dflat, start, ho, wo, wp, c, kh, kw)
                else:
                    tiles.wide_to_image(blas, at, wa, za, ho, wo, wp, c, kh, kw, o)
                if top or left:
                    tiles.unpad(dp, dx[image], top, left, wp)
    if to_w:
        for i in nb.prange(o):
            for j in range(width):
                total = f4(0.0)
                for t in range(threads):
                    total += dws[t, i * width + j]
                dw[i, j] = total
    if to_b:
        for k in range(o):
            sum_of_all = 0.0
            for t in range(threads):
                sum_of_all += dbs[t, k]
            db[k] = f4(sum_of_all)


class _Sizes(NamedTuple):
    """The sizes of a call: padding, kernel, result before pooling, width of the padded image."""

    top: int
    left: int
    kh: int
    kw: int
    ho: int
    wo: int
    wp: int
    narrow: bool


def _sizes(x, weight, padding) -> _Sizes:
    (_, h, w, c), (_, kh, kw, _) = x.shape, weight.shape
    top, left = padding
    wp = w + 2 * left
    return _Sizes(
        top, left, kh, kw, h + 2 * top - kh + 1, wp - kw + 1, wp, kw * c < _NARROW
    )  # fmt: skip


# As `VECTOR` and `MATRIX`: what stands for images that a call does not need.
_IMAGES = np.zeros((1, 1, 1, 1), np.float32)
_BYTES = np.zeros((1, 1, 1, 1), np.uint8)
_PLAIN = (1, 1)


def _accepts(
    needs: Any, x: Any, weight: Any, bias: Any, *, stride=_PLAIN, padding=(0, 0),
    dilation=_PLAIN, groups=1, activation=None, pool=None,
) -> bool:  # fmt: skip
    if not (is_plain(x) and is_plain(weight) and x.ndim == weight.ndim == 4):
        return False
    if not (bias is None or (is_plain(bias) and bias.shape == weight.shape[:1])):
        return False
    if not (groups == 1 and tuple(stride) == tuple(dilation) == _PLAIN and pool in (None, 2)):
        return False
    sizes = _sizes(x, weight, padding)
    smallest = pool or 1
    return (
        activation in (None, "relu")
        and x.shape[3] == weight.shape[3]
        and sizes.ho >= smallest
        and sizes.wo >= smallest
        and x.shape[0] * sizes.ho * sizes.wo * weight.size >= max(SMALL, 1)
    )


def _scratch(needed: bool, size: int, dtype: Any = np.float32) -> np.ndarray:
    return _pool.empty((most_threads(), size if needed else 1), dtype)


def _forward(needs, x, weight, bias, *, padding=(0, 0), activation=None, pool=None, **_):
    n, h, _, c = x.shape
    o = weight.shape[0]
    flat = weight.reshape(o, -1)
    s = _sizes(x, weight, padding)
    side = pool or 1
    relu, any_need = activation == "relu", any(needs)
    on_product((n * s.ho * s.wo, flat.shape[1]), (flat.shape[1], o))
    y = _pool.empty((n, s.ho // side, s.wo // side, o), np.float32)
    keep = bool(pool) and any_need
    which = _pool.empty(y.shape, np.uint8) if keep else _BYTES
    launch(
        _conv, SGEMM, x, flat, np.zeros(o, np.float32) if bias is None else bias, y, which,
        relu, bool(pool), keep,
        _scratch(True, s.ho * s.wp * o),
        _scratch(s.narrow, s.ho * s.wo * flat.shape[1]),
        _scratch(bool(s.top or s.left), (h + 2 * s.top) * s.wp * c),
        *s,
    )  # fmt: skip
    if not any_need:
        return y, None
    value = y if relu and not pool else None
    kept = x if needs[1] else None, weight if needs[0] else None
    return y, (*kept, value, which if keep else None, relu, x.shape, weight.shape, s)


def _backward(g, needs, residual):
    x, weight, value, which, relu, (n, h, w, c), shape, s = residual
    if not is_plain(g):
        g = np.ascontiguousarray(g, np.float32)
    o = shape[0]
    width = shape[1] * shape[2] * shape[3]
    rows = n * s.ho * s.wo
    dx = dw = db = None
    if needs[0]:
        on_product((rows, o), (o, width))
        dx = _pool.empty((n, h, w, c), np.float32)
    if needs[1]:
        on_product((o, rows), (rows, width))
        dw = _pool.empty((o, width), np.float32)
    if needs[2]:
        db = np.empty(o, np.float32)
    pads, image = bool(s.top or s.left), (h + 2 * s.top) * s.wp * c
    launch(
        _conv_back,
        SGEMM,
        _IMAGES if x is None else x,
        g,
        _IMAGES if value is None else value,
        _BYTES if which is None else which,
        relu and which is None,
        which is not None,
        MATRIX if weight is None else weight.reshape(o, width),
        _IMAGES if dx is None else dx,
        MATRIX if dw is None else dw,
        VECTOR if db is None else db,
        *needs,
        _scratch(dw is not None, o * width),
        _scratch(db is not None, o, np.float64),
        _scratch(True, s.ho * s.wp * o),
        _scratch(s.narrow, s.ho * s.wo * width),
        _scratch(pads and dw is not None, image),
        _scratch(pads and dx is not None, image),
        c,
        width,
        *s,
    )
    return dx, None if dw is None else dw.reshape(shape), db


conv2d.add(Kernels("numba", _accepts, _forward, _backward))
