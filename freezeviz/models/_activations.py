"""Activations by the names that configurations give them."""

from collections.abc import Callable
from typing import Any

from freezeviz import nn


def _same(x: Any) -> Any:
    return x


# As in ``transformers.activations.ACT2FN``, which has several names for the approximation by tanh.
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": nn.gelu,
    "gelu_fast": nn.gelu_approx,
    "gelu_new": nn.gelu_approx,
    "gelu_python": nn.gelu,
    "gelu_python_tanh": nn.gelu_approx,
    "gelu_pytorch_tanh": nn.gelu_approx,
    "leaky_relu": nn.leaky_relu,
    "linear": _same,
    "relu": nn.relu,
    "sigmoid": nn.sigmoid,
    "silu": nn.silu,
    "swish": nn.silu,
    "tanh": nn.tanh,
}
