"""What convolutions do with one image: its products, and its way into and out of the cache.

The product of a convolution is one of windows and weights. A row of a window, `kw * channels`
values, lies in one piece in the image; the windows of every `kw`-th position do not overlap, so
they are the rows of a matrix that BLAS can read where they are. So there is nothing to cut out:
one product for each row of the kernel and each remainder of the position by `kw`. Positions are
counted through the whole image: those that reach from one row into the next are computed, too, and
left out ("wide" results have a row as long as the image's).

With few channels these products are too thin, and windows are cut out: a "narrow" convolution.
"""

import numba as nb

from freezeviz.autodiff._numba._blas import gemm
from freezeviz.autodiff._numba._compiled import FAST

f4 = nb.float32


@nb.njit(inline="always")
def _positions(ho, wo, wp, kw, phase):
    """Return how many positions of a wide result have this remainder."""
    return ((ho - 1) * wp + wo - phase + kw - 1) // kw


@nb.njit
def wide_product(blas, x, weight, z, ho, wo, wp, c, kh, kw, o):
    """Compute the wide result at the address `z` from an image and weights at theirs."""
    run = kw * c
    for phase in range(kw):
        m = _positions(ho, wo, wp, kw, phase)
        for i in range(kh):
            a, w = x + (i * wp + phase) * c * 4, weight + i * run * 4
            beta = 0.0 if i == 0 else 1.0
            to = z + phase * o * 4
            gemm(blas, m, o, run, a, run, False, w, kh * run, True, beta, to, kw * o)


@nb.njit
def wide_to_weight(blas, x, z, dw, ho, wo, wp, c, kh, kw, o):
    """Add an image's part of the weight's gradient, from the cotangent of the wide result."""
    run = kw * c
    for phase in range(kw):
        m = _positions(ho, wo, wp, kw, phase)
        for i in range(kh):
            a, to = x + (i * wp + phase) * c * 4, dw + i * run * 4
            gemm(blas, o, run, m, z + phase * o * 4, kw * o, True, a, run, False, 1.0, to, kh * run)


@nb.njit
def wide_to_image(blas, dx, weight, z, ho, wo, wp, c, kh, kw, o):
    """Add the image's gradient, from the cotangent of the wide result."""
    run = kw * c
    for phase in range(kw):
        m = _positions(ho, wo, wp, kw, phase)
        for i in range(kh):
            a, w = z + phase * o * 4, weight + i * run * 4
            to = dx + (i * wp + phase) * c * 4
            gemm(blas, m, run, o, a, kw * o, False, w, kh * run, False, 1.0, to, run)


@nb.njit
def cut(x, start, columns, ho, wo, wp, c, kh, kw):
    """Write the windows of an image, which begins at `start`, one after the other."""
    run, at = kw * c, 0
    for h in range(ho):
        for w in range(wo):
            for i in range(kh):
                first = start + ((h + i) * wp + w) * c
                for j in range(run):
                    columns[at + j] = x[first + j]
                at += run


@nb.njit
def add_back(columns, dx, start, ho, wo, wp, c, kh, kw):
    """Add windows to where they were cut out."""
    run, at = kw * c, 0
    for h in range(ho):
        for w in range(wo):
            for i in range(kh):
                first = start + ((h + i) * wp + w) * c
                for j in range(run):
                    dx[first + j] += columns[at + j]
                at += run


@nb.njit
def pad(image, padded, top, left, wp):
    """Write an image into the middle of a padded one."""
    h, w, c = image.shape
    for i in range(h):
        first = ((top + i) * wp + left) * c
        for j in range(w):
            for k in range(c):
                padded[first + j * c + k] = image[i, j, k]


@nb.njit
def unpad(padded, image, top, left, wp):
    """Write the middle of a padded image."""
    h, w, c = image.shape
    for i in range(h):
        first = ((top + i) * wp + left) * c
        for j in range(w):
            for k in range(c):
                image[i, j, k] = padded[first + j * c + k]


@nb.njit(fastmath=FAST)
def finish(z, pitch, bias, y, relu):
    """Write an image's values from its product: with bias, and ReLU perhaps."""
    ho, wo, o = y.shape
    for h in range(ho):
        for w in range(wo):
            first = (h * pitch + w) * o
            to = y[h, w]
            for k in range(o):
                v = z[first + k] + bias[k]
                to[k] = f4(0.0) if relu and v < f4(0.0) else v


@nb.njit(fastmath=FAST)
def finish_pooled(z, pitch, bias, y, which, keep, relu):
    """Write the largest of each two by two values, and which it was; 4 and more: ReLU ended it."""
    ho, wo, o = y.shape
    for h in range(ho):
        for w in range(wo):
            a = (2 * h * pitch + 2 * w) * o
            b, c, d = a + o, a + pitch * o, a + pitch * o + o
            to = y[h, w]
            if keep:
                at = which[h, w]
                for k in range(o):
                    v, n = z[a + k], nb.uint8(0)
                    # NaN is the largest, as it is for NumPy and PyTorch.
                    u = z[b + k]
                    n = nb.uint8(1) if u > v or u != u else n
                    v = u if u > v or u != u else v
                    u = z[c + k]
                    n = nb.uint8(2) if u > v or u != u else n
                    v = u if u > v or u != u else v
                    u = z[d + k]
                    n = nb.uint8(3) if u > v or u != u else n
                    v = u if u > v or u != u else v
                    v += bias[k]
                    at[k] = nb.uint8(4) if relu and v <= f4(0.0) else n
                    to[k] = f4(0.0) if relu and v < f4(0.0) else v
            else:
                for k in range(o):
                    v = z[a + k]
                    u = z[b + k]
                    v = u if u > v or u != u else v
                    u = z[c + k]
                    v = u if u > v or u != u else v
                    u = z[d + k]
                    v = u if u > v or u != u else v
                    v += bias[k]
                    to[k] = f4(0.0) if relu and v < f4(0.0) else v


@nb.njit(fastmath=FAST)
def begin(g, y, relu, z, pitch):
    """Write the product's cotangent from that of the value."""
    ho, wo, o = g.shape
    for h in range(ho):
        for w in range(wo):
            first = (h * pitch + w) * o
            gi = g[h, w]
            if relu:
                yi = y[h, w]
                for k in range(o):
                    z[first + k] = gi[k] if yi[k] > f4(0.0) else f4(0.0)
            else:
                for k in range(o):
                    z[first + k] = gi[k]


@nb.njit(fastmath=FAST)
def begin_pooled(g, which, z, pitch):
    """Write the product's cotangent from that of the pooled value."""
    ho, wo, o = g.shape
    for h in range(ho):
        for w in range(wo):
            a = (2 * h * pitch + 2 * w) * o
            b, c, d = a + o, a + pitch * o, a + pitch * o + o
            gi, at = g[h, w], which[h, w]
            for k in range(o):
                v, n = gi[k], at[k]
                z[a + k] = v if n == 0 else f4(0.0)
                z[b + k] = v if n == 1 else f4(0.0)
                z[c + k] = v if n == 2 else f4(0.0)
                z[d + k] = v if n == 3 else f4(0.0)


@nb.njit(fastmath=FAST)
def add_columns(z, rows, o, db):
    """Add the sums of the columns of the product's cotangent."""
    for r in range(rows):
        for k in range(o):
            db[k] += z[r * o + k]
