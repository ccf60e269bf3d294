"""A model's rows in the form that goes over the wire: columns once, then one byte a row."""

from typing import Any

import numpy as np

from freezeviz.explorer import Structure

# The same numbers stand in static/explorer.js.
FLAG_PARAMETER, FLAG_BUFFERS = 1, 2
BIT_HELD, BIT_PENDING = 4, 8


def columns(structure: Structure, version: int) -> dict[str, Any]:
    """Return the structure as JSON-able columns; kinds and details, which repeat, as dictionaries.

    `version` tells structures apart: the page keeps what it has while the number stays the same.
    """
    kinds, kind_of = _coded(structure.kinds)
    details, detail_of = _coded(structure.details)
    flags = structure.is_parameter * FLAG_PARAMETER + structure.has_buffers * FLAG_BUFFERS
    return {
        "version": version,
        "labels": list(structure.labels),
        "parents": structure.parent.tolist(),
        "kinds": kinds,
        "kind_of": kind_of,
        "details": details,
        "detail_of": detail_of,
        "counts": structure.n_parameters.tolist(),
        "flags": flags.tolist(),
        "aliases": {str(i): ", ".join(a) for i, a in enumerate(structure.aliases) if a},
    }


def state_bytes(states: np.ndarray, held: np.ndarray, pending: np.ndarray) -> bytes:
    """Return one byte a row: the state in bits 0 and 1, held, requested but not yet applied."""
    packed = states + held * np.uint8(BIT_HELD) + pending * np.uint8(BIT_PENDING)
    return packed.astype(np.uint8).tobytes()


def _coded(values: tuple[str, ...]) -> tuple[list[str], list[int]]:
    codes: dict[str, int] = {}
    coded = [codes.setdefault(value, len(codes)) for value in values]
    return list(codes), coded
