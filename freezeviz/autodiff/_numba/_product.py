"""Products of matrices within kernels, by tiles; each entry's sum is of the same bits anywhere.

The right-hand matrix is cut into blocks that stay in the second cache, `DEEP` by `_WIDE`, which
are laid out as tiles read them. Of the left-hand one, some rows at a time lie in the first cache.
How the result is shared among threads makes no difference to it: the sum behind an entry goes
from front to back, in blocks that follow from its length alone.
"""

import numba as nb

from freezeviz.autodiff._numba._finish import NONE, finish
from freezeviz.autodiff._numba._tile import (
    COLUMNS,
    FEWEST,
    LANES,
    ROWS,
    expect,
    move_columns,
    move_vectors,
    tile,
    turn,
)

f4 = nb.float32
DEEP, _WIDE = 256, 512
# Rows that lie a power of two apart would get in each other's way in the cache.
_PITCH = DEEP + LANES
_RIGHT = DEEP * _WIDE
_LEFT = max(ROWS * _PITCH, LANES * DEEP)
_LINE = 16  # entries that memory hands out at once
# Entries of a thread's scratch memory: blocks of both, and a tile.
SCRATCH = _RIGHT + _LEFT + ROWS * COLUMNS


@nb.njit
def share(m, n, threads, t):
    """Return the rows and columns of an (m, n) result that are the t-th thread's."""
    best, across = f4(0.0), 1
    for count in range(1, threads + 1):
        if threads % count == 0:
            rows = (m + threads // count - 1) // (threads // count)
            columns = ((n + count - 1) // count + COLUMNS - 1) // COLUMNS * COLUMNS
            # Multiplications, and beside them what it takes to lay out both matrices.
            cost = f4(rows) * f4(columns) + f4(8.0) * f4(rows + columns)
            if count == 1 or cost < best:
                best, across = cost, count
    down = threads // across
    rows = (m + down - 1) // down
    columns = ((n + across - 1) // across + COLUMNS - 1) // COLUMNS * COLUMNS
    i, j = t // across, t % across
    return min(m, i * rows), min(m, (i + 1) * rows), min(n, j * columns), min(n, (j + 1) * columns)


@nb.njit
def lay_right(b, turned, c0, c1, k0, k1, to):
    """Write a block of a matrix, or of its transpose, in rows of `COLUMNS`."""
    k, pitch = k1 - k0, b.shape[1]
    source, target = b.ctypes.data, to.ctypes.data
    for j in range(c0, c1, COLUMNS):
        start, width = (j - c0) * k, min(COLUMNS, c1 - j)
        if width < COLUMNS:
            for i in range(k):
                for w in range(COLUMNS):
                    to[start + i * COLUMNS + w] = f4(0.0)
        if not turned:
            if width == COLUMNS:
                a = source + (k0 * pitch + j) * 4
                move_columns(a, pitch, target + start * 4, COLUMNS, k)
            else:
                for i in range(k):
                    for w in range(width):
                        to[start + i * COLUMNS + w] = b[k0 + i, j + w]
            continue
        whole = k // LANES * LANES
        for w in range(0, width // LANES * LANES, LANES):
            a, at = source + ((j + w) * pitch + k0) * 4, target + (start + w) * 4
            for i in range(0, whole, LANES):
                turn(  # pyright: ignore[reportCallIssue]  Numba gives the first argument
                    a + i * 4, pitch, at + i * COLUMNS * 4, COLUMNS
                )
        for w in range(width):
            for i in range(whole if w < width // LANES * LANES else 0, k):
                to[start + i * COLUMNS + w] = b[j + w, k0 + i]


@nb.njit
def _lay_left(a, turned, i0, i1, k0, k1, to):
    """Copy a block of some rows, or a block of columns `LANES` wide."""
    pitch, k = a.shape[1], k1 - k0
    source, target = a.ctypes.data, to.ctypes.data
    if not turned:
        whole = k // LANES * LANES
        for i in range(i1 - i0):
            first, place = (i0 + i) * pitch + k0, i * _PITCH
            move_vectors(source + first * 4, LANES, target + place * 4, LANES, k // LANES)
            for j in range(whole, k):
                to[place + j] = a[i0 + i, k0 + j]
    elif i0 + LANES <= pitch:
        first = k0 * pitch + i0
        move_vectors(source + first * 4, pitch, target, LANES, k)
    else:
        for k in range(k1 - k0):
            for i in range(i1 - i0):
                to[k * LANES + i] = a[k0 + k, i0 + i]


@nb.njit
def tiles_of(rows):
    """Return how many tiles some rows make."""
    return ((rows + 1) // 2 + ROWS // 2 - 1) // (ROWS // 2)


@nb.njit
def cut(rows, tiles, t):
    """Return where the t-th tile begins: all are about as high, and of an even number of rows."""
    return min(rows, (rows + 1) // 2 * t // tiles * 2)


@nb.njit
def even(rows):
    """Return the height of the tile for some rows."""
    return max(FEWEST, (rows + 1) // 2 * 2)


@nb.njit
def add_small(small, y, i0, i1, c0, c1, more):
    """Write a tile, or add it, to where only a part of it fits."""
    for i in range(i0, i1):
        at = (i - i0) * COLUMNS
        source, target = small[at : at + c1 - c0], y[i, c0:c1]
        for j in range(c1 - c0):
            target[j] = target[j] + source[j] if more else source[j]


@nb.njit
def strip(left, row, step, k, right, y, i0, i1, c0, c1, more, small, soon, apart, pitch, lines):
    """Multiply some rows by a block; `small` has room for a tile that does not fit.

    Meanwhile, the rows that follow come nearer: `lines` of memory, `pitch` entries from one to the
    next and the first at the address `soon`, for each `_LINE` of `k`; those are `apart`.
    """
    height = even(i1 - i0)
    panels, pieces = (c1 - c0 + COLUMNS - 1) // COLUMNS, (k + _LINE - 1) // _LINE
    for panel in range(panels):
        for piece in range(panel * pieces // panels, (panel + 1) * pieces // panels):
            expect(  # pyright: ignore[reportCallIssue]  as above
                soon + piece * apart * 4, pitch, lines
            )
        j = c0 + panel * COLUMNS
        b, width = right + (j - c0) * k * 4, min(COLUMNS, c1 - j)
        if width == COLUMNS and height == i1 - i0:
            c = y.ctypes.data + (i0 * y.shape[1] + j) * 4
            tile(height, left, row, step, k, 1, 0, b, COLUMNS, 0, c, y.shape[1], more)
        else:
            c = small.ctypes.data
            tile(height, left, row, step, k, 1, 0, b, COLUMNS, 0, c, COLUMNS, False)
            add_small(small, y, i0, i1, j, j + width, more)


@nb.njit
def product(a, a_turned, b, b_turned, y, k, part, scratch, bias, biased, slope, activation, keep):
    """Write a part of a product, and finish it as a layer's value.

    Parameters
    ----------
    a, b : array with two axes
    a_turned, b_turned : bool
        Whether the transpose of one is multiplied.
    y : array of shape (m, n)
    k : int
        Length of the sums, at least one.
    part : four of int
        The rows and columns that are written; see `share`.
    scratch : array of `SCRATCH` entries
    bias, biased, slope, activation, keep
        See `_finish.finish`.
    """
    r0, r1, c0, c1 = part
    right, rest = scratch[:_RIGHT], scratch[_RIGHT:]
    left, small = rest[:_LEFT], rest[_LEFT:]
    row, step = (1, LANES) if a_turned else (_PITCH, 1)
    pitch = a.shape[1]
    apart, lines = (_LINE * pitch, _LINE) if a_turned else (_LINE, ROWS)
    blocks = (k + DEEP - 1) // DEEP
    depth = ((k + blocks - 1) // blocks + LANES - 1) // LANES * LANES
    tiles = tiles_of(r1 - r0)
    for j0 in range(c0, c1, _WIDE):
        j1 = min(c1, j0 + _WIDE)
        for k0 in range(0, k, depth):
            k1 = min(k, k0 + depth)
            lay_right(b, b_turned, j0, j1, k0, k1, right)
            for t in range(tiles):
                i0, i1 = r0 + cut(r1 - r0, tiles, t), r0 + cut(r1 - r0, tiles, t + 1)
                _lay_left(a, a_turned, i0, i1, k0, k1, left)
                # Of rows that go across, those not yet seen lie at their end.
                first = k0 * pitch + i1 + ROWS - 1 if a_turned else i1 * pitch + k0
                soon = a.ctypes.data + first * 4
                strip(
                    left.ctypes.data, row, step, k1 - k0, right.ctypes.data,
                    y, i0, i1, j0, j1, k0 > 0, small, soon, apart, pitch, lines,
                )  # fmt: skip
                if k1 == k and (biased or activation != NONE):
                    finish(y, slope, bias, biased, activation, keep, i0, i1, j0, j1)
