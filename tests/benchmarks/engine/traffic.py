"""How many bytes a training step moves beside its matrix products, worked out from its layers.

Each fused operation reads what it reads and writes what it makes once, forward and backward, as if
nothing stayed in a cache: bias and activation go over the product's result, a normalisation over
its input, an attention over its scores. The optimizer is Adam: it reads and writes a parameter and
its two moments, and reads the gradient. What a product reads and writes is the product's own time.
"""

import math

from tests.benchmarks.engine.operations import FLOAT, Cost, Operation, costs
from tests.benchmarks.engine.workloads import Workload, frozen

ADAM = 7 * FLOAT  # for each trained number


def optimizer_bytes(work: Workload, mode: str) -> int:
    """Return what Adam moves."""
    held = frozen(work, mode)
    return ADAM * sum(math.prod(shape) for name, shape in work.shapes().items() if name not in held)


def elementwise_bytes(work: Workload, mode: str) -> int:
    """Return what everything moves that is neither a product nor the optimizer."""
    held, shapes = frozen(work, mode), work.shapes()
    found = costs(work, mode)
    traced = {cost.operation.name for cost in found if cost.traced}
    sizes = {cost.operation.name: cost.operation for cost in found}
    total = 0
    for cost in found:
        trained = [name not in held for name in cost.operation.parameters]
        below = [name for name in cost.operation.reads if name in traced]
        total += FLOAT * _forward(cost, sizes)
        if cost.traced:
            total += FLOAT * _backward(cost.operation, trained, below, sizes)
            if cost.operation.kind == "embedding":
                total += FLOAT * math.prod(shapes[cost.operation.parameters[0]])
    return total


def _unpooled(operation: Operation) -> int:
    # Of windows of two by two.
    return operation.size * (4 if "pool" in operation.end else 1)


def _scores(operation: Operation) -> int:
    batch, length, _ = operation.shape
    return batch * operation.heads * length**2


def _forward(cost: Cost, known: dict[str, Operation]) -> int:
    """Return how many numbers are read and written."""
    operation = cost.operation
    size = operation.size
    if operation.kind in ("linear", "conv"):
        return _unpooled(operation) + size + (size if operation.end == "gelu" and cost.kept else 0)
    if operation.kind == "norm":
        return 2 * size + (size if cost.kept else 0)
    if operation.kind == "attention":
        return 2 * _scores(operation)
    if operation.kind == "loss":
        return 2 * known[operation.reads[0]].size
    if operation.kind == "mean":
        return size + known[operation.reads[0]].size
    # A sum of two; a row of a table and where it goes; a view is nothing.
    return {"add": 3 * size, "embedding": 2 * size, "view": 0}[operation.kind]


def _backward(
    operation: Operation, trained: list[bool], below: list[str], known: dict[str, Operation]
) -> int:
    size = operation.size
    if operation.kind in ("linear", "conv"):
        if operation.end:
            # The cotangent, what the derivative is read off, and the result.
            return 3 * _unpooled(operation)
        return size if trained[1] else 0  # summed up for the bias
    if operation.kind == "norm":
        return (3 if below else 2 if trained[0] else 1) * size
    if operation.kind == "attention":
        return 3 * _scores(operation)
    if operation.kind == "loss":
        return 2 * known[operation.reads[0]].size
    if operation.kind == "mean":
        return size + known[operation.reads[0]].size
    if operation.kind == "add":
        # Where two ways join, their cotangents are added; a trained table of places sums rows up.
        return 3 * size if len(below) == 2 else size if any(trained) else 0
    return 2 * size if operation.kind == "embedding" else 0
