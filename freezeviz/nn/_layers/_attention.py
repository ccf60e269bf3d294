"""Multi-head attention."""

from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.errors import ShapeError
from freezeviz.nn._layers._checks import sizes, where
from freezeviz.nn._layers._linear import Linear
from freezeviz.nn._module import Module

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(Module):
    """Scaled dot-product attention with several heads.

    Parameters
    ----------
    dims : int
        Of queries and outputs.
    num_heads : int
        Divides `dims`.
    query_input_dims, key_input_dims, value_input_dims : int, optional
        By default `dims`; that of values defaults to that of keys.
    value_dims, value_output_dims : int, optional
        By default `dims`.
    bias : bool
        Whether the projections have one.
    rng : numpy.random.Generator, optional

    Attributes
    ----------
    query_proj, key_proj, value_proj, out_proj : Linear

    Raises
    ------
    ValueError
        If a size is no multiple of `num_heads`.

    Notes
    -----
    A. Vaswani et al.: Attention Is All You Need. arXiv:1706.03762. Names, arguments and defaults
    are those of ``mlx.nn.MultiHeadAttention``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> x = np.ones((2, 5, 8), np.float32)
    >>> nn.MultiHeadAttention(dims=8, num_heads=2)(x, x, x).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        query_input_dims: int | None = None,
        key_input_dims: int | None = None,
        value_input_dims: int | None = None,
        value_dims: int | None = None,
        value_output_dims: int | None = None,
        bias: bool = False,
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        sizes(self, 1, dims=dims, num_heads=num_heads)
        query_input_dims = query_input_dims or dims
        key_input_dims = key_input_dims or dims
        value_input_dims = value_input_dims or key_input_dims
        value_dims = value_dims or dims
        value_output_dims = value_output_dims or dims
        for name, size in (("dims", dims), ("value_dims", value_dims)):
            if size % num_heads:
                raise ValueError(
                    f"MultiHeadAttention: {name}={size} is no multiple of {num_heads=}"
                )
        self.num_heads = num_heads
        self.query_proj = Linear(query_input_dims, dims, bias=bias, rng=rng)
        self.key_proj = Linear(key_input_dims, dims, bias=bias, rng=rng)
        self.value_proj = Linear(value_input_dims, value_dims, bias=bias, rng=rng)
        self.out_proj = Linear(value_dims, value_output_dims, bias=bias, rng=rng)

    def __call__(self, queries: Any, keys: Any, values: Any, mask: Any = None) -> Any:
        """Return the attention's output.

        Parameters
        ----------
        queries : array of shape (batch, length, query_input_dims)
        keys : array of shape (batch, source, key_input_dims)
        values : array of shape (batch, source, value_input_dims)
        mask : array broadcastable to (batch, num_heads, length, source), optional
            Added to the scores; a boolean mask is true where attention is allowed.

        Returns
        -------
        array of shape (batch, length, value_output_dims)

        Raises
        ------
        ShapeError
            If an input has another number of axes or another size.
        """
        for name, x in (("queries", queries), ("keys", keys), ("values", values)):
            if x.ndim != 3:
                raise ShapeError(
                    f"{where(self)} expects {name} of shape (batch, length, dims), "
                    f"got {tuple(x.shape)}"
                )
        heads = [
            self._split(projection(x))
            for projection, x in (
                (self.query_proj, queries),
                (self.key_proj, keys),
                (self.value_proj, values),
            )
        ]
        out = autodiff.attention(*heads, mask=mask)
        batch, heads, length, dims = out.shape
        return self.out_proj(out.transpose(0, 2, 1, 3).reshape(batch, length, heads * dims))

    def _split(self, x: Any) -> Any:
        # Sizes in full, not -1: that is unknown for an empty batch.
        batch, length, dims = x.shape
        heads = self.num_heads
        return x.reshape(batch, length, heads, dims // heads).transpose(0, 2, 1, 3)

    @staticmethod
    def create_additive_causal_mask(n: int, dtype: Any = np.float32) -> np.ndarray:
        """Return the (n, n) mask that hides later positions, to be added to the scores.

        Parameters
        ----------
        n : int
            Length of the sequence.
        dtype : dtype, optional
        """
        hidden = np.arange(n)[:, None] < np.arange(n)[None]
        # Large but finite: minus infinity would give NaN in a row that hides everything.
        return hidden.astype(dtype) * np.asarray(np.finfo(dtype).min, dtype=dtype)

    def _extra_repr(self) -> str:
        return f"num_heads={self.num_heads}"
