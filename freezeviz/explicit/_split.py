"""Splitting nested trees of parameters by name, and putting them together again."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from freezeviz.backend import is_array
from freezeviz.errors import ParameterKeyError, WeightsError, closest
from freezeviz.explicit._layout import as_list
from freezeviz.nn import Module
from freezeviz.paths import KeyPath, join
from freezeviz.tree import tree_flatten


def as_names(which: Any) -> tuple[str, ...]:
    """Return names as a tuple of strings; one name may be given as it is."""
    if isinstance(which, str | KeyPath):
        which = (which,)
    elif isinstance(which, Mapping) or is_array(which) or not isinstance(which, Iterable):
        raise TypeError(f"names of parameters are strings, got {type(which).__name__}")
    names = tuple(which)
    for name in names:
        if not isinstance(name, str | KeyPath):
            raise TypeError(f"names of parameters are strings, got {name!r}")
    return tuple(str(name) for name in names)


def resolve(layer: Module, known: Mapping[Any, Any], which: Any, call: str) -> list[KeyPath]:
    """Return the paths that names stand for in a layer's tree of parameters, in its order.

    Raises
    ------
    ParameterKeyError
        If a name is none of the layer's.
    """
    found = [_find(layer, known, name, call) for name in as_names(which)]
    order = {path: i for i, path in enumerate(prefixes(known))}
    kept = [p for p in found if not any(p[:n] in found for n in range(1, len(p)))]
    return sorted(dict.fromkeys(kept), key=order.__getitem__)


def _find(layer: Module, known: Any, name: str, call: str) -> KeyPath:
    path = _walk(known, name)
    if path is None:
        names = [str(key) for key in known]
        start = f"{call}: {type(layer).__name__} has no parameter {name!r}"
        if any(own == name for own, _ in layer.named_buffers()):
            raise ParameterKeyError(f"{start}; it is a buffer: never trained, never frozen")
        listed = ", ".join(map(repr, names)) or "none"
        raise ParameterKeyError(f"{start}. Known: {listed}.{closest(name, names)}")
    return path


def _walk(tree: Any, name: str) -> KeyPath | None:
    for key, child in _items(tree):
        if name == str(key):
            return KeyPath(key)
        # Keys of dicts may have dots in them, so a name is not split at its own.
        if name.startswith(f"{key}."):
            rest = _walk(child, name[len(str(key)) + 1 :])
            if rest is not None:
                return KeyPath(key, *rest)
    return None


def _items(tree: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(tree, Mapping):
        return tree.items()
    return enumerate(tree) if isinstance(tree, list) else ()


def prefixes(tree: Any, start: KeyPath = KeyPath()) -> Iterable[KeyPath]:  # noqa: B008
    """Yield the paths of everything in a tree, each before what is below it."""
    for key, child in _items(tree):
        path = start.child(key)
        yield path
        yield from prefixes(child, path)


def partition(tree: Any, paths: Collection[KeyPath] | None) -> tuple[Any, Any]:
    """Return what is left of a tree and what lies under the paths; all lies under None.

    What is taken whole leaves no key behind; of a list, gaps stay as ``{}``.
    """
    if paths is None:
        return {}, tree
    rest: dict[Any, Any] = {}
    taken: dict[Any, Any] = {}
    for key, child in _items(tree):
        below = [KeyPath(*path[1:]) for path in paths if path[0] == str(key)]
        if not below:
            rest[key] = child
        elif any(not path for path in below):
            taken[key] = child
        else:
            rest[key], taken[key] = partition(child, below)
    if isinstance(tree, list):
        return as_list(rest, len(tree)), as_list(taken, len(tree))
    return rest, taken


def merge(a: Any, b: Any, order: Any, where: str) -> Any:
    """Return two parts of a tree in one, its keys in the order of a third.

    Raises
    ------
    WeightsError
        If both have an array at the same place. `where` is the path of the trees in the message.
    """
    if _is_empty(a):
        return _ordered(b, order)
    if _is_empty(b):
        return _ordered(a, order)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        both = {k: merge(a[k], b[k], _at(order, k), join(where, str(k))) for k in a if k in b}
        return _ordered({**a, **b, **both}, order, deep=False)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [merge(x, y, _at(order, i), join(where, str(i))) for i, (x, y) in pairs]
    raise WeightsError(
        f"{where!r} is both among the trainable parameters and in the state's frozen_params: "
        "parameters and state belong to different models"
    )


def _is_empty(tree: Any) -> bool:
    return isinstance(tree, Mapping | list) and not tree


def _at(tree: Any, key: Any) -> Any:
    if isinstance(tree, Mapping):
        return tree.get(key, {})
    return tree[key] if isinstance(tree, list) and key < len(tree) else {}


def _ordered(tree: Any, order: Any, deep: bool = True) -> Any:
    if isinstance(tree, Mapping):
        known = [k for k in order if k in tree] if isinstance(order, Mapping) else []
        keys = dict.fromkeys([*known, *tree])
        return {k: _ordered(tree[k], _at(order, k)) if deep else tree[k] for k in keys}
    if isinstance(tree, list) and deep:
        return [_ordered(item, _at(order, i)) for i, item in enumerate(tree)]
    return tree


def frozen_names(rest: Any, frozen: Any, start: KeyPath = KeyPath()) -> list[KeyPath]:  # noqa: B008
    """Return the shortest paths that say how a tree is split into `rest` and `frozen`."""
    names: list[KeyPath] = []
    for key, child in _items(frozen):
        if isinstance(frozen, list) and not has_leaves(child):
            continue
        left = _at(rest, key) if isinstance(rest, list) or key in rest else None
        if left is None or (isinstance(rest, list) and not has_leaves(left)):
            names.append(start.child(key))
        else:
            names += frozen_names(left, child, start.child(key))
    return names


def has_leaves(tree: Any) -> bool:
    """Return whether there is anything but empty dicts and lists in a tree."""
    return bool(tree_flatten(tree))


def map_leaves(fn: Callable[[Any], Any], tree: Any) -> Any:
    """Return a tree of dicts and lists with ``fn(leaf)`` at each leaf; mappings become dicts."""
    if isinstance(tree, Mapping):
        return {key: map_leaves(fn, child) for key, child in tree.items()}
    if isinstance(tree, list):
        return [map_leaves(fn, child) for child in tree]
    return fn(tree)
