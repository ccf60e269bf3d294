"""Reverse-mode automatic differentiation over NumPy, CuPy and array-API arrays.

Functions are written in plain NumPy. What is differentiated is traced; all else stays a plain
array, runs at NumPy's own speed and leaves nothing behind.
"""

from freezeviz.autodiff import _fused as fused
from freezeviz.autodiff import (
    _numpy,  # noqa: F401 - adds its kernels to the fused primitives
    _operators,
)
from freezeviz.autodiff._choice import kernels, prepare_kernels, use_kernels
from freezeviz.autodiff._count import Counts, count
from freezeviz.autodiff._fused import (
    attention,
    batch_norm,
    conv2d,
    embedding,
    gelu,
    layer_norm,
    linear,
    max_pool2d,
    softmax_cross_entropy,
    squared_error,
)
from freezeviz.autodiff._fused._base import FUSED, Fused
from freezeviz.autodiff._grad import grad, stop_gradient, value_and_grad, vjp
from freezeviz.autodiff._primitives import erf, logsumexp, relu, sigmoid, softmax, softplus
from freezeviz.autodiff._tracer import RULES, Like, Primitive, Tracer, defvjp, primitive

_operators.attach()

__all__ = [
    "Counts",
    "FUSED",
    "Fused",
    "Like",
    "Primitive",
    "RULES",
    "Tracer",
    "attention",
    "batch_norm",
    "conv2d",
    "count",
    "defvjp",
    "embedding",
    "erf",
    "fused",
    "gelu",
    "grad",
    "kernels",
    "layer_norm",
    "linear",
    "logsumexp",
    "max_pool2d",
    "prepare_kernels",
    "primitive",
    "relu",
    "sigmoid",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "squared_error",
    "stop_gradient",
    "use_kernels",
    "value_and_grad",
    "vjp",
]
