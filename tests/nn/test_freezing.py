"""Freezing by name: what is frozen, for how long, and what holding does."""

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim, tree_flatten
from freezeviz.errors import ParameterKeyError, UnmatchedKeyWarning


class Bag(nn.Module):
    def __init__(self, **members):
        super().__init__()
        for name, value in members.items():
            setattr(self, name, value)


def ones(*shape):
    return np.ones(shape, np.float32)


def frozen(model):
    return [path for path, _ in tree_flatten(model.frozen_parameters())]


def trainable(model):
    return [path for path, _ in tree_flatten(model.trainable_parameters())]


def mlp():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))


# ---------------------------------------------------------------- what is frozen


def test_freeze_and_unfreeze_return_the_model_and_repeat():
    model = mlp()
    assert model.freeze() is model
    assert model.freeze().freeze(keys="bias") is model
    assert trainable(model) == []
    assert model.unfreeze() is model
    assert model.unfreeze().unfreeze() is model
    assert frozen(model) == []


def test_arguments_are_keywords():
    with pytest.raises(TypeError):
        mlp().freeze(True)
    with pytest.raises(TypeError):
        mlp().unfreeze(True)


def test_keys_reach_every_module_below():
    model = mlp().freeze(keys="bias")
    assert frozen(model) == ["layers.0.bias", "layers.2.bias"]
    model.freeze().unfreeze(keys=["weight"])
    assert trainable(model) == ["layers.0.weight", "layers.2.weight"]


@pytest.mark.parametrize("keys", [["weight", "bias"], ("weight", "bias"), {"bias", "weight"}])
def test_keys_are_any_iterable(keys):
    assert trainable(mlp().freeze(keys=keys)) == []
    assert trainable(mlp().freeze(keys=iter(keys))) == []


@pytest.mark.parametrize("keys", [3, [3], b"weight", ["weight", None], nn.Linear])
def test_keys_that_are_no_names_are_refused(keys):
    layer = nn.Linear(2, 2)
    for call in (layer.freeze, layer.unfreeze):
        with pytest.raises(TypeError, match="keys are names of parameters"):
            call(keys=keys)
    assert trainable(layer) == ["weight", "bias"]


def test_without_recursion_only_the_modules_own_arrays():
    model = Bag(w=ones(1), inner=nn.Linear(1, 1), many=[ones(1), nn.Linear(1, 1)])
    model.freeze(recurse=False)
    assert frozen(model) == ["w", "many.0"]
    model.freeze().unfreeze(recurse=False)
    assert trainable(model) == ["w", "many.0"]
    model.freeze().unfreeze(recurse=False, keys="w")
    assert trainable(model) == ["w"]


def test_buffers_are_never_frozen_or_trained():
    model = nn.Sequential(nn.BatchNorm(2))
    model.freeze()
    assert frozen(model) == ["layers.0.weight", "layers.0.bias"]
    model.unfreeze()
    assert trainable(model) == ["layers.0.weight", "layers.0.bias"]
    assert model.layers[0].running_mean.flags.writeable


@pytest.mark.parametrize("call", ["freeze", "unfreeze"])
@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("wieght", "Closest: 'weight'"),
        ("running_mean", "is a buffer"),
        ("layers", "names a submodule"),
        ("layers.0.weight", r"freezeviz\.{call}\(model, 'layers\.0\.weight'\)"),
    ],
)
def test_a_key_without_a_match_warns_and_raises_when_strict(call, key, words):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm(2))
    message = rf"Sequential\.{call}\(keys=\.\.\.\): '{key}'.*{words.format(call=call)}"
    with pytest.warns(UnmatchedKeyWarning, match=message) as caught:
        assert getattr(model, call)(keys=key) is model
    assert caught[0].filename == __file__
    with pytest.raises(ParameterKeyError, match=message):
        getattr(model, call)(keys=key, strict=True)
    with pytest.raises(KeyError):
        getattr(model, call)(keys=key, strict=True)


def test_a_strict_error_changes_nothing():
    model = mlp()
    with pytest.raises(KeyError):
        model.freeze(keys=["weight", "nope"], strict=True)
    assert frozen(model) == []
    model.freeze(hold=True)
    with pytest.raises(KeyError):
        model.unfreeze(keys=["weight", "nope"], strict=True)
    assert trainable(model) == []
    assert model.held


def test_a_warning_that_is_an_error_changes_nothing():
    model = mlp()
    with pytest.raises(UnmatchedKeyWarning):  # warnings are errors in these tests
        model.freeze(keys=["weight", "nope"])
    assert frozen(model) == []


# ---------------------------------------------------------------- by name


def test_a_replaced_array_keeps_the_frozen_name():
    layer = nn.Linear(2, 2).freeze()
    new = ones(2, 2)
    layer.weight = new
    assert frozen(layer) == ["weight", "bias"]
    assert not layer.weight.flags.writeable
    layer.unfreeze()
    assert layer.weight is new
    assert new.flags.writeable


def test_a_replaced_module_is_trainable():
    model = mlp().freeze()
    model.layers[2] = nn.Linear(3, 5)
    assert trainable(model) == ["layers.2.weight", "layers.2.bias"]
    holder = Bag(head=nn.Linear(1, 1)).freeze()
    holder.head = nn.Linear(1, 2)
    assert trainable(holder) == ["head.weight", "head.bias"]


def test_a_frozen_array_within_a_list_is_frozen_by_its_index():
    model = Bag(many=[ones(1), ones(2), ones(3)])
    model.freeze(keys="many.1")
    assert frozen(model) == ["many.1"]
    new = ones(5)
    model.many[1] = new
    assert frozen(model) == ["many.1"]
    model.unfreeze()
    assert model.many[1] is new
    model.freeze(keys="many")
    assert frozen(model) == ["many.0", "many.1", "many.2"]
    assert not any(array.flags.writeable for array in model.many)


def test_a_new_list_under_a_frozen_name_is_frozen_where_it_has_arrays():
    model = Bag(many=[ones(1), ones(2)]).freeze()
    first = ones(3)
    model.many = [first, nn.Linear(1, 1), ones(1)]
    assert frozen(model) == ["many.0"]
    assert not model.many[0].flags.writeable
    model.unfreeze()
    assert model.many[0] is first


def test_arrays_in_a_list_or_dict_under_the_name_of_a_frozen_array_are_frozen():
    model = Bag(w=ones(1), v=ones(1)).freeze()
    model.w = [ones(3), {"deep": ones(1)}, nn.Linear(1, 1)]
    assert frozen(model) == ["w.0", "w.1.deep", "v"]
    assert trainable(model) == ["w.2.weight", "w.2.bias"]


def test_a_module_under_a_frozen_name_is_trainable():
    model = Bag(w=ones(1)).freeze()
    model.w = nn.Linear(1, 1)
    assert frozen(model) == []
    model.w = ones(1)
    assert trainable(model) == ["w"]


def test_a_frozen_name_waits_for_its_next_array_until_unfreeze():
    layer = nn.Linear(2, 2).freeze()
    layer.bias = None
    layer.bias = ones(2)
    assert frozen(layer) == ["weight", "bias"]
    layer.bias = None
    layer.unfreeze().bias = ones(2)
    assert trainable(layer) == ["weight", "bias"]


# ---------------------------------------------------------------- read-only


def test_writing_into_a_frozen_array_raises_at_that_line():
    model = mlp().freeze()
    with pytest.raises(ValueError, match="read-only"):
        model.layers[0].weight[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        model.layers[0].bias += 1
    with pytest.raises(ValueError, match="read-only"):
        dict(model.named_parameters())["layers.2.weight"].fill(0)
    with pytest.raises(ValueError, match="read-only"):
        np.add(model.layers[2].bias, 1, out=model.parameters()["layers"][2]["bias"])


def test_the_users_own_array_is_the_parameter_again_after_unfreeze():
    mine = ones(2, 2)
    model = Bag(w=mine)
    assert model.w is mine
    model.freeze().freeze()
    assert model.w is not mine
    assert np.shares_memory(model.w, mine)
    assert mine.flags.writeable
    assert model.unfreeze().w is mine
    model.w[0, 0] = 5
    assert mine[0, 0] == 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(6, dtype=np.float32).reshape(2, 3),  # a view of another array
        lambda: np.asfortranarray(ones(2, 3)),
        lambda: ones(2, 6)[:, ::2],
        lambda: ones(0, 3),
        lambda: np.array(1.0),
    ],
)
def test_any_layout_thaws_to_the_array_it_was(make):
    mine = make()
    model = Bag(w=mine, v=ones(1)).freeze()
    assert not model.w.flags.writeable
    assert model.unfreeze().w is mine


def test_an_array_that_was_read_only_before_stays_so():
    mine = np.frombuffer(b"\0" * 8, np.float32)
    model = Bag(w=mine).freeze().unfreeze()
    assert model.w is mine
    _, grads = nn.value_and_grad(model, lambda: (model.w + 1).sum())()
    optim.SGD(0.5).update(model, grads)
    np.testing.assert_array_equal(model.w, -0.5)


def test_a_snapshot_that_somebody_keeps_never_moves():
    model = mlp()
    kept = dict(model.named_parameters())
    before = {path: value.copy() for path, value in kept.items()}
    loss = nn.value_and_grad(model, lambda x: (model(x) ** 2).sum())
    for _ in range(3):
        _, grads = loss(ones(4, 2))
        optim.Adam(0.1).update(model, grads)
    for path, value in kept.items():
        np.testing.assert_array_equal(value, before[path])


# ---------------------------------------------------------------- hold


class Noisy(nn.Module):
    """Everything that behaves otherwise in training."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm(3)
        self.drop = nn.Dropout(0.5)

    def __call__(self, x):
        return self.drop(self.norm(x))


def moves(model, x):
    """Return whether running statistics move, and whether outputs are random."""
    before = [np.array(b) for _, b in model.named_buffers()]
    random = not np.array_equal(model(x), model(x))
    after = [b for _, b in model.named_buffers()]
    return any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True)), random


def test_freezing_alone_changes_neither_statistics_nor_dropout(rng):
    x = rng.standard_normal((8, 3))
    assert moves(Noisy().freeze(), x) == (True, True)
    assert moves(Noisy().freeze().eval(), x) == (False, False)


def test_what_is_held_stands_still_whatever_train_says(rng):
    x = rng.standard_normal((8, 3))
    model = nn.Sequential(Noisy(), nn.Linear(3, 3)).freeze(hold=True)
    assert moves(model, x) == (False, False)
    assert moves(model.eval().train(), x) == (False, False)
    assert not model.layers[0].norm.training
    assert model.held
    assert model.layers[0].drop.held
    assert moves(model.unfreeze(), x) == (True, True)
    assert not model.held


def test_a_model_with_a_held_part_trains_the_rest(rng):
    model = nn.Sequential(nn.Linear(3, 3), Noisy(), Noisy())
    model.layers[1].freeze(hold=True)
    before = [np.array(b) for _, b in model.layers[1].named_buffers()]
    loss = nn.value_and_grad(model, lambda x: (model(x) ** 2).mean())
    _, grads = loss(rng.standard_normal((8, 3)))
    for old, (_, new) in zip(before, model.layers[1].named_buffers(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.layers[2].norm.running_mean.any()
    assert not any(path.startswith("layers.1") for path, _ in tree_flatten(grads))
    assert np.abs(grads["layers"][0]["weight"]).sum() > 0


def test_hold_without_recursion_holds_one_module():
    model = Noisy().freeze(recurse=False, hold=True)
    assert (model.held, model.norm.held) == (True, False)


def test_unfreezing_by_key_does_not_let_go():
    model = Noisy().freeze(hold=True).unfreeze(keys="weight")
    assert model.norm.held
    assert trainable(model) == ["norm.weight"]


def test_freezing_again_without_hold_does_not_let_go():
    assert Noisy().freeze(hold=True).freeze().norm.held


def test_users_own_layers_ask_training(rng):
    class Jitter(nn.Module):
        def __call__(self, x):
            return x + 1 if self.training else x

    model = nn.Sequential(Jitter()).freeze(hold=True)
    assert model(0) == 0
    assert model.unfreeze()(0) == 1
    assert model.eval()(0) == 0


def test_the_function_holds_by_path(rng):
    model = nn.Sequential(Noisy(), nn.Linear(3, 3), Noisy())
    selection = fv.freeze(model, "layers.0", hold=True)
    assert selection.paths == ("layers.0.norm.weight", "layers.0.norm.bias")
    assert [m.held for m in model.layers] == [True, False, False]
    assert model.layers[0].drop.held
    assert model.layers[0].norm.held
    assert not model.held
    fv.unfreeze(model, "layers.0")
    assert not any(m.held for m in model.modules())


def test_the_function_holds_only_what_is_selected_in_full():
    model = nn.Sequential(Noisy(), nn.Linear(3, 3))
    fv.freeze(model, "layers.0.norm.weight", hold=True)
    assert not any(m.held for m in model.modules())
    fv.freeze(model, "", hold=True)
    assert all(m.held for m in model.modules())


def test_a_layer_is_let_go_when_nothing_in_it_is_frozen_any_more():
    model = nn.Sequential(Noisy())
    fv.freeze(model, "layers.0", hold=True)
    fv.unfreeze(model, "**.weight")
    assert model.layers[0].norm.held
    fv.unfreeze(model, "**.bias")
    assert not any(m.held for m in model.modules())
