"""GPT-2: a Transformer decoder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from freezeviz import nn
from freezeviz.autodiff._primitives import add
from freezeviz.models import _config as c
from freezeviz.models import _expected as e
from freezeviz.models._activations import ACTIVATIONS
from freezeviz.models._attention import (
    attend_packed,
    causal_mask,
    padding_mask,
    positions,
    token_ids,
)
from freezeviz.models._expected import Expected
from freezeviz.models._pretrained import ModelOutput, Pretrained


@dataclass(frozen=True, kw_only=True)
class GPT2Config(c.Config):
    """Numbers of a GPT-2; names and defaults are those of ``transformers.GPT2Config``."""

    model_type: ClassVar[str] = "gpt2"
    fixed: ClassVar[dict[str, Any]] = {"add_cross_attention": False}

    vocab_size: int = c.size(50257)
    n_positions: int = c.size(1024)
    n_embd: int = c.size(768)
    n_layer: int = c.size(12)
    n_head: int = c.size(12)
    n_inner: int | None = c.optional(c.size(3072))
    activation_function: str = c.activation("gelu_new")
    resid_pdrop: float = c.probability(0.1)
    embd_pdrop: float = c.probability(0.1)
    attn_pdrop: float = c.probability(0.1)
    layer_norm_epsilon: float = c.positive(1e-5)
    scale_attn_weights: bool = c.flag(True)
    scale_attn_by_inverse_layer_idx: bool = c.flag(False)
    tie_word_embeddings: bool = c.flag(True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._multiple("n_embd", of="n_head")

    @property
    def inner(self) -> int:
        """Size of the feed-forward part."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner


class GPT2Attention(nn.Module):
    """Attention to what came before."""

    def __init__(self, config: GPT2Config, index: int):
        super().__init__()
        dims = config.n_embd
        self.n_head = config.n_head
        self.scale = 1.0
        if config.scale_attn_weights:
            self.scale /= math.sqrt(dims // config.n_head)
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= index + 1
        self.c_attn = nn.Linear(dims, 3 * dims)
        self.c_proj = nn.Linear(dims, dims)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def __call__(self, x: Any, mask: Any) -> Any:
        x = attend_packed(self.c_attn(x), self.n_head, mask, self.attn_dropout, self.scale)
        return self.resid_dropout(self.c_proj(x))


class GPT2MLP(nn.Module):
    """The feed-forward part."""

    def __init__(self, config: GPT2Config):
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, config.inner)
        self.c_proj = nn.Linear(config.inner, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)
        self._activation = ACTIVATIONS[config.activation_function]

    def __call__(self, x: Any) -> Any:
        return self.dropout(self.c_proj(self._activation(self.c_fc(x))))


class GPT2Block(nn.Module):
    """Attention and feed-forward, each added to its input."""

    def __init__(self, config: GPT2Config, index: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = GPT2Attention(config, index)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config)

    def __call__(self, x: Any, mask: Any) -> Any:
        x = add(x, self.attn(self.ln_1(x), mask))
        return add(x, self.mlp(self.ln_2(x)))


class GPT2Model(Pretrained):
    """A GPT-2 without a head.

    Parameters
    ----------
    config : GPT2Config

    Notes
    -----
    A. Radford et al.: Language Models are Unsupervised Multitask Learners. 2019. Computes what
    ``transformers.GPT2Model`` does; the paths of its parameters are the names in its checkpoints,
    whose transposed linear layers (``Conv1D``) become ordinary ones.
    """

    config_type = GPT2Config
    prefix = "transformer"
    bare = True
    # Masks, which older checkpoints store.
    passed_over = (r"h\.\d+\.attn\.(bias|masked_bias)",)

    def __init__(self, config: GPT2Config):
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = [GPT2Block(config, i) for i in range(config.n_layer)]
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def __call__(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None
    ) -> ModelOutput:
        """Return the hidden states of the last layer.

        Parameters
        ----------
        input_ids : integer array of shape (batch, length)
        attention_mask : array of shape (batch, length), optional
            One for tokens, zero for padding.
        position_ids : integer array of shape (batch, length), optional
            Counted from zero by default, whatever is padding.

        Returns
        -------
        ModelOutput
            Without a `pooler_output`.

        Raises
        ------
        ShapeError
            If an input has another shape, or is longer than ``n_positions``.
        DataError
            If an id is out of range.
        """
        name = type(self).__name__
        input_ids = token_ids(input_ids, self.config.n_positions, name)
        mask = padding_mask(attention_mask, tuple(input_ids.shape), name)
        x = self.drop(self.wte(input_ids) + self.wpe(positions(input_ids, position_ids)))
        mask = causal_mask(x, mask)
        for block in self.h:
            x = block(x, mask)
        return ModelOutput(self.ln_f(x))

    @classmethod
    def expected(cls, config: GPT2Config) -> Iterator[Expected]:
        """Give what a checkpoint of the model has to hold."""
        dims = config.n_embd
        yield from e.table("wte", config.vocab_size, dims)
        yield from e.table("wpe", config.n_positions, dims)
        for i in range(config.n_layer):
            yield from e.norm(f"h.{i}.ln_1", dims)
            yield from e.conv1d(f"h.{i}.attn.c_attn", dims, 3 * dims)
            yield from e.conv1d(f"h.{i}.attn.c_proj", dims, dims)
            yield from e.norm(f"h.{i}.ln_2", dims)
            yield from e.conv1d(f"h.{i}.mlp.c_fc", dims, config.inner)
            yield from e.conv1d(f"h.{i}.mlp.c_proj", config.inner, dims)
        yield from e.norm("ln_f", dims)


class GPT2LMHeadModel(Pretrained):
    """A GPT-2 that predicts the next token.

    Parameters
    ----------
    config : GPT2Config

    Notes
    -----
    Computes what ``transformers.GPT2LMHeadModel`` does. With ``tie_word_embeddings``, the default,
    ``lm_head.weight`` is ``transformer.wte.weight``: one parameter with two names, whose gradient
    is the sum of both uses and which is frozen under either.
    """

    config_type = GPT2Config
    prefix = GPT2Model.prefix
    passed_over = (r"transformer\.h\.\d+\.attn\.(bias|masked_bias)",)

    def __init__(self, config: GPT2Config):
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.wte.weight

    def __call__(self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None) -> Any:
        """Return the logits; arguments and errors are those of `GPT2Model`.

        Returns
        -------
        array of shape (batch, length, vocab_size)
        """
        out = self.transformer(input_ids, attention_mask, position_ids)
        return self.lm_head(out.last_hidden_state)

    @classmethod
    def expected(cls, config: GPT2Config) -> Iterator[Expected]:
        """Give what a checkpoint of the model has to hold."""
        yield from e.below("transformer", GPT2Model.expected(config))
        shape = config.vocab_size, config.n_embd
        yield Expected("lm_head.weight", shape, optional=config.tie_word_embeddings)
