"""One batch whose samples are known by number: what is known of them, and what is computed."""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from freezeviz.backend import array_namespace, is_array, to_numpy
from freezeviz.nn import Module, Sequential, _calls
from freezeviz.train._features_graph import Node, UnknownError, computed
from freezeviz.train._features_purity import children
from freezeviz.train._features_store import Which
from freezeviz.train._features_value import BatchSize, StandIn, looked_at

if TYPE_CHECKING:
    from freezeviz.train._features_plan import Plan


class Batch:
    """The context of the stand-ins of one batch.

    Parameters
    ----------
    plan : Plan
    which : slice or array
        The samples.
    size : int
        Their number.
    numbers : slice or array of NumPy's, optional
        The samples again, where that is known without waiting for a GPU.

    Attributes
    ----------
    looks : dict
        Nodes that were looked at and not judged yet.
    hits, misses : int
        Rows that were known, and that were computed, of what is kept.
    wrote : bool
        The model wrote into a value in place.
    """

    __slots__ = ("_numbers", "hits", "looks", "misses", "plan", "size", "values", "which", "wrote")

    def __init__(self, plan: "Plan", which: Which, size: int, numbers: Which = None) -> None:
        self._numbers = numbers
        self.plan = plan
        self.which = which
        self.size = BatchSize(size)
        self.values: dict[Node, Any] = {}
        self.looks: dict[Node, None] = {}
        self.hits = self.misses = 0
        self.wrote = False

    @property
    def source(self) -> Any:
        """All samples."""
        return self.plan.x

    def numbers(self) -> Which:
        """Return the samples by numbers on the host."""
        if self._numbers is None:
            self._numbers = self.which if isinstance(self.which, slice) else to_numpy(self.which)
        return self._numbers

    def begin(self) -> StandIn:
        """Return what stands for the samples."""
        return StandIn(self, self.plan.graph.source)

    # ---- what stand-ins ask for ----------------------------------------------------------------

    def looked(self, node: Node) -> None:
        if not node.judged:
            self.looks[node] = None

    def written(self) -> None:
        self.wrote = True

    def apply(self, function: Any, args: Any, options: Any) -> Any:
        try:
            node, new = self.plan.graph.note(function, args, options)
        except (UnknownError, TypeError):  # TypeError: something in it cannot be a key
            return function(*looked_at(args), **looked_at(options))
        if new:
            value = computed(node, self.value, self.size)
            if not is_array(value):
                node.opaque = node.judged = True
                for parent in node.parents:
                    self.looked(parent)
                if isinstance(function, Module):
                    self.plan.opened[id(function)] = function
                return value
            self.values[node] = value
            node.dtype = value.dtype
            if tuple(value.shape[:1]) == (self.size,):
                node.rows = tuple(value.shape[1:])
        elif node.opaque:
            return function(*looked_at(args), **looked_at(options))
        elif isinstance(function, Module):
            listener = _calls.listening()
            if listener is not None:
                _announce(listener, function)
        return StandIn(self, node)

    def call(self, function: Any, module: Any, args: Any, options: Any) -> Any:
        """Return ``module(*args, **options)``, where there are stand-ins among the arguments."""
        plan = self.plan
        if plan.outline.is_pure(module):
            return self.apply(module, args, options)
        if type(module) is Sequential and len(args) == 1 and type(args[0]) is StandIn:
            return self.through(function, module, args[0])
        listener = _calls.listening()
        if listener is not None:
            return listener.call(function, module, args, options)
        return function(module, *args, **options)

    def through(self, function: Any, sequence: Sequential, x: StandIn) -> Any:
        """Return the output of a `Sequential`: its first layers at once, the others as always."""
        listener = _calls.listening()
        if listener is None:
            return self._through(function, sequence, x)
        whole = partial(self._through, function)
        return listener.call(whole, sequence, (x,), {})

    def _through(self, function: Any, sequence: Sequential, x: Any) -> Any:
        parts = self.plan.parts(sequence)
        if self.plan.careful:
            for layer in sequence.layers[: parts.count]:
                x = self.apply(layer, (x,), {}) if type(x) is StandIn else layer(x)
            parts = parts._replace(first=None)
        if parts.first is not None:
            x = self.apply(parts.first, (x,), {})
        if parts.rest is None:
            return x
        rest: Any = parts.rest
        if parts.plain:
            x = looked_at(x)
        return function(rest, x)

    # ---- values --------------------------------------------------------------------------------

    def value(self, node: Node) -> Any:
        """Return a node's value: known, or fetched, or computed."""
        value = self.values.get(node)
        if value is None:
            if node.store is not None:
                value = self._fetch(node)
            elif node.function is None:
                value = self.plan.x[self.which]
            else:
                value = computed(node, self.value, self.size)
            self.values[node] = value
        return value

    def _fetch(self, node: Node) -> Any:
        store = node.store
        assert store is not None
        if store.complete:
            self.hits += self.size
            return store.take(self.which, self.numbers)
        which = self.numbers()
        known = store.known(which)
        missing = int(self.size - np.count_nonzero(known))
        self.hits += self.size - missing
        self.misses += missing
        if missing == self.size:
            value = computed(node, self.value, self.size)
            store.put(self.which, value, which)
            return value
        if missing:
            numbers = np.arange(len(self.plan.x))[which][~known]
            rest = Batch(self.plan, array_namespace(self.plan.x).asarray(numbers), missing, numbers)
            store.put(rest.which, computed(node, rest.value, rest.size), numbers)
        return store.take(self.which, self.numbers)


def _announce(listener: Any, module: Any) -> None:
    """Tell a listener of a call that is answered, and of those within it, in the tree's order."""

    def within(module: Any) -> None:
        for child in children(module):
            _announce(listener, child)

    listener.call(within, module, (), {})
