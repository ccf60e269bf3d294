"""What a training step computes, as a list of fused operations, and the least that each costs.

Worked out from the workload alone, not from what an engine does. A fused operation is what can be
one pass with its matrix product or its normalisation: a layer with its activation, a convolution
with activation and pooling, queries, keys and values as one product, an attention, a whole loss.

What an operation keeps is what its derivative is computed from and nothing else, where whoever
made it has it no more: parameters and data are there anyway, so they count as nothing.

- A layer's weight gradient needs the layer's input; the input's gradient needs the weight.
- ReLU's derivative is read off its value, that of pooling off the position of the largest entry
  in each window (one byte, which can also say that ReLU let nothing through), GELU's is an array
  of its own.
- A normalisation needs its normalised input for both of its gradients, the deviations of the rows
  for its input's.
- Attention needs queries, keys and values, and its probabilities.
- A loss needs one array like its logits or predictions.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.benchmarks.engine.workloads import Cnn, Encoder, Mlp, Workload, frozen

FLOAT = 4  # bytes of a float32


@dataclass(frozen=True)
class Operation:
    """One fused operation.

    Attributes
    ----------
    name : str
        Also the name of its value.
    kind : str
        ``"linear"``, ``"conv"``, ``"attention"``, ``"norm"``, ``"add"``, ``"embedding"``,
        ``"mean"``, ``"loss"``, or ``"view"`` of other shape or of a part.
    reads : tuple of str
        The operations whose values it reads; those that are not in the list are data.
    shape : tuple of int
        Of its value.
    parameters : tuple of str
        Those of the workload that it uses, a weight or gain first.
    end : str
        What it ends with: ``"relu"``, ``"gelu"``, ``"relu, pool"`` or nothing.
    heads : int
        Of an attention.
    """

    name: str
    kind: str
    reads: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: tuple[str, ...] = ()
    end: str = ""
    heads: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Cost:
    """An operation's part in a step: whether it is recorded, and what it keeps, in bytes by name.

    An array that two operations keep has one name.
    """

    operation: Operation
    traced: bool
    kept: dict[str, int]


def operations(work: Workload) -> list[Operation]:
    """Return the operations of a step in the order in which they are computed."""
    if isinstance(work, Mlp):
        return list(_mlp(work))
    return list(_cnn(work) if isinstance(work, Cnn) else _encoder(work))


def costs(work: Workload, mode: str) -> list[Cost]:
    """Return the least that each operation of a step costs with a part frozen."""
    trained = set(work.shapes()) - frozen(work, mode)
    known: dict[str, Operation] = {}
    traced: set[str] = set()
    found = []
    for operation in operations(work):
        below = not traced.isdisjoint(operation.reads)
        own = [name in trained for name in operation.parameters]
        kept: dict[str, int] = {}
        if below or any(own):
            traced.add(operation.name)
            kept = {name: n for name, n in _kept(operation, below, own, known).items() if n}
        found.append(Cost(operation, operation.name in traced, kept))
        known[operation.name] = operation
    return found


def saved(work: Workload, mode: str) -> int:
    """Return the bytes that must be alive between the forward and the backward pass."""
    kept: dict[str, int] = {}
    for cost in costs(work, mode):
        kept |= cost.kept
    return sum(kept.values())


def nodes(work: Workload, mode: str) -> int:
    """Return how many operations lie between the first trained thing and the loss."""
    return sum(cost.traced for cost in costs(work, mode))


def _kept(
    operation: Operation, below: bool, own: list[bool], known: dict[str, Operation]
) -> dict[str, int]:
    name, kind, size = operation.name, operation.kind, operation.size
    kept: dict[str, int] = {}
    if kind in ("linear", "conv"):
        if own[0]:
            source = _source(operation.reads[0], known)
            kept[source] = FLOAT * known[source].size if source in known else 0
        if operation.end == "relu":
            kept[name] = FLOAT * size
        elif operation.end == "gelu":
            kept[f"{name}'s derivative"] = FLOAT * size
        elif operation.end == "relu, pool":
            kept[f"{name}'s positions"] = size
    elif kind == "norm":
        # Gain first; the bias needs nothing.
        kept[f"{name}'s input, normalised"] = FLOAT * size if below or own[0] else 0
        kept[f"{name}'s deviations"] = FLOAT * size // operation.shape[-1] if below else 0
    elif kind == "attention":
        packed = known[operation.reads[0]]
        batch, length, _ = operation.shape
        kept[packed.name] = FLOAT * packed.size
        kept[f"{name}'s probabilities"] = FLOAT * batch * operation.heads * length**2
    elif kind == "loss":
        read = known[operation.reads[0]]
        kept[f"{name}'s gradient"] = FLOAT * read.size
    return kept


def _source(name: str, known: dict[str, Operation]) -> str:
    # Of the same size: another shape of the same array. A part is worth a copy of its own.
    while name in known and known[name].kind == "view":
        read = known[name].reads[0]
        if known[read].size != known[name].size:
            break
        name = read
    return name


def _dense(first: str, batch: int, widths: tuple[int, ...], read: str) -> Iterator[Operation]:
    last = len(widths) - 2
    for i, outputs in enumerate(widths[1:]):
        name = f"{first}{i}"
        end = "relu" if i < last else ""
        yield Operation(name, "linear", (read,), (batch, outputs), (f"{name}.w", f"{name}.b"), end)
        read = name
    yield Operation("loss", "loss", (read,), ())


def _mlp(work: Mlp) -> Iterator[Operation]:
    yield from _dense("l", work.batch, work.widths, "x")


def _cnn(work: Cnn) -> Iterator[Operation]:
    read, side, last = "x", work.size, len(work.channels) - 2
    for i, (_, outputs) in enumerate(pairwise(work.channels)):
        name, side = f"c{i}", side - 2
        shape = work.pooled if i == last else (side, side, outputs)
        end = "relu, pool" if i == last else "relu"
        parameters = (f"{name}.w", f"{name}.b")
        yield Operation(name, "conv", (read,), (work.batch, *shape), parameters, end)
        read = name
    flat = math.prod(work.pooled)
    yield Operation("flat", "view", (read,), (work.batch, flat))
    yield from _dense("d", work.batch, (flat, *work.dense), "flat")


def _encoder(work: Encoder) -> Iterator[Operation]:
    shape = (work.batch, work.length, work.dims)

    def norm(name: str, read: str) -> Operation:
        return Operation(name, "norm", (read,), shape, (f"{name}.g", f"{name}.b"))

    def linear(name: str, read: str, outputs: int, end: str = "") -> Operation:
        parameters = (f"{name}.w", f"{name}.b")
        return Operation(name, "linear", (read,), (*shape[:2], outputs), parameters, end)

    def add(name: str, *reads: str) -> Operation:
        return Operation(name, "add", reads, shape)

    yield Operation("rows", "embedding", ("tokens",), shape, ("words",))
    yield Operation("placed", "add", ("rows",), shape, ("places",))
    x = "placed"
    if not work.norm_first:
        yield norm("ln", x)
        x = "ln"
    for i in range(work.depth):
        b = f"b{i}."
        source = x
        if work.norm_first:
            yield norm(f"{b}ln1", x)
            source = f"{b}ln1"
        yield linear(f"{b}qkv", source, 3 * work.dims)
        yield Operation(f"{b}mix", "attention", (f"{b}qkv",), shape, heads=work.heads)
        yield linear(f"{b}o", f"{b}mix", work.dims)
        yield add(f"{b}sum1", x, f"{b}o")
        inner = f"{b}ln2" if work.norm_first else f"{b}ln1"
        yield norm(inner, f"{b}sum1")
        x = f"{b}sum1" if work.norm_first else inner
        yield linear(f"{b}f1", inner, work.hidden, "gelu")
        yield linear(f"{b}f2", f"{b}f1", work.dims)
        yield add(f"{b}sum2", x, f"{b}f2")
        x = f"{b}sum2"
        if not work.norm_first:
            yield norm(f"{b}ln2", x)
            x = f"{b}ln2"
    pooled = (work.batch, work.dims)
    if work.norm_first:
        yield norm("ln", x)
        yield Operation("pooled", "mean", ("ln",), pooled)
    else:
        yield Operation("pooled", "view", (x,), pooled)
    head = ("head.w", "head.b")
    yield Operation("head", "linear", ("pooled",), (work.batch, work.classes), head)
    yield Operation("loss", "loss", ("head",), ())
