"""A training step does not do, record or keep more than it must, whatever is frozen.

What it must is worked out from the layers alone (`operations.py`, `products.py` beside the
benchmark of training steps); what it does is counted while it runs. Where it does more, the
number is at the end of this file, with the reason.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.lib.array_utils import byte_bounds

from freezeviz import autodiff
from freezeviz.autodiff import _watch
from tests._kernel_sets import SETS, kernels_of
from tests.benchmarks.engine.on_freezeviz import Training
from tests.benchmarks.engine.operations import FLOAT, costs, nodes, saved
from tests.benchmarks.engine.products import products
from tests.benchmarks.engine.workloads import (
    MODES,
    WORKLOADS,
    Cnn,
    Encoder,
    Mlp,
    Workload,
    frozen,
)

# The same layers, smaller. No size is another's, so that no product is taken for another one.
SMALL = {
    "W1": replace(WORKLOADS["W1"], batch=13, widths=(7, 17, 11, 3)),
    "W2": replace(WORKLOADS["W2"], batch=13, widths=(7, 17, 19, 11, 3)),
    "W3": Cnn("W3", 5, 12, (2, 3, 7), (11, 13)),
    "W4": replace(WORKLOADS["W4"], batch=3, dims=8, heads=2, hidden=20, length=5, words=30),
    "W5": replace(WORKLOADS["W5"], batch=13, widths=(7, 17, 11, 1)),
    "W6": replace(WORKLOADS["W6"], batch=3, dims=12, heads=3, hidden=28, length=7, words=30),
}  # fmt: skip
CASES = [pytest.param(work, mode, id=f"{n} {mode}") for n, work in SMALL.items() for mode in MODES]
CASES += [
    pytest.param(WORKLOADS[name], mode, id=f"{name} {mode}, full size")
    for name in ("W1", "W3")
    for mode in MODES
]


class Kept:
    """Watches the end of a forward pass: which memory the tape keeps alive, as byte ranges."""

    def __init__(self, known: list[np.ndarray]):
        self.known = [_memory(array) for array in known]
        self.ranges: list[tuple[int, int]] = []

    def is_open(self) -> bool:
        return True

    def owner(self) -> Any:
        return None

    def begin_backward(self, pulls: Any, owners: Any) -> None:
        for pull in pulls:
            for array in _watch.kept(pull):
                low, high = _memory(array)
                if not any(a <= low and high <= b for a, b in self.known):
                    self.ranges.append((low, high))

    def work_for(self, owner: Any) -> None:
        pass

    def end_backward(self) -> None:
        pass

    def total(self) -> int:
        """Return the number of bytes; what is kept twice is counted once."""
        total = end = 0
        for low, high in sorted(self.ranges):
            total += max(0, high - max(low, end))
            end = max(end, high)
        return total


def _memory(array: np.ndarray) -> tuple[int, int]:
    # All that a view keeps alive, not only what it shows.
    while isinstance(array.base, np.ndarray):
        array = array.base
    return byte_bounds(array)


@pytest.fixture(params=SETS, autouse=True)
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels_of(request.param):
        yield request.param


def step(work: Workload, mode: str) -> tuple[autodiff.Counts, int]:
    """Return what a second training step did: counts, and the bytes kept for its backward pass."""
    run = Training(work, mode)
    run.step()
    data = [array for batch in run.batches for array in batch]
    watch = Kept(data + [value for _, value in run.model.named_parameters()])
    token = _watch.current.set(watch)
    try:
        with autodiff.count() as counts:
            run.step()
    finally:
        _watch.current.reset(token)
    return counts, watch.total()


@pytest.mark.parametrize(("work", "mode"), CASES)
def test_matrix_products_are_those_that_cannot_be_avoided(work: Workload, mode: str) -> None:
    expected: Counter[tuple[int, ...]] = Counter()
    for product in products(work, mode):
        expected[_shape(product.count, product.m, product.k, product.n)] += 1
    found: Counter[tuple[int, ...]] = Counter()
    for (left, right), times in step(work, mode)[0].gemms.items():
        batch = int(np.prod(left[:-2]))
        found[_shape(batch, left[-2], left[-1], right[-1])] += times
    assert found == expected


def _shape(batch: int, m: int, k: int, n: int) -> tuple[int, ...]:
    # A product and its transpose are the same work.
    return batch, k, *sorted((m, n))


@pytest.mark.parametrize(("work", "mode"), CASES)
def test_one_node_for_each_operation_from_the_first_trained_one_on(
    work: Workload, mode: str
) -> None:
    assert step(work, mode)[0].nodes.total() == nodes(work, mode) + more_nodes(work, mode)


@pytest.mark.parametrize(("work", "mode"), CASES)
def test_bytes_kept_for_the_backward_pass_are_those_it_needs(work: Workload, mode: str) -> None:
    assert step(work, mode)[1] == saved(work, mode) + more_bytes(work, mode)


# ---------------------------------------------------------------- where a step does not get there


def more_nodes(work: Workload, mode: str) -> int:
    """Return how many nodes there are beyond one for each operation.

    The encoders' own code takes the mean over the positions, which is a sum and a division.
    """
    means = [cost for cost in costs(work, mode) if cost.operation.kind == "mean"]
    return sum(cost.traced for cost in means)


def more_bytes(work: Workload, mode: str) -> int:
    """Return how many bytes are kept beyond what derivatives need.

    - The cross entropy keeps its exponentials as they are, and the sum of each row beside them:
      to divide them all once more would cost more time than these few bytes.
    - Where a classifier reads the first position, ``x[:, 0]`` is a view, which keeps all
      positions alive.
    """
    more = FLOAT * work.batch if classifies(work) else 0
    if isinstance(work, Encoder) and not work.norm_first and "head.w" not in frozen(work, mode):
        more += FLOAT * work.batch * (work.length - 1) * work.dims
    return more


def classifies(work: Workload) -> bool:
    return not isinstance(work, Mlp) or work.classes
