"""What is common to the formats: opening a file, filling an array from it, naming things."""

import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from reprlib import Repr
from typing import IO, Any, NamedTuple

import numpy as np

from freezeviz.errors import WeightsError, closest

_LONGEST = 1000  # characters in a name
_CHUNK = 2**24  # bytes read at once: zipfile would make a copy of all

_repr = Repr()
_repr.maxstring = _repr.maxother = 100


class ArrayHeader(NamedTuple):
    """What a file says of an array, without the array.

    Attributes
    ----------
    dtype : str
        As it is stored: a NumPy name, or ``'bfloat16'``.
    shape : tuple of int
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def itemsize(self) -> int:
        """Bytes of one element in the file."""
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the array in the file."""
        return math.prod(self.shape) * self.itemsize


def shown(value: Any) -> str:
    """Return a value for a message: what a file holds may be very long."""
    return _repr.repr(value)


def open_file(path: Path) -> tuple[IO[bytes], int]:
    """Return a file opened for reading, and its size.

    Raises
    ------
    FileNotFoundError
        If there is none.
    WeightsError
        If it is no regular file: opening a pipe would wait for ever.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"no weights file at {path}") from None
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise WeightsError(f"{path} is {kind}, expected a file")
    file = path.open("rb")
    return file, os.fstat(file.fileno()).st_size


def check_name(name: str, where: str) -> None:
    """Raise for names that would fill every message about them."""
    if len(name) > _LONGEST:
        raise WeightsError(
            f"{where} has an array with a name of {len(name)} characters, "
            f"expected at most {_LONGEST}"
        )


def check_shape(shape: tuple[int, ...], where: str) -> None:
    """Raise unless NumPy can have an array of that shape, as far as its numbers go."""
    if len(shape) > 64:
        raise WeightsError(f"{where} has {len(shape)} axes, expected at most 64")
    # Axes first, for the product of unchecked numbers could itself be a very long one. Zeros are
    # left out: (0, 2**62) is empty, and still refused by NumPy.
    if any(not 0 <= n < 2**48 for n in shape) or math.prod(n or 1 for n in shape) >= 2**56:
        raise WeightsError(f"{where} has the impossible shape {shown(shape)}")


def read_array(file: Any, header: ArrayHeader, byteorder: Any, where: str) -> np.ndarray:
    """Return the array that starts where the file stands.

    Its size is to be checked against the file's before: this allocates it.
    """
    name = {"bfloat16": "uint16", "bool": "uint8"}.get(header.dtype, header.dtype)
    native = np.dtype(name)
    stored = native.newbyteorder(byteorder)
    array = np.empty(header.shape, native if stored == native else stored)
    view = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        n = file.readinto(view[done : done + _CHUNK])
        if not n:
            raise WeightsError(f"{where} ends after {done} of its {len(view)} bytes")
        done += n
    array = array.astype(native, copy=False)
    if header.dtype == "bool":
        return array != 0  # a byte that is neither 0 nor 1 would be no truth value for NumPy
    if header.dtype == "bfloat16":
        # The upper half of a float32, whose lower half is zero: exact.
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array


def wanted(known: Iterable[str], names: Iterable[str] | None, where: str) -> list[str]:
    """Return the names to be read: all, or those asked for."""
    known = list(known)
    if names is None:
        return known
    names = list(dict.fromkeys(names))
    have = set(known)
    for name in names:
        if name not in have:
            raise WeightsError(f"{where} has no array {shown(name)}.{closest(name, known)}")
    return names
