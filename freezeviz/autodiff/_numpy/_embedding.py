"""Rows of a table by index."""

import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._fused._embedding import embedding
from freezeviz.autodiff._numpy._calls import DTYPES
from freezeviz.autodiff._sets import Kernels

# A row that is asked for more often than this is summed up by itself.
_OFTEN = 6


def _accepts(needs, weight, *, indices):
    return (
        type(weight) is type(indices) is np.ndarray
        and weight.dtype in DTYPES
        and weight.ndim == 2
        and indices.dtype.kind in "iu"
        and weight.size > 0
        and indices.size > 0
        # Others are for NumPy's own rules: from the end, or an error.
        and indices.min() >= 0
        and indices.max() < weight.shape[0]
    )


def _forward(needs, weight, *, indices):
    out = _pool.empty((*indices.shape, weight.shape[1]), weight.dtype)
    flat = indices.reshape(-1)
    # The indices fit; told to clip, NumPy writes the rows where they belong without a copy.
    np.take(weight, flat, axis=0, out=out.reshape(flat.shape[0], -1), mode="clip")
    return out, (flat, weight.shape) if needs[0] else None


def _backward(g, needs, residual):
    flat, shape = residual
    out = _pool.empty(shape, g.dtype)
    out.fill(0)
    rows = g.reshape(flat.shape[0], shape[1])
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    new = np.empty(ordered.shape, np.bool_)
    new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    starts = np.flatnonzero(new)
    counts = np.diff(starts, append=ordered.shape[0])
    # The first of each row's cotangents is put there, then the second is added, and so on: whole
    # rows at a time. np.add.at and np.add.reduceat take three to nine times as long.
    for k in range(min(_OFTEN, int(counts.max()))):
        chosen = starts if k == 0 else starts[(counts > k) & (counts <= _OFTEN)]
        taken = rows[order[chosen + k]]
        if k == 0:
            out[ordered[chosen]] = taken
        else:
            out[ordered[chosen]] += taken
    for at in np.flatnonzero(counts > _OFTEN):
        start = starts[at]
        out[ordered[start]] = rows[order[start : start + counts[at]]].sum(axis=0)
    return (out,)


embedding.add(Kernels("numpy", _accepts, _forward, _backward))
