"""Freezing a layer, with or without its parameters and states, and thawing it again."""

import warnings
from collections.abc import Mapping
from typing import Any, overload

from freezeviz.errors import (
    ParameterKeyError,
    TiedParameterError,
    UnmatchedKeyWarning,
    WeightsError,
    closest,
)
from freezeviz.explicit._checks import SPLIT
from freezeviz.explicit._frozen import FrozenLayer, Tied
from freezeviz.explicit._layout import Layout, template
from freezeviz.explicit._split import (
    as_names,
    frozen_names,
    has_leaves,
    map_leaves,
    merge,
    partition,
    resolve,
)
from freezeviz.explicit._ties import conflicts, refusal
from freezeviz.nn import Module
from freezeviz.nn._freezing import read_only, thawed
from freezeviz.paths import KeyPath

__all__ = ["freeze", "unfreeze"]

Tree = dict[str, Any]


@overload
def freeze(
    layer: Module, which: Any = None, *, tied: Tied = "refuse", hold: bool = False
) -> Any: ...
@overload
def freeze(
    layer: Module,
    ps: Mapping[str, Any],
    st: Mapping[str, Any],
    which: Any = None,
    *,
    tied: Tied = "refuse",
    hold: bool = False,
) -> tuple[Any, Tree, Tree]: ...
def freeze(layer: Module, *args: Any, tied: Tied = "refuse", hold: bool = False, **named: Any):
    """Return a layer with parameters frozen: ``freeze(layer)`` or ``freeze(layer, ps, st)``.

    Parameters
    ----------
    layer : Module
        Stays as it is.
    ps, st : dict, optional
        Its parameters and states, as `setup` gives them. They are not changed.
    which : str or iterable of str, optional
        Names of the layer's own parameters; of a container's, names of its children. Dotted
        names (``"layer_1.weight"``) lead further down. All parameters by default.
    tied : {"refuse", "all"}
        What to do if one of the frozen arrays has another name that is not among `which`: raise,
        or freeze it under all its names (those outside the layer are up to `layer_map`).
    hold : bool
        Also hold the layer: running statistics do not move and dropout is off inside it.

    Returns
    -------
    layer : FrozenLayer
        Without parameters and states given, nothing else.
    ps : dict
        What is still trainable.
    st : dict
        ``{"frozen_params": ..., "states": ...}``: the frozen values, as read-only views, and the
        states of the layer inside.

    Raises
    ------
    ParameterKeyError
        If the layer has no parameter of a name.
    TiedParameterError
        If only one of two names of an array would be frozen.
    WeightsError
        If the state is not that of the layer.

    Warns
    -----
    UnmatchedKeyWarning
        If `which` is empty: then everything is returned as it came.

    Notes
    -----
    No value is drawn anew. Freezing a frozen layer unites the names. Source:
    ``Lux.Experimental.freeze``.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> layer = lux.Dense(3, 2)
    >>> ps, st = lux.setup(0, layer)
    >>> frozen, ps_f, st_f = lux.freeze(layer, ps, st, ("weight",))
    >>> list(ps_f), list(st_f["frozen_params"])
    (['bias'], ['weight'])
    """
    trees, which = _arguments("freeze", layer, args, named)
    if which is not None:
        which = as_names(which)
        if not which:
            warnings.warn(
                f"freeze({type(layer).__name__}, which=()) freezes nothing",
                UnmatchedKeyWarning,
                stacklevel=2,
            )
            return (layer, *trees) if trees else layer
    new = FrozenLayer(layer, which, tied=tied, hold=hold)
    if isinstance(layer, FrozenLayer) and _alike(layer, new):
        new = layer
    if not trees:
        return new
    return _freeze_values(layer, new, *trees)


def _arguments(call: str, layer: Any, args: tuple[Any, ...], named: Any) -> tuple[Any, Any]:
    """Return ``(ps, st)`` or ``()``, and `which`: the arguments are either, both or none."""
    if not isinstance(layer, Module):
        raise TypeError(f"{call}() takes a layer, got {type(layer).__name__}")
    names = ("which",) if len(args) == 1 else ("ps", "st", "which")
    given = dict(zip(names, args, strict=False))
    wrong = [n for n in named if n not in ("ps", "st", "which") or n in given]
    given |= named
    if wrong or len(args) > 3 or ("ps" in given) != ("st" in given):
        raise TypeError(
            f"{call}() takes (layer), (layer, which), (layer, ps, st) or (layer, ps, st, which), "
            f"got {1 + len(args)} arguments{f' and {sorted(named)}' if named else ''}"
        )
    if "ps" not in given:
        return (), given.get("which")
    for name in ("ps", "st"):
        if not isinstance(given[name], Mapping):
            raise TypeError(f"{call}(): {name} is a dict, got {type(given[name]).__name__}")
    return (given["ps"], given["st"]), given.get("which")


def _alike(a: FrozenLayer, b: FrozenLayer) -> bool:
    return (a.which, a.tied, a._held) == (b.which, b.tied, b._held)


def _freeze_values(
    layer: Module, new: FrozenLayer, ps: Any, st: Any
) -> tuple[FrozenLayer, Tree, Tree]:
    known = template(Layout(layer).root)
    _check_known("freeze", layer, known, ps)
    frozen, states = _parts(layer, st) if isinstance(layer, FrozenLayer) else ({}, _copied(st))
    if not isinstance(layer, FrozenLayer) and set(st) == set(SPLIT):
        raise WeightsError(
            f"freeze(): {type(layer).__name__} is not frozen, but st is the state of a layer that "
            "is; pass the FrozenLayer it belongs to"
        )
    while True:
        rest, taken = partition(ps, new._paths)
        st_new = {"frozen_params": merge(frozen, taken, known, ""), "states": states}
        found = conflicts(Layout(new), rest, st_new)
        if not found:
            break
        if new.tied == "refuse":
            raise TiedParameterError(refusal("freeze()", found[0]))
        # The same array under several names in ps: each name that is added is one less.
        extra = [conflict.trainable for conflict in found]
        new = FrozenLayer(new, extra, tied="all", hold=new._held)
    st_new["frozen_params"] = map_leaves(read_only, st_new["frozen_params"])
    return new, _copied(rest), st_new


def _copied(tree: Any) -> Any:
    """Return a tree of its own around the same leaves."""
    return map_leaves(lambda leaf: leaf, tree)


def _check_known(call: str, layer: Module, known: Mapping[Any, Any], ps: Any) -> None:
    for name in ps:
        if name not in known:
            raise ParameterKeyError(
                f"{call}(): ps has {name!r}, which {type(layer).__name__} has not; expected "
                f"{', '.join(map(repr, known)) or 'nothing'}.{closest(str(name), map(str, known))}"
            )


def _parts(layer: FrozenLayer, st: Any) -> tuple[Any, Any]:
    if set(st) != set(SPLIT):
        raise WeightsError(
            f"the state of a frozen {type(layer.layer).__name__} has {SPLIT[0]!r} and "
            f"{SPLIT[1]!r}, got {list(st)}"
        )
    return st["frozen_params"], _copied(st["states"])


@overload
def unfreeze(layer: FrozenLayer, which: Any = None) -> Any: ...
@overload
def unfreeze(
    layer: FrozenLayer, ps: Mapping[str, Any], st: Mapping[str, Any], which: Any = None
) -> tuple[Any, Tree, Tree]: ...
def unfreeze(layer: FrozenLayer, *args: Any, **named: Any):
    """Return the layer inside a frozen one: ``unfreeze(layer)`` or ``unfreeze(layer, ps, st)``.

    Parameters
    ----------
    layer : FrozenLayer
    ps, st : dict, optional
        Its parameters and states. They are not changed.
    which : str or iterable of str, optional
        Thaw only these. All by default.

    Returns
    -------
    layer : Module
        The very layer that was frozen; a `FrozenLayer` if some of it still is.
    ps : dict
        Parameters with the thawed values among them, in the layer's order.
    st : dict
        The states of the layer; those of a `FrozenLayer` if some of it still is.

    Raises
    ------
    TypeError
        If the layer is not frozen.
    ParameterKeyError
        If the layer has no parameter of a name.
    WeightsError
        If the state is not that of a frozen layer.

    Warns
    -----
    UnmatchedKeyWarning
        If `which` is empty: then everything is returned as it came.

    Notes
    -----
    What is thawed depends on how `st` is split, whatever the layer was told to freeze. Source:
    ``Lux.Experimental.unfreeze``, which thaws all or nothing.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> layer = lux.Dense(3, 2)
    >>> frozen, ps, st = lux.freeze(layer, *lux.setup(0, layer))
    >>> thawed, ps, st = lux.unfreeze(frozen, ps, st)
    >>> thawed is layer, list(ps)
    (True, ['weight', 'bias'])
    """
    trees, which = _arguments("unfreeze", layer, args, named)
    if not isinstance(layer, FrozenLayer):
        raise TypeError(
            f"unfreeze() takes a FrozenLayer, got {type(layer).__name__}; in the stateful face "
            "write layer.unfreeze()"
        )
    if which is not None and not as_names(which):
        warnings.warn(
            f"unfreeze({type(layer.layer).__name__}, which=()) thaws nothing",
            UnmatchedKeyWarning,
            stacklevel=2,
        )
        return (layer, *trees) if trees else layer
    inner = layer.layer
    known = template(Layout(inner).root)
    paths = None if which is None else resolve(inner, known, which, "unfreeze")
    if not trees:
        rest, frozen = partition(known, layer._paths)
        return _remaining(layer, *_thaw(rest, frozen, paths, known))[0]
    ps, st = trees
    _check_known("unfreeze", inner, known, ps)
    frozen, states = _parts(layer, st)
    ps, frozen = _thaw(_copied(ps), frozen, paths, known)
    new, remains = _remaining(layer, ps, frozen)
    return new, ps, {"frozen_params": frozen, "states": states} if remains else states


def _thaw(ps: Any, frozen: Any, paths: list[KeyPath] | None, known: Any) -> tuple[Any, Any]:
    """Return trees of parameters with some (all under None) brought back from the frozen ones."""
    still, back = partition(frozen, paths)
    return merge(ps, map_leaves(thawed, back), known, ""), _copied(still)


def _remaining(layer: FrozenLayer, ps: Any, frozen: Any) -> tuple[Module, bool]:
    """Return the layer for trees that are split so, and whether it is still frozen."""
    if not has_leaves(frozen):
        return layer.layer, False
    names = frozen_names(ps, frozen)
    if layer._paths == names:
        return layer, True
    return FrozenLayer(layer.layer, names, tied=layer.tied, hold=layer._held), True
