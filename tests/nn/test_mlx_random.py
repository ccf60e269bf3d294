"""Random models and random sequences of MLX's calls, in MLX and here: the same is trainable.

Left out is what this library decided to do otherwise (``verdict: ours`` or ``free`` in
``tests/conformance/mlx_golden.json``): keys that name modules, lists or nothing yet, strictness
about names in lists, running statistics as parameters, shared modules, placeholders that overwrite
arrays. Where MLX is not installed, this is skipped.
"""

import copy
import types
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeviz import nn, tree_flatten, tree_unflatten
from freezeviz.errors import UnmatchedKeyWarning

mx = pytest.importorskip("mlx.core")
import mlx.nn as mlx_nn  # noqa: E402
from mlx.utils import tree_flatten as mlx_flatten  # noqa: E402

MLX = types.SimpleNamespace(
    nn=mlx_nn,
    ones=lambda shape: mx.ones(shape),
    flat=lambda tree: {p for p, _ in mlx_flatten(tree)},
)
HERE = types.SimpleNamespace(
    nn=nn,
    ones=lambda shape: np.ones(shape, np.float32),
    flat=lambda tree: {p for p, _ in tree_flatten(tree)},
)
ARRAYS, MODULES = ["weight", "bias", "gain"], ["inner", "head"]
KEYS = st.sampled_from([None, "weight", "bias", "gain", ["weight", "gain"], [], ["bias", "nope"]])
CALLS = [
    "again", "array", "copy", "dtype", "each", "freeze", "freeze", "freeze", "load", "mode",
    "module", "replace", "unfreeze", "unfreeze", "update",
]  # fmt: skip
LEAVES = {
    "Linear": (2, 2),
    "LayerNorm": (2,),
    "Embedding": (3, 2),
    "ReLU": (),
    "Dropout": (),
    "MultiHeadAttention": (4, 2),
}


@st.composite
def plans(draw, depth=2):
    """Draw what a model is made of, as plain data."""
    kind = draw(st.sampled_from(["leaf", "leaf", "chain", "custom"] if depth else ["leaf"]))
    if kind == "leaf":
        return draw(st.sampled_from(sorted(LEAVES)))
    several = draw(st.lists(plans(depth - 1), min_size=1, max_size=3))
    if kind == "chain":
        return "chain", several
    arrays = draw(st.lists(st.sampled_from(ARRAYS), unique=True))
    inner = dict(zip(MODULES, several, strict=False))
    more = draw(st.sampled_from(["list", "dict", "arrays", "tuple", "hidden", "text", None]))
    return "custom", arrays, inner, more, draw(plans(depth - 1))


def make(plan, library):
    """Return the model of a plan in one of the libraries."""
    if isinstance(plan, str):
        return getattr(library.nn, plan)(*LEAVES[plan])
    if plan[0] == "chain":
        return library.nn.Sequential(*[make(p, library) for p in plan[1]])
    _, arrays, inner, more, extra = plan

    class Custom(library.nn.Module):
        def __init__(self):
            super().__init__()
            for name in arrays:
                setattr(self, name, library.ones([2]))
            for name, part in inner.items():
                setattr(self, name, make(part, library))
            if more == "list":
                self.parts = [make(extra, library), make(extra, library)]
            elif more == "dict":
                self.parts = {"x": make(extra, library), "deep": [make(extra, library)]}
            elif more == "arrays":
                self.parts = [library.ones([2]), {"y": library.ones([1])}]
            elif more == "tuple":
                self.parts = (library.ones([2]), make(extra, library))
            elif more == "hidden":
                self._parts, self._array = [make(extra, library)], library.ones([2])
            elif more == "text":
                self.parts = "no part"

    return Custom()


def step(draw, model):
    """Draw a call: a function of a model and a library, the same for both."""
    path = draw(st.sampled_from([path for path, _ in model.named_modules()]))
    kind = draw(st.sampled_from(CALLS))
    name = draw(st.sampled_from(MODULES))
    if kind in ("array", "again"):
        # Of a name that nothing had yet, a key may have been given: there the two differ.
        own = [n for n in ARRAYS if n in at(model, path)]
        if not own:
            return lambda m, _: m
        name = draw(st.sampled_from(own))
    if kind in ("freeze", "unfreeze"):
        options = {"keys": draw(KEYS), "recurse": draw(st.integers(0, 3)) > 0}
        strict = options["keys"] is not None and draw(st.booleans())
        return lambda m, _: getattr(at(m, path), kind)(**options, strict=strict)
    if kind == "array":
        return lambda m, lib: setattr(at(m, path), name, lib.ones([3]))
    if kind == "again":
        gone = draw(st.sampled_from([delattr, lambda m, n: setattr(m, n, None)]))
        return lambda m, lib: (gone(at(m, path), name), setattr(at(m, path), name, lib.ones([3])))
    if kind == "module":
        return lambda m, lib: setattr(at(m, path), name, lib.nn.Linear(2, 2))
    if kind == "replace":
        tree = {"layers": [{}, "here"]} if draw(st.booleans()) else {name: "here"}
        strict = draw(st.booleans())
        return lambda m, lib: at(m, path).update_modules(filled(tree, lib), strict=strict)
    if kind in ("update", "load"):
        known = [(p, v.shape) for p, v in model.named_parameters() if "parts." not in p]
        chosen = draw(st.lists(st.sampled_from(known), unique=True)) if known else []
        chosen += [("nope", (1,))] * draw(st.booleans())
        strict = draw(st.booleans())
        if kind == "load":
            return lambda m, lib: m.load_weights(
                [(p, lib.ones(shape)) for p, shape in chosen], strict=strict
            )
        tree = tree_unflatten(chosen) or {}
        return lambda m, lib: m.update(filled(tree, lib), strict=strict)
    if kind == "dtype":
        name = draw(st.sampled_from(["float16", "float32"]))
        return lambda m, lib: m.set_dtype(name if lib is HERE else getattr(mx, name))
    if kind == "mode":
        mode = draw(st.booleans())
        return lambda m, _: at(m, path).train(mode)
    if kind == "each":
        which, verb = draw(st.sampled_from(sorted(LEAVES))), draw(st.sampled_from(["", "un"]))

        def each(path, module):
            if type(module).__name__ == which:
                getattr(module, f"{verb}freeze")()

        return lambda m, _: m.apply_to_modules(each)
    return lambda m, _: copy.deepcopy(m)


def at(model, path):
    for name in path.split(".") if path else []:
        model = model[int(name)] if isinstance(model, list) else (
            model[name] if type(model) is dict else getattr(model, name)
        )  # fmt: skip
    return model


def filled(tree, library):
    """Return a tree with arrays of its shapes, and a layer for the word."""
    if isinstance(tree, dict):
        return {key: filled(value, library) for key, value in tree.items()}
    if isinstance(tree, list):
        return [filled(value, library) for value in tree]
    return library.nn.Linear(2, 2) if tree == "here" else library.ones(tree)


def seen(model, library):
    """Return what can be observed, of both."""
    return {
        "parameters": library.flat(model.parameters()),
        "trainable": library.flat(model.trainable_parameters()),
        "modes": {path: module.training for path, module in model.named_modules()},
        "modules": {path: type(module).__name__ for path, module in model.named_modules()},
    }


def outcome(call, model, library):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnmatchedKeyWarning)
        try:
            returned = call(model, library)
        except Exception as error:
            return None, type(error)
    return returned, None


@settings(max_examples=300)
@given(plans(), st.data())
def test_the_same_calls_leave_the_same_trainable(plan, data):
    theirs, ours = make(plan, MLX), make(plan, HERE)
    assert seen(ours, HERE) == seen(theirs, MLX)
    for _ in range(data.draw(st.integers(1, 8))):
        call = step(data.draw, ours)
        got, wrong = outcome(call, ours, HERE)
        expected, their_error = outcome(call, theirs, MLX)
        assert (wrong is None) == (their_error is None), (wrong, their_error)
        if their_error is not None:
            assert issubclass(wrong, their_error)
        elif got is not None and got is not ours and type(got) is type(ours):
            if any(got is module for module in ours.modules()):
                assert any(expected is module for module in theirs.modules())
            else:
                ours, theirs = got, expected  # copies
        assert seen(ours, HERE) == seen(theirs, MLX)
