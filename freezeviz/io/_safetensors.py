"""Reading ``.safetensors``, trusting nothing that the file says of itself.

The format is 8 bytes of length, a JSON header of that length, and the arrays' bytes without gaps:
https://github.com/huggingface/safetensors#format. Every number in it is checked against the size
of the file before it is used.
"""

from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from freezeviz.errors import WeightsError
from freezeviz.io import _files
from freezeviz.io._files import ArrayHeader, shown
from freezeviz.io._json import LIMIT, parse_json

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}


def headers(file: IO[bytes], size: int, where: str) -> dict[str, ArrayHeader]:
    """Return what the file says of its arrays, in the order in which they lie."""
    return {name: header for name, (header, _) in _entries(file, size, where).items()}


def load(
    file: IO[bytes], size: int, names: Iterable[str] | None, where: str
) -> dict[str, np.ndarray]:
    """Return the arrays, or those asked for."""
    entries = _entries(file, size, where)
    arrays = {}
    for name in _files.wanted(entries, names, where):
        header, begin = entries[name]
        file.seek(begin)
        arrays[name] = _files.read_array(file, header, "<", f"{where}: {shown(name)}")
    return arrays


def _entries(file: IO[bytes], size: int, where: str) -> dict[str, tuple[ArrayHeader, int]]:
    """Return each array's header and the place of its first byte."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise WeightsError(
            f"{where} is no whole safetensors file: it has {size} bytes, "
            f"and its header alone would have {length}"
        )
    if length > LIMIT:
        raise WeightsError(f"{where} has a header of {length} bytes, expected at most {LIMIT}")
    header = parse_json(file.read(length), f"{where}: the header")
    if not isinstance(header, dict):
        raise WeightsError(f"{where}: the header is {shown(header)}, expected names and arrays")
    _check_metadata(header.pop("__metadata__", {}), where)
    for name in header:
        _files.check_name(name, where)
    entries = [(_range(entry, name, where), name, entry) for name, entry in header.items()]
    entries.sort(key=lambda each: each[0])
    found, at = {}, 0
    for (begin, end), name, entry in entries:
        if begin != at:
            how = "overlaps another one" if begin < at else "leaves a gap before it"
            raise WeightsError(f"{where}: {shown(name)} lies at bytes {begin} to {end} and {how}")
        found[name] = _checked(entry, end - begin, f"{where}: {shown(name)}"), 8 + length + begin
        at = end
    if at != size - 8 - length:
        raise WeightsError(
            f"{where}: the arrays have {at} bytes, the file has {size - 8 - length} for them: "
            "it is truncated, or something was appended"
        )
    return found


def _check_metadata(metadata: Any, where: str) -> None:
    if metadata is None:  # what MLX writes
        return
    if not isinstance(metadata, dict) or any(type(v) is not str for v in metadata.values()):
        raise WeightsError(
            f"{where}: '__metadata__' is {shown(metadata)}, expected strings by name"
        )


def _range(entry: Any, name: str, where: str) -> tuple[int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise WeightsError(
            f"{where}: {shown(name)} is {shown(entry)}, expected a dtype, a shape and data_offsets"
        )
    offsets = entry["data_offsets"]
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise WeightsError(f"{where}: {shown(name)} has impossible offsets, {shown(offsets)}")
    return offsets[0], offsets[1]


def _checked(entry: dict[str, Any], nbytes: int, where: str) -> ArrayHeader:
    dtype, shape = entry["dtype"], entry["shape"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise WeightsError(
            f"{where} holds {shown(dtype)}, which is not supported; expected one of "
            f"{', '.join(_DTYPES)}. Convert it where it was saved."
        )
    if not _whole_numbers(shape):
        raise WeightsError(f"{where} has the impossible shape {shown(shape)}")
    _files.check_shape(tuple(shape), where)
    header = ArrayHeader(_DTYPES[dtype], tuple(shape))
    if header.nbytes != nbytes:
        raise WeightsError(
            f"{where} of shape {shown(header.shape)} and dtype {header.dtype} has {header.nbytes} "
            f"bytes, its offsets span {nbytes}"
        )
    return header


def _whole_numbers(value: Any) -> bool:
    """Return whether a value is a list of integers from 0 (true and false are none)."""
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)
