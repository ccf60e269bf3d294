"""Nested dicts, lists and tuples ("pytrees") of arrays.

The names and the dotted paths are MLX's (``mlx.utils``): a dict contributes its key, a list or
tuple its index, and everything else is a leaf.
"""

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["tree_flatten", "tree_map", "tree_map_with_path", "tree_unflatten"]


def tree_flatten(
    tree: Any, prefix: str = "", is_leaf: Callable[[Any], bool] | None = None
) -> list[tuple[str, Any]]:
    """Return the leaves of a tree as pairs of dotted path and value, in order.

    Parameters
    ----------
    tree : nested dict, list or tuple
    prefix : str
        Path of `tree` itself.
    is_leaf : callable, optional
        Nodes for which it is true are not entered.

    Examples
    --------
    >>> tree_flatten({"a": [1, 2], "b": {}})
    [('a.0', 1), ('a.1', 2)]
    """
    flat: list[tuple[str, Any]] = []
    _flatten(tree, prefix, is_leaf, flat)
    return flat


def _flatten(
    tree: Any, prefix: str, is_leaf: Callable[[Any], bool] | None, flat: list[tuple[str, Any]]
) -> None:
    if is_leaf is None or not is_leaf(tree):
        items = _items(tree)
        if items is not None:
            for key, child in items:
                _flatten(child, f"{prefix}.{key}" if prefix else str(key), is_leaf, flat)
            return
    flat.append((prefix, tree))


def _items(tree: Any) -> Iterable[tuple[Any, Any]] | None:
    if isinstance(tree, dict):
        return tree.items()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if isinstance(tree, list | tuple):
        return enumerate(tree)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return None


def tree_unflatten(flat: Iterable[tuple[str, Any]] | dict[str, Any]) -> Any:
    """Return the tree whose leaves are `flat`, the inverse of `tree_flatten`.

    Levels whose keys are ``0 … n-1`` become lists, all others dicts. Of a list from which
    entries are missing (a tree of gradients, say), the gaps are filled with empty dicts.

    Parameters
    ----------
    flat : iterable of (str, leaf), or dict
        Dotted paths and leaves, in any order.

    Raises
    ------
    ValueError
        If one path is both a leaf and a prefix of another.

    Examples
    --------
    >>> tree_unflatten([("a.0", 1), ("a.2", 2), ("b", 3)])
    {'a': [1, {}, 2], 'b': 3}
    """
    pairs: list[tuple[str, Any]]
    pairs = list(flat.items() if isinstance(flat, dict) else flat)  # pyright: ignore
    if len(pairs) == 1 and pairs[0][0] == "":
        return pairs[0][1]
    root: dict[str, Any] = {}
    branches = {id(root)}
    for path, value in pairs:
        *parents, last = path.split(".")
        node: Any = root
        for key in parents:
            if key not in node:
                node[key] = {}
                branches.add(id(node[key]))
            node = node[key]
            if id(node) not in branches:
                raise ValueError(f"path {path!r} goes through a leaf at {key!r}")
        if last in node:
            raise ValueError(f"path {path!r} is given twice, or goes through another path")
        node[last] = value
    return _listify(root, branches)


def _listify(node: Any, branches: set[int]) -> Any:
    if id(node) not in branches:
        return node
    children = {key: _listify(child, branches) for key, child in node.items()}
    # "01" is the name of something, not the index 1.
    if not children or not all(key.isdecimal() and str(int(key)) == key for key in children):
        return children
    filled: list[Any] = [{} for _ in range(1 + max(int(key) for key in children))]
    for key, child in children.items():
        filled[int(key)] = child
    return filled


def tree_map(
    fn: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """Return a tree of the same structure with ``fn(leaf, *rest_leaves)`` at each leaf.

    Parameters
    ----------
    fn : callable
    tree : nested dict, list or tuple
        Gives the structure.
    *rest : nested dict, list or tuple
        Trees that have at least the structure of `tree`.
    is_leaf : callable, optional
        Nodes for which it is true are not entered.

    Raises
    ------
    KeyError, IndexError
        If a further tree lacks something that `tree` has.

    Examples
    --------
    >>> tree_map(lambda x, y: x + y, {"a": [1, 2]}, {"a": [10, 20]})
    {'a': [11, 22]}
    """
    if is_leaf is None or not is_leaf(tree):
        if isinstance(tree, dict):
            return {
                key: tree_map(fn, child, *_under(key, rest), is_leaf=is_leaf)
                for key, child in tree.items()  # pyright: ignore[reportUnknownVariableType]
            }
        if isinstance(tree, list | tuple):
            children = [
                tree_map(fn, child, *_under(i, rest), is_leaf=is_leaf)
                for i, child in enumerate(tree)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            ]
            return _like(tree, children)  # pyright: ignore[reportUnknownArgumentType]
    return fn(tree, *rest)


def _under(key: Any, trees: Iterable[Any]) -> list[Any]:
    """Return what further trees have under a key that the first one has.

    Raises
    ------
    KeyError, IndexError
        If one has nothing there.
    """
    found: list[Any] = []
    for number, tree in enumerate(trees, start=2):
        try:
            found.append(tree[key])
        except (LookupError, TypeError) as error:
            kind = IndexError if isinstance(error, IndexError) else KeyError
            raise kind(
                f"tree_map: the first tree has {key!r}, tree {number} has not: {tree!r:.100}"
            ) from None
    return found


def _like(tree: list[Any] | tuple[Any, ...], children: list[Any]) -> Any:
    """Return children in the kind of sequence that a tree is: a list, tuple or named tuple."""
    if isinstance(tree, list):
        return children
    return type(tree)(*children) if hasattr(tree, "_fields") else tuple(children)


def tree_map_with_path(
    fn: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: Callable[[Any], bool] | None = None,
    prefix: str = "",
) -> Any:
    """Return a tree of the same structure with ``fn(path, leaf, *rest_leaves)`` at each leaf.

    See Also
    --------
    tree_map : the same without the path.
    """

    def enter(key: Any, child: Any) -> Any:
        path = f"{prefix}.{key}" if prefix else str(key)
        others = _under(key, rest)
        return tree_map_with_path(fn, child, *others, is_leaf=is_leaf, prefix=path)

    if is_leaf is None or not is_leaf(tree):
        if isinstance(tree, dict):
            return {key: enter(key, child) for key, child in tree.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(tree, list | tuple):
            return _like(tree, [enter(i, child) for i, child in enumerate(tree)])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return fn(prefix, tree, *rest)
