"""Files of named arrays: ``.safetensors`` and ``.npz``."""

import os
import threading
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

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
        If the suffix is neither, or an array does not hold numbers.
    """
    path = Path(path)
    _check_suffix(path)
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc":
            raise WeightsError(
                f"{name!r} holds {array.dtype}: a weights file takes numbers and booleans only"
            )
    # asarray, not ascontiguousarray, which would make scalars one-dimensional.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    # The thread's number, too: two threads may save to one path.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        if path.suffix == ".safetensors":
            _save_safetensors(temporary, contiguous)
        else:
            _save_npz(temporary, contiguous)
        # A reader, or a crash, sees the old file or the new one, never half of one.
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _save_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, path)
    except SafetensorError as error:
        raise WeightsError(f"not to be saved as safetensors, but as .npz: {error}") from error


def _save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    # Not np.savez: it takes the names as keyword arguments, beside "file" and "allow_pickle".
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


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
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(".npy"): _read_npy(archive, name) for name in archive.namelist()
            }
    except (OSError, MemoryError):
        raise
    except _damage() as error:
        raise WeightsError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error


def _read_npy(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _damage() -> tuple[type[Exception], ...]:
    from safetensors import SafetensorError

    # RuntimeError: a zip file that says it is encrypted, or compressed in some unknown way.
    # TypeError, AttributeError: dtypes that NumPy does not have, such as bfloat16.
    return (
        SafetensorError,
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        ValueError,
        KeyError,
        EOFError,
        TypeError,
        AttributeError,
    )


def _check_suffix(path: Path) -> None:
    if path.suffix not in (".safetensors", ".npz"):
        raise WeightsError(f"{path} ends with {path.suffix!r}, expected '.safetensors' or '.npz'")
