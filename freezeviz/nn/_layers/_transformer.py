"""The transformer's encoder, decoder and their layers.

Names, arguments, defaults and order of parameters are those of ``mlx.nn``. Source: A. Vaswani
et al.: Attention Is All You Need. arXiv:1706.03762; normalisation before each part (`norm_first`)
after R. Xiong et al.: On Layer Normalization in the Transformer Architecture. arXiv:2002.04745.
"""

from collections.abc import Callable
from typing import Any

from freezeviz.autodiff._primitives import add
from freezeviz.nn._layers import _joining
from freezeviz.nn._layers._activations import named, relu
from freezeviz.nn._layers._attention import MultiHeadAttention
from freezeviz.nn._layers._checks import sizes
from freezeviz.nn._layers._dropout import Dropout
from freezeviz.nn._layers._linear import Linear, activated, is_bare
from freezeviz.nn._layers._normalization import LayerNorm
from freezeviz.nn._module import Module

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

Activation = Callable[[Any], Any]


def ending_with(layer: Any, activation: Any, x: Any) -> Any:
    """Return ``activation(layer(x))``, computed as one where nobody can tell."""
    name = named(activation) or _joining.activation_of(activation)
    return activated(layer, x, name) if name and is_bare(layer) else activation(layer(x))


def _no_checkpoint(layer: Module, checkpoint: bool) -> None:
    # MLX's examples pass the option on; its default does no harm, and a True without effect would.
    if checkpoint:
        raise ValueError(
            f"{type(layer).__name__}: checkpoint=True, which computes layers again to save memory "
            "and changes no result, is not supported; leave it away"
        )


class TransformerEncoderLayer(Module):
    """Self-attention and a two-layer network, each with a residual connection.

    Parameters
    ----------
    dims, num_heads : int
    mlp_dims : int, optional
        ``4 * dims`` by default.
    dropout : float
    activation : callable
    norm_first : bool
        Normalise before each part instead of after it.

    Raises
    ------
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    Source: ``mlx.nn.TransformerEncoderLayer``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.TransformerEncoderLayer(dims=8, num_heads=2)(np.ones((2, 5, 8), np.float32), None).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Activation = relu,
        norm_first: bool = True,
    ):
        super().__init__()
        sizes(self, 1, dims=dims, num_heads=num_heads)
        mlp_dims = mlp_dims or dims * 4
        self.attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def __call__(self, x: Any, mask: Any = None) -> Any:
        """Return the layer's output.

        Parameters
        ----------
        x : array of shape (batch, length, dims)
        mask : array broadcastable to (batch, num_heads, length, length), optional
        """
        if self.norm_first:
            y = self.ln1(x)
            x = add(x, self.dropout1(self.attention(y, y, y, mask)))
            return add(x, self._mlp(self.ln2(x)))
        x = self.ln1(add(x, self.dropout1(self.attention(x, x, x, mask))))
        return self.ln2(add(x, self._mlp(x)))

    def _mlp(self, x: Any) -> Any:
        return self.linear2(self.dropout2(ending_with(self.linear1, self.activation, x)))


class TransformerEncoder(Module):
    """A stack of encoder layers and a final normalisation.

    Parameters
    ----------
    num_layers, dims, num_heads : int
    mlp_dims : int, optional
    dropout : float
    activation : callable
    norm_first : bool
    checkpoint : bool
        MLX's; only False is possible.

    Raises
    ------
    ValueError
        If `checkpoint` is asked for.

    Notes
    -----
    Source: ``mlx.nn.TransformerEncoder``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> x = np.ones((2, 5, 8), np.float32)
    >>> nn.TransformerEncoder(num_layers=2, dims=8, num_heads=2)(x, None).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Activation = relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ):
        super().__init__()
        sizes(self, 0, num_layers=num_layers)
        _no_checkpoint(self, checkpoint)
        self.layers = [
            TransformerEncoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(num_layers)
        ]
        self.ln = LayerNorm(dims)

    def __call__(self, x: Any, mask: Any = None) -> Any:
        """Return the encoder's output.

        Parameters
        ----------
        x : array of shape (batch, length, dims)
        mask : array broadcastable to (batch, num_heads, length, length), optional
        """
        for layer in self.layers:
            x = layer(x, mask)
        return self.ln(x)


class TransformerDecoderLayer(Module):
    """Self-attention, attention to the encoder's output, and a two-layer network.

    Parameters
    ----------
    dims, num_heads : int
    mlp_dims : int, optional
        ``4 * dims`` by default.
    dropout : float
    activation : callable
    norm_first : bool

    Raises
    ------
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    Source: ``mlx.nn.TransformerDecoderLayer``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> x = np.ones((2, 5, 8), np.float32)
    >>> nn.TransformerDecoderLayer(dims=8, num_heads=2)(x, x, None, None).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Activation = relu,
        norm_first: bool = True,
    ):
        super().__init__()
        sizes(self, 1, dims=dims, num_heads=num_heads)
        mlp_dims = mlp_dims or dims * 4
        self.self_attention = MultiHeadAttention(dims, num_heads)
        self.cross_attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.ln3 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def __call__(self, x: Any, memory: Any, x_mask: Any = None, memory_mask: Any = None) -> Any:
        """Return the layer's output.

        Parameters
        ----------
        x : array of shape (batch, length, dims)
        memory : array of shape (batch, source, dims)
        x_mask : array broadcastable to (batch, num_heads, length, length), optional
        memory_mask : array broadcastable to (batch, num_heads, length, source), optional
        """
        if self.norm_first:
            y = self.ln1(x)
            x = add(x, self.dropout1(self.self_attention(y, y, y, x_mask)))
            y = self.ln2(x)
            x = add(x, self.dropout2(self.cross_attention(y, memory, memory, memory_mask)))
            return add(x, self._mlp(self.ln3(x)))
        x = self.ln1(add(x, self.dropout1(self.self_attention(x, x, x, x_mask))))
        y = self.cross_attention(x, memory, memory, memory_mask)
        x = self.ln2(add(x, self.dropout2(y)))
        return self.ln3(add(x, self._mlp(x)))

    def _mlp(self, x: Any) -> Any:
        return self.linear2(self.dropout3(ending_with(self.linear1, self.activation, x)))


class TransformerDecoder(Module):
    """A stack of decoder layers and a final normalisation.

    Parameters
    ----------
    num_layers, dims, num_heads : int
    mlp_dims : int, optional
    dropout : float
    activation : callable
    norm_first : bool
    checkpoint : bool
        MLX's; only False is possible.

    Raises
    ------
    ValueError
        If `checkpoint` is asked for.

    Notes
    -----
    Source: ``mlx.nn.TransformerDecoder``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> x = np.ones((2, 5, 8), np.float32)
    >>> nn.TransformerDecoder(num_layers=2, dims=8, num_heads=2)(x, x, None, None).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Activation = relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ):
        super().__init__()
        sizes(self, 0, num_layers=num_layers)
        _no_checkpoint(self, checkpoint)
        self.layers = [
            TransformerDecoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(num_layers)
        ]
        self.ln = LayerNorm(dims)

    def __call__(self, x: Any, memory: Any, x_mask: Any = None, memory_mask: Any = None) -> Any:
        """Return the decoder's output.

        Parameters
        ----------
        x : array of shape (batch, length, dims)
        memory : array of shape (batch, source, dims)
        x_mask, memory_mask : array, optional
        """
        for layer in self.layers:
            x = layer(x, memory, x_mask, memory_mask)
        return self.ln(x)


class Transformer(Module):
    """An encoder and a decoder.

    Parameters
    ----------
    dims, num_heads, num_encoder_layers, num_decoder_layers : int
    mlp_dims : int, optional
    dropout : float
    activation : callable
    custom_encoder, custom_decoder : Module, optional
        Used instead of the standard ones.
    norm_first : bool
    checkpoint : bool
        MLX's; only False is possible.

    Raises
    ------
    ValueError
        If `checkpoint` is asked for.

    Notes
    -----
    A. Vaswani et al.: Attention Is All You Need. arXiv:1706.03762. Source: ``mlx.nn.Transformer``.

    Examples
    --------
    >>> from freezeviz import nn
    >>> t = nn.Transformer(dims=8, num_heads=2, num_encoder_layers=1, num_decoder_layers=1)
    >>> t.named_parameters()[0][0]
    'encoder.layers.0.attention.query_proj.weight'
    """

    def __init__(
        self,
        dims: int = 512,
        num_heads: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Activation = relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        norm_first: bool = True,
        checkpoint: bool = False,
    ):
        super().__init__()
        sizes(self, 1, dims=dims, num_heads=num_heads)
        sizes(self, 0, num_encoder_layers=num_encoder_layers, num_decoder_layers=num_decoder_layers)
        _no_checkpoint(self, checkpoint)
        rest = (dims, num_heads, mlp_dims, dropout, activation, norm_first)
        if custom_encoder is None:
            custom_encoder = TransformerEncoder(num_encoder_layers, *rest)
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(num_decoder_layers, *rest)
        self.encoder: Any = custom_encoder
        self.decoder: Any = custom_decoder

    def __call__(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
    ) -> Any:
        """Return the decoder's output for `tgt`, given `src`.

        Parameters
        ----------
        src : array of shape (batch, source, dims)
        tgt : array of shape (batch, length, dims)
        src_mask, tgt_mask, memory_mask : array, optional
        """
        return self.decoder(tgt, self.encoder(src, src_mask), tgt_mask, memory_mask)
