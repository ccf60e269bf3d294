"""What the architectures have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from freezeviz import nn
from freezeviz.models._config import Config
from freezeviz.models._expected import Expected


class ModelOutput(NamedTuple):
    """What a model without a head returns; names are those of transformers.

    Attributes
    ----------
    last_hidden_state : array
        Of shape (batch, length, dims), or (batch, height, width, channels) from a ResNet.
    pooler_output : array or None
        One vector a sample: of shape (batch, dims), or (batch, 1, 1, channels) from a ResNet.
    """

    last_hidden_state: Any
    pooler_output: Any = None


class Pretrained(nn.Module):
    """A model whose weights `freezeviz.models.load` reads.

    Attributes
    ----------
    config : Config
    config_type : type of Config
    prefix : str
        Name of the bare model inside of one with a head, and at the front of its arrays' names.
    bare : bool
        Whether this is the model without a head.
    passed_over : tuple of str
        Regular expressions for names of arrays that checkpoints have and this model has no use
        for.
    renamed : dict of str to str
        Regular expressions for other names of its arrays, and what replaces them.
    """

    config_type: ClassVar[type[Config]]
    prefix: ClassVar[str]
    bare: ClassVar[bool] = False
    passed_over: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Config):
        super().__init__()
        if not isinstance(config, self.config_type):
            raise TypeError(
                f"{type(self).__name__} takes a {self.config_type.__name__}, "
                f"got {type(config).__name__}"
            )
        self.config: Any = config

    @classmethod
    def expected(cls, config: Any) -> Iterator[Expected]:
        """Give what a checkpoint of the model has to hold."""
        raise NotImplementedError(f"{cls.__name__} does not say what its checkpoints hold")
