"""What Lux.jl does, case by case: numbered as in `tests/conformance/lux_cases.md`."""

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import explicit as lux
from freezeviz import nn, optim
from freezeviz.errors import ShapeError, UnmatchedKeyWarning
from freezeviz.explicit import BatchNorm, Chain, Dense, Dropout, FrozenLayer, KeyPath, Parallel
from tests.explicit._models import Custom, both_precisions, equal, keys, leaves, same


@pytest.fixture
def dense(rng):
    layer = Dense(5, 5)
    return layer, *lux.setup(rng, layer)


@pytest.fixture
def x(rng):
    return rng.standard_normal((1, 5), dtype=np.float32)


# ------------------------------------------------------------ freeze


def test_case_01_freezing_all_moves_the_parameters_into_the_state(dense):
    _, ps, st = lux.freeze(*dense)
    assert ps == {}
    assert list(st) == ["frozen_params", "states"]
    assert list(st["frozen_params"]) == ["weight", "bias"]


def test_case_02_output_of_the_frozen_layer_is_the_same_bit_for_bit(dense, x):
    y, _ = lux.apply(dense[0], x, *dense[1:])
    frozen, ps, st = lux.freeze(*dense)
    assert equal(lux.apply(frozen, x, ps, st)[0], y)


def test_case_03_gradients_of_the_frozen_layer(dense, x):
    frozen, ps, st = lux.freeze(*dense)
    both_precisions(frozen, x, ps, st)


def test_case_04_a_chain_with_a_frozen_layer_from_scratch(rng):
    model = Chain(lux.freeze(Dense(1, 3, activation=np.tanh)), Dense(3, 1))
    ps, st = lux.setup(rng, model)
    assert sorted(leaves(ps)) == ["layer_2.bias", "layer_2.weight"]
    x = rng.standard_normal((2, 1), dtype=np.float32)
    assert lux.apply(model, x, ps, st)[0].shape == (2, 1)
    both_precisions(model, x, ps, st)


def test_case_05_which_left_out_freezes_all(rng):
    layer = Dense(1, 1)
    frozen, ps, _ = lux.freeze(layer, *lux.setup(rng, layer))
    assert isinstance(frozen, FrozenLayer)
    assert type(ps) is dict
    assert ps == {}


def test_case_06_freezing_the_weight_alone(dense, x):
    y, _ = lux.apply(dense[0], x, *dense[1:])
    frozen, ps, st = lux.freeze(*dense, ("weight",))
    assert list(ps) == ["bias"]
    assert list(st["frozen_params"]) == ["weight"]
    assert equal(lux.apply(frozen, x, ps, st)[0], y)
    both_precisions(frozen, x, ps, st)


def test_case_07_freezing_nothing_is_the_layer_itself():
    layer = Dense(5, 5)
    with pytest.warns(UnmatchedKeyWarning, match="freezes nothing"):
        assert lux.freeze(layer, ()) is layer


def test_case_08_unfreezing_gives_the_layer_itself():
    layer = Dense(5, 5)
    assert lux.unfreeze(lux.freeze(layer)) is layer


def test_case_09_layer_map_freezes_a_layer_of_a_custom_container(rng):
    model = Custom()
    ps, st = lux.setup(rng, model)
    before = keys(ps), keys(st)

    def freeze_first(layer, ps, st, path):
        if path == KeyPath("layer_1"):
            return lux.freeze(layer, ps, st, ("weight", "bias"))
        return layer, ps, st

    frozen, ps_f, st_f = lux.layer_map(freeze_first, model, ps, st)
    assert isinstance(frozen.layer_1, FrozenLayer)
    assert frozen.layer_2 is model.layer_2
    assert (keys(ps), keys(st)) == before
    assert type(model.layer_1) is Dense
    assert ps_f["layer_1"] == {}
    assert list(st_f["layer_1"]["frozen_params"]) == ["weight", "bias"]
    assert equal(ps_f["data"], ps["data"])
    assert equal(st_f["fixed"], st["fixed"])
    x = rng.standard_normal((3, 2), dtype=np.float32)
    assert equal(lux.apply(frozen, x, ps_f, st_f)[0], lux.apply(model, x, ps, st)[0])


# ------------------------------------------------------------ layer_map


def test_case_10_layer_map_over_parallel_branches(rng):
    model = Parallel(
        np.add,
        chain=Chain(dense_1=Dense(2, 3), bn=BatchNorm(3), dense_2=Dense(3, 5)),
        dense_3=Dense(5, 1),
    )
    ps, st = lux.setup(rng, model)
    met = []

    def zero_in_chain(layer, ps, st, path):
        if isinstance(layer, Dense):
            met.append(path)
            if path[0] == "chain":
                ps = {name: np.zeros_like(value) for name, value in ps.items()}
        return layer, ps, st

    _, ps_new, _ = lux.layer_map(zero_in_chain, model, ps, st)
    assert met == [KeyPath("chain", "dense_1"), KeyPath("chain", "dense_2"), KeyPath("dense_3")]
    for name in ("dense_1", "dense_2"):
        assert not any(value.any() for value in ps_new["chain"][name].values())
    assert same(ps_new["dense_3"], ps["dense_3"])
    assert ps["chain"]["dense_1"]["weight"].all()


def test_case_11_layer_map_over_a_custom_container(rng):
    class DenseAndConv(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = Dense(3, 2)
            self.conv = nn.Conv1d(3, 2, 3)

    model = DenseAndConv()
    ps, st = lux.setup(rng, model)

    def zero_dense(layer, ps, st, path):
        if isinstance(layer, Dense):
            ps = {name: np.zeros_like(value) for name, value in ps.items()}
        return layer, ps, st

    _, ps_new, _ = lux.layer_map(zero_dense, model, ps, st)
    assert not any(value.any() for value in ps_new["dense"].values())
    assert same(ps_new["conv"], ps["conv"])


# ------------------------------------------------------------ share_parameters

SHARING = (("d2.l2", "d1"), ("d3", "d2.l1"))


@pytest.fixture
def shared_ps(rng):
    model = Chain(
        d1=Dense(2, 4, activation=np.tanh),
        d2=Chain(l1=Dense(4, 2), l2=Dense(2, 4)),
        d3=Dense(4, 2),
    )
    return lux.setup(rng, model)[0]


def drawn(rng, *shape):
    weight = rng.standard_normal(shape, dtype=np.float32)
    return {"weight": weight, "bias": rng.standard_normal(shape[0], dtype=np.float32)}


def test_case_12_sharing_without_new_values_takes_the_first(shared_ps):
    ps = lux.share_parameters(shared_ps, SHARING)
    for name in ("weight", "bias"):
        assert ps["d2"]["l2"][name] is ps["d1"][name] is shared_ps["d2"]["l2"][name]
        assert ps["d3"][name] is ps["d2"]["l1"][name] is shared_ps["d3"][name]
    assert shared_ps["d1"]["weight"] is not shared_ps["d2"]["l2"]["weight"]


def test_case_13_sharing_new_values(shared_ps, rng):
    p1, p2 = drawn(rng, 4, 2), drawn(rng, 2, 4)
    ps = lux.share_parameters(shared_ps, SHARING, (p1, p2))
    assert same(ps["d2"]["l2"], p1)
    assert same(ps["d1"], p1)
    assert same(ps["d3"], p2)
    assert same(ps["d2"]["l1"], p2)


def test_case_14_groups_that_overlap_are_refused(shared_ps):
    with pytest.raises(ValueError, match="'d1' and 'd1' overlap"):
        lux.share_parameters(shared_ps, (("d2.l2", "d1"), ("d1", "d2.l1")))


def test_case_14_one_new_value_for_two_groups_is_refused(shared_ps, rng):
    with pytest.raises(ValueError, match="2 groups and 1 new values"):
        lux.share_parameters(shared_ps, SHARING, (drawn(rng, 4, 2),))


def test_case_14_a_new_value_of_another_shape_is_refused(shared_ps, rng):
    with pytest.raises(ShapeError, match=r"'d2.l2.weight' has shape \(4, 2\), got \(2, 4\)"):
        lux.share_parameters(shared_ps, SHARING, (drawn(rng, 2, 4), drawn(rng, 2, 4)))


# ------------------------------------------------------------ state and mode


def test_case_15_modes_change_every_training_entry_and_nothing_else(rng):
    inner = Chain(Dense(4, 4), Dropout(0.5), BatchNorm(4))
    model = Chain(lux.freeze(inner), Chain(BatchNorm(4), Chain(Dropout(0.1))))
    _, st = lux.setup(rng, model)
    modes = [path for path in leaves(st) if path.endswith("training")]
    assert len(modes) == 4
    assert any(".states." in path for path in modes)

    tested = lux.testmode(st)
    assert all(leaves(st)[path] is True for path in modes)
    for path, value in leaves(tested).items():
        assert value is (False if path in modes else leaves(st)[path])
    assert same(lux.trainmode(tested), st)


def test_case_15_update_state_changes_every_entry_of_a_name_and_nothing_else(rng):
    model = Chain(lux.freeze(BatchNorm(4)), Chain(BatchNorm(4)))
    _, st = lux.setup(rng, model)
    mean = np.ones(4, np.float32)
    new = lux.update_state(st, "running_mean", mean)
    for path, value in leaves(new).items():
        assert value is (mean if path.endswith("running_mean") else leaves(st)[path])


# ------------------------------------------------------------ optimizer


class Two(nn.Module):
    def __init__(self, x, y):
        super().__init__()
        self.x = np.array(x)
        self.y = np.array(y)


def test_case_16_descent_with_a_frozen_parameter_that_thaws():
    layer = Two([1.0, 2.0], [3.0, 4.0])
    frozen, ps, st = lux.freeze(layer, *lux.setup(None, layer), ("y",))
    gradients = {"x": np.array([1.0, 10.0]), "y": np.array([100.0, 1000.0])}
    opt = optim.SGD(0.1)
    ps = opt.apply_gradients({"x": gradients["x"]}, ps)
    assert ps["x"].tolist() == pytest.approx([0.9, 1.0])
    assert st["frozen_params"]["y"].tolist() == [3.0, 4.0]

    opt.learning_rate = 0.2
    _, ps, _ = lux.unfreeze(frozen, ps, st)
    ps = opt.apply_gradients(gradients, ps)
    assert ps["x"].tolist() == pytest.approx([0.7, -1.0])
    assert ps["y"].tolist() == pytest.approx([-17.0, -196.0])


def test_case_17_momentum_with_a_frozen_parameter():
    layer = Two([1.0], [3.0])
    ps_all, st = lux.setup(None, layer)
    opt = optim.SGD(0.01, momentum=0.9)
    opt.init(ps_all)
    frozen, ps, st = lux.freeze(layer, ps_all, st, ("x",))
    ps = opt.apply_gradients({"y": np.array([100 * np.pi])}, ps)
    assert ps["y"].tolist() == pytest.approx([-0.14159265])
    # Lux's momentum has the learning rate in it.
    assert (opt.learning_rate * opt.state["y"]["v"]).tolist() == pytest.approx([3.14159265])
    assert opt.state["x"]["v"].tolist() == [0.0]
    assert lux.unfreeze(frozen, ps, st)[1]["x"].tolist() == [1.0]


def test_optimizer_steps_of_a_partly_frozen_chain_leave_the_frozen_bytes(rng):
    model = Chain(Dense(3, 4, activation=np.tanh), Dense(4, 1))
    whole = lux.setup(rng, model)
    frozen, ps, st = lux.freeze(model, *whole, ("layer_1",))
    before = {path: value.tobytes() for path, value in leaves(st["frozen_params"]).items()}
    x = rng.standard_normal((8, 3), dtype=np.float32)
    opt = optim.Adam(1e-2)
    losses = []
    for _ in range(5):
        loss, grads = lux.value_and_grad(
            lambda ps: np.mean((lux.apply(frozen, x, ps, st)[0] - 1) ** 2)
        )(ps)
        ps = opt.apply_gradients(grads, ps)
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    assert set(opt.state) == {"layer_2.weight", "layer_2.bias"}
    _, ps, _ = lux.unfreeze(frozen, ps, st)
    after = fv.tree_flatten(ps["layer_1"], "layer_1")
    assert {path: value.tobytes() for path, value in after} == before
