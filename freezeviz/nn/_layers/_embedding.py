"""Embeddings."""

import math
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.backend import asarray
from freezeviz.errors import DataError
from freezeviz.nn import init
from freezeviz.nn._layers._checks import last_axis, sizes, where
from freezeviz.nn._module import Module

__all__ = ["Embedding"]


class Embedding(Module):
    """A learnable table of vectors, looked up by index.

    Parameters
    ----------
    num_embeddings, dims : int
    rng : numpy.random.Generator, optional

    Attributes
    ----------
    weight : array of shape (num_embeddings, dims)
        Normal with standard deviation ``1/sqrt(dims)`` at first, as in MLX.

    Raises
    ------
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    Source: ``mlx.nn.Embedding``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.Embedding(10, 4)(np.array([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    def __init__(self, num_embeddings: int, dims: int, *, rng: np.random.Generator | None = None):
        super().__init__()
        sizes(self, 0, num_embeddings=num_embeddings)
        sizes(self, 1, dims=dims)
        self._shape = (num_embeddings, dims)
        self._initialise(rng)

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return new first values."""
        return {"weight": init.normal(0.0, 1.0 / math.sqrt(self._shape[1]))(self._shape, rng=rng)}

    def __call__(self, indices: Any) -> Any:
        """Return the vectors of `indices`.

        Parameters
        ----------
        indices : integer array of any shape

        Returns
        -------
        array of shape (*indices.shape, dims)

        Raises
        ------
        DataError
            If an index is no integer or out of range. On a GPU the range is not checked, for which
            the host would wait in every step: there, indices wrap around.
        """
        weight = self.weight
        indices = asarray(indices)
        if indices.dtype.kind not in "iu":
            raise DataError(f"{where(self)} expects integer indices, got {indices.dtype}")
        n = weight.shape[0]
        # On a GPU the check would make the host wait for the device in every step.
        if isinstance(indices, np.ndarray) and indices.size:
            low, high = int(indices.min()), int(indices.max())
            if low < 0 or high >= n:
                raise DataError(
                    f"{where(self)} has {n} vectors, got the index {low if low < 0 else high}: "
                    f"indices run from 0 to {n - 1}"
                )
        return autodiff.embedding(weight, indices=indices)

    def as_linear(self, x: Any) -> Any:
        """Return ``x @ weight.T``: the table as an output layer with tied weights.

        Parameters
        ----------
        x : array of shape (..., dims)
        """
        weight = self.weight
        last_axis(self, x, "dims", weight.shape[1])
        return autodiff.linear(x, weight, None)

    def _extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"
