"""Copies of frozen models: copy, deepcopy and pickle."""

import copy
import pickle

import numpy as np
import pytest

from freezeviz import nn, optim, tree_flatten


class Bag(nn.Module):
    def __init__(self, **members):
        super().__init__()
        for name, value in members.items():
            setattr(self, name, value)


def ones(*shape):
    return np.ones(shape, np.float32)


def again(model):
    return pickle.loads(pickle.dumps(model))


def model():
    made = Bag(
        embed=nn.Embedding(4, 3),
        norm=nn.BatchNorm(3),
        many=[ones(2), {"x": ones(3)}],
        head=nn.Linear(3, 4),
        index=np.arange(3),
        number=7,
    )
    made.head.weight = made.embed.weight
    made.embed.freeze()
    made.norm.freeze(hold=True)
    made.freeze(keys="many.0")
    return made.eval()


def frozen(model):
    return [path for path, _ in tree_flatten(model.frozen_parameters())]


FROZEN = ["embed.weight", "norm.weight", "norm.bias", "many.0"]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, again])
def test_a_copy_has_the_same_arrays_and_the_same_freezing(duplicate):
    first = model()
    second = duplicate(first)
    assert frozen(first) == frozen(second) == FROZEN
    assert repr(second) == repr(first)
    for (path, a), (other, b) in zip(
        tree_flatten(first.state), tree_flatten(second.state), strict=True
    ):
        assert path == other
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
        assert a.flags.writeable == b.flags.writeable
        assert not np.shares_memory(a, b)
    assert second.number == 7
    assert second.norm.held
    assert not second.training
    assert second.norm.named_buffers()[0][0] == "running_mean"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, again])
def test_a_copys_frozen_arrays_are_read_only_and_thaw(duplicate):
    second = duplicate(model())
    with pytest.raises(ValueError, match="read-only"):
        second.norm.weight[0] = 3
    second.unfreeze()
    assert frozen(second) == []
    for _, value in second.named_parameters():
        assert value.flags.writeable
        value += 1


@pytest.mark.parametrize("duplicate", [copy.deepcopy, again])
def test_a_copy_is_independent(duplicate):
    first = model()
    second = duplicate(first)
    second.unfreeze()
    assert frozen(first) == FROZEN
    first.unfreeze()
    for _, value in second.named_parameters():
        value += 1
    np.testing.assert_array_equal(first.many[0], 1)
    second.freeze()
    assert frozen(first) == []
    second.norm.register_buffer("further", ones(1))
    assert "further" not in first.norm


@pytest.mark.parametrize("duplicate", [copy.deepcopy, again])
def test_tied_arrays_stay_tied(duplicate):
    second = duplicate(model())
    assert second.aliases() == {"embed.weight": ("head.weight",)}
    second.unfreeze()
    assert second.head.weight is second.embed.weight


@pytest.mark.parametrize("duplicate", [copy.deepcopy, again])
def test_arrays_tied_after_freezing_stay_tied(duplicate):
    first = Bag(a=nn.Linear(2, 2)).freeze()
    first.b = Bag(w=first.a.weight)
    first.c = [first.a.weight]
    second = duplicate(first)
    assert second.aliases() == {"a.weight": ("b.w", "c.0")}
    second.unfreeze()
    assert second.b.w is second.a.weight
    assert second.c[0] is second.a.weight


def test_deepcopy_keeps_ties_between_views():
    w = np.arange(6, dtype=np.float32).reshape(2, 3)  # a view itself
    first = Bag(a=w, b=w.view(), inner=Bag(c=w[:])).freeze()
    first.late = [first.a]
    second = copy.deepcopy(first)
    assert second.aliases() == {"a": ("b", "inner.c", "late.0")}
    both = copy.deepcopy([first, first.inner])
    assert both[0].inner is both[1]
    pair = copy.deepcopy([Bag(x=w, y=w.view()), Bag(x=w.copy(), y=ones(1))])
    assert pair[0].aliases() == {"x": ("y",)}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, again])
def test_shared_modules_stay_shared(duplicate):
    inner = nn.Linear(1, 1)
    second = duplicate(Bag(a=inner, b=[inner]))
    assert second.a is second.b[0]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, again])
def test_cycles_are_copied(duplicate):
    first = Bag(child=Bag(w=ones(1)))
    first.child.parent = first
    first.freeze()
    second = duplicate(first)
    assert second.child.parent is second
    assert frozen(second) == ["child.w"]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, again])
def test_an_item_replaced_within_a_frozen_list_is_what_is_copied(duplicate):
    first = Bag(many=[ones(2), ones(2)]).freeze()
    first.many[0] = ones(3) * 5
    second = duplicate(first)
    np.testing.assert_array_equal(second.many[0], [5, 5, 5])
    np.testing.assert_array_equal(second.unfreeze().many[0], [5, 5, 5])


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, again])
def test_a_frozen_name_without_an_array_is_still_frozen_in_a_copy(duplicate):
    layer = nn.Linear(2, 2).freeze()
    layer.bias = None
    second = duplicate(layer)
    second.bias = ones(2)
    assert frozen(second) == ["weight", "bias"]
    assert frozen(second.unfreeze()) == []


def test_a_shallow_copy_shares_arrays_and_has_its_own_freezing():
    first = Bag(w=ones(2), many=[ones(1)], inner=nn.Linear(1, 1)).freeze(recurse=False)
    second = copy.copy(first)
    assert np.shares_memory(first.w, second.w)
    assert second.inner is first.inner
    second.unfreeze(recurse=False)
    assert frozen(first) == ["w", "many.0"]
    assert not first.w.flags.writeable
    second.many.append(ones(1))
    assert len(first.many) == 1


def test_a_copy_trains_by_itself(rng):
    first = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4), nn.Linear(4, 2))
    first.layers[0].freeze()
    second = copy.deepcopy(first)
    before = {path: value.tobytes() for path, value in tree_flatten(first.state)}
    x = rng.standard_normal((6, 3), dtype=np.float32)
    for _ in range(2):
        _, grads = nn.value_and_grad(second, lambda: (second(x) ** 2).mean())()
        optim.Adam(0.1).update(second, grads)
    assert before == {path: value.tobytes() for path, value in tree_flatten(first.state)}
    assert second.layers[0].weight.tobytes() == before["layers.0.weight"]
    assert second.layers[2].weight.tobytes() != before["layers.2.weight"]
    assert second.layers[1].running_mean.tobytes() != before["layers.1.running_mean"]


def test_subclasses_with_arguments_are_copied():
    class Needy(nn.Module):
        def __init__(self, size, *, scale):
            super().__init__()
            self.w = ones(size) * scale
            self.callback = np.tanh

    second = copy.deepcopy(Needy(3, scale=2).freeze())
    np.testing.assert_array_equal(second.w, 2)
    assert second.callback is np.tanh
