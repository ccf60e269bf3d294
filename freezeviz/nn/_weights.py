"""A module's arrays to and from files."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from freezeviz import backend, io
from freezeviz.backend import is_array
from freezeviz.errors import WeightsError, closest
from freezeviz.nn import _updating
from freezeviz.nn._members import Tree

if TYPE_CHECKING:
    from freezeviz.nn._module import Module


def save(module: Module, path: Any) -> None:
    """See `Module.save_weights`."""
    tree = Tree(module)
    entries = tree.parameters + tree.buffers
    io.save_arrays(path, {e.path: backend.to_numpy(e.value) for e in entries})


def load(module: Module, weights: Any, strict: bool) -> None:
    """See `Module.load_weights`: check everything, then change."""
    if isinstance(weights, str | PathLike):
        source, arrays = f"{weights}", io.load_arrays(weights)
    else:
        source, pairs = "the weights", weights.items() if isinstance(weights, Mapping) else weights
        arrays = _unique(pairs)
    tree = Tree(module)
    known = {e.path: e for e in tree.parameters + tree.buffers}
    for entry in tree.parameters:
        # Tied arrays may be saved under any of their names.
        known.update({alias: entry for alias in entry.aliases})
    chosen = {path: array for path, array in arrays.items() if path in known}
    if strict:
        _check_names(source, arrays, known, {e.path: e.aliases for e in tree.parameters})
    puts = []
    for path, array in chosen.items():
        old = known[path].value
        if not is_array(array):
            raise WeightsError(
                f"{source}: {path!r} expects an array, got {type(array).__name__}"
            )
        if tuple(array.shape) != tuple(old.shape):
            raise WeightsError(
                f"{source}: {path!r} expects shape {tuple(old.shape)}, got {tuple(array.shape)}"
            )
        moved = array if type(array) is type(old) else backend.array_namespace(old).asarray(array)
        puts.append((known[path], moved))
    for entry, array in puts:
        _updating.put(entry, array)


def _unique(pairs: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for path, array in pairs:
        if path in arrays:
            raise WeightsError(f"the weights name {path!r} twice")
        arrays[path] = array
    return arrays


def _check_names(
    source: str, arrays: Mapping[str, Any], known: Mapping[str, Any], names: Mapping[str, list[str]]
) -> None:
    extra = sorted(set(arrays) - set(known))
    if extra:
        raise WeightsError(
            f"{source}: {len(extra)} arrays are not in the model: {_listing(extra)}."
            f"{closest(extra[0], known)} Load with strict=False to pass them over."
        )
    missing = sorted(
        path for path, aliases in names.items() if not {path, *aliases} & set(arrays)
    )
    if missing:
        raise WeightsError(
            f"{source}: {len(missing)} parameters are missing: {_listing(missing)}. "
            "Load with strict=False to keep their present values."
        )


def _listing(names: list[str]) -> str:
    return ", ".join(map(repr, names[:6])) + (", ..." if len(names) > 6 else "")
