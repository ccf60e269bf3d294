"""The engines that are compared."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tests.benchmarks.engine.workloads import Workload

BASE = "torch"  # what ratios are to
OURS = "freezeviz"  # names of our engines begin with it


class Run(Protocol):
    """One model with its optimizer, ready to train on its batches, over and over."""

    def step(self) -> Any:
        """Do a whole training step; return the loss, to be read with `float`."""
        ...

    def values(self) -> dict[str, np.ndarray]:
        """Return a copy of every parameter by its name, in any layout."""
        ...


@dataclass(frozen=True)
class Engine:
    """Where an engine's `build` is, and what it has to be told."""

    module: str
    package: str
    option: str = ""

    def build(self, work: Workload, mode: str, threads: int) -> Run:
        """Return a run of a workload; ImportError if the engine is not installed."""
        module = importlib.import_module(f"tests.benchmarks.engine.{self.module}")
        build: Callable[..., Run] = module.build
        return build(work, mode, threads, *([self.option] if self.option else []))


ENGINES = {
    "torch": Engine("on_torch", "torch"),
    "freezeviz": Engine("on_freezeviz", "numpy"),
    "torch.compile": Engine("on_torch", "torch", "compile"),
    "jax": Engine("on_jax", "jax"),
    "mlx": Engine("on_mlx", "mlx"),
}
