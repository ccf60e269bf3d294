"""ResNet: a convolutional network of residual blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from freezeviz import nn
from freezeviz.models import _config as c
from freezeviz.models import _expected as e
from freezeviz.models._activations import ACTIVATIONS
from freezeviz.models._expected import Expected
from freezeviz.models._pictures import pictures
from freezeviz.models._pretrained import ModelOutput, Pretrained


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(c.Config):
    """Numbers of a ResNet; names and defaults are those of ``transformers.ResNetConfig``."""

    model_type: ClassVar[str] = "resnet"

    num_channels: int = c.size(3)
    embedding_size: int = c.size(64)
    hidden_sizes: tuple[int, ...] = c.sizes((256, 512, 1024, 2048))
    depths: tuple[int, ...] = c.sizes((3, 4, 6, 3))
    layer_type: str = c.choice("bottleneck", "basic", "bottleneck")
    hidden_act: str = c.activation("relu")
    downsample_in_first_stage: bool = c.flag(False)
    downsample_in_bottleneck: bool = c.flag(False)
    num_labels: int = c.size(2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.hidden_sizes) != len(self.depths):
            raise self._error(
                f"there are {len(self.hidden_sizes)} hidden_sizes and {len(self.depths)} depths, "
                "expected one of each for every stage"
            )
        if self.layer_type == "bottleneck" and min(self.hidden_sizes) < 4:
            raise self._error("a bottleneck needs hidden_sizes of at least 4")

    @classmethod
    def from_dict(cls, values: Any) -> ResNetConfig:
        """Return the configuration that the contents of a ``config.json`` describe."""
        return super().from_dict(c.labels(values))

    def blocks(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Give stage, number in it, input channels, output channels and stride of every block."""
        first = 2 if self.downsample_in_first_stage else 1
        channels = pairwise((self.embedding_size, *self.hidden_sizes))
        for stage, ((inputs, outputs), depth) in enumerate(zip(channels, self.depths, strict=True)):
            yield stage, 0, inputs, outputs, 2 if stage else first
            for i in range(1, depth):
                yield stage, i, outputs, outputs, 1

    def convolutions(self, inputs: int, outputs: int, stride: int) -> list[tuple[int, ...]]:
        """Return input channels, output channels, kernel and stride of a block's convolutions."""
        if self.layer_type == "basic":
            return [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
        inner = outputs // 4
        first, second = (stride, 1) if self.downsample_in_bottleneck else (1, stride)
        return [
            (inputs, inner, 1, first),
            (inner, inner, 3, second),
            (inner, outputs, 1, 1),
        ]


class ResNetConvLayer(nn.Module):
    """Convolution, normalisation, activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, activation: str = "linear"
    ):
        super().__init__()
        self.convolution = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.normalization = nn.BatchNorm(outputs)
        self._activation = ACTIVATIONS[activation]

    def __call__(self, x: Any) -> Any:
        return self._activation(self.normalization(self.convolution(x)))


class ResNetEmbeddings(nn.Module):
    """The stem: a large convolution and a maximum."""

    def __init__(self, config: ResNetConfig):
        super().__init__()
        channels = config.num_channels, config.embedding_size
        self.embedder = ResNetConvLayer(*channels, 7, 2, config.hidden_act)
        self.pooler = nn.MaxPool2d(3, stride=2, padding=1)

    def __call__(self, x: Any) -> Any:
        return self.pooler(self.embedder(x))


class ResNetLayer(nn.Module):
    """A block: convolutions, and what goes past them."""

    def __init__(self, config: ResNetConfig, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.shortcut: Callable[[Any], Any]
        if _has_shortcut(inputs, outputs, stride):
            self.shortcut = ResNetConvLayer(inputs, outputs, 1, stride)
        else:
            self.shortcut = nn.Identity()
        shapes = config.convolutions(inputs, outputs, stride)
        # ReLU inside of a block, whatever hidden_act is: as transformers has it.
        names = ["relu"] * (len(shapes) - 1) + ["linear"]
        self.layer = [
            ResNetConvLayer(*numbers, activation=name)  # pyright: ignore[reportCallIssue]
            for numbers, name in zip(shapes, names, strict=True)
        ]
        self._activation = ACTIVATIONS[config.hidden_act]

    def __call__(self, x: Any) -> Any:
        y = x
        for layer in self.layer:
            y = layer(y)
        return self._activation(y + self.shortcut(x))


def _has_shortcut(inputs: int, outputs: int, stride: int) -> bool:
    return inputs != outputs or stride != 1


class ResNetStage(nn.Module):
    """Blocks of the same size."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[ResNetLayer] = []

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class ResNetEncoder(nn.Module):
    """The stages, one after the other."""

    def __init__(self, config: ResNetConfig):
        super().__init__()
        self.stages = [ResNetStage() for _ in config.depths]
        for stage, _, inputs, outputs, stride in config.blocks():
            self.stages[stage].layers.append(ResNetLayer(config, inputs, outputs, stride))

    def __call__(self, x: Any) -> Any:
        for stage in self.stages:
            x = stage(x)
        return x


class ResNetModel(Pretrained):
    """A ResNet without a head.

    Parameters
    ----------
    config : ResNetConfig

    Notes
    -----
    K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition.
    arXiv:1512.03385. Computes what ``transformers.ResNetModel`` does; the paths of its parameters
    are the names in its checkpoints. Images are channels last, and so are the weights of
    convolutions. Running statistics are buffers: freezing does not stop them, ``eval()`` and
    ``freeze(hold=True)`` do.
    """

    config_type = ResNetConfig
    prefix = "resnet"
    bare = True
    # Counts of batches, which matter only without a momentum.
    passed_over = (r".*\.num_batches_tracked",)

    def __init__(self, config: ResNetConfig):
        super().__init__(config)
        self.embedder = ResNetEmbeddings(config)
        self.encoder = ResNetEncoder(config)

    def __call__(self, pixel_values: Any) -> ModelOutput:
        """Return the last feature map, and its mean.

        Parameters
        ----------
        pixel_values : array of shape (batch, height, width, channels)
            An array as Hugging Face's image processors give it, channels first, becomes one by
            ``x.transpose(0, 2, 3, 1)``.

        Returns
        -------
        ModelOutput
            `last_hidden_state` is of shape (batch, height, width, hidden_sizes[-1]),
            `pooler_output` of shape (batch, 1, 1, hidden_sizes[-1]).

        Raises
        ------
        ShapeError
            If the images have another shape.
        """
        x = pictures(pixel_values, self.config.num_channels, type(self).__name__)
        x = self.encoder(self.embedder(x))
        return ModelOutput(x, x.mean(axis=(1, 2), keepdims=True))

    @classmethod
    def expected(cls, config: ResNetConfig) -> Iterator[Expected]:
        """Give what a checkpoint of the model has to hold."""
        stem = config.num_channels, config.embedding_size, 7
        yield from _conv_layer("embedder.embedder", *stem)
        for stage, i, inputs, outputs, stride in config.blocks():
            block = f"encoder.stages.{stage}.layers.{i}"
            if _has_shortcut(inputs, outputs, stride):
                yield from _conv_layer(f"{block}.shortcut", inputs, outputs, 1)
            for n, numbers in enumerate(config.convolutions(inputs, outputs, stride)):
                yield from _conv_layer(f"{block}.layer.{n}", *numbers[:3])


def _conv_layer(path: str, inputs: int, outputs: int, kernel: int) -> Iterator[Expected]:
    yield from e.convolution(f"{path}.convolution", inputs, outputs, (kernel, kernel))
    yield from e.batch_norm(f"{path}.normalization", outputs)


class ResNetForImageClassification(Pretrained):
    """A ResNet that classifies images.

    Parameters
    ----------
    config : ResNetConfig

    Notes
    -----
    Computes what ``transformers.ResNetForImageClassification`` does.
    """

    config_type = ResNetConfig
    prefix = ResNetModel.prefix
    passed_over = ResNetModel.passed_over

    def __init__(self, config: ResNetConfig):
        super().__init__(config)
        self.resnet = ResNetModel(config)
        self.classifier = [nn.Flatten(), nn.Linear(config.hidden_sizes[-1], config.num_labels)]

    def __call__(self, pixel_values: Any) -> Any:
        """Return the logits; the argument and errors are those of `ResNetModel`.

        Returns
        -------
        array of shape (batch, num_labels)
        """
        x = self.resnet(pixel_values).pooler_output
        for layer in self.classifier:
            x = layer(x)
        return x

    @classmethod
    def expected(cls, config: ResNetConfig) -> Iterator[Expected]:
        """Give what a checkpoint of the model has to hold."""
        yield from e.below("resnet", ResNetModel.expected(config))
        yield from e.linear("classifier.1", config.hidden_sizes[-1], config.num_labels)
