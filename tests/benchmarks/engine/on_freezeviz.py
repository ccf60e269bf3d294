"""A training step of freezeviz, written with its public names as a user would."""

from itertools import pairwise
from typing import Any

import numpy as np

import freezeviz as fv
from freezeviz import nn, optim
from tests.benchmarks.engine.workloads import (
    LEARNING_RATE,
    Cnn,
    Encoder,
    Mlp,
    Workload,
    batches,
    frozen,
    parameters,
)

QKV = ("query_proj", "key_proj", "value_proj")


class _Encoder(nn.Module):
    def __init__(self, work: Encoder):
        super().__init__()
        self.words = nn.Embedding(work.words, work.dims)
        self.places = np.zeros((work.length, work.dims), np.float32)
        self.ln = nn.LayerNorm(work.dims)
        self.blocks = [
            nn.TransformerEncoderLayer(
                work.dims,
                work.heads,
                work.hidden,
                activation=nn.gelu,
                norm_first=work.norm_first,
            )
            for _ in range(work.depth)
        ]
        for block in self.blocks:
            block.attention = nn.MultiHeadAttention(work.dims, work.heads, bias=True)
        self.head = nn.Linear(work.dims, work.classes)
        self.norm_first = work.norm_first

    def __call__(self, tokens: Any) -> Any:
        x = self.words(tokens) + self.places
        if not self.norm_first:
            x = self.ln(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x).mean(1) if self.norm_first else x[:, 0])


def model_of(work: Workload) -> tuple[Any, dict[str, tuple[str, ...]]]:
    """Return a workload's model, and the paths in it of each parameter's parts."""
    if isinstance(work, Encoder):
        return _Encoder(work), _encoder_paths(work)
    layers: list[Any] = []
    names: dict[str, int] = {}
    if isinstance(work, Cnn):
        for i, (inputs, outputs) in enumerate(pairwise(work.channels)):
            names[f"c{i}"] = len(layers)
            layers += [nn.Conv2d(inputs, outputs, 3), nn.ReLU()]
        layers += [nn.MaxPool2d(2), nn.Flatten()]
    first = "l" if isinstance(work, Mlp) else "d"
    widths = [s for name, s in work.shapes().items() if name[0] == first and name.endswith(".w")]
    for i, (inputs, outputs) in enumerate(widths):
        names[f"{first}{i}"] = len(layers)
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    paths = {}
    for name, at in names.items():
        paths |= {f"{name}.w": (f"layers.{at}.weight",), f"{name}.b": (f"layers.{at}.bias",)}
    return nn.Sequential(*layers[:-1]), paths


def _encoder_paths(work: Encoder) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {
        "words": ("words.weight",),
        "places": ("places",),
        "ln.g": ("ln.weight",),
        "ln.b": ("ln.bias",),
        "head.w": ("head.weight",),
        "head.b": ("head.bias",),
    }
    for i in range(work.depth):
        modules = {"o": ["attention.out_proj"], "f1": ["linear1"], "f2": ["linear2"]}
        modules |= {"ln1": ["ln1"], "ln2": ["ln2"], "qkv": [f"attention.{part}" for part in QKV]}
        for short, inside in modules.items():
            for letter, kind in (("g" if short[0] == "l" else "w", "weight"), ("b", "bias")):
                paths = tuple(f"blocks.{i}.{module}.{kind}" for module in inside)
                found[f"b{i}.{short}.{letter}"] = paths
    return found


def _laid_out(name: str, value: np.ndarray) -> np.ndarray:
    # Inputs come last in our weights; gains, biases and embeddings are as they are.
    return np.ascontiguousarray(np.moveaxis(value, -1, 0)) if name.endswith(".w") else value


class Training:
    def __init__(self, work: Workload, mode: str):
        self.model, self.paths = model_of(work)
        pairs: list[tuple[str, np.ndarray]] = []
        for name, value in parameters(work).items():
            parts = self.paths[name]
            pairs += zip(parts, np.split(_laid_out(name, value), len(parts)), strict=True)
        self.model.load_weights([(path, np.ascontiguousarray(value)) for path, value in pairs])
        if chosen := [path for name in sorted(frozen(work, mode)) for path in self.paths[name]]:
            fv.freeze(self.model, chosen)
        self.optimizer = optim.Adam(LEARNING_RATE, bias_correction=True)
        self.batches, self.done = batches(work), 0
        loss = nn.losses.cross_entropy
        if isinstance(work, Mlp) and not work.classes:
            loss = nn.losses.mse_loss
        self.value_and_grad = nn.value_and_grad(
            self.model, lambda x, y: loss(self.model(x), y, reduction="mean")
        )

    def step(self) -> Any:
        x, y = self.batches[self.done % len(self.batches)]
        self.done += 1
        loss, gradients = self.value_and_grad(x, y)
        self.optimizer.update(self.model, gradients)
        return loss

    def values(self) -> dict[str, np.ndarray]:
        known = dict(self.model.named_parameters())
        return {
            name: np.concatenate([known[path] for path in parts])
            for name, parts in self.paths.items()
        }


def build(work: Workload, mode: str, threads: int) -> Training:
    """Return a run; the number of threads is BLAS's, which the worker's environment sets."""
    return Training(work, mode)
