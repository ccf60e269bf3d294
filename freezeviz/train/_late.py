"""Numbers that a device computes: on their way to the host while both go on with other things."""

import importlib
from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np

from freezeviz.backend import array_namespace, to_numpy


class Late:
    """Single numbers, on their way from the device where they are computed.

    They are copied behind what was launched before, into pinned memory, so that `read` waits for
    that alone, and not for what was launched since.

    Parameters
    ----------
    numbers : sequence of arrays and numbers
        Of one element each; at least one of them an array.
    """

    def __init__(self, numbers: Sequence[Any]) -> None:
        xp = array_namespace(*numbers)
        row = xp.stack([xp.astype(xp.reshape(xp.asarray(x), ()), xp.float64) for x in numbers])
        self._row, self._there = row, None
        if array_api_compat.is_cupy_array(row):
            cuda = importlib.import_module("cupy").cuda
            pinned = importlib.import_module("cupyx").empty_pinned(len(numbers), np.float64)
            stream = cuda.get_current_stream()
            self._row = row.get(stream=stream, out=pinned, blocking=False)
            self._there = stream.record(cuda.Event(disable_timing=True))

    def read(self) -> list[float]:
        """Return the numbers, when they are there."""
        if self._there is not None:
            self._there.synchronize()
        return to_numpy(self._row).tolist()
