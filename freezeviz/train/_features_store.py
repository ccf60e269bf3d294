"""Rows of values by the number of their sample: in memory, or in a file that goes away."""

import contextlib
import errno
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from freezeviz.backend import array_namespace, to_numpy

Which = Any  # samples: a slice of their numbers, or an array of them


class Rows:
    """One row per sample, of which some are known.

    Parameters
    ----------
    samples : int
    like : array of shape (n, ...)
        Rows as they will come: their shape, dtype and library.
    spilled : bool
        Keep them in a memory-mapped temporary file. It is removed with this object, or earlier:
        where the system lets a mapped file lose its name, it has none from the beginning.
    """

    def __init__(self, samples: int, like: Any, spilled: bool) -> None:
        self._xp = xp = array_namespace(like)
        shape = (samples, *like.shape[1:])
        self.row_shape: tuple[int, ...] = tuple(like.shape[1:])
        self.dtype = like.dtype
        self.spilled = spilled
        self._array: Any = (
            _mapped(shape, like.dtype, self) if spilled else xp.empty(shape, dtype=like.dtype)
        )
        self._known = np.zeros(samples, bool)
        self._missing = samples

    @property
    def nbytes(self) -> int:
        """What the rows take, known or not."""
        return int(self._array.nbytes)

    @property
    def complete(self) -> bool:
        """Whether the rows of all samples are known."""
        return not self._missing

    def known(self, numbers: Which) -> np.ndarray:
        """Return for each of some samples, by numbers on the host, whether its row is known."""
        return self._known[numbers]

    def take(self, which: Which, numbers: Callable[[], Which] | None = None) -> Any:
        """Return a new array of the rows of some samples, which have to be known.

        What `numbers` gives are the same samples, by numbers on the host: for rows in a file.
        """
        if self.spilled and self._xp is not np:
            assert numbers is not None
            return self._xp.asarray(np.array(self._array[numbers()]))
        if isinstance(which, slice):
            return self._array[which].copy()
        if type(self._array) is np.ndarray:
            return self._array.take(which, axis=0)  # a third quicker than indexing
        return self._array[which]

    def put(self, which: Which, rows: Any, numbers: Which) -> None:
        """Keep the rows of some samples; `numbers` are the same, on the host."""
        if self.spilled:
            self._array[numbers] = to_numpy(rows)
        else:
            self._array[which] = rows
        self._known[numbers] = True
        self._missing = int(self._known.size - np.count_nonzero(self._known))


def free_disk() -> int:
    """Return how many bytes temporary files may take: half of what is free."""
    return shutil.disk_usage(tempfile.gettempdir()).free // 2


def _mapped(shape: tuple[int, ...], dtype: Any, owner: Rows) -> np.ndarray:
    handle, path = tempfile.mkstemp(prefix="freezeviz-features-")
    try:
        with os.fdopen(handle, "wb") as file:
            _reserve(file.fileno(), math.prod(shape) * np.dtype(dtype).itemsize)
        array = np.memmap(path, dtype, "r+", shape=shape)
    except BaseException:
        os.unlink(path)
        raise
    with contextlib.suppress(OSError):  # Windows keeps the name of what is mapped
        os.unlink(path)
    if os.path.exists(path):
        weakref.finalize(owner, _remove, path)
    return array


def _reserve(file: int, size: int) -> None:
    """Have room on the disk for a file, where the system can; else OSError.

    Where it cannot, a disk is found full when a row is put there, which ends the process.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, max(1, size))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
