"""`setup`: first values."""

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import explicit as lux
from freezeviz import nn
from freezeviz.explicit import BatchNorm, Chain, Dense, Dropout
from tests.explicit._models import equal, leaves, same

DRAWING = {
    "Bilinear": lambda: nn.Bilinear(2, 3, 2),
    "Conv1d": lambda: nn.Conv1d(2, 3, 3),
    "Conv2d": lambda: nn.Conv2d(2, 4, 3, groups=2),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(2, 3, 2),
    "Embedding": lambda: nn.Embedding(5, 3),
    "GRU": lambda: nn.GRU(2, 3),
    "LSTM": lambda: nn.LSTM(2, 3),
    "Linear": lambda: nn.Linear(3, 2),
    "MultiHeadAttention": lambda: nn.MultiHeadAttention(4, 2),
    "RNN": lambda: nn.RNN(2, 3),
    "Transformer": lambda: nn.Transformer(4, 2, 1, 1, 8),
}
CONSTANT = {
    "BatchNorm": lambda: nn.BatchNorm(3),
    "GroupNorm": lambda: nn.GroupNorm(1, 3),
    "InstanceNorm": lambda: nn.InstanceNorm(3, affine=True),
    "LayerNorm": lambda: nn.LayerNorm(3),
    "PReLU": lambda: nn.PReLU(),
    "RMSNorm": lambda: nn.RMSNorm(3),
}


def test_what_is_no_generator_or_no_model_is_refused():
    with pytest.raises(
        TypeError, match=r"rng is a numpy.random.Generator, an int or None, got 'a'"
    ):
        lux.setup("a", lux.Dense(1, 1))
    with pytest.raises(TypeError, match=r"takes a model, got int"):
        lux.setup(0, 3)


@pytest.mark.parametrize("name", DRAWING)
def test_drawn_values_come_from_the_seed_and_not_from_the_layer(name):
    make = DRAWING[name]
    ps, _ = lux.setup(1, make())
    assert same(ps, lux.setup(np.random.default_rng(1), make())[0])
    other = leaves(lux.setup(2, make())[0])
    random = [path for path, value in leaves(ps).items() if np.ptp(value)]
    assert random
    assert not any(equal(leaves(ps)[path], other[path]) for path in random)


@pytest.mark.parametrize("name", CONSTANT)
def test_moved_values_start_anew(name):
    layer = CONSTANT[name]()
    first = lux.setup(None, layer)
    layer.update(fv.tree_map(lambda value: value + 1, layer.state))
    assert same(lux.setup(0, layer), first)


@pytest.mark.parametrize("name", DRAWING)
def test_a_layers_own_draw_is_the_same_as_setups(name):
    with fv.random.using(np.random.default_rng(4)):
        layer = DRAWING[name]()
    assert same(lux.setup(np.random.default_rng(4), layer)[0], layer.parameters())


def test_every_layer_of_the_library_with_parameters_can_start_anew():
    """A new layer that holds parameters without saying how they begin is found here."""
    for name in nn.__all__:
        cls = getattr(nn, name)
        if not isinstance(cls, type) or not issubclass(cls, nn.Module) or cls is nn.Module:
            continue
        says = "initial_parameters" in vars(cls)
        assert says == (name in {*DRAWING, *CONSTANT} - {"MultiHeadAttention", "Transformer"}), name


def test_without_a_generator_values_are_copies_of_the_held():
    model = Chain(Dense(3, 4), BatchNorm(4))
    model[1].running_mean = np.full(4, 2.0, np.float32)
    ps, st = lux.setup(None, model)
    assert same(ps, model.parameters())
    assert equal(st["layer_2"]["running_mean"], model[1].running_mean)
    ps["layer_1"]["weight"] += 1
    st["layer_2"]["running_mean"] += 1
    assert not equal(ps["layer_1"]["weight"], model[0].weight)
    assert model[1].running_mean[0] == 2


def test_users_layers_keep_what_they_hold():
    class Zeros(nn.Linear):
        def __init__(self, dims):
            super().__init__(dims, dims)
            self.weight = np.zeros((dims, dims), np.float32)

    class Renamed(nn.Linear):
        """Without an `__init__` of its own, the base class's draw is its own."""

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = np.full(3, 5.0)

    assert not lux.setup(0, Zeros(3))[0]["weight"].any()
    assert same(lux.setup(0, Renamed(3, 2)), lux.setup(0, Dense(3, 2)))
    assert lux.setup(0, Plain())[0]["gain"].tolist() == [5.0] * 3


def test_replaced_arrays_of_another_shape_are_kept():
    layer = Dense(3, 2)
    layer.weight = np.full((2, 7), 3.0, np.float32)
    del layer.bias
    ps, _ = lux.setup(0, layer)
    assert list(ps) == ["weight"]
    assert equal(ps["weight"], layer.weight)


def test_values_have_the_held_type():
    layer = Dense(3, 2).set_dtype(np.float64)
    assert {value.dtype for value in lux.setup(0, layer)[0].values()} == {np.dtype(np.float64)}


def test_a_statefully_frozen_model_has_all_its_parameters_in_ps():
    model = Chain(Dense(3, 2), Dense(2, 1)).freeze()
    ps, _ = lux.setup(0, model)
    assert len(leaves(ps)) == 4
    ps["layer_1"]["weight"] += 1


def test_modes_are_the_models():
    assert lux.setup(0, Dropout(0.5).eval())[1]["training"] is False


def test_shared_layers_and_tied_arrays_come_once():
    shared, first, second = Dense(2, 2), Dense(2, 2), Dense(2, 2)
    second.weight = first.weight
    ps, st = lux.setup(0, Chain(shared, shared, Chain(shared), first, second))
    assert list(leaves(ps)) == [
        "layer_1.weight",
        "layer_1.bias",
        "layer_4.weight",
        "layer_4.bias",
        "layer_5.bias",
    ]
    assert st == {
        "layer_1": {},
        "layer_2": {},
        "layer_3": {"layer_1": {}},
        "layer_4": {},
        "layer_5": {},
    }


def test_sequential_and_named_containers_nest_as_their_parameters():
    model = nn.Sequential(Dense(2, 2), nn.Tanh(), np.tanh)
    ps, st = lux.setup(0, model)
    assert st == {"layers": [{}, {}, {}]}
    assert [type(part) for part in ps["layers"]] == [dict, dict, dict]
    assert ps["layers"][1:] == [{}, {}]


def test_models_can_contain_themselves():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Dense(2, 2)
            self.parts = [self]

        def __call__(self, x):
            return self.layer(x)

    model = Loop()
    ps, st = lux.setup(0, model)
    assert ps["parts"] == [{}]
    x = np.ones((1, 2), np.float32)
    assert lux.apply(model, x, ps, st)[0].shape == (1, 2)
    with pytest.raises(ValueError, match=r"contains itself, at 'parts\.0'"):
        lux.layer_map(lambda *args: args[:3], model, ps, st)
