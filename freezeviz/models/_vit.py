"""ViT: a Transformer encoder of the patches of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from freezeviz import nn
from freezeviz.autodiff._primitives import add
from freezeviz.errors import ShapeError
from freezeviz.models import _config as c
from freezeviz.models import _expected as e
from freezeviz.models._activations import ACTIVATIONS
from freezeviz.models._attention import self_attend
from freezeviz.models._expected import Expected
from freezeviz.models._pictures import pictures
from freezeviz.models._pretrained import ModelOutput, Pretrained
from freezeviz.nn._layers._transformer import ending_with


@dataclass(frozen=True, kw_only=True)
class ViTConfig(c.Config):
    """Numbers of a ViT; names and defaults are those of ``transformers.ViTConfig``."""

    model_type: ClassVar[str] = "vit"

    hidden_size: int = c.size(768)
    num_hidden_layers: int = c.size(12)
    num_attention_heads: int = c.size(12)
    intermediate_size: int = c.size(3072)
    hidden_act: str = c.activation("gelu")
    hidden_dropout_prob: float = c.probability(0.0)
    attention_probs_dropout_prob: float = c.probability(0.0)
    layer_norm_eps: float = c.positive(1e-12)
    image_size: int | tuple[int, int] = c.extent(224)
    patch_size: int | tuple[int, int] = c.extent(16)
    num_channels: int = c.size(3)
    qkv_bias: bool = c.flag(True)
    pooler_output_size: int | None = c.optional(c.size(768))
    pooler_act: str = c.activation("tanh")
    num_labels: int = c.size(2)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._multiple("hidden_size", of="num_attention_heads")
        if min(self.grid) < 1:
            raise self._error(f"{self.patch_size=} is larger than {self.image_size=}")

    @classmethod
    def from_dict(cls, values: Any) -> ViTConfig:
        """Return the configuration that the contents of a ``config.json`` describe."""
        return super().from_dict(c.labels(values))

    @property
    def grid(self) -> tuple[int, int]:
        """Number of patches along height and width."""
        # Fields take one number for both, and hold pairs.
        (height, width), (rows, columns) = self.image_size, self.patch_size  # pyright: ignore
        return height // rows, width // columns


class ViTPatchEmbeddings(nn.Module):
    """A vector for each patch."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        patch: Any = config.patch_size
        self.projection = nn.Conv2d(config.num_channels, config.hidden_size, patch, stride=patch)

    def __call__(self, pixel_values: Any) -> Any:
        x = self.projection(pixel_values)
        batch, rows, columns, dims = x.shape
        return x.reshape(batch, rows * columns, dims)


class ViTEmbeddings(nn.Module):
    """Patches behind a class token, with their positions."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        dims, (rows, columns) = config.hidden_size, config.grid
        draw = nn.init.normal(0.0, 0.02)
        self.cls_token = draw((1, 1, dims))
        self.position_embeddings = draw((1, rows * columns + 1, dims))
        self.patch_embeddings = ViTPatchEmbeddings(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def __call__(self, pixel_values: Any) -> Any:
        patches = self.patch_embeddings(pixel_values)
        token = self.cls_token
        first = np.broadcast_to(token, (patches.shape[0], *token.shape[1:]))
        x = np.concatenate([first, patches], axis=1) + self.position_embeddings
        return self.dropout(x)


class ViTSelfAttention(nn.Module):
    """Attention without its output projection."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        dims, bias = config.hidden_size, config.qkv_bias
        self.num_attention_heads = config.num_attention_heads
        self.query = nn.Linear(dims, dims, bias=bias)
        self.key = nn.Linear(dims, dims, bias=bias)
        self.value = nn.Linear(dims, dims, bias=bias)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def __call__(self, x: Any) -> Any:
        parts = self.query, self.key, self.value
        return self_attend(parts, x, self.num_attention_heads, None, self.dropout)


class ViTOutput(nn.Module):
    """A linear layer, then dropout."""

    def __init__(self, config: ViTConfig, inputs: int):
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def __call__(self, x: Any) -> Any:
        return self.dropout(self.dense(x))


class ViTAttention(nn.Module):
    """Attention and its output projection."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.attention = ViTSelfAttention(config)
        self.output = ViTOutput(config, config.hidden_size)

    def __call__(self, x: Any) -> Any:
        return self.output(self.attention(x))


class ViTIntermediate(nn.Module):
    """The first layer of the feed-forward part."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self._activation = ACTIVATIONS[config.hidden_act]

    def __call__(self, x: Any) -> Any:
        return ending_with(self.dense, self._activation, x)


class ViTLayer(nn.Module):
    """Attention and feed-forward, each of the normalised input and added to it."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        dims, eps = config.hidden_size, config.layer_norm_eps
        self.attention = ViTAttention(config)
        self.intermediate = ViTIntermediate(config)
        self.output = ViTOutput(config, config.intermediate_size)
        self.layernorm_before = nn.LayerNorm(dims, eps=eps)
        self.layernorm_after = nn.LayerNorm(dims, eps=eps)

    def __call__(self, x: Any) -> Any:
        x = add(x, self.attention(self.layernorm_before(x)))
        return add(x, self.output(self.intermediate(self.layernorm_after(x))))


class ViTEncoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.layer = [ViTLayer(config) for _ in range(config.num_hidden_layers)]

    def __call__(self, x: Any) -> Any:
        for layer in self.layer:
            x = layer(x)
        return x


class ViTPooler(nn.Module):
    """A layer on the class token."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, _pooled(config))
        self._activation = ACTIVATIONS[config.pooler_act]

    def __call__(self, x: Any) -> Any:
        return self._activation(self.dense(x[:, 0]))


def _pooled(config: ViTConfig) -> int:
    return config.hidden_size if config.pooler_output_size is None else config.pooler_output_size


# Names that transformers 5 gives the modules in memory; in files it keeps the older ones.
_RENAMED = {
    r"^(vit\.)?layers\.(\d+)\.": r"\1encoder.layer.\2.",
    r"\.attention\.q_proj\.": ".attention.attention.query.",
    r"\.attention\.k_proj\.": ".attention.attention.key.",
    r"\.attention\.v_proj\.": ".attention.attention.value.",
    r"\.attention\.o_proj\.": ".attention.output.dense.",
    r"\.mlp\.fc1\.": ".intermediate.dense.",
    r"\.mlp\.fc2\.": ".output.dense.",
}


class ViTModel(Pretrained):
    """A ViT without a head.

    Parameters
    ----------
    config : ViTConfig
    pooler : bool
        Whether there is a layer on the class token on top.

    Notes
    -----
    A. Dosovitskiy et al.: An Image is Worth 16x16 Words. arXiv:2010.11929. Computes what
    ``transformers.ViTModel`` does; the paths of its parameters are the names in its checkpoints
    (``encoder.layer.0.attention.attention.query.weight``). Images are channels last.
    """

    config_type = ViTConfig
    prefix = "vit"
    bare = True
    passed_over = (r"embeddings\.mask_token",)
    renamed: ClassVar = _RENAMED

    def __init__(self, config: ViTConfig, pooler: bool = True):
        super().__init__(config)
        self.embeddings = ViTEmbeddings(config)
        self.encoder = ViTEncoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        if pooler:
            self.pooler = ViTPooler(config)

    def __call__(self, pixel_values: Any) -> ModelOutput:
        """Return the hidden states of the last layer, and the pooled one.

        Parameters
        ----------
        pixel_values : array of shape (batch, height, width, channels)
            Of the ``image_size`` in the configuration. An array as Hugging Face's image processors
            give it, channels first, becomes one by ``x.transpose(0, 2, 3, 1)``.

        Returns
        -------
        ModelOutput
            `last_hidden_state` is of shape (batch, patches + 1, hidden_size), the class token
            first.

        Raises
        ------
        ShapeError
            If the images have another shape.
        """
        x, config = (
            pictures(pixel_values, self.config.num_channels, type(self).__name__),
            self.config,
        )
        if tuple(x.shape[1:3]) != config.image_size:
            raise ShapeError(
                f"{type(self).__name__} expects images of height and width {config.image_size}, "
                f"got {tuple(x.shape[1:3])}"
            )
        x = self.layernorm(self.encoder(self.embeddings(x)))
        return ModelOutput(x, self.pooler(x) if "pooler" in self else None)

    @classmethod
    def expected(cls, config: ViTConfig, pooler: bool = True) -> Iterator[Expected]:
        """Give what a checkpoint of the model has to hold."""
        dims, inner, (rows, columns) = config.hidden_size, config.intermediate_size, config.grid
        patch: Any = config.patch_size
        yield Expected("embeddings.cls_token", (1, 1, dims))
        yield Expected("embeddings.position_embeddings", (1, rows * columns + 1, dims))
        projection = "embeddings.patch_embeddings.projection"
        yield from e.convolution(projection, config.num_channels, dims, patch, bias=True)
        for i in range(config.num_hidden_layers):
            layer = f"encoder.layer.{i}"
            for name in ("query", "key", "value"):
                path = f"{layer}.attention.attention.{name}"
                yield from e.linear(path, dims, dims, bias=config.qkv_bias)
            yield from e.linear(f"{layer}.attention.output.dense", dims, dims)
            yield from e.linear(f"{layer}.intermediate.dense", dims, inner)
            yield from e.linear(f"{layer}.output.dense", inner, dims)
            yield from e.norm(f"{layer}.layernorm_before", dims)
            yield from e.norm(f"{layer}.layernorm_after", dims)
        yield from e.norm("layernorm", dims)
        if pooler:
            yield from e.linear("pooler.dense", dims, _pooled(config))


class ViTForImageClassification(Pretrained):
    """A ViT that classifies images.

    Parameters
    ----------
    config : ViTConfig

    Notes
    -----
    Computes what ``transformers.ViTForImageClassification`` does.
    """

    config_type = ViTConfig
    prefix = ViTModel.prefix
    passed_over = (r"vit\.embeddings\.mask_token", r"vit\.pooler\..*")
    renamed: ClassVar = _RENAMED

    def __init__(self, config: ViTConfig):
        super().__init__(config)
        self.vit = ViTModel(config, pooler=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def __call__(self, pixel_values: Any) -> Any:
        """Return the logits; the argument and errors are those of `ViTModel`.

        Returns
        -------
        array of shape (batch, num_labels)
        """
        return self.classifier(self.vit(pixel_values).last_hidden_state[:, 0])

    @classmethod
    def expected(cls, config: ViTConfig) -> Iterator[Expected]:
        """Give what a checkpoint of the model has to hold."""
        yield from e.below("vit", ViTModel.expected(config, pooler=False))
        yield from e.linear("classifier", config.hidden_size, config.num_labels)
