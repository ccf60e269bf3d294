"""BERT: a Transformer encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from freezeviz import nn
from freezeviz.autodiff import stop_gradient
from freezeviz.backend import array_namespace, asarray
from freezeviz.models import _config as c
from freezeviz.models import _expected as e
from freezeviz.models._activations import ACTIVATIONS
from freezeviz.models._attention import padding_mask, positions, self_attend, token_ids
from freezeviz.models._expected import Expected
from freezeviz.models._pretrained import ModelOutput, Pretrained
from freezeviz.nn._layers._transformer import ending_with


@dataclass(frozen=True, kw_only=True)
class BertConfig(c.Config):
    """Numbers of a BERT; names and defaults are those of ``transformers.BertConfig``."""

    model_type: ClassVar[str] = "bert"
    fixed: ClassVar[dict[str, Any]] = {
        "is_decoder": False,
        "add_cross_attention": False,
        "position_embedding_type": "absolute",
    }

    vocab_size: int = c.size(30522)
    hidden_size: int = c.size(768)
    num_hidden_layers: int = c.size(12)
    num_attention_heads: int = c.size(12)
    intermediate_size: int = c.size(3072)
    hidden_act: str = c.activation("gelu")
    hidden_dropout_prob: float = c.probability(0.1)
    attention_probs_dropout_prob: float = c.probability(0.1)
    max_position_embeddings: int = c.size(512)
    type_vocab_size: int = c.size(2)
    layer_norm_eps: float = c.positive(1e-12)
    pad_token_id: int | None = c.optional(c.size(0, least=0), default=0)
    classifier_dropout: float | None = c.optional(c.probability(0.1))
    num_labels: int = c.size(2)
    tie_word_embeddings: bool = c.flag(True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._multiple("hidden_size", of="num_attention_heads")

    @classmethod
    def from_dict(cls, values: Any) -> BertConfig:
        """Return the configuration that the contents of a ``config.json`` describe."""
        return super().from_dict(c.labels(values))


class TokenEmbedding(nn.Embedding):
    """An embedding in which one token, the padding, gets no gradient.

    Parameters
    ----------
    num_embeddings, dims : int
    padding : int or None

    Notes
    -----
    ``torch.nn.Embedding(padding_idx=...)``.
    """

    def __init__(self, num_embeddings: int, dims: int, padding: int | None):
        super().__init__(num_embeddings, dims)
        self.padding = padding

    def __call__(self, indices: Any) -> Any:
        """Return the vectors of `indices`; see `freezeviz.nn.Embedding`."""
        indices = asarray(indices)
        vectors = super().__call__(indices)
        if self.padding is None:
            return vectors
        return np.where((indices == self.padding)[..., None], stop_gradient(vectors), vectors)


class BertEmbeddings(nn.Module):
    """Sum of word, position and token type embeddings, normalised."""

    def __init__(self, config: BertConfig):
        super().__init__()
        dims = config.hidden_size
        self.word_embeddings = TokenEmbedding(config.vocab_size, dims, config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, dims)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, dims)
        self.LayerNorm = nn.LayerNorm(dims, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def __call__(self, input_ids: Any, token_type_ids: Any, position_ids: Any) -> Any:
        if token_type_ids is None:
            token_type_ids = array_namespace(input_ids).zeros_like(input_ids)
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        x = x + self.position_embeddings(positions(input_ids, position_ids))
        return self.dropout(self.LayerNorm(x))


class BertSelfAttention(nn.Module):
    """Attention without its output projection."""

    def __init__(self, config: BertConfig):
        super().__init__()
        dims = config.hidden_size
        self.num_attention_heads = config.num_attention_heads
        self.query = nn.Linear(dims, dims)
        self.key = nn.Linear(dims, dims)
        self.value = nn.Linear(dims, dims)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def __call__(self, x: Any, mask: Any) -> Any:
        parts = self.query, self.key, self.value
        return self_attend(parts, x, self.num_attention_heads, mask, self.dropout)


class BertAttention(nn.Module):
    """Attention, added to its input and normalised."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertOutput(config, config.hidden_size)

    def __call__(self, x: Any, mask: Any) -> Any:
        return self.output(self.self(x, mask), x)


class BertIntermediate(nn.Module):
    """The first layer of the feed-forward part."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self._activation = ACTIVATIONS[config.hidden_act]

    def __call__(self, x: Any) -> Any:
        return ending_with(self.dense, self._activation, x)


class BertOutput(nn.Module):
    """A linear layer whose output is added to something and normalised."""

    def __init__(self, config: BertConfig, inputs: int):
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def __call__(self, x: Any, residual: Any) -> Any:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class BertLayer(nn.Module):
    """Attention and feed-forward."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config, config.intermediate_size)

    def __call__(self, x: Any, mask: Any) -> Any:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class BertEncoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.layer = [BertLayer(config) for _ in range(config.num_hidden_layers)]

    def __call__(self, x: Any, mask: Any) -> Any:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class BertPooler(nn.Module):
    """A layer on the first token."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def __call__(self, x: Any) -> Any:
        return nn.tanh(self.dense(x[:, 0]))


class BertModel(Pretrained):
    """A BERT without a head.

    Parameters
    ----------
    config : BertConfig
    pooler : bool
        Whether there is a layer on the first token on top.

    Notes
    -----
    J. Devlin, M.-W. Chang, K. Lee, K. Toutanova: BERT: Pre-training of Deep Bidirectional
    Transformers for Language Understanding. arXiv:1810.04805. Computes what
    ``transformers.BertModel`` does; the paths of its parameters are the names in its checkpoints.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import models
    >>> config = models.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
    ...                            intermediate_size=16, vocab_size=30)
    >>> model = models.BertModel(config).eval()
    >>> model(np.array([[1, 2, 3]])).last_hidden_state.shape
    (1, 3, 8)
    """

    config_type = BertConfig
    prefix = "bert"
    bare = True
    passed_over = (r"embeddings\.position_ids",)
    # How the first checkpoints, made from TensorFlow's, name them.
    renamed: ClassVar = {
        r"LayerNorm\.gamma$": "LayerNorm.weight",
        r"LayerNorm\.beta$": "LayerNorm.bias",
    }

    def __init__(self, config: BertConfig, pooler: bool = True):
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        if pooler:
            self.pooler = BertPooler(config)

    def __call__(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
    ) -> ModelOutput:
        """Return the hidden states of the last layer, and the pooled one.

        Parameters
        ----------
        input_ids : integer array of shape (batch, length)
        attention_mask : array of shape (batch, length), optional
            One for tokens, zero for padding.
        token_type_ids, position_ids : integer array of shape (batch, length), optional
            By default all zero, and counted from zero.

        Returns
        -------
        ModelOutput
            `pooler_output` is of shape (batch, hidden_size), or None without a pooler.

        Raises
        ------
        ShapeError
            If an input has another shape, or is longer than ``max_position_embeddings``.
        DataError
            If an id is out of range.
        """
        name = type(self).__name__
        input_ids = token_ids(input_ids, self.config.max_position_embeddings, name)
        mask = padding_mask(attention_mask, tuple(input_ids.shape), name)
        x = self.encoder(self.embeddings(input_ids, token_type_ids, position_ids), mask)
        return ModelOutput(x, self.pooler(x) if "pooler" in self else None)

    @classmethod
    def expected(cls, config: BertConfig, pooler: bool = True) -> Iterator[Expected]:
        """Give what a checkpoint of the model has to hold."""
        dims, inner = config.hidden_size, config.intermediate_size
        yield from e.table("embeddings.word_embeddings", config.vocab_size, dims)
        rows = config.max_position_embeddings
        yield from e.table("embeddings.position_embeddings", rows, dims)
        yield from e.table("embeddings.token_type_embeddings", config.type_vocab_size, dims)
        yield from e.norm("embeddings.LayerNorm", dims)
        for i in range(config.num_hidden_layers):
            layer = f"encoder.layer.{i}"
            for name in ("query", "key", "value"):
                yield from e.linear(f"{layer}.attention.self.{name}", dims, dims)
            yield from e.linear(f"{layer}.attention.output.dense", dims, dims)
            yield from e.norm(f"{layer}.attention.output.LayerNorm", dims)
            yield from e.linear(f"{layer}.intermediate.dense", dims, inner)
            yield from e.linear(f"{layer}.output.dense", inner, dims)
            yield from e.norm(f"{layer}.output.LayerNorm", dims)
        if pooler:
            yield from e.linear("pooler.dense", dims, dims)
