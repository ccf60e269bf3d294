"""Which calls the kernels for NumPy's arrays take."""

from typing import Any

import numpy as np

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def is_vector(x: Any, size: int, dtype: Any) -> bool:
    """Return whether an argument is left out, or a plain array of this size and dtype."""
    return x is None or (type(x) is np.ndarray and x.shape == (size,) and x.dtype == dtype)
