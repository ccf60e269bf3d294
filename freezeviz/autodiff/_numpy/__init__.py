"""The kernels of the set "numpy": for arrays of NumPy alone, with its ``out=`` arguments.

They write into memory of the pool instead of making new arrays on the way, and work through large
arrays in blocks that stay in the cache. What they do not accept, the portable kernels compute.
"""

from freezeviz.autodiff._numpy import (
    _attention,
    _conv,
    _embedding,
    _gelu,
    _linear,
    _losses,
    _norm,
    _pool2d,
    _projections,
)

__all__ = [
    "_attention",
    "_conv",
    "_embedding",
    "_gelu",
    "_linear",
    "_losses",
    "_norm",
    "_pool2d",
    "_projections",
]
