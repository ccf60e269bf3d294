"""Random models of our own, with all that makes a path or a state hard to write down."""

import copy

import numpy as np
from hypothesis import strategies as st

from freezeviz import nn

# Names in dicts may be anything: what a glob, the grammar, JSON or Python take for their own.
ODD_NAMES = [
    "",
    " ",
    "-",
    "a b",
    "a*b",
    "[0-9]",
    "w[0]",
    "?",
    "**",
    "it's",
    'say "x"',
    "a | b",
    "x&y",
    "(z)",
    "~q",
    "back\\slash",
    "line\nbreak",
    "type:Linear",
    "re:.*",
    "grüße",
    "🙂",
    "\u202eright-to-left",
    "\ud800",
    "<b>&amp;</b>",
    "0",
    "00",
    "10",
    "bias",
    "n" * 200,
]


class Box(nn.Module):
    """Holds modules and arrays under any names."""

    def __init__(self, parts):
        super().__init__()
        self.parts = parts


class Twin(nn.Module):
    """Two names for what is given: one module, or one array, twice."""

    def __init__(self, inner, further):
        super().__init__()
        self.first = inner
        self.inside = further
        if isinstance(inner, nn.Linear):
            self.tied = inner.weight
        else:
            self.again = inner


def _leaf(kind):
    match kind:
        case "linear":
            return nn.Linear(2, 2)
        case "no bias":
            return nn.Linear(2, 2, bias=False)
        case "norm":
            return nn.LayerNorm(2)
        case "batch norm":
            return nn.BatchNorm(2)
        case "dropout":
            return nn.Dropout(0.5)
        case _:
            return nn.ReLU()


leaves = st.sampled_from(
    ["linear", "linear", "no bias", "norm", "batch norm", "dropout", "relu"]
).map(_leaf)


def _containers(inner):
    return st.one_of(
        st.lists(inner, min_size=1, max_size=5).map(lambda parts: nn.Sequential(*parts)),
        st.lists(inner, min_size=1, max_size=3).map(Box),
        st.dictionaries(st.sampled_from(ODD_NAMES), inner, min_size=1, max_size=4).map(Box),
        st.tuples(inner, inner).map(lambda pair: Twin(*pair)),
    )


@st.composite
def models(draw):
    """A model with at least one parameter."""
    model = draw(st.recursive(leaves, _containers, max_leaves=14))
    if not model.named_parameters():
        model = nn.Sequential(model, nn.Linear(2, 2))
    return model


def fresh(model):
    """A copy of a model, where everything is trainable."""
    return copy.deepcopy(model).unfreeze()


def state(adapter):
    return adapter.frozen(), adapter.held()


def random_mask(draw, n):
    return np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
