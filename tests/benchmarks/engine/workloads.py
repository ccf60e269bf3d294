"""The workloads and the ways of freezing, as data for every engine.

A weight is kept the way the formula ``x @ w + b`` has it: (inputs, outputs), and (height, width,
channels in, channels out) for a convolution. Images are channels last. Engines turn that round
as they need it, once, before the first step.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

LEARNING_RATE = 1e-3
BATCHES = 8  # that a run cycles through
MODES = {
    "F0": "nothing",
    "F1": "the first half of the layers",
    "F2": "all but the head",
    "F3": "one middle layer",
    "F4": "all but biases",
}

Layers = dict[str, list[str]]
Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Mlp:
    """Linear layers with ReLU between them."""

    name: str
    batch: int
    widths: tuple[int, ...]
    classes: bool = True  # the last width counts classes; otherwise a regression

    @property
    def title(self) -> str:
        return f"MLP {'-'.join(map(str, self.widths))}, batch {self.batch}"

    def layers(self) -> Layers:
        return {f"l{i}": [f"l{i}.w", f"l{i}.b"] for i in range(len(self.widths) - 1)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (inputs, outputs) in enumerate(pairwise(self.widths)):
            shapes |= {f"l{i}.w": (inputs, outputs), f"l{i}.b": (outputs,)}
        return shapes

    def draw(self, rng: np.random.Generator) -> Batch:
        if self.classes:
            x = rng.random((self.batch, self.widths[0]), dtype=np.float32)
            return x, rng.integers(0, self.widths[-1], self.batch)
        x = rng.standard_normal((self.batch, self.widths[0]), dtype=np.float32)
        return x, np.sin(x.sum(1, keepdims=True))


@dataclass(frozen=True)
class Cnn:
    """Convolutions 3x3 with ReLU, max-pooling by 2, linear layers with ReLU between them."""

    name: str
    batch: int
    size: int
    channels: tuple[int, ...]
    dense: tuple[int, ...]

    @property
    def title(self) -> str:
        maps, dense = "-".join(map(str, self.channels)), "-".join(map(str, self.dense))
        return f"CNN {maps}, dense {dense}, {self.size}x{self.size}, batch {self.batch}"

    @property
    def pooled(self) -> tuple[int, int, int]:
        """Height, width and channels of what the first dense layer reads."""
        side = (self.size - 2 * (len(self.channels) - 1)) // 2
        return side, side, self.channels[-1]

    def layers(self) -> Layers:
        names = [f"c{i}" for i in range(len(self.channels) - 1)]
        names += [f"d{i}" for i in range(len(self.dense))]
        return {name: [f"{name}.w", f"{name}.b"] for name in names}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (inputs, outputs) in enumerate(pairwise(self.channels)):
            shapes |= {f"c{i}.w": (3, 3, inputs, outputs), f"c{i}.b": (outputs,)}
        for i, (inputs, outputs) in enumerate(pairwise((math.prod(self.pooled), *self.dense))):
            shapes |= {f"d{i}.w": (inputs, outputs), f"d{i}.b": (outputs,)}
        return shapes

    def draw(self, rng: np.random.Generator) -> Batch:
        x = rng.random((self.batch, self.size, self.size, self.channels[0]), dtype=np.float32)
        return x, rng.integers(0, self.dense[-1], self.batch)


@dataclass(frozen=True)
class Encoder:
    """A Transformer encoder with GELU and a classifier on top.

    With `norm_first` as in today's encoders: each part begins with its normalisation, one more
    comes last, and the classifier reads the mean over the positions. Without, as in BERT: each
    part ends with its normalisation, the embeddings have one too, and the classifier reads the
    first position. Queries, keys and values come from one weight, in this order.
    """

    name: str
    batch: int
    depth: int
    dims: int
    heads: int
    hidden: int
    length: int
    words: int
    classes: int
    norm_first: bool

    @property
    def title(self) -> str:
        return (
            f"Transformer encoder {'' if self.norm_first else 'shaped like BERT '}of {self.depth} "
            f"layers of {self.dims}, length {self.length}, batch {self.batch}"
        )

    def layers(self) -> Layers:
        parts = ("ln1.g", "ln1.b", "qkv.w", "qkv.b", "o.w", "o.b")
        parts += ("ln2.g", "ln2.b", "f1.w", "f1.b", "f2.w", "f2.b")
        blocks = {f"b{i}": [f"b{i}.{part}" for part in parts] for i in range(self.depth)}
        norm = ["ln.g", "ln.b"]
        if self.norm_first:
            blocks[f"b{self.depth - 1}"] += norm
        bottom = ["words", "places"] + ([] if self.norm_first else norm)
        return {"embedding": bottom, **blocks, "head": ["head.w", "head.b"]}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        d, h = self.dims, self.hidden
        shapes = {"words": (self.words, d), "places": (self.length, d), "ln.g": (d,), "ln.b": (d,)}
        for i in range(self.depth):
            for norm in ("ln1", "ln2"):
                shapes |= {f"b{i}.{norm}.g": (d,), f"b{i}.{norm}.b": (d,)}
            for part, inputs, outputs in (
                ("qkv", d, 3 * d), ("o", d, d), ("f1", d, h), ("f2", h, d),
            ):  # fmt: skip
                shapes |= {f"b{i}.{part}.w": (inputs, outputs), f"b{i}.{part}.b": (outputs,)}
        return {**shapes, "head.w": (d, self.classes), "head.b": (self.classes,)}

    def draw(self, rng: np.random.Generator) -> Batch:
        x = rng.integers(0, self.words, (self.batch, self.length))
        return x, rng.integers(0, self.classes, self.batch)


Workload = Mlp | Cnn | Encoder

WORKLOADS: dict[str, Workload] = {
    work.name: work
    for work in (
        Mlp("W1", 128, (64, 256, 256, 10)),
        Mlp("W2", 256, (784, 1024, 1024, 1024, 10)),
        Cnn("W3", 64, 28, (1, 32, 64), (128, 10)),
        Encoder("W4", 16, 4, 256, 4, 1024, 64, 1000, 10, norm_first=True),
        Mlp("W5", 32, (8, 32, 32, 1), classes=False),
        Encoder("W6", 8, 2, 768, 12, 3072, 128, 30522, 2, norm_first=False),
    )
}


def parameters(work: Workload, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the first value of every parameter, in forward order.

    Weights and biases of layers are uniform in ``±1/sqrt(inputs)``, embeddings normal with
    deviation 0.02, gains of normalisations one and their biases zero.
    """
    rng, shapes = np.random.default_rng(seed), work.shapes()
    return {name: _first(name, shapes, rng) for names in work.layers().values() for name in names}


def _first(name: str, shapes: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    shape = shapes[name]
    layer, _, kind = name.rpartition(".")
    if not layer:
        return 0.02 * rng.standard_normal(shape, dtype=np.float32)
    if f"{layer}.w" not in shapes:
        return np.full(shape, kind == "g", np.float32)
    limit = 1 / math.sqrt(math.prod(shapes[f"{layer}.w"][:-1]))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def batches(work: Workload, seed: int = 1) -> list[Batch]:
    """Return the batches that a run cycles through: inputs, and labels or targets."""
    rng = np.random.default_rng(seed)
    return [work.draw(rng) for _ in range(BATCHES)]


def frozen(work: Workload, mode: str) -> frozenset[str]:
    """Return the names of the parameters that are frozen in a mode, one of `MODES`."""
    layers = list(work.layers().values())
    chosen: Iterable[list[str]] = {
        "F0": [],
        "F1": layers[: len(layers) // 2],
        "F2": layers[:-1],
        "F3": [layers[(len(layers) - 1) // 2]],
        "F4": [[name for names in layers for name in names if not name.endswith(".b")]],
    }[mode]
    return frozenset(name for names in chosen for name in names)
