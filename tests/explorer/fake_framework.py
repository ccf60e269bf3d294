"""A model of no framework in particular, and its adapter: the explorer must not depend on ours."""

from dataclasses import dataclass, field

import numpy as np

from freezeviz import adapters
from freezeviz.adapters import BufferInfo, LayerInfo, ParameterInfo
from freezeviz.adapters._index import ParameterIndex


@dataclass(eq=False)
class FakeModel:
    """Rows of (path, kind, own parameter names, own buffer names), parents before children."""

    layers: list[tuple[str, str, list[str], list[str]]]
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)


class FakeAdapter:
    framework = "fake"

    def __init__(self, model: FakeModel) -> None:
        self.model = model

    def snapshot(self) -> LayerInfo:
        paths = {path for path, *_ in self.model.layers}
        children: dict[str, list[LayerInfo]] = {path: [] for path in paths}
        made: dict[str, LayerInfo] = {}
        for path, kind, parameters, buffers in reversed(self.model.layers):
            parent = self._parent(path, paths)
            made[path] = LayerInfo(
                path=path,
                name=path.rpartition(".")[2] or kind,
                kind=kind,
                detail="",
                parameters=tuple(self._parameter(path, name) for name in parameters),
                buffers=tuple(BufferInfo(_join(path, b), (2,), "float32", 8) for b in buffers),
                children=tuple(reversed(children[path])),
                aliases=self.model.aliases.get(path, ()),
            )
            if path:
                children[parent].append(made[path])
        return made[""]

    def _parameter(self, path: str, name: str) -> ParameterInfo:
        full = _join(path, name)
        return ParameterInfo(full, (2, 3), "float32", 6, 24, self.model.aliases.get(full, ()))

    def _parent(self, path: str, paths: set[str]) -> str:
        parent = path.rpartition(".")[0]
        while parent and parent not in paths:
            parent = parent.rpartition(".")[0]
        return parent

    def frozen(self) -> frozenset[str]:
        return frozenset(self.model.frozen)

    def held(self) -> frozenset[str]:
        return frozenset(self.model.held)

    def training(self) -> bool:
        return True

    def set_frozen(self, paths, frozen, hold=None) -> None:
        paths = set(paths)
        if frozen:
            self.model.frozen |= paths
        else:
            self.model.frozen -= paths
        if hold is not None:
            index = ParameterIndex(self.snapshot())
            layers = [path for path, *_ in self.model.layers]
            changed, frozen = index.mask(paths), index.mask(self.model.frozen)
            meant = index.meant(index.carriers(layers), changed, frozen, hold)
            names = [layer for layer, is_meant in zip(layers, meant, strict=True) if is_meant]
            (self.model.held.update if hold else self.model.held.difference_update)(names)

    def read(self, path: str) -> np.ndarray:
        return np.zeros((2, 3), np.float32)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def encoder(n_layers: int = 3) -> FakeModel:
    """Return a model with nested blocks, one of them without parameters, one with buffers."""
    layers: list[tuple[str, str, list[str], list[str]]] = [("", "Encoder", [], [])]
    for i in range(n_layers):
        block = f"layers.{i}"
        layers += [
            (block, "Block", ["gain"], []),
            (f"{block}.attention", "Attention", ["weight", "bias"], []),
            (f"{block}.dropout", "Dropout", [], []),
            (f"{block}.norm", "BatchNorm", ["weight"], ["running_mean"]),
        ]
    return FakeModel([*layers, ("head", "Linear", ["weight", "bias"], [])])


if not any(name == "fake" for name, *_ in adapters._registry._registered):
    adapters.register("fake", lambda model: isinstance(model, FakeModel), FakeAdapter)
