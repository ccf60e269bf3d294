"""Writing files of named arrays."""

import os
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from freezeviz.errors import WeightsError


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """See `freezeviz.io.save_arrays`."""
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
