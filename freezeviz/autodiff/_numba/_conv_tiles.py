"""What convolutions do with one image: its products, and its way into and out of the cache.

The product of a convolution is one of windows and weights. A row of a window, `kw * channels`
values, lies in one piece in the image, and so does the same row of the window beside it, a few
channels on: tiles read windows where they are, and there is nothing to cut out.

- Values, and the image's gradient: rows of a tile are positions side by side, its columns are
  channels. The gradient is the same with the weights turned around, of cotangents with a margin.
- The weights' gradient: rows of a tile are values of a row of the window, its sums go over
  positions.

A tile never reads beyond its image: where one reaches over the end of a row, it begins earlier,
and computes some positions again.
"""

import numba as nb

from freezeviz.autodiff._numba._compiled import FAST
from freezeviz.autodiff._numba._product import DEEP, add_small, cut, even, strip, tiles_of
from freezeviz.autodiff._numba._tile import COLUMNS, tile

f4 = nb.float32


@nb.njit
def correlate(image, wide, c, wo, kh, run, laid, z, pitch):
    """Compute a row of positions, of as many channels as a tile has columns.

    Parameters
    ----------
    image : int
        Address of the first window's first value.
    wide, c : int
        Entries from one row of the image to the next, and from one position.
    wo : int
        Positions, at least `FEWEST`.
    kh, run : int
        Rows of a window, and values in one.
    laid : int
        Address of the weights, a row of `COLUMNS` for each value of a window.
    z, pitch : int
        Address of the result, and entries there from one position to the next.
    """
    # An odd number is not for one tile: it would be higher than that.
    tiles, together = max(tiles_of(wo), 1 + wo % 2), max(1, DEEP // run)
    for t in range(tiles):
        first, end = cut(wo, tiles, t), cut(wo, tiles, t + 1)
        rows = even(end - first)
        first = min(first, wo - rows)
        for i in range(0, kh, together):
            a, b = image + (i * wide + first * c) * 4, laid + i * run * COLUMNS * 4
            n, to = min(together, kh - i), z + first * pitch * 4
            tile(rows, a, c, 1, run, n, wide, b, COLUMNS, run * COLUMNS, to, pitch, i > 0)


@nb.njit
def add_weights(image, wide, c, ho, wo, kh, run, z, z_wide, o, dw, small):
    """Add an image's part of the weights' gradient, which is kept turned: a row of `dw` a weight.

    Parameters
    ----------
    z, z_wide : int
        Address of the cotangents, and entries there from one row of positions to the next. Some
        are read beyond the end.
    """
    tiles = tiles_of(run)
    for p in range(0, o, COLUMNS):
        for i in range(kh):
            for t in range(tiles):
                first, end = cut(run, tiles, t), cut(run, tiles, t + 1)
                rows, at = even(end - first), i * run + first
                a, b, width = image + (i * wide + first) * 4, z + p * 4, min(COLUMNS, o - p)
                fits = width == COLUMNS and rows == end - first
                to = dw.ctypes.data + (at * o + p) * 4 if fits else small.ctypes.data
                tile(
                    rows, a, 1, c, wo, ho, wide, b, o, z_wide, to, o if fits else COLUMNS, fits
                )  # fmt: skip
                if not fits:
                    add_small(small, dw, at, at + end - first, p, p + width, True)


@nb.njit
def lay_turned(weight, kh, kw, c, o, panel, laid):
    """Lay out the weights by which the image's gradient is made, of one panel of its channels."""
    first, at = panel * COLUMNS, panel * COLUMNS * kh * kw * o
    for i in range(kh * kw):
        # Of the position on the other side of the window.
        from_ = (kh * kw - 1 - i) * c + first
        for k in range(o):
            row = weight[k]
            for j in range(COLUMNS):
                laid[at] = row[from_ + j] if first + j < c else f4(0.0)
                at += 1


@nb.njit
def add_back(z, o, wo, wide, laid, columns, dx, kh, run, c, small):
    """Add what a row of cotangents brings to the windows where they come from.

    Parameters
    ----------
    z : int
        Address of the cotangents, each of `o` channels. Some are read beyond the end.
    wide : int
        Entries from one row of the image to the next.
    columns : array of shape (wo, values of a window)
        For windows' gradients.
    dx : array with one axis
        The image's gradient, from the first window on.
    """
    tiles = tiles_of(wo)
    for t in range(tiles):
        i0, i1 = cut(wo, tiles, t), cut(wo, tiles, t + 1)
        a = z + i0 * o * 4
        n = columns.shape[1]
        strip(a, o, 1, o, laid, columns, i0, i1, 0, n, False, small, 0, 0, 0, 0)
    for w in range(wo):
        for i in range(kh):
            at = i * wide + w * c
            source, target = columns[w, i * run : (i + 1) * run], dx[at : at + run]
            for j in range(run):
                target[j] += source[j]


@nb.njit
def pad(image, padded, top, left, wp):
    """Write an image into the middle of a padded one."""
    h, w, c = image.shape
    for i in range(h):
        first = ((top + i) * wp + left) * c
        source, target = image[i].reshape(w * c), padded[first : first + w * c]
        for j in range(w * c):
            target[j] = source[j]


@nb.njit
def unpad(padded, image, top, left, wp):
    """Write the middle of a padded image."""
    h, w, c = image.shape
    for i in range(h):
        first = ((top + i) * wp + left) * c
        source, target = padded[first : first + w * c], image[i].reshape(w * c)
        for j in range(w * c):
            target[j] = source[j]


@nb.njit(fastmath=FAST)
def finish(z, wide, pitch, bias, y, relu):
    """Write rows of values from their product: with bias, and ReLU perhaps."""
    ho, wo, o = y.shape
    for h in range(ho):
        for w in range(wo):
            first = h * wide + w * pitch
            zi, to = z[first : first + o], y[h, w]
            for k in range(o):
                v = zi[k] + bias[k]
                to[k] = f4(0.0) if relu and v < f4(0.0) else v


@nb.njit(fastmath=FAST)
def finish_pooled(z, wide, pitch, bias, y, which, keep, relu):
    """Write the largest of each two by two values, and which it was; 4 and more: ReLU ended it."""
    ho, wo, o = y.shape
    for h in range(ho):
        for w in range(wo):
            a = 2 * h * wide + 2 * w * pitch
            za, zb = z[a : a + o], z[a + pitch : a + pitch + o]
            a += wide
            zc, zd = z[a : a + o], z[a + pitch : a + pitch + o]
            to = y[h, w]
            if keep:
                at = which[h, w]
                for k in range(o):
                    v, n = za[k], nb.uint8(0)
                    # NaN is the largest, as it is for NumPy and PyTorch.
                    u = zb[k]
                    n = nb.uint8(1) if u > v or u != u else n
                    v = u if u > v or u != u else v
                    u = zc[k]
                    n = nb.uint8(2) if u > v or u != u else n
                    v = u if u > v or u != u else v
                    u = zd[k]
                    n = nb.uint8(3) if u > v or u != u else n
                    v = u if u > v or u != u else v
                    v += bias[k]
                    at[k] = nb.uint8(4) if relu and v <= f4(0.0) else n
                    to[k] = f4(0.0) if relu and v < f4(0.0) else v
            else:
                for k in range(o):
                    v = za[k]
                    u = zb[k]
                    v = u if u > v or u != u else v
                    u = zc[k]
                    v = u if u > v or u != u else v
                    u = zd[k]
                    v = u if u > v or u != u else v
                    v += bias[k]
                    to[k] = f4(0.0) if relu and v < f4(0.0) else v


@nb.njit(fastmath=FAST)
def begin(g, y, relu, z, wide):
    """Write the product's cotangent from that of the value."""
    ho, wo, o = g.shape
    for h in range(ho):
        for w in range(wo):
            first = h * wide + w * o
            zi, gi = z[first : first + o], g[h, w]
            if relu:
                yi = y[h, w]
                for k in range(o):
                    zi[k] = gi[k] if yi[k] > f4(0.0) else f4(0.0)
            else:
                for k in range(o):
                    zi[k] = gi[k]


@nb.njit(fastmath=FAST)
def begin_pooled(g, which, z, wide):
    """Write the product's cotangent from that of the pooled value."""
    ho, wo, o = g.shape
    for h in range(ho):
        for w in range(wo):
            a = 2 * h * wide + 2 * w * o
            za, zb = z[a : a + o], z[a + o : a + 2 * o]
            a += wide
            zc, zd = z[a : a + o], z[a + o : a + 2 * o]
            gi, at = g[h, w], which[h, w]
            for k in range(o):
                v, n = gi[k], at[k]
                za[k] = v if n == 0 else f4(0.0)
                zb[k] = v if n == 1 else f4(0.0)
                zc[k] = v if n == 2 else f4(0.0)
                zd[k] = v if n == 3 else f4(0.0)


@nb.njit(fastmath=FAST)
def add_columns(z, wide, ho, wo, o, db):
    """Add the sums over the positions of the product's cotangent."""
    for h in range(ho):
        for w in range(wo):
            first = h * wide + w * o
            zi = z[first : first + o]
            for k in range(o):
                db[k] += zi[k]
