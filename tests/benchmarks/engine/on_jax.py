"""A training step of JAX, compiled as a whole, on the CPU."""

import math
import os
from typing import Any

import numpy as np

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]

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

Values = dict[str, Any]
B1, B2, EPS = 0.9, 0.999, 1e-8


def _dense(p: Values, first: str, count: int, x: Any) -> Any:
    for i in range(count):
        x = x @ p[f"{first}{i}.w"] + p[f"{first}{i}.b"]
        if i < count - 1:
            x = jax.nn.relu(x)
    return x


def _cnn(work: Cnn, p: Values, x: Any) -> Any:
    for i in range(len(work.channels) - 1):
        x = jax.lax.conv_general_dilated(
            x, p[f"c{i}.w"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + p[f"c{i}.b"])
    window = (1, 2, 2, 1)
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
    return _dense(p, "d", len(work.dense), x.reshape(x.shape[0], -1))


def _encoder(work: Encoder, p: Values, tokens: Any) -> Any:
    dims, heads = work.dims, work.heads
    batch, length = tokens.shape

    def norm(x: Any, name: str) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred**2).mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + 1e-5) * p[f"{name}.g"] + p[f"{name}.b"]

    def linear(x: Any, name: str) -> Any:
        return x @ p[f"{name}.w"] + p[f"{name}.b"]

    def attention(x: Any, block: str) -> Any:
        packed = linear(x, f"{block}.qkv").reshape(batch, length, 3, heads, dims // heads)
        q, k, v = packed.transpose(2, 0, 3, 1, 4)
        scores = jnp.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(dims // heads)
        out = jnp.einsum("bhij,bhjd->bihd", jax.nn.softmax(scores), v)
        return linear(out.reshape(batch, length, dims), f"{block}.o")

    def network(x: Any, block: str) -> Any:
        return linear(jax.nn.gelu(linear(x, f"{block}.f1"), approximate=False), f"{block}.f2")

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
    return linear(norm(x, "ln").mean(1) if work.norm_first else x[:, 0], "head")


def _loss(work: Workload, p: Values, x: Any, y: Any) -> Any:
    if isinstance(work, Mlp):
        out = _dense(p, "l", len(work.widths) - 1, x)
        if not work.classes:
            return jnp.mean((out - y) ** 2)
    else:
        out = _cnn(work, p, x) if isinstance(work, Cnn) else _encoder(work, p, x)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], 1))


class Training:
    def __init__(self, work: Workload, mode: str):
        first, held = parameters(work), frozen(work, mode)
        trained = {n: jnp.array(value) for n, value in first.items() if n not in held}
        self.frozen = {n: jnp.array(value) for n, value in first.items() if n in held}
        zeros = {name: jnp.zeros_like(value) for name, value in trained.items()}
        # Copies: what is given to the step is donated, array by array.
        again = {name: jnp.zeros_like(value) for name, value in trained.items()}
        self.state = (trained, zeros, again, jnp.zeros((), jnp.int32))
        self.batches = [(jnp.array(x), jnp.array(y)) for x, y in batches(work)]
        self.done = 0

        def step(state: Any, rest: Values, x: Any, y: Any) -> Any:
            p, m, v, t = state
            loss, g = jax.value_and_grad(lambda p: _loss(work, {**rest, **p}, x, y))(p)
            t = t + 1
            rate = LEARNING_RATE / (1 - B1 ** t.astype(jnp.float32))
            root = jnp.sqrt(1 - B2 ** t.astype(jnp.float32))
            m = {n: B1 * m[n] + (1 - B1) * g[n] for n in p}
            v = {n: B2 * v[n] + (1 - B2) * g[n] ** 2 for n in p}
            p = {n: p[n] - rate * m[n] / (jnp.sqrt(v[n]) / root + EPS) for n in p}
            return loss, (p, m, v, t)

        self.compiled = jax.jit(step, donate_argnums=0)

    def step(self) -> Any:
        x, y = self.batches[self.done % len(self.batches)]
        self.done += 1
        loss, self.state = self.compiled(self.state, self.frozen, x, y)
        jax.block_until_ready(self.state)
        return loss

    def values(self) -> dict[str, np.ndarray]:
        return {name: np.array(value) for name, value in {**self.frozen, **self.state[0]}.items()}


def build(work: Workload, mode: str, threads: int) -> Training:
    """Return a run; XLA has a thread for each core that the worker may use."""
    return Training(work, mode)
