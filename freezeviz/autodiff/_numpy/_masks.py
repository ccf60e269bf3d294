"""Where a mask is true, quickly."""

import numpy as np

_BITS = {4: np.dtype(np.int32), 8: np.dtype(np.int64)}
_BYTE = np.dtype(np.int8)


def let_through(g: np.ndarray, mask: np.ndarray, out: np.ndarray) -> None:
    """Write `g` where a mask is true, and zeros elsewhere, even for what is not finite.

    Parameters
    ----------
    g, out : array of one dtype and shape
    mask : boolean array
        Overwritten.
    """
    # An "and" with the bits of -1 or 0: a tenth of the time of a copy with a mask, which guesses
    # wrongly at every second entry. NumPy widens the mask piece by piece, in the cache.
    bits, ones = _BITS[g.itemsize], mask.view(_BYTE)
    np.negative(ones, ones)
    np.bitwise_and(g.view(bits), ones, out.view(bits))
