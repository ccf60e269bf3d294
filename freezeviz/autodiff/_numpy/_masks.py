"""Where a mask is true, quickly."""

import numpy as np

_BITS = {4: np.int32, 8: np.int64}


def let_through(g: np.ndarray, mask: np.ndarray, out: np.ndarray) -> None:
    """Write `g` where a mask is true, and zeros elsewhere, even for what is not finite.

    Parameters
    ----------
    g, out : array of one dtype and shape, whose last axis lies in one piece
    mask : boolean array
        Overwritten.
    """
    # An "and" with the bits of -1 or 0: a tenth of the time of a copy with a mask, which guesses
    # wrongly at every second entry.
    bits = _BITS[g.itemsize]
    short = mask.view(np.int8)
    np.negative(short, out=short)
    np.bitwise_and(g.view(bits), short.astype(bits), out=out.view(bits))
