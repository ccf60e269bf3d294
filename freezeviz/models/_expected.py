"""What a checkpoint of an architecture has to hold: names and shapes, before any model is made."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from freezeviz.paths import join


class Expected(NamedTuple):
    """An array that a checkpoint holds.

    Attributes
    ----------
    path : str
        In the model.
    shape : tuple of int
        In the file.
    axes : tuple of int or None
        The order in which the model has the file's axes; None: the same.
    optional : bool
        May be missing: the model has it from elsewhere.
    """

    path: str
    shape: tuple[int, ...]
    axes: tuple[int, ...] | None = None
    optional: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def linear(path: str, inputs: int, outputs: int, bias: bool = True) -> Iterator[Expected]:
    """Give the arrays of ``torch.nn.Linear``, whose layout is ours."""
    yield Expected(f"{path}.weight", (outputs, inputs))
    if bias:
        yield Expected(f"{path}.bias", (outputs,))


def conv1d(path: str, inputs: int, outputs: int) -> Iterator[Expected]:
    """Give the arrays of ``transformers.pytorch_utils.Conv1D``, a transposed linear layer."""
    yield Expected(f"{path}.weight", (inputs, outputs), (1, 0))
    yield Expected(f"{path}.bias", (outputs,))


def convolution(
    path: str, inputs: int, outputs: int, kernel: tuple[int, int], bias: bool = False
) -> Iterator[Expected]:
    """Give the arrays of ``torch.nn.Conv2d``, which has channels first."""
    yield Expected(f"{path}.weight", (outputs, inputs, *kernel), (0, 2, 3, 1))
    if bias:
        yield Expected(f"{path}.bias", (outputs,))


def norm(path: str, dims: int) -> Iterator[Expected]:
    """Give the arrays of ``torch.nn.LayerNorm``."""
    yield Expected(f"{path}.weight", (dims,))
    yield Expected(f"{path}.bias", (dims,))


def batch_norm(path: str, features: int) -> Iterator[Expected]:
    """Give the arrays of ``torch.nn.BatchNorm2d`` but the number of batches, which nobody reads."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield Expected(f"{path}.{name}", (features,))


def table(path: str, rows: int, dims: int) -> Iterator[Expected]:
    """Give the array of ``torch.nn.Embedding``."""
    yield Expected(f"{path}.weight", (rows, dims))


def below(prefix: str, entries: Iterator[Expected]) -> Iterator[Expected]:
    """Give entries under a prefix."""
    for entry in entries:
        yield entry._replace(path=join(prefix, entry.path))
