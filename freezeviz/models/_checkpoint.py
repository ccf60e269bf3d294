"""A directory as Hugging Face lays it out: which files, and what they say they hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from freezeviz import io
from freezeviz.errors import WeightsError
from freezeviz.io import ArrayHeader

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"


class Checkpoint:
    """A checkpoint whose files have been looked at, but whose arrays have not been read.

    Parameters
    ----------
    folder : Path
        Holds ``config.json``, and ``model.safetensors`` or, where there are several files of
        weights, ``model.safetensors.index.json``.

    Attributes
    ----------
    config : dict
    headers : dict of str to ArrayHeader
    files : dict of str to Path
        Where each array is.

    Raises
    ------
    FileNotFoundError
        If the directory or one of its files is missing.
    WeightsError
        If a file is damaged, is no file, or lies outside of the directory.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            if folder.exists():
                raise WeightsError(f"{folder} is a file, expected the directory with {CONFIG}")
            raise FileNotFoundError(f"no directory at {folder}")
        self.folder = folder
        config = io.read_json(_inside(folder, CONFIG))
        if not isinstance(config, dict):
            raise WeightsError(f"{folder / CONFIG} holds no names and values")
        self.config: dict[str, Any] = config
        self.headers: dict[str, ArrayHeader] = {}
        self.files: dict[str, Path] = {}
        if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
            self._add(_weights(folder))
        else:
            self._read_index()

    def _add(self, file: Path) -> None:
        for name, header in io.read_headers(file).items():
            if name in self.headers:
                raise WeightsError(
                    f"{file}: {name!r} is in {self.files[name].name}, too; expected it once"
                )
            self.headers[name] = header
            self.files[name] = file

    def _read_index(self) -> None:
        path = _inside(self.folder, INDEX)
        index = io.read_json(path)
        places = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(places, dict) or any(type(v) is not str for v in places.values()):
            raise WeightsError(f"{path} has no 'weight_map' of a file name for each array")
        for name in dict.fromkeys(places.values()):
            self._add(_inside(self.folder, name))
        for name, place in places.items():
            if name not in self.files or self.files[name] != self.folder / place:
                raise WeightsError(f"{path}: there is no {name[:100]!r} in {place[:100]!r}")
        for name in self.files:
            if name not in places:
                raise WeightsError(
                    f"{self.files[name]}: {name!r} is not in {INDEX}; expected every array there"
                )

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Return arrays by name, read file by file."""
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self.files[name], []).append(name)
        arrays: dict[str, np.ndarray] = {}
        for file, wanted in by_file.items():
            arrays |= io.load_arrays(file, wanted)
        return arrays


def _weights(folder: Path) -> Path:
    path = _inside(folder, WEIGHTS)
    if not path.exists() and any(folder.glob("pytorch_model*.bin")):
        raise WeightsError(
            f"{folder} holds weights as pickles (pytorch_model.bin), which are never loaded: they "
            f"can run any code. Save them as {WEIGHTS}: model.save_pretrained() of transformers "
            "does, where they are trusted."
        )
    return path


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file of a directory, if that is where it lies.

    Links out of the directory are followed in one case: Hugging Face's cache, where the files in
    ``snapshots/<revision>`` are links to ``blobs``.
    """
    if not name or name in (".", "..") or any(c in name for c in "/\\\0") or Path(name).drive:
        raise WeightsError(f"{folder}: {name[:100]!r} is no plain name of a file in this directory")
    if Path(name).suffix not in (".json", ".safetensors"):
        raise WeightsError(f"{folder}: {name[:100]!r} is expected to end with .safetensors")
    path, home = folder / name, folder.resolve()
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:  # links that lead to each other
        raise WeightsError(f"{path} leads nowhere: {error}") from error
    homes = [home]
    if home.parent.name == "snapshots":
        homes.append(home.parent.parent / "blobs")
    if not any(target.is_relative_to(each) for each in homes):
        raise WeightsError(
            f"{path} is a link out of its directory, to {target}; put the file itself there"
        )
    return path
