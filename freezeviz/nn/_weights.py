"""A module's arrays to and from files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from freezeviz import backend, io
from freezeviz.errors import WeightsError, closest
from freezeviz.nn import _updating
from freezeviz.nn._members import Entry, Tree

if TYPE_CHECKING:
    from freezeviz.nn._module import Module


_EXPECTED = "load_weights() takes a file's path, or arrays by name: a dict or pairs; got {}"


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
    tree = Tree(module, all_paths=True)
    known = {e.path: e for e in tree.parameters + tree.buffers}
    for entry in tree.parameters + tree.buffers:
        # Tied arrays may be saved under any of their names.
        known.update({alias: entry for alias in entry.aliases})
    if strict:
        _check_names(source, arrays, known, {e.path: e.aliases for e in tree.parameters})
    puts: dict[str, Any] = {}
    for path, array in arrays.items():
        if path in known:
            entry = known[path]
            array = _updating.checked(entry, array, source)
            _check_value(source, path, entry, array, puts)
            puts[entry.path] = _beside(entry.slots[0].value, array)
    _updating.assign(module, puts, source)


def _check_value(source: str, path: str, entry: Entry, array: Any, chosen: dict[str, Any]) -> None:
    if tuple(array.shape) != tuple(entry.value.shape):
        raise WeightsError(
            f"{source}: {path!r} expects shape {tuple(entry.value.shape)}, got {tuple(array.shape)}"
        )
    other = chosen.get(entry.path)
    if other is not None and backend.to_numpy(other).tobytes() != backend.to_numpy(array).tobytes():
        names = ", ".join(map(repr, (entry.path, *entry.aliases)))
        raise WeightsError(
            f"{source}: {names} are one tied array in the model, but differ in what is loaded"
        )


def _beside(old: Any, array: Any) -> Any:
    """Return an array on the device where another one is."""
    if type(array) is type(old):
        return array
    return backend.array_namespace(old).asarray(backend.to_numpy(array))


def _unique(pairs: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    if not isinstance(pairs, Iterable):
        raise TypeError(_EXPECTED.format(type(pairs).__name__))
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise TypeError(_EXPECTED.format(f"a {type(pair).__name__} among them"))
        path, array = pair
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
        path for path, aliases in names.items() if arrays.keys().isdisjoint([path, *aliases])
    )
    if missing:
        raise WeightsError(
            f"{source}: {len(missing)} parameters are missing: {_listing(missing)}. "
            "Load with strict=False to keep their present values."
        )


def _listing(names: list[str]) -> str:
    return ", ".join(map(repr, names[:6])) + (", ..." if len(names) > 6 else "")
