"""`apply`: pure, and clear about parameters and states that do not fit."""

import re

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import explicit as lux
from freezeviz import nn
from freezeviz.errors import ParameterKeyError, ShapeError, WeightsError
from freezeviz.explicit import BatchNorm, Chain, Dense, Dropout
from tests.explicit._models import Custom, equal, frozen_copy, leaves, same

X = np.random.default_rng(1).standard_normal((4, 3), dtype=np.float32)


@pytest.fixture
def model():
    return Chain(Dense(3, 4), lux.freeze(Dense(4, 4), ("weight",)), Dropout(0.5), BatchNorm(4))


@pytest.fixture
def trees(model):
    return lux.setup(0, model)


# ------------------------------------------------------------ pure


def test_the_same_arguments_give_the_same_results(model, trees):
    assert same(lux.apply(model, X, *trees), lux.apply(model, X, *trees))


def test_nothing_given_is_changed(model, trees):
    before = frozen_copy(trees)
    state = trees[1]["layer_3"]["rng"].bit_generator.state
    held = frozen_copy(model.state)
    x = X.copy()
    _, st = lux.apply(model, x, *trees)
    assert same(trees, before)
    assert trees[1]["layer_3"]["rng"].bit_generator.state == state
    assert same(model.state, held)
    assert equal(x, X)
    assert not same(st, trees[1])


def test_the_new_state_is_nested_as_the_old(model, trees):
    _, st = lux.apply(model, X, *trees)
    assert [path for path, _ in fv.tree_flatten(st)] == [p for p, _ in fv.tree_flatten(trees[1])]
    st["layer_2"]["frozen_params"]["weight"] = None
    assert trees[1]["layer_2"]["frozen_params"]["weight"] is not None


def test_a_call_that_raises_leaves_nothing_behind(model, trees):
    held = frozen_copy(model.state)
    with pytest.raises(ShapeError, match="'layer_1' expects x of shape"):
        lux.apply(model, X[:, :2], *trees)
    assert same(model.state, held)
    assert same(lux.apply(model, X, *trees), lux.apply(model, X, *trees))


def test_the_models_own_mode_plays_no_part(model, trees):
    y, _ = lux.apply(model, X, *trees)
    model.eval()
    assert equal(lux.apply(model, X, *trees)[0], y)


def test_modes_come_from_the_state(model, trees):
    ps, st = trees
    y, new = lux.apply(model, X, ps, lux.testmode(st))
    assert same(new, lux.testmode(st)), "neither statistics nor generators move"
    assert equal(lux.apply(model, X, ps, lux.testmode(st))[0], y)
    assert not equal(lux.apply(model, X, ps, st)[0], y)


def test_more_arguments_reach_the_model():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = np.ones(3, np.float32)

        def __call__(self, x, shift, *, scale):
            return (x + shift) * self.gain * scale

    layer = Shifted()
    y, _ = lux.apply(layer, X, *lux.setup(0, layer), 1.0, scale=2.0)
    assert equal(y, (X + np.float32(1)) * np.float32(2))


def test_gradients_of_a_loss_that_returns_the_state_too(model, trees):
    ps, st = trees

    def loss(ps):
        y, new = lux.apply(model, X, ps, st)
        return (y**2).mean(), new

    (_, new), _ = lux.value_and_grad(loss)(ps)
    assert same(new, lux.apply(model, X, ps, st)[1])
    assert all(type(v) is not fv.autodiff.Tracer for v in leaves(new).values())


def test_parameters_may_be_of_another_type_than_the_models():
    layer = Dense(3, 2)
    ps, st = lux.setup(0, layer)
    double = fv.tree_map(lambda a: a.astype(np.float64), ps)
    assert lux.apply(layer, X.astype(np.float64), double, st)[0].dtype == np.float64


def test_trees_that_lost_their_empty_branches_will_do(model, trees):
    ps, st = trees
    slim = fv.tree_unflatten(fv.tree_flatten(ps))
    assert "layer_3" not in slim
    assert same(lux.apply(model, X, slim, st), lux.apply(model, X, ps, st))


# ------------------------------------------------------------ what users' layers do


def test_a_users_mode_is_found_and_switched():
    class Noisy(nn.Module):
        def __call__(self, x):
            return x + (1 if self.training else 0)

    class Quiet(nn.Module):
        depends_on = ()

        def __call__(self, x):
            return x + (1 if self.training else 0)

    _, st = lux.setup(0, Noisy())
    assert st == {"training": True}
    assert equal(lux.apply(Noisy(), X, {}, st)[0], X + np.float32(1))
    assert equal(lux.apply(Noisy(), X, {}, lux.testmode(st))[0], X)
    assert lux.setup(0, Quiet())[1] == {}


def test_a_mode_that_only_an_inner_function_reads_is_found():
    class Inner(nn.Module):
        def __call__(self, x):
            return next(value for value in [x] if (lambda: self.training)())

    class Property(nn.Module):
        @property
        def mode(self):
            return self.training

        def __call__(self, x):
            return x

    assert list(lux.setup(0, Inner())[1]) == ["training"]
    assert list(lux.setup(0, Property())[1]) == ["training"]


def test_a_user_can_draw_from_the_state():
    class Noise(nn.Module):
        depends_on = ("rng",)

        def __call__(self, x):
            return x + self.default_rng().standard_normal(x.shape, dtype=np.float32)

    _, st = lux.setup(0, Noise())
    y, st_2 = lux.apply(Noise(), X, {}, st)
    assert equal(lux.apply(Noise(), X, {}, st)[0], y)
    assert not equal(lux.apply(Noise(), X, {}, st_2)[0], y)
    with fv.random.using(np.random.default_rng(5)):
        drawn = Noise()(X)
    with fv.random.using(np.random.default_rng(5)):
        assert equal(Noise()(X), drawn), "in the stateful face, from the generator in use"


def test_depends_on_names_what_there_is():
    class Wrong(nn.Module):
        depends_on = ("rgn",)

    with pytest.raises(ValueError, match=r"Wrong.depends_on names 'rng', 'training' or nothing"):
        lux.setup(0, Wrong())


def test_buffers_of_every_kind_are_states():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = np.array(0)
            self.seen = [np.zeros(2, int)]
            self.register_buffer("last", None)
            self.register_buffer("_hidden", np.zeros(1))

        def __call__(self, x):
            self.calls = self.calls + 1
            self.seen[0] = self.seen[0] + x.shape[0]
            self.last = x[0]
            self._hidden = self._hidden + 2
            return x

    layer = Counting()
    ps, st = lux.setup(0, layer)
    assert list(st) == ["calls", "seen", "last", "_hidden"]
    assert st["last"] is None
    _, st = lux.apply(layer, X, ps, st)
    _, st = lux.apply(layer, X, ps, st)
    assert (int(st["calls"]), st["seen"][0].tolist(), st["_hidden"].tolist()) == (2, [8, 8], [4.0])
    assert equal(st["last"], X[0])
    assert (int(layer.calls), layer.seen[0].tolist(), layer.last) == (0, [0, 0], None)
    assert layer._hidden.tolist() == [0.0]


def test_a_module_under_an_underscore_is_no_part_and_stays_as_it_is():
    class Guided(nn.Module):
        def __init__(self):
            super().__init__()
            self._teacher = nn.BatchNorm(3)

        def __call__(self, x):
            return self._teacher(x)

    model = Guided()
    assert lux.setup(0, model) == ({}, {})
    before = frozen_copy(model._teacher.state)
    lux.apply(model, X, {}, {})
    assert same(model._teacher.state, before)


# ------------------------------------------------------------ what does not fit


def changed(tree, path, value):
    """Return a tree with one entry replaced, or removed for `...`."""
    *above, last = path.split(".")
    new = node = fv.tree_map(lambda leaf: leaf, tree)
    for key in above:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return new


WRONG_PS = {
    "missing": ("layer_1.weight", ..., KeyError, "no 'layer_1.weight', expected an array of shape"),
    "unknown": ("layer_1.wieght", np.ones(1), KeyError, "'layer_1.wieght', which Linear has not"),
    "closest": ("layer_1.wieght", np.ones(1), KeyError, "Closest: 'weight'"),
    "shape": ("layer_1.weight", np.ones((3, 4)), ShapeError, "shape (4, 3), got (3, 4)"),
    "text": (
        "layer_1.bias",
        "zero",
        WeightsError,
        "expects a floating array of shape (4,), got str",
    ),
    "whole numbers": ("layer_1.bias", np.arange(4), WeightsError, "(4,), got int64"),
    "no dict": (
        "layer_1",
        np.ones(3),
        WeightsError,
        "ps at 'layer_1': expected a dict, got ndarray",
    ),
    "a layer": ("layer_9", {}, KeyError, "'layer_9', which Chain has not"),
    "frozen": ("layer_2.weight", np.ones((4, 4)), WeightsError, "'layer_2.weight' is both"),
    "stateless": ("layer_3.p", np.ones(1), KeyError, "which Dropout has not: expected nothing."),
}

WRONG_ST = {
    "missing buffer": ("layer_4.running_mean", ..., KeyError, "st has no 'layer_4.running_mean'"),
    "shape": ("layer_4.running_var", np.ones(3), ShapeError, "shape (4,), got (3,)"),
    "no buffer": ("layer_4.running_var", None, WeightsError, "shape (4,), got NoneType"),
    "missing mode": (
        "layer_3.training",
        ...,
        KeyError,
        "'layer_3.training', expected True or False",
    ),
    "mode": ("layer_3.training", "yes", WeightsError, "expects True or False, got 'yes'"),
    "missing rng": (
        "layer_3.rng",
        ...,
        KeyError,
        "'layer_3.rng', expected a numpy.random.Generator",
    ),
    "rng": ("layer_3.rng", 3, WeightsError, "expects a numpy.random.Generator, got 3"),
    "unknown": ("layer_1.training", True, KeyError, "'layer_1.training', which Linear has not"),
    "not split": ("layer_2", {}, WeightsError, "has 'frozen_params' and 'states', got []"),
    "split": ("layer_1", {"frozen_params": {}, "states": {}}, KeyError, "state of a frozen layer"),
    "no values": ("layer_2.frozen_params", {}, KeyError, "ps has no 'layer_2.weight'"),
    "values": ("layer_2.frozen_params", [], WeightsError, "frozen_params at 'layer_2': expected a"),
}


@pytest.mark.parametrize("case", WRONG_PS)
def test_wrong_parameters(model, trees, case):
    path, value, error, message = WRONG_PS[case]
    with pytest.raises(error, match=re.escape(message)):
        lux.apply(model, X, changed(trees[0], path, value), trees[1])


@pytest.mark.parametrize("case", WRONG_ST)
def test_wrong_states(model, trees, case):
    path, value, error, message = WRONG_ST[case]
    with pytest.raises(error, match=re.escape(message)):
        lux.apply(model, X, trees[0], changed(trees[1], path, value))


def test_parameters_of_the_unfrozen_model_do_not_fit_the_frozen_one(model, trees):
    ps, st = lux.setup(0, lux.unfreeze(lux.freeze(model)))
    frozen = lux.freeze(model)
    with pytest.raises(WeightsError, match="st itself: the layer is frozen"):
        lux.apply(frozen, X, ps, st)
    with pytest.raises(ParameterKeyError, match="it is the state of a frozen layer"):
        lux.apply(model, X, *lux.setup(0, frozen))


def test_lists_have_the_models_length():
    model = nn.Sequential(Dense(3, 3), nn.Tanh())
    ps, st = lux.setup(0, model)
    with pytest.raises(WeightsError, match="at 'layers': expected a list of 2 entries, got 1"):
        lux.apply(model, X, {"layers": ps["layers"][:1]}, st)
    with pytest.raises(WeightsError, match="at 'layers': expected a list of 2 entries, got dict"):
        lux.apply(model, X, {"layers": {"0": ps["layers"][0]}}, st)


def test_another_name_of_a_tied_array_is_refused():
    first, second = Dense(3, 3), Dense(3, 3)
    second.weight = first.weight
    ps, st = lux.setup(0, Chain(first, second))
    ps["layer_2"]["weight"] = ps["layer_1"]["weight"]
    with pytest.raises(ParameterKeyError, match=r"another name of 'layer_1\.weight'"):
        lux.apply(Chain(first, second), X, ps, st)


def test_only_a_model_can_be_called():
    for call in (
        lambda: lux.apply(np.tanh, X, {}, {}),
        lambda: lux.setup(0, np.tanh),
        lambda: lux.freeze(np.tanh),
        lambda: lux.layer_map(lambda *args: args[:3], np.tanh, {}, {}),
        lambda: lux.FrozenLayer(np.tanh),
    ):
        with pytest.raises(TypeError, match="got ufunc"):
            call()


def test_a_custom_container_of_arrays_and_layers():
    model = Custom()
    ps, st = lux.setup(3, model)
    assert list(ps) == ["layer_1", "layer_2", "layer_3", "data"]
    assert list(st) == ["layer_1", "layer_2", "layer_3", "fixed"]
    assert equal(lux.apply(model, X[:, :2], *lux.setup(None, model))[0], model(X[:, :2]))
