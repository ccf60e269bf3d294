"""Fused primitives: what training spends its time on, with kernels of its own.

Each has three functions with one contract (see `freezeviz.autodiff._fused._base.Fused`): a forward
kernel that keeps just what the wanted derivatives need, a backward kernel, and a reference
composed of primitives, which is the kernels' oracle in the tests.
"""

from freezeviz.autodiff._fused._attention import attention
from freezeviz.autodiff._fused._conv import conv2d
from freezeviz.autodiff._fused._embedding import embedding
from freezeviz.autodiff._fused._gelu import gelu
from freezeviz.autodiff._fused._linear import linear
from freezeviz.autodiff._fused._norm import batch_norm, layer_norm
from freezeviz.autodiff._fused._packed import packed_attention, projections
from freezeviz.autodiff._fused._pool import max_pool2d
from freezeviz.autodiff._fused._softmax_cross_entropy import softmax_cross_entropy
from freezeviz.autodiff._fused._squared_error import squared_error

__all__ = [
    "attention",
    "batch_norm",
    "conv2d",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "max_pool2d",
    "packed_attention",
    "projections",
    "softmax_cross_entropy",
    "squared_error",
]
