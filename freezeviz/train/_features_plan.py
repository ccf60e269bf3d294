"""What is known of a model as long as it is what it was: notes, rows, and what would end that."""

from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from freezeviz.backend import array_namespace, to_numpy
from freezeviz.nn import Module, Sequential
from freezeviz.train._features_graph import Graph, Node, ancestors
from freezeviz.train._features_hooks import met
from freezeviz.train._features_purity import Outline, children
from freezeviz.train._features_store import Rows

SAMPLED = 4096  # numbers of the data that are compared in every epoch


class Parts(NamedTuple):
    """A `Sequential` in two: what may be answered, and what may not.

    Attributes
    ----------
    first, rest : Module or None
    plain : bool
        The rest takes nothing but values.
    count : int
        Layers in the first part.
    """

    first: Any
    rest: Any
    plain: bool
    count: int


class Plan:
    """Notes and rows of one data set under one state of the model.

    Parameters
    ----------
    model : Module
    x : array of shape (samples, ...)
    outline : Outline
        Of the model.
    careful : bool
        Note the layers of a `Sequential` one by one: as a whole, they could not be answered.

    Attributes
    ----------
    stores : list of Node
        Those whose rows are kept.
    opened : dict
        By their ids, modules that were found to give something else than an array.
    exact : bool
        As far as it was looked into, rows do not depend on the batch that they are computed in.
    shortcut : (Rows, Module) or None
        Where all is known that a step needs of the samples: its rows, and the layers after them.
    """

    def __init__(self, model: Module, x: Any, outline: Outline, careful: bool) -> None:
        self.model = model
        self.careful = careful
        self.x = x
        # Of a batch's samples: those of a GPU may lie on the host.
        self.kind = type(x)
        if not isinstance(x, np.ndarray):
            self.kind = getattr(array_namespace(x), "ndarray", self.kind)
        self.outline = outline
        self.graph = Graph(x, outline.constants)
        self.stores: list[Node] = []
        self.shortcut: tuple[Rows, Any] | None = None
        self.exact = True
        self.problem: str | None = None
        self.opened: dict[int, Any] = {}
        self._watch = outline.watch()
        self._parts: dict[int, Parts] = {}
        self._names: dict[int, str] = {}
        self._samples = [(array, sample(array)) for array in (x, *self._watch.large)]
        self._hooks: ExitStack | None = None
        self._is_straight = type(model) is Sequential and self.parts(model).plain

    def holds(self) -> bool:
        """Return whether the model is what it was, as far as it may be answered."""
        return self._watch.holds()

    def same_data(self, x: Any) -> bool:
        """Return whether samples and large buffers have, in some places, the numbers they had."""
        return x is self.x and all(
            np.array_equal(known, sample(array), equal_nan=True) for array, known in self._samples
        )

    # ---- calls ---------------------------------------------------------------------------------

    def forward(self, x: Any) -> Any:
        """Return the model's output for what stands for a batch."""
        model: Any = self.model
        if self._is_straight:
            return x.context.through(Sequential.__call__, model, x)
        if self._hooks is None:
            self._hooks = ExitStack()
            self._hooks.enter_context(met(self.outline.tops(model)))
        return model(x)

    def look_for_shortcut(self) -> None:
        """Find the `shortcut`, if there is one by now."""
        if not self._is_straight or self.careful or len(self.stores) != 1:
            return
        model: Any = self.model
        (node,), parts = self.stores, self.parts(model)
        rows = node.store
        if rows is None or not rows.complete or rows.spilled or parts.rest is None:
            return
        if node is self.graph.nodes.get((parts.first, self.graph.source)):
            self.shortcut = rows, parts.rest

    def close(self) -> None:
        """Leave classes as they are without this; the rows stay."""
        if self._hooks is not None:
            self._hooks.close()
            self._hooks = None

    def parts(self, sequence: Sequential) -> Parts:
        """Return the two parts of a `Sequential`."""
        parts = self._parts.get(id(sequence))
        if parts is None:
            parts = self._parts[id(sequence)] = self._split(sequence)
        return parts

    def _split(self, sequence: Sequential) -> Parts:
        layers = sequence.layers
        count = 0
        while count < len(layers) and self.outline.may_answer(layers[count]):
            count += 1
        first = rest = None
        if count:
            first = layers[0] if count == 1 and isinstance(layers[0], Module) else None
            first = first or Sequential(*layers[:count])
            base = self.outline.paths.get(id(sequence), "")
            base = f"{base}.layers" if base else "layers"
            span = f"{base}.0" if count == 1 else f"{base} 0–{count - 1}"
            self._names[id(first)] = span
        if count < len(layers):
            rest = Sequential(*layers[count:])
        plain = rest is None or _is_leaf(layers[count])
        return Parts(first, rest, plain, count)

    # ---- words ---------------------------------------------------------------------------------

    def name(self, function: Any) -> str:
        """Name what was called."""
        known = self._names.get(id(function)) or self.outline.paths.get(id(function))
        if known is not None:
            return known or "the model"
        return str(getattr(function, "__name__", type(function).__name__)).strip("_")

    @property
    def layers(self) -> str:
        """The modules whose outputs need not be computed any more."""
        called = [n.function for n in ancestors(self.stores) if isinstance(n.function, Module)]
        names = list(dict.fromkeys(map(self.name, called)))
        if len(names) > 3:
            return f"{names[0]} … {names[-1]} ({len(names)} modules)"
        return ", ".join(names) or "what comes before the first layer that trains"

    @property
    def nbytes(self) -> int:
        return sum(node.store.nbytes for node in self.stores if node.store is not None)

    @property
    def in_memory(self) -> int:
        """Bytes of the rows that do not lie in a file."""
        stores = [node.store for node in self.stores if node.store is not None]
        return sum(store.nbytes for store in stores if not store.spilled)

    @property
    def spilled(self) -> bool:
        return any(node.store is not None and node.store.spilled for node in self.stores)


def _is_leaf(layer: Any) -> bool:
    """Return whether a layer is a module of the library's without modules in it."""
    is_ours = isinstance(layer, Module) and type(layer).__module__.startswith("freezeviz.nn.")
    return is_ours and not children(layer)


def sample(x: Any) -> np.ndarray:
    """Return some numbers of an array, spread over all of it."""
    x = getattr(x, "host", x)  # of those that are brought to a GPU batch by batch
    rows = max(1, min(len(x), 64))
    some = x[:: max(1, len(x) // rows)]
    if some.size > SAMPLED:
        flat = some.reshape(len(some), -1)
        some = flat[:, :: max(1, some.size // SAMPLED)]
    return np.array(to_numpy(some))
