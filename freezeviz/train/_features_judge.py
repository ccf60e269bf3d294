"""Whether what was noted may be kept: computed again, and on other rows, and compared."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.backend import array_namespace, is_array, to_numpy
from freezeviz.nn import Module
from freezeviz.train._features_graph import Node, ancestors, computed
from freezeviz.train._features_guard import Guard

# What a computation takes and what fetching its result takes, in nanoseconds, put so that a cache
# is worth it when in doubt: two cores do 30 operations in one, and copy 4 bytes. Counted, not
# measured: two runs that are the same have to decide the same.
OPERATIONS, BYTES, CALL, FETCH = 30.0, 4.0, 5_000.0, 15_000.0
MOST_PIECES = 16  # of the size of the last batch that are computed to see whether they round alike


class Verdict:
    """What was found about some nodes.

    Attributes
    ----------
    keep : list of Node
        Those whose rows may be kept, instead of the ones that were looked at.
    exact : bool
        On the rows looked at, a sample's row was the same bits in another batch.
    impure : dict
        ``id(module)`` to why it may not be answered, in words.
    problem : str or None
        Why less than what was looked at may be kept, in words.
    work : float
        Estimated nanoseconds that keeping saves, of the batch looked at.
    """

    def __init__(self) -> None:
        self.keep: list[Node] = []
        self.exact = True
        self.impure: dict[int, str] = {}
        self.problem: str | None = None
        self.work = 0.0


def judge(
    looked: list[Node],
    value: Callable[[Node], Any],
    size: int,
    sizes: Iterable[int],
    model: Module,
    name: Callable[[Any], str],
) -> Verdict:
    """Look into the nodes whose values were wanted of a batch.

    Parameters
    ----------
    looked : list of Node
    value : callable
        Gives the value that a node had in the step.
    size : int
        Of the batch.
    sizes : iterable of int
        Of all batches of an epoch.
    model : Module
        Nothing in it changes.
    name : callable
        Names a function or module in words.
    """
    return _Trial(value, size, sizes, name).verdict(looked, model)


class _Trial:
    def __init__(
        self,
        value: Callable[[Node], Any],
        size: int,
        sizes: Iterable[int],
        name: Callable[[Any], str],
    ) -> None:
        self._value = value
        self._size = size
        self._name = name
        # Other batches: the halves of the samples, in another order; of a single one, two. And
        # of the other sizes that there are: in a small last batch, products may round otherwise.
        half = size // 2
        self._others = [np.arange(half)[::-1], np.arange(half, size)[::-1]]
        if size == 1:
            self._others = [np.zeros(2, np.intp)]
        for other in sorted({*sizes} - {size, *map(len, self._others)}):
            self._others += [
                np.resize(np.arange(start, size), other)
                for start in range(0, max(1, size - other + 1), other)[:MOST_PIECES]
            ]
        self._parts: dict[Node, list[Any]] = {}
        self._costs: dict[Node, float] = {}
        self._guard = Guard()
        self._verdict = Verdict()

    def verdict(self, looked: list[Node], model: Module) -> Verdict:
        verdict = self._verdict
        with self._guard.watching(model), np.errstate(all="ignore"):
            for node in ancestors(looked):
                if node.function is None or node.store is not None:
                    self._parts[node] = self._cut(self._value(node))
                else:
                    self._try(node)
        keep: dict[Node, None] = {}
        for node in looked:
            _choose(node, keep)
        verdict.keep = list(keep)
        # Rows come back one after the other: what reads them otherwise may round otherwise.
        verdict.exact = verdict.exact and all(
            getattr(self._value(node).flags, "c_contiguous", False) for node in keep
        )
        verdict.work = sum(self._costs.get(node, 0.0) for node in ancestors(keep))
        verdict.work -= sum(FETCH + self._value(node).nbytes / BYTES for node in keep)
        return verdict

    def _try(self, node: Node) -> None:
        node.judged = True
        problem = self._problem(node)
        node.separate = problem is None
        if problem is None:
            return
        node.rows = None
        if problem:
            text = f"{self._name(node.function)} {problem}"
            self._verdict.problem = self._verdict.problem or text
            if isinstance(node.function, Module):
                self._verdict.impure[id(node.function)] = text

    def _problem(self, node: Node) -> str | None:
        """Return why a node's rows cannot be kept; "" if another node's problem is the cause."""
        if node.opaque or not all(parent in self._parts for parent in node.parents):
            return ""
        value = self._value(node)
        if tuple(value.shape[:1]) != (self._size,):
            return ""
        with autodiff.count() as counts:
            try:
                again = computed(node, self._value, self._size)
            except Exception as error:
                self._guard.seen()
                return f"raised {type(error).__name__} when it was called again"
        if (seen := self._guard.seen()) is not None:
            return seen
        if not _same_bits(again, value):
            return "gives another result when it is called again"
        products = sum(times * 2.0 * math.prod(a) * b[-1] for (a, b), times in counts.gemms.items())
        self._costs[node] = CALL + value.nbytes / BYTES + products / OPERATIONS
        parts = self._cut(value)
        for i, rows in enumerate(parts):
            try:
                part = computed(node, lambda parent, i=i: self._parts[parent][i], len(rows))
            except Exception:  # it was made for batches of this size
                self._guard.seen()
                return "cannot be computed on fewer samples"
            if (seen := self._guard.seen()) is not None:
                return seen
            if not is_array(part) or tuple(part.shape) != tuple(rows.shape):
                return "cannot be computed on fewer samples"
            if not _same_bits(part, rows):
                if not _close(part, rows):
                    return "mixes samples of a batch"
                self._verdict.exact = False
        # The rows of the whole batch, not these: differences of rounding would add up.
        self._parts[node] = parts
        return None

    def _cut(self, value: Any) -> list[Any]:
        return [_rows(value, other) for other in self._others]


def _rows(value: Any, which: np.ndarray) -> Any:
    return value[array_namespace(value).asarray(which)]


def _same_bits(a: Any, b: Any) -> bool:
    a, b = to_numpy(a), to_numpy(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def _close(a: Any, b: Any) -> bool:
    a, b = to_numpy(a), to_numpy(b)
    if a.dtype.kind not in "fc":
        return False
    scale = float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0))
    rounding = 1000 * float(np.finfo(a.dtype).eps) * scale
    return bool(np.allclose(a, b, rtol=0, atol=rounding, equal_nan=True))


def _choose(node: Node, keep: dict[Node, None]) -> None:
    """Enter a node, or what it is computed of as far as that may be kept."""
    if node.function is None or node.store is not None:
        return
    if node.separate:
        keep[node] = None
        return
    for parent in node.parents:
        _choose(parent, keep)
