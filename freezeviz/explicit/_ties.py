"""Arrays with several names: freezing one of the names and not the others is refused."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from freezeviz.backend import is_array, memory_key
from freezeviz.explicit._layout import Items, Layout, Node
from freezeviz.explicit._wrapper import WrapperLayer
from freezeviz.paths import KeyPath
from freezeviz.tree import tree_flatten


class Conflict(NamedTuple):
    """An array that is frozen under one path and trainable under another."""

    frozen: KeyPath
    trainable: KeyPath
    by: Any  # the FrozenLayer


def conflicts(layout: Layout, ps: Any = None, st: Any = None) -> list[Conflict]:
    """Return what is frozen under one of its paths and trainable under another.

    The paths are those by which the model shares layers and arrays and, with `ps` and `st` given,
    those under which the same array stands in them (`share_parameters`).
    """
    frozen: dict[Any, tuple[KeyPath, Any]] = {}
    trainable: dict[Any, list[KeyPath]] = {}
    for occurrence in layout.occurrences():
        key = id(occurrence.entry)
        if occurrence.freezing is not None:
            frozen.setdefault(key, (occurrence.path, occurrence.freezing))
        else:
            trainable.setdefault(key, []).append(occurrence.path)
    if ps is not None:
        for path, value in _arrays(ps):
            trainable.setdefault(memory_key(value), []).append(path)
        for path, value, by in _frozen_values(layout.root, st, KeyPath()):
            frozen.setdefault(memory_key(value), (path, by))
    return [
        Conflict(path, other, by)
        for key, (path, by) in frozen.items()
        for other in trainable.get(key, ())
    ]


def refusal(call: str, conflict: Conflict) -> str:
    """Return the message that refuses a conflict."""
    return (
        f"{call}: {str(conflict.frozen)!r} would be frozen, but {str(conflict.trainable)!r} is the "
        'same array and would not; freeze both, or say tied="all"'
    )


def _arrays(tree: Any) -> Iterator[tuple[KeyPath, Any]]:
    for path, value in tree_flatten(tree):
        if is_array(value):
            yield KeyPath.parse(path), value


def _frozen_values(part: Any, st: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any, Any]]:
    if isinstance(part, Node):
        for wrapper in part.wrappers:
            if wrapper._splits:
                yield from _values_of(wrapper, _at(st, "frozen_params"), path)
                st = _at(st, "states")
    if isinstance(part, Node | Items):
        for key, child in part.parts.items():
            yield from _frozen_values(child, _at(st, key), path.child(key))


def _values_of(
    by: WrapperLayer, frozen: Any, path: KeyPath
) -> Iterator[tuple[KeyPath, Any, WrapperLayer]]:
    for below, value in _arrays(frozen):
        yield KeyPath(*path, *below), value, by


def _at(tree: Any, key: Any) -> Any:
    if isinstance(tree, Mapping):
        return tree.get(key, {})
    return tree[key] if isinstance(tree, list) and key < len(tree) else {}
