"""Selecting parameters: by path, glob, regex, type of layer, or predicate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from freezeviz.adapters import LayerInfo, ModelAdapter, adapt
from freezeviz.errors import SelectorError, closest
from freezeviz.paths import KeyPath, compile_glob, is_glob, is_inside

__all__ = ["Selection", "freeze", "select", "unfreeze"]


class Selection:
    """Some parameters of a model, in the model's order.

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
        """Make the selected parameters trainable, let their layers go, return this selection."""
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

        - a path (str or `KeyPath`): the parameter, or every parameter of the layer and below;
          ``""`` is the whole model;
        - a glob (str with ``*``, ``?`` or ``[``): on the paths of parameters and of layers;
          ``*`` stays within one level, ``**`` spans any number of levels;
        - a compiled regular expression, searched for in the paths of parameters;
        - a type of layer: the parameters that layers of this type own themselves;
        - a predicate ``(path, value) -> bool`` on parameters;
        - a `Selection` of the same model;
        - a list, tuple or set of these.

    Returns
    -------
    Selection

    Raises
    ------
    SelectorError
        If a selector picks nothing; the message names the closest paths.
    TypeError
        If a selector is none of these.

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
    parameters = list(root.all_parameters())
    everything = tuple(info.path for info in parameters)
    chosen: set[str] = set()
    for selector in what:
        chosen |= _pick(adapter, root, everything, selector)
    return Selection(adapter, everything, chosen)


def freeze(model: Any, *what: Any, hold: bool = False) -> Selection:
    """Freeze what the selectors pick and return it; the arguments are those of `select`."""
    return select(model, *what).freeze(hold=hold)


def unfreeze(model: Any, *what: Any) -> Selection:
    """Unfreeze what the selectors pick and return it; the arguments are those of `select`."""
    return select(model, *what).unfreeze()


def _pick(
    adapter: ModelAdapter, root: LayerInfo, everything: tuple[str, ...], what: Any
) -> set[str]:
    if isinstance(what, Selection):
        if what._adapter.model is not adapter.model:
            raise ValueError("a selection of another model selects nothing here")
        return set(what.paths)
    if isinstance(what, str | KeyPath):
        return _by_path(root, str(what))
    if isinstance(what, re.Pattern):
        found = {path for path in everything if what.search(path)}
        return found or _nothing(f"the regex {what.pattern!r}", root, "")
    if isinstance(what, type):
        found = {
            info.path for layer in root.walk() if what in layer.bases for info in layer.parameters
        }
        kinds = {layer.kind for layer in root.walk()}
        return found or _nothing(f"the type {what.__name__}", root, closest(what.__name__, kinds))
    if isinstance(what, list | tuple | set | frozenset):
        return set().union(*(_pick(adapter, root, everything, part) for part in what))
    if callable(what):
        found = {path for path in everything if what(path, adapter.read(path))}
        return found or _nothing("the predicate", root, "")
    raise TypeError(
        "a selector is a path, glob, regular expression, type of layer, predicate or selection, "
        f"got {type(what).__name__}"
    )


def _by_path(root: LayerInfo, text: str) -> set[str]:
    matches = compile_glob(text) if is_glob(text) else text.__eq__
    found: set[str] = set()
    for layer in root.walk():
        if any(matches(path) for path in (layer.path, *layer.aliases)):
            found |= {info.path for info in layer.all_parameters()}
        found |= {
            info.path
            for info in layer.parameters
            if any(matches(path) for path in (info.path, *info.aliases))
        }
    if found:
        return found
    if not is_glob(text):
        # A list or dict between the layers has a path, too: "encoder.layers".
        found = {info.path for info in root.all_parameters() if is_inside(info.path, text)}
        if found or any(text in (layer.path, *layer.aliases) for layer in root.walk()):
            return found or _nothing(repr(text), root, " It has no parameters.")
    return _nothing(repr(text), root, None, text)


def _nothing(what: str, root: LayerInfo, hint: str | None, text: str = "") -> set[str]:
    if hint is None:
        names = {p for layer in root.walk() for p in (layer.path, *layer.aliases) if p}
        names |= {info.path for info in root.all_parameters()}
        hint = closest(text, names) or f" Known: {', '.join(map(repr, sorted(names)[:6]))}, ..."
    raise SelectorError(f"nothing matches {what} in {root.kind}.{hint}")
