"""Weights to and from files and pairs of name and array."""

import numpy as np
import pytest

from freezeviz import nn, optim, tree_flatten
from freezeviz.errors import WeightsError

SUFFIXES = [".safetensors", ".npz"]


class Model(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.embed = nn.Embedding(5, 3, rng=rng)
        self.norm = nn.BatchNorm(3)
        self.blocks = [nn.Linear(3, 3, rng=rng), {"x": rng.standard_normal(4)}]
        self.head = nn.Linear(3, 5, rng=rng)
        self.head.weight = self.embed.weight
        self.scale = np.array(rng.standard_normal(), np.float32)
        self.index = np.arange(3)
        self.register_buffer("empty", np.ones((0, 2), np.float16))
        self.register_buffer("none", None)


def state_of(model):
    return {path: value.tobytes() for path, value in tree_flatten(model.state)}


def frozen(model):
    return [path for path, _ in tree_flatten(model.frozen_parameters())]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_saved_comes_back(tmp_path, suffix):
    first, second = Model(1), Model(2)
    first.norm.running_mean += 3
    path = tmp_path / f"weights{suffix}"
    assert first.save_weights(path) is None
    assert second.load_weights(path) is second
    assert state_of(second) == state_of(first)
    for (name, a), (_, b) in zip(
        tree_flatten(first.state), tree_flatten(second.state), strict=True
    ):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
    assert second.aliases() == first.aliases()
    assert second.scale.shape == ()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_frozen_model_stays_frozen_and_holds(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    Model(1).save_weights(str(path))
    model = Model(2)
    model.embed.freeze()
    model.norm.freeze(hold=True)
    before = frozen(model)
    model.load_weights(str(path))
    assert frozen(model) == before == ["embed.weight", "norm.weight", "norm.bias"]
    assert not model.embed.weight.flags.writeable
    assert model.norm.held
    assert state_of(model) == state_of(Model(1))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_loaded_model_trains_and_thaws(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    Model(1).save_weights(path)
    model = Model(2).freeze().load_weights(path).unfreeze()
    tokens = np.array([[0, 4], [2, 2]])
    both = nn.value_and_grad(model, lambda: (model.head(model.embed(tokens)) ** 2).sum())
    before, grads = both()
    optim.SGD(0.01).update(model, grads)
    assert both()[0] < before


def test_weights_come_from_pairs_and_mappings():
    model = nn.Linear(2, 1)
    model.load_weights([("weight", np.ones((1, 2))), ("bias", np.zeros(1))])
    np.testing.assert_array_equal(model.weight, 1)
    model.load_weights({"weight": np.ones((1, 2)) * 2, "bias": np.zeros(1)})
    np.testing.assert_array_equal(model.weight, 2)
    model.load_weights(iter([("bias", np.ones(1))]), strict=False)
    np.testing.assert_array_equal(model.bias, 1)


def test_a_tied_array_may_come_under_any_of_its_names():
    model = Model()
    state = {path: value for path, value in tree_flatten(model.state) if path != "embed.weight"}
    model.load_weights(state | {"head.weight": np.full((5, 3), 2.0)})
    np.testing.assert_array_equal(model.embed.weight, 2)
    both = {"embed.weight": np.full((5, 3), 3.0), "head.weight": np.full((5, 3), 3.0)}
    model.load_weights(state | both)
    np.testing.assert_array_equal(model.head.weight, 3)
    assert model.aliases() == {"embed.weight": ("head.weight",)}


def test_a_tied_array_with_two_values_is_refused():
    model = Model()
    before = state_of(model)
    two = {"embed.weight": np.full((5, 3), 3.0), "head.weight": np.full((5, 3), 4.0)}
    with pytest.raises(WeightsError, match=r"'embed\.weight', 'head\.weight' are one tied array"):
        model.load_weights(two, strict=False)
    assert state_of(model) == before


@pytest.mark.parametrize(
    ("weights", "got"),
    [(None, "NoneType"), (3, "int"), ([1, 2], "a int among"), ([("w", 1, 2)], "a tuple among")],
)
def test_what_is_no_weights_is_refused(weights, got):
    with pytest.raises(TypeError, match=f"a file's path, or arrays by name.*got {got}"):
        nn.Linear(1, 1).load_weights(weights)


def test_saving_into_a_directory_that_is_not_there_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no directory .*nowhere to save w.npz in"):
        nn.Linear(1, 1).save_weights(tmp_path / "nowhere" / "w.npz")


def test_buffers_may_be_missing():
    model = Model(1)
    parameters = Model(2).named_parameters()
    mean = model.norm.running_mean
    model.load_weights(parameters)
    assert model.norm.running_mean is mean


WRONG = [
    (lambda s: s | {"nope": np.ones(1)}, "1 arrays are not in the model: 'nope'"),
    (lambda s: s | {"head.wieght": np.ones(1)}, r"'head\.wieght'\. Closest: 'head\.weight'"),
    (lambda s: {k: v for k, v in s.items() if k != "head.bias"}, r"missing: 'head\.bias'"),
]
ALWAYS_WRONG = [
    (lambda s: s | {"head.bias": np.ones(4)}, r"'head\.bias' expects shape \(5,\), got \(4,\)"),
    (lambda s: s | {"head.bias": [1, 2, 3, 4, 5]}, r"'head\.bias' expects an array, got list"),
    (lambda s: s | {"head.bias": np.ones(5, int)}, r"expects a floating array, got int64"),
    (lambda s: [*s.items(), ("scale", np.array(1.0))], "name 'scale' twice"),
]


@pytest.mark.parametrize(("change", "message"), WRONG + ALWAYS_WRONG)
def test_weights_that_do_not_fit_change_nothing(change, message):
    model = Model(1)
    before = state_of(model)
    with pytest.raises(WeightsError, match=message):
        model.load_weights(change(dict(tree_flatten(Model(2).state))))
    assert state_of(model) == before


@pytest.mark.parametrize("change", [change for change, _ in WRONG])
def test_names_that_do_not_fit_are_passed_over_when_not_strict(change):
    model = Model(1)
    model.load_weights(change(dict(tree_flatten(Model(2).state))), strict=False)
    np.testing.assert_array_equal(model.embed.weight, Model(2).embed.weight)


@pytest.mark.parametrize(("change", "message"), ALWAYS_WRONG)
def test_values_that_do_not_fit_are_refused_when_not_strict(change, message):
    model = Model(1)
    before = state_of(model)
    with pytest.raises(WeightsError, match=message):
        model.load_weights(change(dict(tree_flatten(Model(2).state))), strict=False)
    assert state_of(model) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_changes_nothing(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    Model(2).save_weights(path)
    whole = path.read_bytes()
    model = Model(1)
    before = state_of(model)
    for cut in (0, 1, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(WeightsError, match="weights"):
            model.load_weights(path)
    path.write_bytes(b"not a weights file at all" * 20)
    with pytest.raises(WeightsError):
        model.load_weights(path)
    assert state_of(model) == before


def test_loading_does_not_alias_the_source():
    # Arrays are values: what the optimizer makes of a loaded one leaves the source alone.
    source = {"weight": np.ones((1, 2), np.float32), "bias": np.ones(1, np.float32)}
    model = nn.Linear(2, 1).load_weights(source)
    _, grads = nn.value_and_grad(model, lambda: model(np.ones((1, 2), np.float32)).sum())()
    optim.Adam(0.5).update(model, grads)
    np.testing.assert_array_equal(source["weight"], 1)
    assert not np.array_equal(model.weight, source["weight"])
