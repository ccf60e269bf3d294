"""Reading ``.npz``, trusting nothing that the file says of itself.

A ``.npz`` is a zip file of ``.npy`` files, see ``numpy.lib.format``. NumPy's own reader would
unpickle objects if it were allowed to, evaluates the header as Python text, and allocates what it
says; this one takes numbers alone, matches the header against the only form it can have, and
compares sizes first.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from freezeviz.errors import WeightsError
from freezeviz.io import _files
from freezeviz.io._files import ArrayHeader, shown

# Compressed weights are a little smaller than plain ones; constant ones are a thousand times
# smaller, and so are bombs. Small files may be as constant as they like.
_RATIO, _FREE = 16, 16 * 2**20

# The three entries in any order. `*+` gives nothing back: no long row of spaces is tried twice.
_ENTRY = (
    r"""\s*+['"](?:descr['"]\s*+:\s*+['"](?P<dtype%d>[<>|=]?[a-zA-Z?]\d{0,2})['"]"""
    r"""|fortran_order['"]\s*+:\s*+(?P<order%d>True|False)"""
    r"""|shape['"]\s*+:\s*+\((?P<shape%d>[\dL,\s]*+)\))\s*+"""
)
_HEADER = re.compile(
    r"\{" + ",".join(_ENTRY.replace("%d", str(i)) for i in range(3)) + r"(?:,\s*+)?\}\s*+"
)

# What zipfile raises for a file that is not what it says.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,  # encrypted; a NotImplementedError for an unknown way to compress
    ValueError,
    OverflowError,
    OSError,  # seeks to impossible places
    EOFError,
    KeyError,
    IndexError,
)


def headers(file: IO[bytes], size: int, where: str) -> dict[str, ArrayHeader]:
    """Return what the file says of its arrays."""
    return _read(file, size, None, where, lambda member, header, order, place: header)


def load(
    file: IO[bytes], size: int, names: Iterable[str] | None, where: str
) -> dict[str, np.ndarray]:
    """Return the arrays, or those asked for."""
    return _read(file, size, names, where, _array)


def _read(file: IO[bytes], size: int, names: Any, where: str, use: Any) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, size, where)
            found = {}
            for name in _files.wanted(members, names, where):
                place = f"{where}: {shown(name)}"
                with archive.open(members[name]) as member:
                    header, byteorder, fortran = _header(member, members[name].file_size, place)
                    found[name] = use(member, header, (byteorder, fortran), place)
            return found
    except WeightsError:
        raise
    except _DAMAGE as error:
        raise WeightsError(f"{where} cannot be read as npz: {str(error)[:200]}") from error


def _members(archive: zipfile.ZipFile, size: int, where: str) -> dict[str, zipfile.ZipInfo]:
    """Return the members by the names of their arrays, if the file can hold them."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        _files.check_name(name, where)
        if name in members:
            raise WeightsError(f"{where} names {shown(name)} twice")
        # Of the others, zipfile decompresses a block whole, however long that comes out.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WeightsError(
                f"{where}: {shown(name)} is compressed in a way that is not supported; "
                "save it with numpy.savez"
            )
        members[name] = member
    packed = sum(member.compress_size for member in members.values())
    full = sum(member.file_size for member in members.values())
    if packed > size:
        raise WeightsError(f"{where} has {size} bytes, its members say that they have {packed}")
    if full > size * _RATIO + _FREE:
        raise WeightsError(
            f"{where} has {size} bytes and would unpack to {full}: more than weights can be "
            "compressed. If it can be trusted, save it uncompressed, with numpy.savez."
        )
    return members


def _header(member: IO[bytes], size: int, where: str) -> tuple[ArrayHeader, str, bool]:
    """Return an array's header, its byte order, and whether it lies in Fortran's order."""
    start = member.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise WeightsError(f"{where} is no array in NumPy's format")
    wide = 2 if start[6] == 1 else 4
    length = int.from_bytes(member.read(wide), "little")
    if length > 10_000:  # NumPy's own limit; 128 bytes is usual
        raise WeightsError(f"{where} has a header of {length} bytes, expected at most 10000")
    text = member.read(length).decode("latin1")
    match = _HEADER.fullmatch(text)
    if len(text) < length or match is None:
        raise WeightsError(f"{where} has a header that is none of numbers: {shown(text)}")
    values = {k[:-1]: v for k, v in match.groupdict().items() if v is not None}
    if not {"dtype", "order", "shape"} <= values.keys():
        raise WeightsError(f"{where} has a header that is incomplete: {shown(text)}")
    dtype = _dtype(values["dtype"], where)
    # "3L" is how Python 2 wrote it.
    shape = tuple(int(n.strip(" L\n\t")) for n in values["shape"].split(",") if n.strip())
    _files.check_shape(shape, where)
    header = ArrayHeader(dtype.name, shape)
    rest = size - 8 - wide - length
    if header.nbytes != rest:
        raise WeightsError(
            f"{where} of shape {shown(shape)} and dtype {dtype} has {header.nbytes} bytes, "
            f"the file has {rest} for it"
        )
    return header, dtype.byteorder, values["order"] == "True"


def _dtype(text: str, where: str) -> np.dtype:
    if text.endswith("O"):
        raise WeightsError(f"{where} holds pickled objects, which are never loaded")
    try:
        # NumPy knows further names, some of them deprecated; files have these.
        if text.lstrip("<>|=")[0] in "?biufc":
            return np.dtype(text)
    except TypeError:
        pass
    raise WeightsError(f"{where} holds {shown(text)}, expected numbers or booleans")


def _array(member: Any, header: ArrayHeader, order: tuple[str, bool], where: str) -> np.ndarray:
    byteorder, fortran = order
    if not fortran:
        array = _files.read_array(member, header, byteorder, where)
    else:
        turned = ArrayHeader(header.dtype, header.shape[::-1])
        array = np.asarray(_files.read_array(member, turned, byteorder, where).T, order="C")
    if member.read(1):  # the last read makes zipfile compare the checksum, too
        raise WeightsError(f"{where} goes on after the array")
    return array
