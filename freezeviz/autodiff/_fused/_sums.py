"""Sums over many rows that stay accurate in float32."""

from typing import Any

from freezeviz.backend import array_namespace

_BLOCK = 256


def sum_rows(x: Any) -> Any:
    """Return the sum over the rows of a matrix, added up block by block.

    NumPy adds leading axes one row after the other: in float32 the variance of an image batch of
    (64, 112, 112, 16) was off by 4e-4. In blocks, the error grows with the block and their number.
    """
    xp = array_namespace(x)
    n = x.shape[0]
    if n <= 2 * _BLOCK:
        return xp.sum(x, axis=0)
    whole = n // _BLOCK * _BLOCK
    blocks = xp.sum(xp.reshape(x[:whole, :], (-1, _BLOCK, x.shape[1])), axis=1)
    total = sum_rows(blocks)
    return total if whole == n else total + xp.sum(x[whole:, :], axis=0)
