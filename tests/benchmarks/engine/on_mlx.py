"""A training step of MLX, compiled as a whole, on the CPU."""

import math
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

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

mx.set_default_device(mx.cpu)

Values = dict[str, Any]
B1, B2, EPS = 0.9, 0.999, 1e-8


def _dense(p: Values, first: str, count: int, x: Any) -> Any:
    for i in range(count):
        x = mx.addmm(p[f"{first}{i}.b"], x, p[f"{first}{i}.w"])
        if i < count - 1:
            x = mx.maximum(x, 0)
    return x


def _cnn(work: Cnn, p: Values, x: Any) -> Any:
    for i in range(len(work.channels) - 1):
        x = mx.maximum(mx.conv2d(x, p[f"c{i}.w"]) + p[f"c{i}.b"], 0)
    n, h, w, c = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4)).reshape(n, -1)
    return _dense(p, "d", len(work.dense), x)


def _encoder(work: Encoder, p: Values, tokens: Any) -> Any:
    dims, heads = work.dims, work.heads
    batch, length = tokens.shape

    def norm(x: Any, name: str) -> Any:
        return mx.fast.layer_norm(x, p[f"{name}.g"], p[f"{name}.b"], 1e-5)

    def linear(x: Any, name: str) -> Any:
        return x @ p[f"{name}.w"] + p[f"{name}.b"]

    def attention(x: Any, block: str) -> Any:
        packed = linear(x, f"{block}.qkv").reshape(batch, length, 3, heads, dims // heads)
        q, k, v = packed.transpose(2, 0, 3, 1, 4)
        scale = 1 / math.sqrt(dims // heads)
        out = mx.fast.scaled_dot_product_attention(q, k, v, scale=scale).transpose(0, 2, 1, 3)
        return linear(out.reshape(batch, length, dims), f"{block}.o")

    def network(x: Any, block: str) -> Any:
        return linear(nn.gelu(linear(x, f"{block}.f1")), f"{block}.f2")

    x = p["words"][tokens] + p["places"]
    if not work.norm_first:
        x = norm(x, "ln")
    for i in range(work.depth):
        b = f"b{i}"
        if work.norm_first:
            x = x + attention(norm(x, f"{b}.ln1"), b)
            x = x + network(norm(x, f"{b}.ln2"), b)
        else:
            x = norm(x + attention(x, b), f"{b}.ln1")
            x = norm(x + network(x, b), f"{b}.ln2")
    return linear(norm(x, "ln").mean(axis=1) if work.norm_first else x[:, 0], "head")


def _loss(work: Workload, p: Values, x: Any, y: Any) -> Any:
    if isinstance(work, Mlp):
        out = _dense(p, "l", len(work.widths) - 1, x)
        if not work.classes:
            return mx.mean((out - y) ** 2)
    else:
        out = _cnn(work, p, x) if isinstance(work, Cnn) else _encoder(work, p, x)
    return nn.losses.cross_entropy(out, y, reduction="mean")


def _array(value: np.ndarray) -> Any:
    # Its convolution wants channels out first; 32 bits do for labels and words.
    if value.ndim == 4 and value.shape[0] == value.shape[1] == 3:
        return mx.array(np.ascontiguousarray(np.moveaxis(value, -1, 0)))
    return mx.array(value.astype(np.int32) if value.dtype.kind == "i" else value)


class Training:
    def __init__(self, work: Workload, mode: str):
        first, held = parameters(work), frozen(work, mode)
        trained = {name: _array(value) for name, value in first.items() if name not in held}
        self.frozen = {name: _array(value) for name, value in first.items() if name in held}
        moments = [{n: mx.zeros_like(value) for n, value in trained.items()} for _ in range(2)]
        self.state = [trained, *moments, mx.array(0.0)]
        self.batches = [(_array(x), _array(y)) for x, y in batches(work)]
        self.done = 0

        def step(state: Any, rest: Values, x: Any, y: Any) -> Any:
            p, m, v, t = state
            loss, g = mx.value_and_grad(lambda p: _loss(work, {**rest, **p}, x, y))(p)
            t = t + 1
            rate, root = LEARNING_RATE / (1 - B1**t), mx.sqrt(1 - B2**t)
            m = {n: B1 * m[n] + (1 - B1) * g[n] for n in p}
            v = {n: B2 * v[n] + (1 - B2) * g[n] * g[n] for n in p}
            p = {n: p[n] - rate * m[n] / (mx.sqrt(v[n]) / root + EPS) for n in p}
            return loss, [p, m, v, t]

        self.compiled = mx.compile(step)

    def step(self) -> Any:
        x, y = self.batches[self.done % len(self.batches)]
        self.done += 1
        loss, self.state = self.compiled(self.state, self.frozen, x, y)
        mx.eval(loss, self.state)
        return loss.item()

    def values(self) -> dict[str, np.ndarray]:
        return {name: np.array(value) for name, value in {**self.frozen, **self.state[0]}.items()}


def build(work: Workload, mode: str, threads: int) -> Training:
    """Return a run; MLX's CPU side chooses its threads itself, on the worker's cores."""
    return Training(work, mode)
