"""Shared modules and tied arrays: one array under several names."""

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim, tree_flatten


class Bag(nn.Module):
    def __init__(self, **members):
        super().__init__()
        for name, value in members.items():
            setattr(self, name, value)


def parameters(model):
    return [path for path, _ in model.named_parameters()]


def frozen(model):
    return [path for path, _ in tree_flatten(model.frozen_parameters())]


class Language(nn.Module):
    """Embedding and head tied, as language models have it."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.body = nn.Linear(3, 3)
        self.head = nn.Linear(3, 5)
        self.head.weight = self.embed.weight

    def __call__(self, tokens):
        return self.head(self.body(self.embed(tokens)))


@pytest.fixture
def language():
    return Language()


def loss_of(model):
    tokens = np.array([[0, 1, 4], [2, 2, 3]])
    return lambda: (model(tokens) ** 2).sum()


def test_a_tied_array_is_listed_once_under_its_first_path(language):
    assert parameters(language) == ["embed.weight", "body.weight", "body.bias", "head.bias"]
    assert language.aliases() == {"embed.weight": ("head.weight",)}
    assert "weight" not in language.parameters()["head"]


def test_a_shared_module_is_listed_once_with_all_its_paths():
    inner = Bag(lin=nn.Linear(1, 1, bias=False))
    model = Bag(a=inner, b=[inner], c={"x": inner})
    assert parameters(model) == ["a.lin.weight"]
    assert [path for path, _ in model.named_modules()] == ["", "a", "a.lin"]
    assert model.aliases() == {
        "a": ("b.0", "c.x"),
        "a.lin": ("b.0.lin", "c.x.lin"),
        "a.lin.weight": ("b.0.lin.weight", "c.x.lin.weight"),
    }


def test_sharing_within_what_is_shared_gives_every_path():
    lin = nn.Linear(1, 1, bias=False)
    inner = Bag(x=lin, y=lin)
    model = Bag(w=lin.weight, a=inner, b=inner)
    assert parameters(model) == ["w"]
    assert set(model.aliases()["w"]) == {"a.x.weight", "a.y.weight", "b.x.weight", "b.y.weight"}
    assert set(model.aliases()["a.x"]) == {"a.y", "b.x", "b.y"}


def test_views_of_the_same_memory_are_tied():
    w = np.ones((2, 3), np.float32)
    model = Bag(a=w, b=w.view(), c=w[:], d=w.reshape(2, 3), other=w.copy(), part=w[:1], t=w.T)
    assert parameters(model) == ["a", "other", "part", "t"]
    assert model.aliases() == {"a": ("b", "c", "d")}


def test_arrays_without_elements_are_not_tied():
    model = Bag(a=np.ones((0, 2)), b=np.ones((0, 2)))
    assert parameters(model) == ["a", "b"]


def test_the_gradient_is_the_sum_of_the_uses(language):
    _, grads = nn.value_and_grad(language, loss_of(language))()
    alone = Language()
    alone.update(language.parameters())
    alone.head.weight = language.embed.weight.copy()
    _, separate = nn.value_and_grad(alone, loss_of(alone))()
    expected = separate["embed"]["weight"] + separate["head"]["weight"]
    np.testing.assert_allclose(grads["embed"]["weight"], expected, rtol=1e-5)
    assert [path for path, _ in tree_flatten(grads)] == parameters(language)


def test_an_optimizer_moves_a_tied_array_once_and_keeps_it_tied(language):
    opt = optim.SGD(0.1)
    before = language.embed.weight
    _, grads = nn.value_and_grad(language, loss_of(language))()
    opt.update(language, grads)
    np.testing.assert_allclose(
        language.embed.weight, before - 0.1 * grads["embed"]["weight"], rtol=1e-6
    )
    assert language.head.weight is language.embed.weight
    assert list(opt.state) == parameters(language)


@pytest.mark.parametrize("name", ["embed", "head"])
def test_freezing_one_name_freezes_the_array(language, name):
    getattr(language, name).freeze()
    assert "embed.weight" in frozen(language)
    _, grads = nn.value_and_grad(language, loss_of(language))()
    assert "embed" not in grads or grads["embed"] == {}
    assert "weight" not in grads.get("head", {})
    before = language.embed.weight.tobytes()
    optim.AdamW(0.1).update(language, grads)
    assert language.embed.weight.tobytes() == before
    assert language.head.weight.tobytes() == before


@pytest.mark.parametrize("name", ["embed", "head"])
def test_unfreezing_the_model_frees_every_name(language, name):
    mine = language.embed.weight
    getattr(language, name).freeze()
    language.unfreeze()
    assert frozen(language) == []
    assert language.embed.weight is mine
    assert language.head.weight is mine


@pytest.mark.parametrize("path", ["embed.weight", "head.weight", "embed", "head"])
def test_a_selection_freezes_and_frees_by_any_name(language, path):
    mine = language.embed.weight
    assert "embed.weight" in fv.freeze(language, path).paths
    assert "embed.weight" in frozen(language)
    assert not language.embed.weight.flags.writeable
    assert not language.head.weight.flags.writeable
    fv.unfreeze(language, path)
    assert frozen(language) == []
    assert language.embed.weight is mine
    assert language.head.weight is mine


def test_freezing_the_model_and_thawing_one_name_keeps_the_array_frozen(language):
    # The other name is still frozen, and freezing is by name.
    language.freeze()
    language.head.unfreeze()
    assert "embed.weight" in frozen(language)
    language.embed.unfreeze()
    assert frozen(language) == ["body.weight", "body.bias"]


def test_tying_to_a_frozen_array_ties(language):
    language.embed.freeze()
    other = nn.Linear(3, 5, bias=False)
    other.weight = language.embed.weight
    language.other = other
    assert language.aliases()["embed.weight"] == ("head.weight", "other.weight")
    language.unfreeze()
    assert language.other.weight is language.embed.weight
    assert language.other.weight.flags.writeable


def test_a_list_may_hold_the_view_of_a_frozen_array(language):
    language.embed.freeze()
    language.extra = [language.embed.weight]
    assert not language.extra[0].flags.writeable
    language.unfreeze()
    assert language.extra[0] is language.embed.weight
    assert language.extra[0].flags.writeable


def test_replacing_one_name_unties(language):
    language.head.weight = language.head.weight.copy()
    assert parameters(language)[-2:] == ["head.weight", "head.bias"]
    assert language.aliases() == {}


def test_a_shared_batch_norm_moves_its_statistics_at_every_use(rng):
    norm = nn.BatchNorm(2)
    model = nn.Sequential(norm, nn.Linear(2, 2), norm)
    alone = nn.BatchNorm(2)
    x = rng.standard_normal((6, 2), dtype=np.float32)
    nn.value_and_grad(model, lambda: model(x).sum())()
    alone(model.layers[1](alone(x)))
    np.testing.assert_allclose(norm.running_mean, alone.running_mean, rtol=1e-5, atol=1e-7)
    assert [path for path, _ in model.named_buffers()] == [
        "layers.0.running_mean",
        "layers.0.running_var",
    ]


def test_a_shared_list_is_bound_in_every_module_that_has_it():
    weights = [np.ones(2), np.ones(3)]
    model = Bag(a=Bag(w=weights), b=Bag(w=weights))
    _, grads = nn.value_and_grad(
        model, lambda: model.a.w[0].sum() + 2 * model.b.w[0].sum() + model.b.w[1].sum()
    )()
    assert grads["a"]["w"][0].tolist() == [3, 3]
    assert grads["a"]["w"][1].tolist() == [1, 1, 1]


def test_a_training_step_does_not_ask_for_every_path():
    model = nn.Linear(1, 1, bias=False)
    for _ in range(40):  # two to the power of 40 paths
        model = Bag(a=model, b=model)
    assert len(model.named_parameters()) == 1
    _, grads = nn.value_and_grad(model, lambda: np.float32(1))()
    optim.SGD(0.1).update(model, grads)
    assert frozen(model.freeze()) == parameters(model)


def test_many_shared_modules_are_walked_quickly():
    shared = [nn.Linear(1, 1) for _ in range(1500)]
    model = Bag(a=list(shared), b=list(shared))
    aliases = model.aliases()
    assert len(aliases) == 4500
    assert aliases["a.1499.weight"] == ("b.1499.weight",)
