"""Random models over vectors of three numbers, for property tests."""

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from freezeviz import explicit as lux
from freezeviz import nn
from freezeviz.errors import TiedParameterError

DIMS = 3


class Scaled(lux.WrapperLayer):
    wraps = "model"

    def __init__(self, model):
        super().__init__()
        self.model = model

    def __call__(self, x):
        return self.model(x) * 0.5


class Block(nn.Module):
    """A user's layer: arrays of its own in lists and dicts, a counter, running state, a mode."""

    def __init__(self, inner):
        super().__init__()
        rng = np.random.default_rng(7)
        self.gain = rng.standard_normal(DIMS).astype(np.float32)
        self.parts = [inner, np.full(DIMS, 0.3, np.float32), np.arange(2)]
        self.by_name = {"shift": np.full(DIMS, 0.1, np.float32), "head": nn.Linear(DIMS, DIMS)}
        self.calls = np.array(0)
        self.register_buffer("running", np.zeros(DIMS, np.float32))
        self.register_buffer("last", None)
        self._hidden = nn.Linear(DIMS, DIMS)

    def __call__(self, x):
        y = np.tanh(self.parts[0](x)) * self.gain + self.parts[1] + self.by_name["shift"]
        self.calls = self.calls + 1
        if self.training:
            self.running = self.running * 0.5 + y.mean(axis=0) * 0.5
            self.last = y[-1]
        return self.by_name["head"](y) + self.running


LEAVES = {
    "linear": lambda: nn.Linear(DIMS, DIMS),
    "no bias": lambda: nn.Linear(DIMS, DIMS, bias=False, activation=np.tanh),
    "batch norm": lambda: lux.BatchNorm(DIMS),
    "nn batch norm": lambda: nn.BatchNorm(DIMS, track_running_stats=False),
    "layer norm": lambda: nn.LayerNorm(DIMS),
    "gelu": nn.GELU,
    "function": lambda: lux.WrappedFunction(np.tanh),
    "dropout": lambda: nn.Dropout(0.4),
}


@st.composite
def models(draw, frozen=False):
    """Draw a model. Dropout comes once at most: the stateful face has one generator for all."""
    made = []

    def layer(depth):
        if made and draw(st.integers(0, 7)) == 0:
            return draw(st.sampled_from(made))  # a layer in a second place
        new = frozen_or_not(container(depth) if depth and draw(st.booleans()) else leaf())
        made.append(new)
        return new

    def leaf():
        names = [n for n in LEAVES if n != "dropout" or not any(map(has_dropout, made))]
        return LEAVES[draw(st.sampled_from(names))]()

    def container(depth):
        kind = draw(st.sampled_from(["chain", "sequential", "skip", "parallel", "scaled", "block"]))
        if kind == "skip":
            return lux.SkipConnection(layer(depth - 1), np.add)
        if kind == "scaled":
            return Scaled(layer(depth - 1))
        if kind == "block":
            return Block(layer(depth - 1))
        several = [layer(depth - 1) for _ in range(draw(st.integers(1, 3)))]
        if kind == "chain":
            return lux.Chain(*several)
        return nn.Sequential(*several) if kind == "sequential" else lux.Parallel(np.add, *several)

    def frozen_or_not(new):
        if not frozen or draw(st.integers(0, 2)):
            return new
        try:
            names = list(lux.setup(None, new)[0])
        except TiedParameterError:  # one of two places of a layer is frozen
            reject()
        some = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
        return lux.freeze(new, some or None, tied="all")

    model = container(3)
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    if len(linear) > 1 and draw(st.booleans()):
        first, second = draw(st.sampled_from(linear)), draw(st.sampled_from(linear))
        second.weight = first.weight  # tied
    return model


def has_dropout(layer):
    return any(isinstance(module, nn.Dropout) for module in layer.modules())
