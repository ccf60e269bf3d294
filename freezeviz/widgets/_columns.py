"""A model's rows in the form that goes over the wire: columns once, then one byte a row."""

from typing import Any

import numpy as np

from freezeviz.explorer import Structure

# The same numbers stand in static/js/wire.js.
FLAG_PARAMETER, FLAG_BUFFERS = 1, 2
BIT_HELD, BIT_PENDING, BIT_LOCKED = 4, 8, 16


def columns(structure: Structure, version: int) -> dict[str, Any]:
    """Return the structure as columns; texts, which repeat, as dictionaries and codes.

    Numbers are bytes, little-endian: int32, but float64 for counts and uint8 for flags. 100,000
    modules with two parameters each are 8 MB.

    Parameters
    ----------
    structure : Structure
    version : int
        Tells structures apart: the page keeps what it has while the number stays the same.
    """
    labels, label_of = _coded(structure.labels)
    kinds, kind_of = _coded(structure.kinds)
    details, detail_of = _coded(structure.details)
    flags = structure.is_parameter * FLAG_PARAMETER + structure.has_buffers * FLAG_BUFFERS
    return {
        "version": version,
        "labels": labels,
        "label_of": label_of,
        "parents": structure.parent.astype("<i4").tobytes(),
        "kinds": kinds,
        "kind_of": kind_of,
        "details": details,
        "detail_of": detail_of,
        "counts": structure.n_parameters.astype("<f8").tobytes(),
        "bytes": structure.n_bytes.astype("<f8").tobytes(),
        "flags": flags.astype(np.uint8).tobytes(),
        "aliases": {str(i): list(a) for i, a in enumerate(structure.aliases) if a},
    }


def state_bytes(
    states: np.ndarray, held: np.ndarray, pending: np.ndarray, locked: np.ndarray
) -> bytes:
    """Return one byte a row: the state in bits 0 and 1, held, requested, locked; all (rows,)."""
    packed = (
        states
        + held * np.uint8(BIT_HELD)
        + pending * np.uint8(BIT_PENDING)
        + locked * np.uint8(BIT_LOCKED)
    )
    return packed.astype(np.uint8).tobytes()


def _coded(values: tuple[str, ...]) -> tuple[list[str], bytes]:
    codes: dict[str, int] = {}
    coded = [codes.setdefault(value, len(codes)) for value in values]
    return list(codes), np.array(coded, "<i4").tobytes()
