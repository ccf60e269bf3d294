"""Selecting parameters: by path, glob, regex, type of layer, or predicate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from freezeviz.adapters import LayerInfo, ModelAdapter, ParameterInfo, adapt
from freezeviz.errors import SelectorError, closest
from freezeviz.paths import KeyPath, compile_glob, is_glob

__all__ = ["Selection", "freeze", "select", "unfreeze"]


class Selection:
    """Some parameters of a model, in the order of its tree: a layer's own, then those below it.

    Selections of one model combine: ``a | b`` (either), ``a & b`` (both), ``a - b`` (the first
    without the second), ``~a`` (all others).

    Attributes
    ----------
    paths : tuple of str
        The parameters' first paths.
    """

    __slots__ = ("_adapter", "_all", "paths")

    def __init__(self, adapter: ModelAdapter, everything: tuple[str, ...], chosen: Iterable[str]):
        wanted = set(chosen)
        self._adapter = adapter
        self._all = everything
        self.paths = tuple(path for path in everything if path in wanted)

    def freeze(self, *, hold: bool = False) -> Selection:
        """Freeze the selected parameters and return this selection.

        Parameters
        ----------
        hold : bool
            Also hold the layers all of whose parameters are selected.
        """
        self._adapter.set_frozen(self.paths, True, hold=True if hold else None)
        return self

    def unfreeze(self) -> Selection:
        """Make the selected parameters trainable and return this selection.

        Layers that were held and have nothing frozen any more are let go.
        """
        self._adapter.set_frozen(self.paths, False, hold=False)
        return self

    def _combined(self, other: object, combine: Callable[[set[str], set[str]], set[str]]) -> Any:
        if not isinstance(other, Selection):
            return NotImplemented
        if other._adapter.model is not self._adapter.model:
            raise ValueError("selections of two different models cannot be combined")
        return Selection(self._adapter, self._all, combine(set(self.paths), set(other.paths)))

    def __or__(self, other: Selection) -> Selection:
        return self._combined(other, set.union)

    def __and__(self, other: Selection) -> Selection:
        return self._combined(other, set.intersection)

    def __sub__(self, other: Selection) -> Selection:
        return self._combined(other, set.difference)

    def __invert__(self) -> Selection:
        return Selection(self._adapter, self._all, set(self._all) - set(self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __contains__(self, path: object) -> bool:
        return str(path) in self.paths

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Selection):
            return NotImplemented
        return self._adapter.model is other._adapter.model and self.paths == other.paths

    def __hash__(self) -> int:
        return hash(self.paths)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.paths[:6])) + (", ..." if len(self.paths) > 6 else "")
        return f"Selection({len(self.paths)} of {len(self._all)} parameters: {shown})"


def select(model: Any, *what: Any) -> Selection:
    """Return the parameters of a model that any of the selectors picks.

    Parameters
    ----------
    model : model of a supported framework
    *what
        Each one of:

        - a path (str or `KeyPath`): the parameter, or every parameter at or below a layer, list or
          dict of that path; ``""`` is the whole model;
        - a glob (str with ``*``, ``?`` or ``[``): what the paths that it matches would pick; ``*``
          stays within one level, ``**`` spans any number of levels;
        - a compiled regular expression, searched for in the paths of parameters;
        - a type of layer: every parameter at or below the layers of this type and its subclasses;
        - a predicate ``(path, value) -> bool`` on parameters;
        - a `Selection` of the same model;
        - a list, tuple or set of these: what any of them picks.

        A tied parameter, and one of a shared layer, is picked by any of its paths.

    Returns
    -------
    Selection

    Raises
    ------
    SelectorError
        If a selector picks nothing, or there is none; the message names the closest paths.
    TypeError
        If a selector is none of these.
    ValueError
        If a selection is of another model.

    Examples
    --------
    >>> import freezeviz as fv
    >>> from freezeviz import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> fv.select(model, "**.bias").paths
    ('layers.0.bias', 'layers.2.bias')
    """
    adapter = adapt(model)
    root = adapter.snapshot()
    parameters = tuple(root.all_parameters())
    chosen = _pick(_Model(adapter, root, parameters), what)
    return Selection(adapter, tuple(info.path for info in parameters), chosen)


def freeze(model: Any, *what: Any, hold: bool = False) -> Selection:
    """Freeze what the selectors pick and return it; the arguments are those of `select`."""
    return select(model, *what).freeze(hold=hold)


def unfreeze(model: Any, *what: Any) -> Selection:
    """Unfreeze what the selectors pick and return it; the arguments are those of `select`."""
    return select(model, *what).unfreeze()


class _Model(NamedTuple):
    adapter: ModelAdapter
    root: LayerInfo
    parameters: tuple[ParameterInfo, ...]

    def picked(self, matches: Callable[[str], bool]) -> set[str]:
        """Return the parameters that have a matching path, by their first paths."""
        return {p.path for p in self.parameters if any(map(matches, (p.path, *p.aliases)))}


def _pick(model: _Model, what: Any) -> set[str]:
    if isinstance(what, Selection):
        if what._adapter.model is not model.adapter.model:
            raise ValueError("a selection of another model selects nothing here")
        return set(what.paths)
    if isinstance(what, KeyPath):
        return _by_path(model, str(what), glob=False)
    if isinstance(what, str):
        return _by_path(model, what, is_glob(what))
    if isinstance(what, re.Pattern):
        found = model.picked(lambda path: what.search(path) is not None)
        return found or _nothing(model, f"the regex {what.pattern!r}", "")
    if isinstance(what, type):
        return _by_type(model, what)
    if isinstance(what, list | tuple | set | frozenset):
        if not what:
            raise SelectorError("no selector is given; '' selects the whole model")
        return set().union(*(_pick(model, part) for part in what))
    if callable(what):
        paths = [info.path for info in model.parameters]
        found = {path for path in paths if what(path, model.adapter.read(path))}
        return found or _nothing(model, "the predicate", "")
    raise TypeError(
        "a selector is a path, glob, regular expression, type of layer, predicate or selection, "
        f"got {type(what).__name__}"
    )


def _by_type(model: _Model, kind: type) -> set[str]:
    layers = list(model.root.walk())
    above = {path for x in layers if kind in x.bases for path in (x.path, *x.aliases)}
    found = model.picked(lambda path: any(p in above for p in _upwards(path)))
    if above and not found:
        return _nothing(model, f"the type {kind.__name__}", " Its layers have no parameters.")
    hint = closest(kind.__name__, {layer.kind for layer in layers})
    return found or _nothing(model, f"the type {kind.__name__}", hint)


def _by_path(model: _Model, text: str, glob: bool) -> set[str]:
    matches = lru_cache(maxsize=None)(compile_glob(text)) if glob else text.__eq__
    found = model.picked(lambda path: any(map(matches, _upwards(path))))
    if found:
        return found
    layers = [path for layer in model.root.walk() for path in (layer.path, *layer.aliases)]
    if any(map(matches, layers)):
        return _nothing(model, repr(text), " There is a layer, but it has no parameters.")
    known = {above for info in model.parameters for above in _upwards(info.path)}
    known = sorted({*layers, *known} - {""})
    hint = closest(text, known) or f" Known: {', '.join(map(repr, known[:6]))}, ..."
    return _nothing(model, repr(text), hint)


def _upwards(path: str) -> Iterator[str]:
    """Yield a path and all above it, the root's last."""
    while path:
        yield path
        path = path.rpartition(".")[0]
    yield ""


def _nothing(model: _Model, what: str, hint: str) -> set[str]:
    raise SelectorError(f"nothing matches {what} in {model.root.kind}.{hint}")
