"""What the rest of freezeviz knows of a model, whatever framework it is written in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = ["BufferInfo", "LayerInfo", "ModelAdapter", "ParameterInfo", "Probe"]


class ParameterInfo(NamedTuple):
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


class BufferInfo(NamedTuple):
    """A non-learnable array, such as running statistics."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


class LayerInfo(NamedTuple):
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


@dataclass(slots=True)
class Probe:
    """What one training step cost, layer by layer; complete when its block is left.

    An adapter that can measure has a further method, which is optional::

        def probe(self) -> AbstractContextManager[Probe]

    The block holds one whole step (forward, backward and the optimizer's update) in the thread
    and context that entered it. What is measured changes no number of the training, works with
    several models in several threads, and leaves nothing behind, whatever the step raised. An
    adapter that keeps something installed between probes has ``listen()``, too: a context
    manager for as long as somebody watches, so that single probes are cheap.

    Layers go by their first path, the root by ``""``; parameters by theirs.

    Attributes
    ----------
    seconds : dict
        Of each layer that was called: its own seconds, forward and backward, without those of the
        layers that it calls. Backward time belongs to the layer whose call made the operation.
    saved_bytes : dict
        Of each layer that was called: bytes that its own operations kept for the backward pass.
        An array that several keep counts once, for the first; parameters and buffers do not count.
    order : tuple of str
        Layers in the order in which their calls began. One that is called several times stands
        there for its first and for its last call.
    needs_gradient : frozenset of str
        Layers that got an input which carries a gradient, in any of their calls: they compute
        its derivative, be they frozen or not.
    gradient_norm : dict
        Of each parameter that has a gradient at the end of the block: its Euclidean norm. What is
        not known is missing (frozen, or the loop has dropped the gradient already).
    update_norm, weight_norm : dict
        Of the parameters that were trainable when the block began: the norms of how the step
        changed them, and of what they were before.
    memory : int or None
        Bytes that the process holds (on a device: that it has allocated there) when the backward
        pass begins, which is when most is kept. None if unknown.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    saved_bytes: dict[str, int] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    needs_gradient: frozenset[str] = frozenset()
    gradient_norm: dict[str, float] = field(default_factory=dict)
    update_norm: dict[str, float] = field(default_factory=dict)
    weight_norm: dict[str, float] = field(default_factory=dict)
    memory: int | None = None


class ModelAdapter(Protocol):
    """A model of some framework, as the explorer, the receipts and the policies see it.

    What can be had beyond this is had where the adapter offers it: ``device(path) -> str``,
    ``describe(path) -> (doc, "file:line")``, ``code(policy) -> str`` (in the framework's own words,
    for a model by the name ``model``), ``probe()`` and ``listen()`` (see `Probe`), and, where an
    optimizer has to be given its parameters, ``left_out(optimizer) -> (paths, line)``: those that
    are trainable and that it lacks, and the Python that adds them. ``still()`` is a context manager
    within which this thread changes nothing of the model's structure, so that it is walked once.
    ``when_all_frozen`` is a sentence on what a training step does then, if that needs a word.
    """

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
