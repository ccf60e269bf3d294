"""The matrix products that a training step cannot do without.

Counted from the workload alone, not from what an engine does: forward all of them; backward the
gradient of a product's input where something before it trains, and of its weight where that
trains. Convolutions count as the products they can be written as, and an attention's scores are
formed once, although an engine may form them again to save memory. Where a classifier reads one
position only, the layers below it are counted whole, as all engines compute them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.benchmarks.engine.workloads import Cnn, Encoder, Mlp, Workload, frozen


@dataclass(frozen=True)
class Product:
    """`count` products of (m, k) by (k, n) matrices.

    Attributes
    ----------
    layer : str
        What its weight belongs to.
    part : str
        ``"forward"``, ``"input"`` (its gradient) or ``"weight"`` (its gradient).
    """

    layer: str
    part: str
    m: int
    k: int
    n: int
    count: int = 1

    @property
    def flops(self) -> int:
        return 2 * self.m * self.k * self.n * self.count


def products(work: Workload, mode: str) -> list[Product]:
    """Return the products of one step, layer after layer."""
    shapes, trained = work.shapes(), set(work.shapes()) - frozen(work, mode)
    found: list[Product] = []
    for layer, m, k, n, count, before in _forward(work):
        below = not trained.isdisjoint(before)
        found.append(Product(layer, "forward", m, k, n, count))
        if below:
            found.append(Product(layer, "input", m, n, k, count))
        # The second factor of an attention's products is no weight but comes from below, too.
        if f"{layer}.w" in trained if f"{layer}.w" in shapes else below:
            found.append(Product(layer, "weight", k, m, n, count))
    return found


def flops(work: Workload, mode: str) -> int:
    """Return the operations of these products, a multiplication and an addition being two."""
    return sum(product.flops for product in products(work, mode))


def _forward(work: Workload) -> Iterator[tuple[str, int, int, int, int, set[str]]]:
    """Yield layer, m, k, n, count, and the parameters before it, of every product forward."""
    before: set[str] = set()
    for layer, m, k, n, count, since in _chain(work):
        before |= since
        yield layer, m, k, n, count, set(before)
        before |= {f"{layer}.w", f"{layer}.b"}


def _chain(work: Workload) -> Iterator[tuple[str, int, int, int, int, set[str]]]:
    # The last entry: parameters between the product before and this one.
    if isinstance(work, Mlp):
        for i, (inputs, outputs) in enumerate(pairwise(work.widths)):
            yield f"l{i}", work.batch, inputs, outputs, 1, set()
    elif isinstance(work, Cnn):
        side = work.size
        for i, (inputs, outputs) in enumerate(pairwise(work.channels)):
            side -= 2
            yield f"c{i}", work.batch * side * side, 9 * inputs, outputs, 1, set()
        for i, (inputs, outputs) in enumerate(pairwise((math.prod(work.pooled), *work.dense))):
            yield f"d{i}", work.batch, inputs, outputs, 1, set()
    else:
        yield from _encoder(work)


def _encoder(work: Encoder) -> Iterator[tuple[str, int, int, int, int, set[str]]]:
    rows, d, length = work.batch * work.length, work.dims, work.length
    heads, per_head = work.batch * work.heads, work.dims // work.heads
    norm = {"ln.g", "ln.b"}
    between = {"words", "places"} | (set() if work.norm_first else norm)
    for i in range(work.depth):
        norms = [{f"b{i}.{name}.g", f"b{i}.{name}.b"} for name in ("ln1", "ln2")]
        yield f"b{i}.qkv", rows, d, 3 * d, 1, between | (norms[0] if work.norm_first else set())
        yield f"b{i}.scores", length, per_head, length, heads, set()
        yield f"b{i}.mix", length, length, per_head, heads, set()
        yield f"b{i}.o", rows, d, d, 1, set()
        yield f"b{i}.f1", rows, d, work.hidden, 1, norms[1] if work.norm_first else norms[0]
        yield f"b{i}.f2", rows, work.hidden, d, 1, set()
        between = set() if work.norm_first else norms[1]
    yield "head", work.batch, d, work.classes, 1, between | (norm if work.norm_first else set())
