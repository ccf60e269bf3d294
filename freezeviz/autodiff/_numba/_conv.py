"""Convolution with ReLU and pooling: image by image, from product to result in the cache."""

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._count import on_product
from freezeviz.autodiff._fused import conv2d
from freezeviz.autodiff._numba import _conv_tiles as tiles
from freezeviz.autodiff._numba._compiled import FLAG, INT, kernel, read, write
from freezeviz.autodiff._numba._launch import (
    MATRIX,
    SMALL,
    VECTOR,
    is_plain,
    launch,
    most_threads,
)
from freezeviz.autodiff._numba._product import lay_right
from freezeviz.autodiff._numba._tile import COLUMNS, FEWEST, LANES, ROWS
from freezeviz.autodiff._sets import Kernels

f4 = nb.float32
# Channels below which an image's gradient is made of windows: a tile would be too broad for it.
_NARROW = 16
# Numbers of weights that stay in the cache beside a few rows of an image.
_FEW = 1 << 17
# Of the padding, the kernel, and of the padded image its width; see `_Sizes`.
_SIZES = (INT, INT, INT, INT, INT, INT, INT)
_BYTES4 = write(4, nb.uint8)


@kernel(
    *(read(4), read(2), read(1), write(4), _BYTES4, FLAG, FLAG, FLAG),
    *(write(1), write(2), write(2), *_SIZES, INT),
    parallel=True,
)
def _conv(
    x, weight, bias, y, which, relu, pooled, keep,
    laid, results, padded, top, left, kh, kw, ho, wo, wp, threads,
):  # fmt: skip
    n, h, w, c = x.shape
    o, width = weight.shape
    panels = (o + COLUMNS - 1) // COLUMNS
    for p in nb.prange(panels):
        to = laid[p * COLUMNS * width :]
        lay_right(weight, True, p * COLUMNS, min(o, (p + 1) * COLUMNS), 0, width, to)
    size, pitch = (n + threads - 1) // threads, panels * COLUMNS
    used = ho // 2 * 2 if pooled else ho
    block = 2 if laid.size <= _FEW else used
    for t in nb.prange(threads):
        z, p = results[t], padded[t]
        if top or left:
            for i in range(p.size):
                p[i] = f4(0.0)
        for image in range(t * size, min(n, (t + 1) * size)):
            at = x.ctypes.data + image * h * w * c * 4
            if top or left:
                tiles.pad(x[image], p, top, left, wp)
                at = p.ctypes.data
            for first in range(0, used, block):
                end = min(used, first + block)
                # All rows with one panel of weights, and only then the next: there may be many.
                for panel in range(panels):
                    for row in range(first, end):
                        tiles.correlate(
                            at + row * wp * c * 4, wp * c, c, wo, kh, kw * c,
                            laid.ctypes.data + panel * COLUMNS * width * 4,
                            z.ctypes.data + ((row - first) * wo * pitch + panel * COLUMNS) * 4,
                            pitch,
                        )  # fmt: skip
                if pooled:
                    a, b = first // 2, end // 2
                    where = which[image, a:b] if keep else which[0]
                    to = y[image, a:b]
                    tiles.finish_pooled(z, wo * pitch, pitch, bias, to, where, keep, relu)
                else:
                    tiles.finish(z, wo * pitch, pitch, bias, y[image, first:end], relu)


@kernel(
    *(read(4), read(4), read(4), read(4, nb.uint8), FLAG, FLAG, read(2)),
    *(write(4), write(2), write(1), FLAG, FLAG, FLAG, write(3), write(2, nb.float64)),
    *(write(1), write(2), write(2), write(2), write(3), write(2), FLAG, *_SIZES, INT),
    parallel=True,
)
def _conv_back(
    x, g, y, which, relu, pooled, weight, dx, dw, db, to_x, to_w, to_b, dws, dbs,
    laid, results, padded, dpadded, columns, small, narrow,
    top, left, kh, kw, ho, wo, wp, threads,
):  # fmt: skip
    n, o = g.shape[0], g.shape[3]
    c = dx.shape[3] if to_x else x.shape[3]
    h, w, run = ho + kh - 1 - 2 * top, wp - 2 * left, kw * c
    if to_x:
        if narrow:
            lay_right(weight, False, 0, kh * run, 0, o, laid)
        else:
            for panel in nb.prange((c + COLUMNS - 1) // COLUMNS):
                tiles.lay_turned(weight, kh, kw, c, o, panel, laid)
    size = (n + threads - 1) // threads
    # With a margin around them, windows of cotangents may reach over the edges.
    above, beside = (kh - 1, kw - 1) if to_x and not narrow else (0, 0)
    wide = (wo + 2 * beside) * o
    start = above * wide + beside * o
    for t in nb.prange(threads):
        z, p, dp = results[t], padded[t], dpadded[t]
        dwt, dbt = dws[t], dbs[t]
        # Nothing comes from positions that no window of a pooling has.
        for i in range(z.size):
            z[i] = f4(0.0)
        for i in range(p.size):
            p[i] = f4(0.0)
        if to_w:
            for i in range(dwt.shape[0]):
                for k in range(o):
                    dwt[i, k] = f4(0.0)
        if to_b:
            for i in range(o):
                dbt[i] = 0.0  # of all positions of all images: in float32 a digit would be lost
        inside = z[start:]
        za = inside.ctypes.data
        for image in range(t * size, min(n, (t + 1) * size)):
            if pooled:
                tiles.begin_pooled(g[image], which[image], inside, wide)
            else:
                tiles.begin(g[image], y[image] if relu else g[image], relu, inside, wide)
            if to_b:
                tiles.add_columns(inside, wide, ho, wo, o, dbt)
            if to_w:
                at = x.ctypes.data + image * h * w * c * 4
                if p.size > 1:
                    tiles.pad(x[image], p, top, left, wp)
                    at = p.ctypes.data
                tiles.add_weights(at, wp * c, c, ho, wo, kh, run, za, wide, o, dwt, small[t])
            if to_x and narrow:
                for i in range(dp.size):
                    dp[i] = f4(0.0)
                for row in range(ho):
                    tiles.add_back(
                        za + row * wide * 4, o, wo, wp * c, laid.ctypes.data, columns[t],
                        dp[row * wp * c :], kh, run, c, small[t],
                    )  # fmt: skip
                tiles.unpad(dp, dx[image], top, left, wp)
            elif to_x:
                whole = dx.ctypes.data + image * h * w * c * 4
                for panel in range((c + COLUMNS - 1) // COLUMNS):
                    first, fits = panel * COLUMNS, (panel + 1) * COLUMNS <= c
                    b = laid.ctypes.data + first * kh * kw * o * 4
                    for row in range(h):
                        a = z.ctypes.data + ((row + top) * wide + left * o) * 4
                        to = whole + (row * w * c + first) * 4 if fits else columns[t].ctypes.data
                        pitch = c if fits else COLUMNS
                        tiles.correlate(a, wide, o, w, kh, kw * o, b, to, pitch)
                        if not fits:
                            for i in range(w):
                                source, target = columns[t, i], dx[image, row, i, first:c]
                                for k in range(c - first):
                                    target[k] = source[k]
    if to_w:
        for part in nb.prange((o + LANES - 1) // LANES):
            first, end = part * LANES, min(o, (part + 1) * LANES)
            for j in range(kh * run):
                for i in range(first, end):
                    total = f4(0.0)
                    for t in range(threads):
                        total += dws[t, j, i]
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


def _sizes(x, weight, padding) -> _Sizes:
    (_, h, w, _), (_, kh, kw, _) = x.shape, weight.shape
    top, left = padding
    wp = w + 2 * left
    return _Sizes(top, left, kh, kw, h + 2 * top - kh + 1, wp - kw + 1, wp)


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
        and min(sizes.wo, x.shape[2]) >= FEWEST
        and x.shape[0] * sizes.ho * sizes.wo * weight.size >= max(SMALL, 1)
    )


def _scratch(needed: bool, *shape: int, dtype: Any = np.float32) -> np.ndarray:
    return _pool.empty((most_threads(), *(shape if needed else (1,) * len(shape))), dtype)


def _laid(columns: int, rows: int) -> np.ndarray:
    """Return memory for weights laid out by tiles' columns."""
    return _pool.empty((-(-columns // COLUMNS) * COLUMNS * rows,), np.float32)


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
    laid = _laid(o, flat.shape[1])
    rows = 2 if laid.size <= _FEW else s.ho
    launch(
        _conv, x, flat, np.zeros(o, np.float32) if bias is None else bias, y, which,
        relu, bool(pool), keep, laid,
        _scratch(True, rows * s.wo * (laid.size // flat.shape[1])),
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
    to_x, to_w, to_b = needs
    dx = dw = db = None
    if to_x:
        on_product((rows, o), (o, width))
        dx = _pool.empty((n, h, w, c), np.float32)
    if to_w:
        on_product((o, rows), (rows, width))
        dw = _pool.empty((o, width), np.float32)
    if to_b:
        db = np.empty(o, np.float32)
    narrow = to_x and c < _NARROW
    above, beside = (s.kh - 1, s.kw - 1) if to_x and not narrow else (0, 0)
    image, run = (h + 2 * s.top) * s.wp * c, s.kw * c
    launch(
        _conv_back,
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
        _scratch(to_w, width, o),
        _scratch(to_b, o, dtype=np.float64),
        (_laid(width, o) if narrow else _laid(c, s.kh * s.kw * o)) if to_x else VECTOR,
        # Tiles read some values beyond the last.
        _scratch(True, (s.ho + 2 * above) * (s.wo + 2 * beside) * o + FEWEST * o + COLUMNS),
        _scratch(to_w and bool(s.top or s.left or run % 2 or run < FEWEST), image + FEWEST),
        _scratch(narrow, image),
        _scratch(to_x, *((s.wo, width) if narrow else (w, COLUMNS))),
        _scratch(to_w or narrow, ROWS * COLUMNS),
        narrow,
        *s,
    )
    return dx, None if dw is None else dw.reshape(shape), db


conv2d.add(Kernels("numba", _accepts, _forward, _backward))
