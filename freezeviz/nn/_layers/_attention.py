"""Multi-head attention."""

from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.autodiff import Tracer, fused
from freezeviz.errors import ShapeError
from freezeviz.nn._layers._checks import sizes, where
from freezeviz.nn._layers._linear import Linear, is_bare
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
        projections = self.query_proj, self.key_proj, self.value_proj
        if queries is keys is values:
            packed = packed_projections(projections, queries)
            if packed is not None:
                dims = self.query_proj.weight.shape[0]
                out = fused.packed_attention(packed, heads=self.num_heads, dims=dims, mask=mask)
                return self.out_proj(out)
        inputs = queries, keys, values
        heads = [self._split(p(x)) for p, x in zip(projections, inputs, strict=True)]
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


def packed_projections(projections: tuple[Any, Any, Any], x: Any) -> Any:
    """Return what the projections of queries, keys and values make of one input, side by side.

    None where somebody could tell that they were not called one by one, or where one product
    would compute what three would not.

    Parameters
    ----------
    projections : three layers
    x : array of shape (batch, length, dims)
    """
    weights: list[Any] = []
    biases: list[Any] = []
    for layer in projections:
        if not is_bare(layer):
            return None
        weights.append(layer.weight)
        biases.append(layer.bias if "bias" in layer else None)
    query, key, value = weights
    if not query.shape[1] == key.shape[1] == value.shape[1] == x.shape[-1]:
        return None  # the layer that does not fit says so
    present = [bias for bias in biases if bias is not None]
    if len(present) not in (0, 3) or len({a.dtype for a in (x, *weights, *present)}) > 1:
        return None
    if query.shape[0] != key.shape[0]:
        return None
    if type(x) is not Tracer:
        # With a cotangent for some of the three only, the others' is not to be computed either.
        pairs = zip(weights, biases, strict=True)
        if len({type(w) is Tracer or type(b) is Tracer for w, b in pairs}) > 1:
            return None
    return fused.projections(x, *weights, *biases)
