"""`layer_map`: order, paths, what is rebuilt, and what is refused."""

import numpy as np
import pytest

from freezeviz import explicit as lux
from freezeviz import nn
from freezeviz.errors import ParameterKeyError, TiedParameterError
from freezeviz.explicit import BatchNorm, Chain, Dense, Dropout, FrozenLayer, KeyPath
from tests.explicit._models import Custom, equal, keys, leaves, same

X = np.random.default_rng(1).standard_normal((4, 3), dtype=np.float32)


def unchanged(layer, ps, st, path):
    return layer, ps, st


def test_nothing_changed_gives_the_same_model():
    model = Chain(
        Dense(3, 4),
        Chain(lux.freeze(Dense(4, 4)), Dropout(0.5)),
        lux.SkipConnection(Dense(4, 4), np.add),
    )
    ps, st = lux.setup(0, model)
    for containers in (False, True):
        new, ps_new, st_new = lux.layer_map(unchanged, model, ps, st, containers=containers)
        assert new is model
        assert same((ps_new, st_new), (ps, st))
        assert ps_new is not ps


def test_a_leaf_by_itself_has_the_empty_path():
    layer = Dense(3, 2)
    met = []
    lux.layer_map(lambda *args: met.append(args[3]) or args[:3], layer, *lux.setup(0, layer))
    assert met == [KeyPath()]


def test_the_function_gets_a_layers_own_trees():
    model = Chain(Dense(3, 4), BatchNorm(4))
    met = {}

    def note(layer, ps, st, path):
        met[str(path)] = layer, list(ps), list(st)
        return layer, ps, st

    lux.layer_map(note, model, *lux.setup(0, model))
    assert met["layer_1"] == (model[0], ["weight", "bias"], [])
    assert met["layer_2"] == (
        model[1],
        ["scale", "bias"],
        ["running_mean", "running_var", "training"],
    )


def test_a_function_that_writes_into_what_it_gets_changes_nothing_outside():
    model = Chain(Dense(3, 4))
    ps, st = lux.setup(0, model)

    def careless(layer, ps, st, path):
        ps["weight"] = np.zeros((4, 3), np.float32)
        st.clear()
        return layer, ps, st

    _, new, _ = lux.layer_map(careless, model, ps, st)
    assert ps["layer_1"]["weight"].any()
    assert not new["layer_1"]["weight"].any()


def test_layers_can_be_replaced():
    model = Chain(Dense(3, 4), Custom())
    whole = lux.setup(0, model)

    def wider(layer, ps, st, path):
        if path != KeyPath("layer_1"):
            return layer, ps, st
        new = Dense(3, 2)
        return new, *lux.setup(1, new)

    new, ps, st = lux.layer_map(wider, model, *whole)
    assert new[1] is model[1]
    assert new[0] is not model[0]
    assert lux.apply(new, X, ps, st)[0].shape == (4, 1)
    assert type(model[0]) is Dense
    assert model[0].weight.shape == (4, 3)


def test_a_frozen_layer_is_entered_and_stays_frozen():
    model = Chain(lux.freeze(Dense(3, 2), ("bias",), hold=True))
    ps, st = lux.setup(0, model)
    met = []

    def zero(layer, ps, st, path):
        met.append((type(layer), list(ps), str(path)))
        return layer, {name: np.zeros_like(value) for name, value in ps.items()}, st

    new, ps_new, st_new = lux.layer_map(zero, model, ps, st)
    assert met == [(Dense, ["weight", "bias"], "layer_1")]
    assert new is model
    assert keys(ps_new) == [("layer_1", ["weight"])]
    assert not st_new["layer_1"]["frozen_params"]["bias"].any()
    assert not st_new["layer_1"]["frozen_params"]["bias"].flags.writeable


def test_freezing_what_is_frozen_in_part_unites():
    model = Chain(lux.freeze(Dense(3, 2), ("bias",)), Dense(2, 1))
    ps, st = lux.setup(0, model)
    new, ps_new, _ = lux.layer_map(lambda *a: lux.freeze(*a[:3], ("weight",)), model, ps, st)
    assert [layer.which for layer in new] == [("weight", "bias"), ("weight",)]
    assert new[0].layer is model[0].layer
    assert keys(ps_new) == [("layer_1", []), ("layer_2", ["bias"])]


def test_frozen_layers_can_be_thawed_as_containers():
    model = Chain(Dense(3, 2), Chain(Dense(2, 2), Dense(2, 1)))
    whole = lux.setup(0, model)
    frozen = lux.layer_map(lambda *a: lux.freeze(*a[:3]), model, *whole)
    frozen = lux.freeze(*frozen, ("layer_2",))

    def thaw(layer, ps, st, path):
        return lux.unfreeze(layer, ps, st) if isinstance(layer, FrozenLayer) else (layer, ps, st)

    new, ps, st = lux.layer_map(thaw, *frozen, containers=True)
    assert not any(isinstance(module, FrozenLayer) for module in new.modules())
    assert same((ps, st), whole)
    assert equal(lux.apply(new, X, ps, st)[0], lux.apply(model, X, *whole)[0])


def test_a_container_can_become_a_layer():
    model = Chain(Chain(Dense(3, 2), np.tanh), Dense(2, 1))
    met = []

    def flatten(layer, ps, st, path):
        met.append(f"{type(layer).__name__} {path}")
        if path == KeyPath("layer_1") and isinstance(layer, Chain):
            return layer[0], ps["layer_1"], st["layer_1"]
        return layer, ps, st

    new, ps, _ = lux.layer_map(flatten, model, *lux.setup(0, model), containers=True)
    assert new[0] is model[0][0]
    assert keys(ps) == [("layer_1", ["weight", "bias"]), ("layer_2", ["weight", "bias"])]
    assert met == ["Chain ", "Chain layer_1", "Linear layer_1", "Linear layer_2"]


def test_shared_layers_stay_shared():
    shared = Dense(3, 3)
    model = Chain(shared, Chain(shared, lux.SkipConnection(shared, np.add)))
    ps, st = lux.setup(0, model)
    met = []

    def freeze(layer, ps, st, path):
        met.append(str(path))
        return lux.freeze(layer, ps, st)

    new, ps_f, st_f = lux.layer_map(freeze, model, ps, st)
    assert met == ["layer_1", "layer_2.layer_1", "layer_2.layer_2"]
    assert new[0] is new[1][0] is new[1][1].layers
    assert equal(lux.apply(new, X, ps_f, st_f)[0], lux.apply(model, X, ps, st)[0])


def test_of_changes_to_a_shared_layer_the_first_counts():
    shared = Dense(3, 3)
    model = Chain(shared, shared)

    def scale(layer, ps, st, path):
        factor = {"layer_1": 1, "layer_2": 3}[str(path)]
        return layer, {k: v * factor for k, v in ps.items()} if factor > 1 else ps, st

    ps, st = lux.setup(0, model)
    _, new, _ = lux.layer_map(scale, model, ps, st)
    assert equal(new["layer_1"]["weight"], ps["layer_1"]["weight"] * 3)
    assert new["layer_2"] == {}


def test_a_wrapper_around_a_layer_met_before_is_made_anew():
    shared = Dense(3, 3)
    both = lux.freeze(shared)
    model = Chain(both, lux.SkipConnection(lux.freeze(shared), np.add))
    ps, st = lux.setup(0, model)
    new, ps_n, st_n = lux.layer_map(lambda *a: lux.freeze(*a[:3]), model, ps, st)
    assert leaves(ps_n) == {}
    assert equal(lux.apply(new, X, ps_n, st_n)[0], lux.apply(model, X, ps, st)[0])


def test_own_arrays_of_containers_can_be_tied_and_frozen():
    class Scaled(nn.Module):
        def __init__(self, gain):
            super().__init__()
            self.layer = Dense(3, 3)
            self.gain = gain

        def __call__(self, x):
            return self.layer(x) * self.gain

    gain = np.ones(3, np.float32)
    model = Chain(Scaled(gain), Scaled(gain))
    ps, st = lux.setup(0, model)

    def freeze_first(layer, ps, st, path, **options):
        if path == KeyPath("layer_1"):
            return lux.freeze(layer, ps, st, ("gain",), **options)
        return layer, ps, st

    with pytest.raises(TiedParameterError, match=r"'layer_1\.gain' .* 'layer_2\.gain'"):
        lux.layer_map(freeze_first, model, ps, st, containers=True)
    frozen, ps_f, st_f = lux.layer_map(
        lambda *args: freeze_first(*args, tied="all"), model, ps, st, containers=True
    )
    assert [layer.which for layer in frozen] == [("gain",), ("gain",)]
    assert not any("gain" in path for path in leaves(ps_f))
    assert equal(lux.apply(frozen, X, ps_f, st_f)[0], lux.apply(model, X, ps, st)[0])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda layer, ps, st: None, "has to return (layer, ps, st), for Linear 'layer_1' it"),
        (lambda layer, ps, st: (layer, ps), "returned tuple"),
        (lambda layer, ps, st: (ps, layer, st), "layer is dict"),
        (lambda layer, ps, st: (layer, ps, None), "st is NoneType"),
    ],
)
def test_what_is_not_three_values_is_refused(result, message):
    model = Chain(Dense(3, 2))
    with pytest.raises(TypeError) as error:
        lux.layer_map(lambda *args: result(*args[:3]), model, *lux.setup(0, model))
    assert message in str(error.value)


def test_trees_of_another_model_are_refused():
    model = Chain(Dense(3, 2))
    ps, st = lux.setup(0, Chain(Dense(3, 2), Dense(2, 1)))
    with pytest.raises(ParameterKeyError, match="ps has 'layer_2', which Chain has not"):
        lux.layer_map(unchanged, model, ps, st)


def test_missing_parameters_and_states_are_refused_and_not_passed_over():
    model = Chain(Dense(3, 2), lux.BatchNorm(2))
    ps, st = lux.setup(0, model)
    seen = []
    for wrong, place in (
        (({}, st), "'layer_1.weight', expected an array of shape (2, 3)"),
        (({"layer_1": ps["layer_1"]}, st), "'layer_2.scale', expected an array of shape (2,)"),
        ((ps, {"layer_1": {}}), "'layer_2.running_mean', expected an array of shape (2,)"),
    ):
        with pytest.raises(ParameterKeyError) as error:
            lux.layer_map(lambda *args: seen.append(args) or args[:3], model, *wrong)
        assert place in str(error.value)
    assert not seen


def test_a_list_of_layers_in_a_users_container():
    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [Dense(3, 3), np.tanh, Dense(3, 3)]
            self.offsets = [np.zeros(3, np.float32)]

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x + self.offsets[0]

    model = Stack()
    whole = lux.setup(0, model)

    def freeze_last(layer, ps, st, path):
        return lux.freeze(layer, ps, st) if path[-1] == "2" else (layer, ps, st)

    frozen, ps, st = lux.layer_map(freeze_last, model, *whole)
    assert isinstance(frozen.layers[2], FrozenLayer)
    assert type(model.layers[2]) is Dense
    assert frozen.layers[0] is model.layers[0]
    assert [keys(part) for part in ps["layers"]] == [["weight", "bias"], [], []]
    assert keys(st["layers"][2]) == [("frozen_params", ["weight", "bias"]), ("states", [])]
    assert equal(lux.apply(frozen, X, ps, st)[0], lux.apply(model, X, *whole)[0])
