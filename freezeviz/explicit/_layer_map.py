"""Calling a function on every layer of a model, with its parameters and states."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from freezeviz.errors import TiedParameterError
from freezeviz.explicit._apply import check
from freezeviz.explicit._checks import check_names, entry_of, joined, present
from freezeviz.explicit._freeze import freeze
from freezeviz.explicit._frozen import FrozenLayer
from freezeviz.explicit._layout import Layout, all_paths, as_list
from freezeviz.explicit._split import map_leaves
from freezeviz.explicit._ties import Conflict, conflicts, refusal
from freezeviz.explicit._wrapper import wrapped_name
from freezeviz.nn import Module
from freezeviz.nn._members import is_module
from freezeviz.paths import KeyPath
from freezeviz.tree import tree_flatten

__all__ = ["layer_map"]

Layers = tuple[Module, Any, Any]  # a layer, its parameters, its states
MapFn = Callable[[Any, Any, Any, KeyPath], tuple[Any, Any, Any]]


def layer_map(
    f: MapFn,
    model: Module,
    ps: Mapping[str, Any],
    st: Mapping[str, Any],
    containers: bool = False,
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return a model, parameters and states made of what `f` gives for each layer.

    Parameters
    ----------
    f : callable
        ``(layer, ps, st, path) -> (layer, ps, st)``, called for every layer without layers in it,
        in order of declaration. `path` is a `KeyPath`; the model's own is empty, and wrappers are
        no level. Of a frozen layer, `f` gets the layer inside, with all its parameters; what was
        frozen is frozen again afterwards.
    model : Module
        Stays as it is.
    ps, st : dict
        As `setup` gives them. They are not changed.
    containers : bool
        Also call `f` for containers and wrappers, before what is in them.

    Returns
    -------
    model : Module
        The same layers where `f` changed nothing.
    ps, st : dict

    Raises
    ------
    TypeError
        If `f` returns something else than three values.
    ValueError
        If the model contains itself.
    ParameterKeyError, WeightsError
        If parameters or states do not fit the model.
    TiedParameterError
        If an array is frozen under one of its names and not under another, and the layer was not
        frozen with ``tied="all"``: with that, it is frozen under all of them.

    Notes
    -----
    For a layer that several paths lead to, `f` is called with each of the paths, and has to freeze
    the same of it under all; of other changes, the first counts. Source:
    ``Lux.Experimental.layer_map``.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> model = lux.Chain(lux.Dense(3, 4), lux.Dropout(0.5), lux.Dense(4, 1))
    >>> ps, st = lux.setup(0, model)
    >>> def freeze_dense(layer, ps, st, path):
    ...     return lux.freeze(layer, ps, st) if isinstance(layer, lux.Dense) else (layer, ps, st)
    >>> frozen, ps_f, st_f = lux.layer_map(freeze_dense, model, ps, st)
    >>> ps_f
    {'layer_1': {}, 'layer_2': {}, 'layer_3': {}}
    """
    if not isinstance(model, Module):
        raise TypeError(f"layer_map(f, model, ps, st) takes a model, got {type(model).__name__}")
    check(model, ps, st)
    result = _Map(f, model, containers).visit(model, ps, st, KeyPath())
    found = _conflicts(*result)
    if found and all(conflict.by.tied == "all" for conflict in found):
        result = _Map(_freezing(result[0], found), result[0], True).visit(*result, KeyPath())
        found = _conflicts(*result)
    if found:
        refused = next((c for c in found if c.by.tied != "all"), found[0])
        raise TiedParameterError(refusal("layer_map", refused))
    return result


def _conflicts(model: Module, ps: Any, st: Any) -> list[Conflict]:
    return conflicts(Layout(model), ps, st)


def _freezing(model: Module, found: list[Conflict]) -> MapFn:
    """Return the function that freezes the other names of what is frozen under one."""
    layers = {path for paths in all_paths(model).values() for path in paths}
    wanted: dict[KeyPath, list[KeyPath]] = {}
    for conflict in found:
        path = conflict.trainable
        owner = max((p for p in layers if path[: len(p)] == p), key=len)
        wanted.setdefault(owner, []).append(KeyPath(*path[len(owner) :]))

    def f(layer: Any, ps: Any, st: Any, path: KeyPath) -> tuple[Any, Any, Any]:
        if path not in wanted:
            return layer, ps, st
        return freeze(layer, ps, st, wanted[path], tied="all")

    return f


class _Map:
    """One walk of `layer_map`."""

    def __init__(self, f: MapFn, model: Module, containers: bool):
        self.f = f
        self.containers = containers
        self.paths = all_paths(model)
        self.done: dict[int, Module] = {}  # what became of layers with several paths
        self.above: set[int] = set()

    def visit(self, layer: Module, ps: Any, st: Any, path: KeyPath) -> Layers:
        """Return what becomes of a layer, its parameters and its states."""
        if id(layer) in self.done:
            return self.done[id(layer)], ps, st  # its arrays are in the first place
        if id(_core(layer)) in self.done:
            return self._around_done(layer), ps, st
        if id(layer) in self.above:
            raise ValueError(
                f"layer_map: {type(layer).__name__} contains itself, at {str(path)!r}; what is "
                "made of it would contain the old one"
            )
        self.above.add(id(layer))
        result = self._mapped(layer, ps, st, path)
        self.above.remove(id(layer))
        if len(self.paths.get(id(layer), ())) > 1:
            self.done[id(layer)] = result[0]
        return result

    def _mapped(self, layer: Module, ps: Any, st: Any, path: KeyPath) -> Layers:
        if not _children(layer):
            return self._call(layer, ps, st, path)
        if not self.containers:
            return self._inside(layer, ps, st, path)
        new, ps, st = self._call(layer, ps, st, path)
        if _children(new):
            return self._inside(new, ps, st, path, called=layer)
        return self._call(new, ps, st, path)

    # ------------------------------------------------------------ calling the function

    def _call(self, layer: Module, ps: Any, st: Any, path: KeyPath) -> Layers:
        known = self.paths.get(id(layer), ())
        # A layer that was put elsewhere is met at its new path alone.
        paths = [path, *(p for p in known if p != path)] if path in known else [path]
        results = [self._result(layer, ps, st, p) for p in paths]
        if len(results) == 1:
            return results[0]
        frozen = [_frozen_paths(new) for new, _, _ in results]
        if any(names != frozen[0] for names in frozen):
            return self._frozen_alike(paths, results, frozen)
        changed = (r for r in results if r[0] is not layer or not _same((ps, st), r[1:]))
        return next(changed, results[0])

    def _result(self, layer: Module, ps: Any, st: Any, path: KeyPath) -> Layers:
        # Copies of the dicts: the function may write into what it is given.
        result = self.f(layer, _copied(ps), _copied(st), path)
        where = f"{type(layer).__name__} {str(path)!r}"
        if not isinstance(result, tuple) or len(result) != 3:
            raise TypeError(
                f"layer_map: the function has to return (layer, ps, st), for {where} it returned "
                f"{type(result).__name__}"
            )
        kinds = (Module, Mapping, Mapping)
        for name, value, kind in zip(("layer", "ps", "st"), result, kinds, strict=True):
            if not isinstance(value, kind):
                raise TypeError(
                    f"layer_map: the function has to return (layer, ps, st), for {where} {name} is "
                    f"{type(value).__name__}"
                )
        return result

    def _frozen_alike(
        self, paths: list[KeyPath], results: list[Layers], frozen: list[frozenset[KeyPath]]
    ) -> Layers:
        """Freeze everywhere what is frozen under some paths, or refuse to."""
        every = frozenset().union(*frozen)
        by = [new for new, _, _ in results if isinstance(new, FrozenLayer)]
        if not any(new.tied == "all" for new in by):
            name = min(every - frozenset.intersection(*frozen))
            at = next(i for i, names in enumerate(frozen) if name in names)
            other = next(i for i, names in enumerate(frozen) if name not in names)
            conflict = Conflict(KeyPath(*paths[at], *name), KeyPath(*paths[other], *name), by)
            raise TiedParameterError(refusal("layer_map", conflict))
        return freeze(*results[0], sorted(every), tied="all")

    # ------------------------------------------------------------ what is inside

    def _inside(
        self, layer: Module, ps: Any, st: Any, path: KeyPath, called: Module | None = None
    ) -> Layers:
        name = wrapped_name(layer)
        if name is None:
            return self._members(layer, ps, st, path)
        frozen = isinstance(layer, FrozenLayer)
        if frozen:
            ps, st = joined(Layout(layer).root, ps, st, path)
        inner = layer._members[name]
        if inner is not called:
            new, ps, st = self.visit(inner, ps, st, path)
        elif _children(inner):
            new, ps, st = self._inside(inner, ps, st, path)
        else:
            new = inner
        if not frozen:
            return _with(layer, {(name,): new}), ps, st
        again, ps, st = freeze(new, ps, st, layer.which, tied=layer.tied, hold=layer._held)
        return layer if new is inner else again, ps, st

    def _members(self, layer: Module, ps: Any, st: Any, path: KeyPath) -> Layers:
        check_names(Layout(layer).root, ps, st, path)
        ps, st = _copied(ps), _copied(st)
        changed: dict[tuple[Any, ...], Module] = {}
        for place, child in _places(layer):
            where = KeyPath(*path, *place)
            new, ps_new, st_new = self.visit(child, _at(ps, place), _at(st, place), where)
            _put(layer, ps, place, ps_new)
            _put(layer, st, place, st_new)
            changed[place] = new
        return _with(layer, changed), ps, st

    def _around_done(self, layer: Module) -> Module:
        """Return a wrapper around what became of a layer that was met elsewhere before."""
        if id(layer) in self.done:
            return self.done[id(layer)]
        name = wrapped_name(layer)
        assert name is not None  # the innermost layer is done
        new = self._around_done(layer._members[name])
        if isinstance(layer, FrozenLayer):
            return FrozenLayer(new, layer.which, tied=layer.tied, hold=layer._held)
        return _with(layer, {(name,): new})


def _core(layer: Module) -> Module:
    while (name := wrapped_name(layer)) is not None:
        layer = layer._members[name]
    return layer


def _children(layer: Module) -> bool:
    return any(True for _ in _places(layer))


def _places(layer: Module) -> Iterator[tuple[tuple[Any, ...], Module]]:
    """Yield the layers directly in a layer, with their keys in it and in its lists and dicts."""
    for key, value in layer._members.items():
        if key[0] != "_":
            yield from _modules(value, (key,))


def _modules(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Module]]:
    if is_module(value):
        yield place, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _modules(item, (*place, key))


def _with(layer: Module, layers: dict[tuple[Any, ...], Module]) -> Module:
    """Return a layer with others in some places: itself if they are the ones that are there."""
    if all(_at(layer._members, place) is new for place, new in layers.items()):
        return layer
    changed = copy.copy(layer)  # with lists and dicts of its own
    for place, new in layers.items():
        _at(changed._members, place[:-1])[place[-1]] = new
    return changed


def _at(tree: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        tree = present(entry_of(tree, key))
    return tree


def _put(layer: Module, tree: Any, place: tuple[Any, ...], value: Any) -> None:
    """Put a value into a tree, with the dicts and lists above it if it has none there."""
    held: Any = layer._members
    for key in place[:-1]:
        held = held[key]
        inner = entry_of(tree, key)
        if not inner or present(inner) is not inner:
            inner = as_list({}, len(held)) if isinstance(held, list) else {}
            tree[key] = inner
        tree = inner
    tree[place[-1]] = value


def _frozen_paths(layer: Module) -> frozenset[KeyPath]:
    return frozenset(o.path for o in Layout(layer).occurrences() if o.freezing is not None)


def _same(a: Any, b: Any) -> bool:
    """Return whether trees have the very same leaves."""
    left, right = tree_flatten(a), tree_flatten(b)
    return len(left) == len(right) and all(
        p == q and x is y for (p, x), (q, y) in zip(left, right, strict=True)
    )


def _copied(tree: Any) -> Any:
    return map_leaves(lambda leaf: leaf, tree)
