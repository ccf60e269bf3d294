"""Files of named arrays: ``.safetensors`` and ``.npz``."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from freezeviz.errors import WeightsError

__all__ = ["load_arrays", "save_arrays"]


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
        If the suffix is neither.
    """
    path = Path(path)
    _check_suffix(path)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import save_file

            save_file(contiguous, temporary)
        else:
            with temporary.open("wb") as file:
                np.savez(file, **contiguous)
        # A reader, or a crash, sees the old file or the new one, never half of one.
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name.

    Raises
    ------
    WeightsError
        If the suffix is neither ``.safetensors`` nor ``.npz``, or the file is damaged. Nothing
        in a file is ever executed.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    _check_suffix(path)
    if not path.exists():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, MemoryError):
        raise
    except _damage() as error:
        raise WeightsError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error


def _damage() -> tuple[type[Exception], ...]:
    from safetensors import SafetensorError

    errors: tuple[Any, ...] = (SafetensorError, zipfile.BadZipFile, ValueError, KeyError, EOFError)
    return errors


def _check_suffix(path: Path) -> None:
    if path.suffix not in (".safetensors", ".npz"):
        raise WeightsError(f"{path} ends with {path.suffix!r}, expected '.safetensors' or '.npz'")
