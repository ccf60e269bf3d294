"""The engines that are compared."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tests.benchmarks.engine.workloads import Workload

BASE = "torch"  # what ratios are to
OURS = "freezeviz"  # names of our engines begin with it
KERNELS = "FREEZEVIZ_KERNELS"  # the variable that says which kernels ours take


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
    """Where an engine's `build` is, and what it has to be told.

    Attributes
    ----------
    module : str
        Of this package.
    package : str
        What is installed, and whose version counts.
    option : str
        Handed to `build`, if any.
    kernels : str
        What the worker's `KERNELS` is, if anything.
    """

    module: str
    package: str
    option: str = ""
    kernels: str = ""

    def build(self, work: Workload, mode: str, threads: int) -> Run:
        """Return a run of a workload; ImportError if the engine is not installed."""
        module = importlib.import_module(f"tests.benchmarks.engine.{self.module}")
        build: Callable[..., Run] = module.build
        return build(work, mode, threads, *([self.option] if self.option else []))


ENGINES = {
    "torch": Engine("on_torch", "torch"),
    "freezeviz (numpy)": Engine("on_freezeviz", "numpy", kernels="numpy"),
    "freezeviz (numba)": Engine("on_freezeviz", "numba", kernels="numba"),
    "torch.compile": Engine("on_torch", "torch", "compile"),
    "jax": Engine("on_jax", "jax"),
    "mlx": Engine("on_mlx", "mlx"),
}
# What is quicker to type.
SHORT = {
    OURS: [name for name in ENGINES if name.startswith(OURS)],
    **{engine.kernels: [name] for name, engine in ENGINES.items() if engine.kernels},
}
