"""Explicit parameters and states: layers hold nothing, a call takes all and returns all.

The second face of the same layers, with the vocabulary of Lux.jl: ``ps, st = setup(rng, model)``,
``y, st = apply(model, x, ps, st)``. Freezing moves values from ``ps`` into ``st``. Any `nn.Module`
works here, and computes the same bits as in the stateful face.

Lux is written in Julia; here arrays are batch first, slices start at zero, and named tuples are
dicts.
"""

from freezeviz.autodiff import value_and_grad
from freezeviz.explicit._apply import apply
from freezeviz.explicit._containers import Chain, Parallel, SkipConnection, WrappedFunction
from freezeviz.explicit._count import parameter_length, state_length
from freezeviz.explicit._freeze import freeze, unfreeze
from freezeviz.explicit._frozen import FrozenLayer
from freezeviz.explicit._layer_map import layer_map
from freezeviz.explicit._layers import BatchNorm, Dense, Dropout
from freezeviz.explicit._setup import setup
from freezeviz.explicit._share import share_parameters
from freezeviz.explicit._state import testmode, trainmode, update_state
from freezeviz.explicit._wrapper import WrapperLayer
from freezeviz.paths import KeyPath

__all__ = [
    "BatchNorm",
    "Chain",
    "Dense",
    "Dropout",
    "FrozenLayer",
    "KeyPath",
    "Parallel",
    "SkipConnection",
    "WrappedFunction",
    "WrapperLayer",
    "apply",
    "freeze",
    "layer_map",
    "parameter_length",
    "setup",
    "share_parameters",
    "state_length",
    "testmode",
    "trainmode",
    "unfreeze",
    "update_state",
    "value_and_grad",
]
