"""A training step of PyTorch, eager or compiled, with its fused Adam."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

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


def _laid_out(work: Workload, name: str, value: np.ndarray) -> np.ndarray:
    if not name.endswith(".w"):
        return value
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if isinstance(work, Cnn) and name == "d0.w":
        # PyTorch flattens channels first.
        h, w, c = work.pooled
        return value.reshape(h, w, c, -1).transpose(3, 2, 0, 1).reshape(-1, h * w * c)
    return value.T


def _mlp(work: Mlp, p: Values, x: Any) -> Any:
    last = len(work.widths) - 2
    for i in range(last + 1):
        x = F.linear(x, p[f"l{i}.w"], p[f"l{i}.b"])
        if i < last:
            x = F.relu(x, inplace=True)
    return x


def _cnn(work: Cnn, p: Values, x: Any) -> Any:
    for i in range(len(work.channels) - 1):
        x = F.relu(F.conv2d(x, p[f"c{i}.w"], p[f"c{i}.b"]), inplace=True)
    x = F.max_pool2d(x, 2).flatten(1)
    last = len(work.dense) - 1
    for i in range(last + 1):
        x = F.linear(x, p[f"d{i}.w"], p[f"d{i}.b"])
        if i < last:
            x = F.relu(x, inplace=True)
    return x


def _encoder(work: Encoder, p: Values, tokens: Any) -> Any:
    dims, heads = work.dims, work.heads
    batch, length = tokens.shape

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, (dims,), p[f"{name}.g"], p[f"{name}.b"])

    def linear(x: Any, name: str) -> Any:
        return F.linear(x, p[f"{name}.w"], p[f"{name}.b"])

    def attention(x: Any, block: str) -> Any:
        packed = linear(x, f"{block}.qkv").view(batch, length, 3, heads, dims // heads)
        q, k, v = packed.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return linear(out.reshape(batch, length, dims), f"{block}.o")

    def network(x: Any, block: str) -> Any:
        return linear(F.gelu(linear(x, f"{block}.f1")), f"{block}.f2")

    x = F.embedding(tokens, p["words"]) + p["places"]
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


class Training:
    def __init__(self, work: Workload, mode: str, compiled: bool):
        held = frozen(work, mode)
        self.parameters = {
            name: nn.Parameter(
                torch.from_numpy(_laid_out(work, name, value).copy(order="C")),
                requires_grad=name not in held,
            )
            for name, value in parameters(work).items()
        }
        trained = [p for p in self.parameters.values() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, LEARNING_RATE, fused=True)
        self.batches = [
            (torch.from_numpy(_image(work, x)), torch.from_numpy(y)) for x, y in batches(work)
        ]
        self.done = 0
        self.loss = self._loss_of(work)
        if compiled:
            self.loss = torch.compile(self.loss)

    def _loss_of(self, work: Workload) -> Any:
        p = self.parameters

        def loss(x: Any, y: Any) -> Any:
            if isinstance(work, Mlp):
                out = _mlp(work, p, x)
                return F.cross_entropy(out, y) if work.classes else F.mse_loss(out, y)
            out = _cnn(work, p, x) if isinstance(work, Cnn) else _encoder(work, p, x)
            return F.cross_entropy(out, y)

        return loss

    def step(self) -> Any:
        x, y = self.batches[self.done % len(self.batches)]
        self.done += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def values(self) -> dict[str, np.ndarray]:
        return {name: p.detach().numpy().copy() for name, p in self.parameters.items()}


def _image(work: Workload, x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if isinstance(work, Cnn) else x


def build(work: Workload, mode: str, threads: int, option: str = "") -> Training:
    """Return a run; the option ``"compile"`` compiles the loss and its derivative."""
    torch.set_num_threads(threads)
    return Training(work, mode, compiled=option == "compile")
