"""What the rest of freezeviz knows of a model, whatever framework it is written in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["BufferInfo", "LayerInfo", "ModelAdapter", "ParameterInfo"]


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """A learnable array.

    Attributes
    ----------
    path : str
        Dotted name from the model's root.
    shape : tuple of int
    dtype : str
    size : int
        Number of elements.
    nbytes : int
    aliases : tuple of str
        Further paths of the same array, if it is tied.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    nbytes: int
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BufferInfo:
    """A non-learnable array, such as running statistics."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A node of the model tree.

    Attributes
    ----------
    path : str
        ``""`` for the root.
    name : str
        The path's last part; the class name for the root.
    kind : str
        The class name.
    detail : str
        A few words on the layer's sizes, such as ``"64 → 128"``.
    parameters, buffers : tuple
        The layer's own, without those of its children.
    children : tuple of LayerInfo
    aliases : tuple of str
        Further paths of the same layer, if it is shared.
    bases : tuple of type
        The layer's class and what it derives from: selecting by type asks for it.
    """

    path: str
    name: str
    kind: str
    detail: str
    parameters: tuple[ParameterInfo, ...]
    buffers: tuple[BufferInfo, ...]
    children: tuple["LayerInfo", ...]
    aliases: tuple[str, ...] = ()
    bases: tuple[type, ...] = ()

    def walk(self) -> Iterator["LayerInfo"]:
        """Yield this layer and all below it, depth first."""
        # Not recursive: a generator per level makes deep models quadratic.
        stack: list[LayerInfo] = [self]
        while stack:
            layer = stack.pop()
            yield layer
            stack.extend(reversed(layer.children))

    def all_parameters(self) -> Iterator[ParameterInfo]:
        """Yield the parameters of this layer and of all below it."""
        for layer in self.walk():
            yield from layer.parameters


class ModelAdapter(Protocol):
    """A model of some framework, as the explorer, the receipts and the policies see it."""

    framework: str
    model: Any

    def snapshot(self) -> LayerInfo:
        """Return the model's structure as it is now."""
        ...

    def frozen(self) -> frozenset[str]:
        """Return the paths of the parameters that are frozen now."""
        ...

    def held(self) -> frozenset[str]:
        """Return the paths of the layers that are held now."""
        ...

    def training(self) -> bool:
        """Return whether the model is in train mode."""
        ...

    def set_frozen(self, paths: Iterable[str], frozen: bool, hold: bool | None = None) -> None:
        """Freeze or unfreeze parameters by path.

        With `hold` true, the layers whose parameters, and of all below them, are all among the
        paths are held; with false, those that have some among them and none frozen any more are
        let go. A layer without parameters goes with the nearest above it that has some.
        """
        ...

    def read(self, path: str) -> np.ndarray:
        """Return a copy of a parameter or buffer on the host."""
        ...
