"""Giving several layers the same parameters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from freezeviz.errors import (
    ParameterKeyError,
    ShapeError,
    TiedParameterError,
    WeightsError,
    closest,
)
from freezeviz.explicit._split import map_leaves
from freezeviz.paths import KeyPath

__all__ = ["share_parameters"]


def share_parameters(
    ps: Mapping[str, Any],
    sharing: Iterable[Iterable[str | KeyPath]],
    new_parameters: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Return parameters in which each group of layers has the same arrays.

    Parameters
    ----------
    ps : dict
        Is not changed.
    sharing : groups of dotted paths (or KeyPaths) into `ps`
    new_parameters : trees, optional
        One for each group; by default, each group takes what stands at its first path.

    Raises
    ------
    ParameterKeyError
        If a path leads nowhere.
    TiedParameterError
        If a path is in two groups, or lies within another.
    ShapeError
        If arrays that would become one differ in shape.
    WeightsError
        If trees that would become one differ in structure, or there is not one for each group.
    TypeError
        If `ps` is no dict.

    Notes
    -----
    It is the arrays of this moment that are shared: whatever computes new ones, as an optimizer
    does, gives each place its own. Source: ``Lux.Experimental.share_parameters``.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> ps, st = lux.setup(0, lux.Chain(lux.Dense(2, 2), lux.Dense(2, 2)))
    >>> ps = lux.share_parameters(ps, [("layer_1", "layer_2")])
    >>> ps["layer_1"]["weight"] is ps["layer_2"]["weight"]
    True
    """
    if not isinstance(ps, Mapping):
        raise TypeError(f"share_parameters() takes a dict of parameters, got {type(ps).__name__}")
    groups = [[_path(name) for name in _group(group)] for group in sharing]
    _check_disjoint(groups)
    if new_parameters is None:
        new_parameters = [_at(ps, group[0]) for group in groups]
    elif len(new_parameters) != len(groups):
        raise WeightsError(
            f"share_parameters() got {len(groups)} groups and {len(new_parameters)} new values; "
            "give one for each group"
        )
    shared = map_leaves(lambda leaf: leaf, ps)
    for group, new in zip(groups, new_parameters, strict=True):
        for path in group:
            _check_alike(str(path), _at(ps, path), new)
            _put(shared, path, map_leaves(lambda leaf: leaf, new))
    return shared


def _group(group: Any) -> list[Any]:
    if isinstance(group, str | KeyPath):
        raise TypeError(f"share_parameters(): a group is several paths, got {group!r} alone")
    names = list(group)
    if not names:
        raise WeightsError("share_parameters(): a group has no paths")
    return names


def _path(name: Any) -> KeyPath:
    return name if isinstance(name, KeyPath) else KeyPath.parse(name)


def _check_disjoint(groups: list[list[KeyPath]]) -> None:
    paths = [path for group in groups for path in group]
    for i, path in enumerate(paths):
        for other in paths[:i]:
            short, long = sorted((path, other), key=len)
            if long[: len(short)] == short:
                raise TiedParameterError(
                    f"share_parameters(): {str(other)!r} and {str(path)!r} overlap; each path "
                    "belongs to one group"
                )


def _at(ps: Any, path: KeyPath) -> Any:
    tree = ps
    for name in path:
        if isinstance(tree, list) and name.isdecimal() and int(name) < len(tree):
            tree = tree[int(name)]
        elif isinstance(tree, Mapping) and name in tree:
            tree = tree[name]
        else:
            known = [str(key) for key in tree] if isinstance(tree, Mapping) else []
            raise ParameterKeyError(
                f"share_parameters(): no parameters at {str(path)!r}.{closest(name, known)}"
            )
    return tree


def _put(ps: Any, path: KeyPath, value: Any) -> None:
    tree = _at(ps, KeyPath(*path[:-1]))
    tree[int(path[-1]) if isinstance(tree, list) else path[-1]] = value


def _check_alike(path: str, old: Any, new: Any) -> None:
    if isinstance(old, Mapping) and isinstance(new, Mapping) and set(old) == set(new):
        for key in old:
            _check_alike(f"{path}.{key}", old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, item in enumerate(old):
            _check_alike(f"{path}.{i}", item, new[i])
    elif (held := _shape(old)) is not None and (got := _shape(new)) is not None:
        if held != got:
            raise ShapeError(f"share_parameters(): {path!r} has shape {held}, got {got} to share")
    else:
        raise WeightsError(
            f"share_parameters(): {path!r} is {_kind(old)}, got {_kind(new)} to share"
        )


def _kind(tree: Any) -> str:
    if isinstance(tree, Mapping):
        return f"a dict of {', '.join(map(repr, tree)) or 'nothing'}"
    if isinstance(tree, list):
        return f"a list of {len(tree)}"
    return "an array" if _shape(tree) is not None else type(tree).__name__


def _shape(tree: Any) -> tuple[int, ...] | None:
    shape = getattr(tree, "shape", None)
    return None if shape is None else tuple(shape)
