"""Changing states: the mode, or any entry by name."""

from collections.abc import Mapping
from typing import Any

from freezeviz.errors import ParameterKeyError, closest

__all__ = ["testmode", "trainmode", "update_state"]


def trainmode(st: Mapping[str, Any]) -> dict[str, Any]:
    """Return states with every ``training`` set to True; nothing else changes.

    Parameters
    ----------
    st : dict
        Is not changed.

    Notes
    -----
    Source: ``LuxCore.trainmode``.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> lux.trainmode({"layer_1": {"training": False}})
    {'layer_1': {'training': True}}
    """
    return _replaced(_checked(st, "trainmode"), "training", True)


def testmode(st: Mapping[str, Any]) -> dict[str, Any]:
    """Return states with every ``training`` set to False; nothing else changes.

    Parameters
    ----------
    st : dict
        Is not changed.

    Notes
    -----
    Source: ``LuxCore.testmode``.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> lux.testmode({"layer_1": {"training": True}})
    {'layer_1': {'training': False}}
    """
    return _replaced(_checked(st, "testmode"), "training", False)


# pytest takes functions for tests whose name begins so.
testmode.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]


def update_state(st: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return states with every entry of a name replaced, at any depth.

    Parameters
    ----------
    st : dict
        Is not changed.
    name : str
    value : anything

    Raises
    ------
    ParameterKeyError
        If there is no entry of the name.

    Notes
    -----
    Source: ``LuxCore.update_state``.

    Examples
    --------
    >>> update_state({"layer_1": {"training": True}}, "training", False)
    {'layer_1': {'training': False}}
    """
    known = _names(_checked(st, "update_state"))
    if name not in known:
        raise ParameterKeyError(f"update_state(): no entry {name!r}.{closest(name, known)}")
    return _replaced(st, name, value)


def _checked(st: Any, call: str) -> Any:
    if not isinstance(st, Mapping):
        raise TypeError(f"{call}() takes the dict of states, got {type(st).__name__}")
    return st


def _replaced(tree: Any, name: str, value: Any) -> Any:
    if isinstance(tree, Mapping):
        return {k: value if k == name else _replaced(v, name, value) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_replaced(item, name, value) for item in tree]
    return tree


def _names(tree: Any) -> set[str]:
    if isinstance(tree, Mapping):
        return {str(key) for key in tree}.union(*(_names(item) for item in tree.values()))
    return set[str]().union(*(_names(item) for item in tree)) if isinstance(tree, list) else set()
