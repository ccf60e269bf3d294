"""`FrozenLayer` in both faces: what it freezes, holds, and stands in for."""

import copy
import pickle

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import autodiff, nn, optim
from freezeviz import explicit as lux
from freezeviz.errors import ParameterKeyError, WeightsError
from freezeviz.explicit import BatchNorm, Chain, Dense, Dropout, FrozenLayer
from tests.explicit._models import equal, frozen_copy, keys, leaves, same

X = np.random.default_rng(1).standard_normal((4, 3), dtype=np.float32)


def trainable(model):
    return sorted(leaves(model.trainable_parameters()))


# ------------------------------------------------------------ arguments of freeze and unfreeze


def test_names_may_be_given_in_several_ways():
    layer = Dense(3, 2)
    whole = lux.setup(0, layer)
    results = [
        lux.freeze(layer, *whole, ("weight",)),
        lux.freeze(layer, *whole, ["weight"]),
        lux.freeze(layer, *whole, "weight"),
        lux.freeze(layer, *whole, which="weight"),
        lux.freeze(layer, ps=whole[0], st=whole[1], which=("weight",)),
    ]
    for frozen, ps, st in results:
        assert frozen.which == ("weight",)
        assert same((ps, st), results[0][1:])
    assert lux.freeze(layer, None).which is None
    assert lux.freeze(layer, which=("bias", "weight", "bias")).which == ("weight", "bias")


@pytest.mark.parametrize(
    "arguments",
    [({}, {}, (), ()), ({"weight": 1}, {}, "weight", "bias")],
)
def test_too_many_arguments_are_refused(arguments):
    with pytest.raises(TypeError, match=r"takes \(layer\), \(layer, which\), \(layer, ps, st\)"):
        lux.freeze(Dense(3, 2), *arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: lux.freeze(d, ps={}), "takes .layer., .layer, which."),
        (lambda d: lux.freeze(d, {}, {}, ps={}), "takes .layer., .layer, which."),
        (lambda d: lux.freeze(d, who="weight"), "takes .layer., .layer, which."),
        (lambda d: lux.freeze(d, {}), "names of parameters are strings, got dict"),
        (lambda d: lux.freeze(d, ("weight",), ("bias",)), "ps is a dict, got tuple"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call(Dense(3, 2))


def test_tied_is_one_of_two_words():
    with pytest.raises(ValueError, match="tied is 'refuse' or 'all', got 'both'"):
        lux.freeze(Dense(3, 2), tied="both")


def test_parameters_of_another_layer_are_refused():
    layer = Dense(3, 2)
    with pytest.raises(ParameterKeyError, match="ps has 'scale', which Linear has not"):
        lux.freeze(layer, *lux.setup(0, BatchNorm(3)))
    frozen = lux.freeze(layer, *lux.setup(0, layer))
    with pytest.raises(WeightsError, match="st is the state of a layer that is"):
        lux.freeze(layer, *frozen[1:])
    with pytest.raises(WeightsError, match="'frozen_params' and 'states', got"):
        lux.unfreeze(frozen[0], *lux.setup(0, layer))
    with pytest.raises(WeightsError, match="'weight' is both"):
        lux.unfreeze(frozen[0], lux.setup(0, layer)[0], frozen[2])


def test_dotted_names_lead_into_a_container():
    model = Chain(Dense(3, 2), nn.Sequential(Dense(2, 2), Dense(2, 1)))
    whole = lux.setup(0, model)
    which = ("layer_2.layers.1", "layer_1.bias")
    frozen, ps, st = lux.freeze(model, *whole, which)
    assert frozen.which == ("layer_1.bias", "layer_2.layers.1")
    assert sorted(leaves(ps)) == [
        "layer_1.weight",
        "layer_2.layers.0.bias",
        "layer_2.layers.0.weight",
    ]
    assert st["frozen_params"]["layer_2"]["layers"][0] == {}
    assert equal(lux.apply(frozen, X, ps, st)[0], lux.apply(model, X, *whole)[0])
    part, ps_p, st_p = lux.unfreeze(frozen, ps, st, "layer_2.layers.1.weight")
    assert part.which == ("layer_1.bias", "layer_2.layers.1.bias")
    assert equal(lux.apply(part, X, ps_p, st_p)[0], lux.apply(model, X, *whole)[0])
    assert same(lux.unfreeze(part, ps_p, st_p)[1:], whole)
    assert same(lux.unfreeze(frozen, ps, st)[1:], whole)
    wider = lux.freeze(frozen, "layer_2")
    assert wider.which == ("layer_1.bias", "layer_2"), "what is covered needs no name"


def test_frozen_layers_nest():
    inner = lux.freeze(Dense(3, 2), ("weight",))
    model = Chain(inner, Dense(2, 1))
    whole = lux.setup(0, model)
    frozen, ps, st = lux.freeze(model, *whole, ("layer_1",))
    assert keys(ps) == [("layer_2", ["weight", "bias"])]
    assert keys(st) == [
        ("frozen_params", [("layer_1", ["bias"])]),
        ("states", [("layer_1", [("frozen_params", ["weight"]), ("states", [])]), ("layer_2", [])]),
    ]
    assert equal(lux.apply(frozen, X, ps, st)[0], lux.apply(model, X, *whole)[0])
    assert same(lux.setup(0, frozen), (ps, st))
    assert lux.parameter_length(frozen) == lux.parameter_length(ps) == 3


# ------------------------------------------------------------ states inside


def test_inner_states_keep_moving_unless_held():
    layer = BatchNorm(3)
    whole = lux.setup(0, layer)
    frozen, ps, st = lux.freeze(layer, *whole)
    moved = lux.apply(frozen, X, ps, st)[1]["states"]
    assert same(moved, lux.apply(layer, X, *whole)[1])
    assert not same(moved, st["states"])

    held, ps, st = lux.freeze(layer, *whole, hold=True)
    y, new = lux.apply(held, X, ps, st)
    assert same(new, st)
    assert equal(y, lux.apply(layer, X, whole[0], lux.testmode(whole[1]))[0])


def test_holding_reaches_all_below_and_no_other_layer():
    def block():
        return Chain(Dropout(0.5), Chain(BatchNorm(3)))

    model = Chain(lux.freeze(block(), hold=True), block())
    ps, st = lux.setup(0, model)
    _, new = lux.apply(model, X, ps, st)
    assert same(new["layer_1"], st["layer_1"])
    assert not same(new["layer_2"], st["layer_2"])
    assert lux.freeze(model[0])._held, "freezing again keeps the hold"


def test_holding_in_the_stateful_face():
    inner = Chain(Dropout(0.5), BatchNorm(3))
    model = Chain(lux.freeze(inner, hold=True), BatchNorm(3))
    assert [m for m in model.modules() if m.held] == [model[0]]
    before = frozen_copy(inner.buffers())
    y, _ = nn.value_and_grad(model, lambda: (model(X) ** 2).sum())()
    assert np.isfinite(y)
    assert same(inner.buffers(), before)
    assert model[1].running_mean.any()
    held = model[0](X)
    assert equal(model[0](X), held)
    inner(X)
    assert not same(inner.buffers(), before), "the layer by itself is not held"
    model.unfreeze()
    assert not model[0].held


# ------------------------------------------------------------ the stateful face


def test_frozen_names_are_frozen_in_the_model_that_has_the_wrapper():
    dense = Dense(3, 2)
    model, other = Chain(lux.freeze(dense, ("weight",)), Dense(2, 1)), Chain(dense)
    assert trainable(model) == ["layer_1.layer.bias", "layer_2.bias", "layer_2.weight"]
    assert sorted(leaves(model.frozen_parameters())) == ["layer_1.layer.weight"]
    assert trainable(other) == ["layer_1.bias", "layer_1.weight"]
    assert fv.adapters.adapt(model).frozen() == {"layer_1.layer.weight"}


def test_frozen_parts_of_a_container_are_frozen_in_the_stateful_face():
    tied = Dense(3, 3)
    model = lux.freeze(Chain(Dense(3, 3), Chain(tied, tied), Dropout(0.1)), ("layer_2", "layer_3"))
    assert trainable(model) == ["layer.layer_1.bias", "layer.layer_1.weight"]


def test_training_moves_what_is_trainable_alone():
    model = Chain(lux.freeze(Dense(3, 4)), Dense(4, 1))
    before = frozen_copy(model.parameters())
    opt = optim.AdamW(1e-2)
    with autodiff.count() as counts:
        _, gradients = nn.value_and_grad(model, lambda: (model(X) ** 2).mean())()
    assert counts.nodes["linear"] == 1
    opt.update(model, gradients)
    moved = {p for p, v in leaves(model.parameters()).items() if not equal(v, leaves(before)[p])}
    assert moved == {"layer_2.weight", "layer_2.bias"}


def test_a_model_with_frozen_layers_can_be_trained_and_thawed_by_a_trainer():
    x, y = X, np.array([0, 1, 0, 1])
    model = Chain(lux.freeze(Dense(3, 4)), nn.Tanh(), Dense(4, 2))
    receipt = fv.receipt(model)
    trainer = fv.Trainer(model, optim.SGD(0.1), data=(x, y), batch_size=2, seed=0)
    trainer.fit(epochs=1)
    assert receipt.verify().ok
    weight = model[0].weight
    trainer.unfreeze("layer_1")
    assert model.frozen_parameters().keys() == model.parameters().keys()
    assert leaves(model.frozen_parameters()) == {}
    trainer.fit(epochs=1)
    assert not equal(model[0].weight, weight)


@pytest.mark.parametrize("way", ["all", "keys", "select", "module"])
def test_stateful_thawing_reaches_through_the_wrapper(way):
    model = Chain(lux.freeze(Chain(Dense(3, 2))), Dense(2, 1))
    if way == "all":
        model.unfreeze()
    elif way == "keys":
        model.unfreeze(keys=["weight", "bias"])
    elif way == "select":
        fv.unfreeze(model, "layer_1.**")
    else:
        model[0].unfreeze()
    assert leaves(model.frozen_parameters()) == {}
    model.freeze()
    assert trainable(model) == []
    model.unfreeze(keys="bias")
    assert trainable(model) == ["layer_1.layer.layer_1.bias", "layer_2.bias"]


def test_stateful_thawing_says_nothing_about_the_explicit_face():
    model = Chain(lux.freeze(Dense(3, 2)))
    ps, st = lux.setup(0, model)
    model.unfreeze()
    assert model[0].which is None
    assert same(lux.setup(0, model), (ps, st))


def test_some_can_be_thawed_statefully():
    model = Chain(lux.freeze(Dense(3, 2)))
    model.unfreeze(keys="weight")
    assert trainable(model) == ["layer_1.layer.weight"]


def test_copies_keep_what_is_frozen():
    model = Chain(lux.freeze(Dense(3, 2), ("bias",)), Dense(2, 1))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert trainable(twin) == trainable(model)
        assert twin[0].which == ("bias",)
        assert repr(twin) == repr(model)
        assert same(lux.setup(0, twin), lux.setup(0, model))
        twin.unfreeze()
    assert trainable(model) == ["layer_1.layer.weight", "layer_2.bias", "layer_2.weight"]


def test_weights_can_be_saved_and_loaded_and_stay_frozen(tmp_path):
    model, other = (Chain(lux.freeze(Dense(3, 2)), Dense(2, 1)) for _ in range(2))
    model.save_weights(tmp_path / "model.npz")
    other.load_weights(tmp_path / "model.npz")
    assert same(other.parameters(), model.parameters())
    assert trainable(other) == ["layer_2.bias", "layer_2.weight"]


# ------------------------------------------------------------ standing in for the layer


def test_the_wrapper_reads_and_writes_the_layers_attributes():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(5, 3)

        def __call__(self, indices):
            return self.embed.as_linear(self.embed(indices)) * self.embed.weight.shape[0]

    model = Model()
    whole = lux.setup(0, model)
    frozen, ps, st = lux.layer_map(lambda *a: lux.freeze(*a[:3]), model, *whole)
    indices = np.array([[0, 1], [4, 2]])
    assert equal(lux.apply(frozen, indices, ps, st)[0], lux.apply(model, indices, *whole)[0])
    assert "weight" in frozen.embed
    frozen.embed.weight = np.zeros((5, 3), np.float32)
    assert not model.embed.weight.any()
    assert list(frozen.embed.children()) == ["layer"]
    with pytest.raises(AttributeError, match="no attribute 'wieght'"):
        _ = frozen.embed.wieght


def test_an_unfinished_wrapper_has_no_attributes():
    with pytest.raises(AttributeError, match="no attribute 'weight'"):
        _ = FrozenLayer.__new__(FrozenLayer).weight
