"""Random models, optimizers and freezing: frozen bytes never move, values never depend on it."""

import copy
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import nn, optim, tree_flatten

SIZES = st.lists(st.integers(1, 5), min_size=2, max_size=5)
EXTRAS = st.sampled_from([None, nn.ReLU, nn.Tanh, "layer_norm", "batch_norm", "tied"])
OPTIMIZERS = {
    "sgd": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda: optim.SGD(0.1, momentum=0.5, nesterov=True),
    "adam": lambda: optim.Adam(0.1, bias_correction=True),
    "adamw": lambda: optim.AdamW(0.1, weight_decay=0.5),
}


@st.composite
def models(draw):
    sizes, layers = draw(SIZES), []
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    for inputs, outputs in pairwise(sizes):
        layers.append(nn.Linear(inputs, outputs, bias=draw(st.booleans()), rng=rng))
        extra = draw(EXTRAS)
        if extra == "layer_norm":
            layers.append(nn.LayerNorm(outputs))
        elif extra == "batch_norm":
            layers.append(nn.BatchNorm(outputs))
        elif extra == "tied":
            layers += [nn.Linear(outputs, outputs, rng=rng), nn.Linear(outputs, outputs, rng=rng)]
            layers[-1].weight = layers[-2].weight
        elif extra is not None:
            layers.append(extra())
    model = nn.Sequential(*layers)
    model.sizes = tuple(sizes)
    return model


def steps(model):
    """Return the loss as a function, and a batch for the model."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, model.sizes[0]), dtype=np.float32)
    y = rng.standard_normal((6, model.sizes[-1]), dtype=np.float32)
    return nn.value_and_grad(model, lambda: nn.losses.mse_loss(model(x), y)), x


def frozen_bytes(model):
    return {path: value.tobytes() for path, value in tree_flatten(model.frozen_parameters())}


def now(model):
    return {path: value.tobytes() for path, value in model.named_parameters()}


class Commands:
    """Random freezing and unfreezing, by every way that there is."""

    def __init__(self, draw, model):
        self.draw = draw
        self.model = model
        self.paths = [path for path, _ in model.named_parameters()]

    def __call__(self):
        kind = self.draw(st.sampled_from(["all", "key", "layer", "paths", "type", "none"]))
        freeze = self.draw(st.booleans())
        verb = "freeze" if freeze else "unfreeze"
        if kind == "all":
            getattr(self.model, verb)()
        elif kind == "key":
            getattr(self.model, verb)(keys="weight")
        elif kind == "layer":
            layer = self.draw(st.sampled_from(self.model.modules()))
            layer.freeze(hold=self.draw(st.booleans())) if freeze else layer.unfreeze()
        elif kind == "paths":
            chosen = self.draw(st.lists(st.sampled_from(self.paths), min_size=1, max_size=3))
            getattr(fv, verb)(self.model, chosen)
        elif kind == "type":
            getattr(fv, verb)(self.model, nn.Linear)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_frozen_bytes_never_move(data):
    model = data.draw(models())
    optimizer = OPTIMIZERS[data.draw(st.sampled_from(sorted(OPTIMIZERS)))]()
    command = Commands(data.draw, model)
    step, _ = steps(model)
    for _ in range(data.draw(st.integers(1, 5))):
        command()
        frozen = frozen_bytes(model)
        trainable = {path for path, _ in tree_flatten(model.trainable_parameters())}
        for _ in range(data.draw(st.integers(1, 3))):
            _, grads = step()
            assert {path for path, _ in tree_flatten(grads)} == trainable
            optimizer.update(model, grads)
        assert frozen_bytes(model) == frozen
        assert set(frozen) | trainable == set(command.paths)
        assert not set(frozen) & trainable


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_values_and_gradients_never_depend_on_the_freezing(data):
    model = data.draw(models()).eval()
    step, x = steps(model)
    value, everything = step()
    out, everything = model(x), dict(tree_flatten(everything))
    command = Commands(data.draw, model)
    for _ in range(data.draw(st.integers(1, 4))):
        command()
        again, grads = step()
        assert again == value
        np.testing.assert_array_equal(model(x), out)
        for path, gradient in tree_flatten(grads):
            np.testing.assert_array_equal(gradient, everything[path])


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_freezing_and_thawing_again_changes_nothing(data):
    model = data.draw(models())
    before = now(model)
    arrays = {path: id(value) for path, value in model.named_parameters()}
    command = Commands(data.draw, model)
    for _ in range(data.draw(st.integers(1, 6))):
        command()
        assert now(model) == before
        if not model.aliases():  # a tied array is writable under the names that are not frozen
            for path, value in tree_flatten(model.parameters()):
                assert value.flags.writeable == (path not in frozen_bytes(model))
    model.unfreeze()
    assert {path: id(value) for path, value in model.named_parameters()} == arrays
    assert not any(m.held for m in model.modules())


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_deep_copy_trains_to_the_same_bytes(data):
    model = data.draw(models())
    Commands(data.draw, model)()
    twin = copy.deepcopy(model)
    name = data.draw(st.sampled_from(sorted(OPTIMIZERS)))
    for each in (model, twin):
        step, optimizer = steps(each)[0], OPTIMIZERS[name]()
        for _ in range(3):
            optimizer.update(each, step()[1])
    assert now(model) == now(twin)
    assert frozen_bytes(model) == frozen_bytes(twin)
    assert model.aliases() == twin.aliases()
