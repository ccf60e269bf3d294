"""What selectors pick, of a model whose parameters are indexed."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property, reduce
from heapq import nsmallest
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from freezeviz.adapters import LayerInfo, ModelAdapter
from freezeviz.adapters._index import ParameterIndex, index_of
from freezeviz.errors import SelectorError, closest
from freezeviz.freezing import _grammar as grammar
from freezeviz.freezing._selection import Selection
from freezeviz.paths import KeyPath, compile_glob, is_glob

MOST_CLOSE = 400  # names that are looked through for those close to a misspelt one


class Picker:
    """Answers which parameters selectors pick, as bool arrays in the order of `index.paths`.

    Parameters
    ----------
    adapter : ModelAdapter
    root : LayerInfo, optional
        Its snapshot, if there is one already.
    """

    def __init__(self, adapter: ModelAdapter, root: LayerInfo | None = None) -> None:
        self.adapter = adapter
        self.root = adapter.snapshot() if root is None else root
        self._layers: list[LayerInfo] | None = None

    @cached_property
    def index(self) -> ParameterIndex:
        """The index of the snapshot, made when it is needed first."""
        return index_of(self.root)

    @property
    def layers(self) -> list[LayerInfo]:
        """All layers."""
        if self._layers is None:
            self._layers = list(self.root.walk())
        return self._layers

    @cached_property
    def classes(self) -> list[list[LayerInfo]]:
        """All layers, those of one class together."""
        groups: dict[Any, list[LayerInfo]] = defaultdict(list)
        for layer in self.layers:
            groups[layer.kind, layer.bases].append(layer)
        return list(groups.values())

    def pick(self, what: Any) -> np.ndarray:
        """Return what a selector picks; see `select`.

        Raises
        ------
        SelectorError
            If it picks nothing or is malformed.
        TypeError
            If it is no selector.
        """
        if isinstance(what, Selection):
            what.check_model(self.adapter)
            return self.index.mask(what.paths)
        if isinstance(what, KeyPath):
            return self._by_path(str(what))
        if isinstance(what, str):
            return self._by_text(what)
        if isinstance(what, re.Pattern):
            return self._by_regex(what)
        if isinstance(what, type):
            return self._by_type(
                f"the type {what.__name__}", what.__name__, lambda x: what in x.bases
            )
        if isinstance(what, list | tuple | set | frozenset):
            if not what:
                raise SelectorError("no selector is given; '' selects the whole model")
            return reduce(np.logical_or, map(self.pick, what))
        if callable(what):
            found = [bool(what(path, self.adapter.read(path))) for path in self.index.paths]
            return self._found(np.array(found, bool), "the predicate")
        raise TypeError(
            "a selector is a path, glob, regular expression, type of layer, predicate or "
            f"selection, got {type(what).__name__}"
        )

    # ---- texts ---------------------------------------------------------------------------------

    def _by_text(self, text: str) -> np.ndarray:
        # A path is a path, whatever an operator or a quote in it would mean.
        if text in self.index.nodes and not is_glob(text):
            return self._by_path(text)
        return self._by_term(grammar.parse(text), text)

    def _by_term(self, term: grammar.Term, text: str) -> np.ndarray:
        match term:
            case grammar.Path(path):
                return self._by_path(path)
            case grammar.Glob(pattern):
                return self._by_glob(pattern)
            case grammar.Regex(pattern):
                return self._by_regex(pattern)
            case grammar.Type(name, is_glob):
                matches = compile_glob(name) if is_glob else name.__eq__
                return self._by_type(
                    repr(f"type:{name}"), name, lambda x: any(map(matches, _classes(x)))
                )
            case grammar.Others(inner):
                found = ~self._by_term(inner, text)
            case grammar.Either(parts):
                found = reduce(np.logical_or, (self._by_term(part, text) for part in parts))
            case grammar.Both(parts):
                found = reduce(np.logical_and, (self._by_term(part, text) for part in parts))
            case grammar.Without(parts):
                first, *others = (self._by_term(part, text) for part in parts)
                found = first & ~reduce(np.logical_or, others)
        return self._found(found, repr(text), " Its parts match, but nothing is left of them.")

    def _by_path(self, path: str) -> np.ndarray:
        if path in self.index.nodes and len(self.index):
            return self.index.covered([self.index.nodes[path]])
        self._nothing_at(path, path.__eq__)

    def _by_glob(self, pattern: str) -> np.ndarray:
        nodes = self.index.matching(pattern)
        if not len(nodes) or not len(self.index):
            self._nothing_at(pattern, compile_glob(pattern))
        return self.index.covered(nodes)

    def _by_regex(self, pattern: re.Pattern[str]) -> np.ndarray:
        found = np.zeros(len(self.index), bool)
        found[[i for name, i in self.index.ordinal.items() if pattern.search(name)]] = True
        return self._found(found, f"the regex {pattern.pattern!r}")

    def _by_type(self, what: str, name: str, matches: Callable[[LayerInfo], bool]) -> np.ndarray:
        meant = chain.from_iterable(layers for layers in self.classes if matches(layers[0]))
        above = [path for x in meant for path in (x.path, *x.aliases)]
        nodes = self.index.nodes
        found = self.index.covered(nodes[path] for path in above if path in nodes)
        if above:
            return self._found(found, what, " Its layers have no parameters.")
        return self._found(found, what, closest(name, {layer.kind for layer in self.layers}))

    # ---- nothing -------------------------------------------------------------------------------

    def _found(self, mask: np.ndarray, what: str, hint: str = "") -> np.ndarray:
        if not mask.any():
            self._nothing(what, hint)
        return mask

    def _nothing(self, what: str, hint: str) -> NoReturn:
        raise SelectorError(f"nothing matches {what} in {self.root.kind}.{hint}")

    def _nothing_at(self, text: str, matches: Callable[[str], bool]) -> NoReturn:
        layers = [path for layer in self.layers for path in (layer.path, *layer.aliases)]
        if any(map(matches, layers)):
            self._nothing(repr(text), " There is a layer, but it has no parameters.")
        known = {*layers, *self.index.nodes} - {""}
        last = text.rpartition(".")[2]
        # Of very many names those that end alike, then those as long: telling how close two names
        # are takes a while.
        near = nsmallest(
            MOST_CLOSE,
            known,
            key=lambda name: (not name.endswith(last), abs(len(name) - len(text)), name),
        )
        hint = closest(text, near)
        self._nothing(repr(text), hint or f" Known: {', '.join(map(repr, sorted(known)[:6]))}, ...")


def _classes(layer: LayerInfo) -> Iterable[str]:
    return (layer.kind, *(base.__name__ for base in layer.bases))
