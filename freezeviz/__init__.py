"""freezeviz: see your model, freeze parts of it with a click while it trains, and trust it."""

import importlib
from typing import TYPE_CHECKING, Any

from freezeviz import nn, optim
from freezeviz.autodiff import kernels, stop_gradient, use_kernels
from freezeviz.backend import device, to_numpy, use
from freezeviz.early import import_when_idle
from freezeviz.errors import FreezevizError, FreezevizWarning, SelectorError
from freezeviz.paths import KeyPath
from freezeviz.random import seed
from freezeviz.tree import tree_flatten, tree_map, tree_unflatten

if TYPE_CHECKING:
    from freezeviz import adapters, autodiff, data, explicit, freezing, models, train
    from freezeviz.explorer import steps, summary
    from freezeviz.freezing import Policy, Receipt, Selection, freeze, receipt, select, unfreeze
    from freezeviz.train import Trainer
    from freezeviz.widgets import explore

__version__ = "0.1.0"

__all__ = [
    "FreezevizError",
    "FreezevizWarning",
    "KeyPath",
    "Policy",
    "Receipt",
    "Selection",
    "SelectorError",
    "Trainer",
    "adapters",
    "autodiff",
    "data",
    "device",
    "explicit",
    "explore",
    "freeze",
    "freezing",
    "kernels",
    "models",
    "nn",
    "optim",
    "receipt",
    "seed",
    "select",
    "steps",
    "stop_gradient",
    "summary",
    "to_numpy",
    "train",
    "tree_flatten",
    "tree_map",
    "tree_unflatten",
    "unfreeze",
    "use",
    "use_kernels",
]

# Names that are looked up when first used, to keep `import freezeviz` quick.
_LAZY = {
    "Policy": "freezeviz.freezing",
    "Receipt": "freezeviz.freezing",
    "Selection": "freezeviz.freezing",
    "Trainer": "freezeviz.train",
    "adapters": "",
    "autodiff": "",
    "data": "",
    "explicit": "",
    "explore": "freezeviz.widgets",
    "freeze": "freezeviz.freezing",
    "freezing": "",
    "models": "",
    "receipt": "freezeviz.freezing",
    "select": "freezeviz.freezing",
    "steps": "freezeviz.explorer",
    "summary": "freezeviz.explorer",
    "train": "",
    "unfreeze": "freezeviz.freezing",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'freezeviz' has no attribute {name!r}")
    home = _LAZY[name]
    value = (
        getattr(importlib.import_module(home), name)
        if home
        else importlib.import_module(f"freezeviz.{name}")
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


import_when_idle()
del import_when_idle
