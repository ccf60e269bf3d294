"""JSON from strangers: names once, finite numbers, no more memory than its length warrants."""

import json
from typing import Any

from freezeviz.errors import WeightsError
from freezeviz.io._files import shown

# Python's objects take about ten to twenty times the text. A header of 100,000 arrays has 10 MB.
LIMIT = 16 * 2**20
# Lists and dicts take most: "[]," is 3 bytes of text and 64 in memory. Text about arrays has one
# bracket in 15 bytes or fewer; only long texts are looked at.
_DENSE, _LONG = 8, 2**20


def parse_json(data: bytes, where: str) -> Any:
    """Return the value that JSON text holds.

    Raises
    ------
    WeightsError
        If it is no JSON, names a member twice, has NaN or infinity in it, or is too long, too
        dense or too deep to be what it should be.
    """
    if len(data) > LIMIT:
        raise WeightsError(f"{where} has {len(data)} bytes of JSON, expected at most {LIMIT}")
    if len(data) > _LONG and (data.count(b"[") + data.count(b"{")) * _DENSE > len(data):
        raise WeightsError(f"{where} is JSON of little but brackets")
    try:
        return json.loads(
            data.decode(), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite
        )
    except RecursionError:
        raise WeightsError(f"{where} is JSON that is nested too deep") from None
    except ValueError as error:
        raise WeightsError(f"{where} is no valid JSON: {_short(error)}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"it names {shown(name)} twice")
            seen.add(name)
    return members


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{shown(text)} is too large")
    return value


def _short(error: ValueError) -> str:
    # Of a UnicodeDecodeError, str() would be enough, too, but it holds no more than a reason.
    return str(error)[:200]
