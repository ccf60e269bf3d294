"""Normalisation by the root mean square."""

from typing import Any

import numpy as np

from freezeviz.nn import init
from freezeviz.nn._layers._checks import last_axis, positive_eps, sizes
from freezeviz.nn._module import Module

__all__ = ["RMSNorm"]


class RMSNorm(Module):
    """Divides by the root mean square of the last axis, and scales by `weight`.

    Parameters
    ----------
    dims : int
    eps : float

    Attributes
    ----------
    weight : array of shape (dims,)

    Raises
    ------
    ValueError
        If `eps` is not above zero.

    Notes
    -----
    B. Zhang, R. Sennrich: Root Mean Square Layer Normalization. arXiv:1910.07467. Arguments are
    those of ``mlx.nn.RMSNorm``; as there, half precision is squared and summed in single.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.RMSNorm(3)(np.array([[1.0, 2.0, 2.0]])).round(3)
    array([[0.577, 1.155, 1.155]])
    """

    def __init__(self, dims: int, eps: float = 1e-5):
        super().__init__()
        sizes(self, 0, dims=dims)
        self.eps = positive_eps("RMSNorm", eps)
        self.dims = dims
        self._initialise()

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return first values."""
        return {"weight": init.constant(1.0)((self.dims,))}

    def __call__(self, x: Any) -> Any:
        """Return `x` normalised.

        Parameters
        ----------
        x : array of shape (..., dims)

        Raises
        ------
        ShapeError
            If the last axis is not of size `dims`.
        """
        last_axis(self, x, "dims", self.dims)
        half = x.dtype.itemsize == 2  # 256 squared is more than float16 holds
        wide = x.astype(np.float32) if half else x
        y = wide / np.sqrt(np.square(wide).mean(axis=-1, keepdims=True) + self.eps)
        return (y.astype(x.dtype) if half else y) * self.weight

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}"
