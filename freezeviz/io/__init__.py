"""Files of named arrays, ``.safetensors`` and ``.npz``; files may come from strangers.

What a file says of itself is compared with its size before anything is allocated, nothing in it
is ever executed, and one that is not in order gives a `WeightsError` and nothing else.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from freezeviz.errors import WeightsError
from freezeviz.io import _npz, _safetensors, _save
from freezeviz.io._files import ArrayHeader, open_file
from freezeviz.io._json import LIMIT, parse_json

__all__ = ["ArrayHeader", "load_arrays", "read_headers", "read_json", "save_arrays"]

_READERS: dict[str, Any] = {".npz": _npz, ".safetensors": _safetensors}


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a file, whole or not at all.

    Parameters
    ----------
    path : path
        The suffix decides: ``.safetensors`` or ``.npz``.
    arrays : mapping of str to array

    Raises
    ------
    WeightsError
        If the suffix is neither, or an array does not hold numbers.
    FileNotFoundError
        If there is no such directory.
    """
    path = Path(path)
    _reader(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no directory {path.parent} to save {path.name} in")
    _save.save(path, arrays)


def load_arrays(
    path: str | os.PathLike[str], names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name.

    Parameters
    ----------
    path : path
        The suffix decides: ``.safetensors`` or ``.npz``.
    names : iterable of str, optional
        Reads these only.

    Returns
    -------
    dict of str to array
        Of the dtypes in the file, in the machine's byte order; bfloat16, which NumPy does not
        have, becomes float32 without loss.

    Raises
    ------
    WeightsError
        If the suffix is neither, the file is damaged or holds what no weights file should, or
        lacks one of the `names`. Nothing in a file is ever executed, and no more is allocated
        than its size warrants.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    reader = _reader(path)
    file, size = open_file(path)
    with file:
        return reader.load(file, size, names, str(path))


def read_headers(path: str | os.PathLike[str]) -> dict[str, ArrayHeader]:
    """Return dtype and shape of the arrays of a file by name, without reading them.

    Raises
    ------
    WeightsError, FileNotFoundError
        As `load_arrays` does.
    """
    path = Path(path)
    reader = _reader(path)
    file, size = open_file(path)
    with file:
        return reader.headers(file, size, str(path))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the value in a JSON file.

    Raises
    ------
    WeightsError
        If it is no JSON, has a name twice or a number that is not finite, or is larger than the
        files that go with weights are (16 MiB).
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    file, size = open_file(path)
    with file:
        if size > LIMIT:
            raise WeightsError(f"{path} has {size} bytes, expected at most {LIMIT}")
        return parse_json(file.read(size), str(path))


def _reader(path: Path) -> Any:
    if path.suffix not in _READERS:
        raise WeightsError(f"{path} ends with {path.suffix!r}, expected '.safetensors' or '.npz'")
    return _READERS[path.suffix]
