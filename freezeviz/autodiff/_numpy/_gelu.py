"""GELU by itself: the same numbers as at the end of a linear layer."""

import numpy as np

from freezeviz.autodiff import _sets
from freezeviz.autodiff._fused._gelu import gelu
from freezeviz.autodiff._numpy._activations import finish, through
from freezeviz.autodiff._numpy._calls import DTYPES
from freezeviz.autodiff._pool import empty_like


def _accepts(needs, x) -> bool:
    return type(x) is np.ndarray and x.dtype in DTYPES


def _forward(needs, x):
    out = empty_like(x)
    np.copyto(out, x)
    saved = finish(out.reshape(-1, 1), None, "gelu", needs[0])
    return out, saved


def _backward(g, needs, saved):
    return (through(g, "gelu", saved.reshape(g.shape)),)


gelu.add(_sets.Kernels("numpy", _accepts, _forward, _backward))
