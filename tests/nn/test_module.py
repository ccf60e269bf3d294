"""What a module holds: attributes, order, containers, buffers, and the lists of what is in it."""

import numpy as np
import pytest

from freezeviz import nn, tree_flatten
from freezeviz.autodiff import Tracer, value_and_grad
from freezeviz.errors import AutodiffError


class Bag(nn.Module):
    """A module with what it is given."""

    def __init__(self, **members):
        super().__init__()
        for name, value in members.items():
            setattr(self, name, value)


def ones(*shape):
    return np.ones(shape, np.float32)


def parameters(model):
    return [path for path, _ in model.named_parameters()]


def buffers(model):
    return [path for path, _ in model.named_buffers()]


def flat(tree):
    return [path for path, _ in tree_flatten(tree)]


# ---------------------------------------------------------------- order and containers


def test_parameters_come_in_the_order_of_assignment():
    model = Bag(z=ones(1), m=nn.Linear(1, 1), a=ones(2), list=[ones(3), nn.LayerNorm(1)])
    assert parameters(model) == [
        "z", "m.weight", "m.bias", "a", "list.0", "list.1.weight", "list.1.bias",
    ]  # fmt: skip
    assert flat(model.parameters()) == parameters(model)


def test_lists_and_dicts_are_entered_to_any_depth():
    model = Bag(deep=[{"x": [ones(1), {"y": nn.Linear(1, 1, bias=False)}]}, [[ones(2)]]])
    assert parameters(model) == ["deep.0.x.0", "deep.0.x.1.y.weight", "deep.1.0.0"]
    assert model.parameters()["deep"][0]["x"][1]["y"]["weight"].shape == (1, 1)
    assert [path for path, _ in model.named_modules()] == ["", "deep.0.x.1.y"]


def test_tuples_and_other_objects_are_not_entered():
    model = Bag(pair=(ones(1), nn.Linear(1, 1)), text="x", number=3)
    assert parameters(model) == []
    assert model.modules() == [model]
    assert (model.text, model.number, len(model.pair)) == ("x", 3, 2)


def test_lists_of_plain_values_are_no_part_of_the_tree():
    model = Bag(sizes=[1, 2], child=Bag(sizes=[[3], 4], w=ones(1)), mixed=[1, ones(1), "x"])
    assert model.parameters() == {"child": {"w": ones(1)}, "mixed": [{}, ones(1), {}]}
    model.sizes.append(5)
    assert model.sizes == [1, 2, 5]


def test_containers_may_change_in_place():
    model = nn.Sequential(nn.Linear(1, 1))
    model.layers.append(nn.Linear(1, 2))
    model.layers.insert(0, nn.ReLU())
    assert parameters(model) == [f"layers.{i}.{n}" for i in (1, 2) for n in ("weight", "bias")]
    del model.layers[1]
    assert parameters(model) == ["layers.1.weight", "layers.1.bias"]


def test_arrays_behind_an_underscore_are_private():
    model = Bag(_w=ones(1), w=ones(2))
    assert parameters(model) == ["w"]
    assert buffers(model) == []
    assert model._w.shape == (1,)


def test_modules_behind_an_underscore_are_modules_without_parameters():
    model = Bag(_hidden=Bag(inner=nn.Linear(1, 1)), shown=nn.Linear(1, 1))
    assert parameters(model) == ["shown.weight", "shown.bias"]
    assert {path for path, _ in model.named_modules()} == {"", "_hidden", "_hidden.inner", "shown"}
    model.eval()
    assert not model._hidden.inner.training


def test_modules_in_private_lists_and_dicts_follow_the_mode():
    model = Bag(w=ones(1))
    model._parts = [nn.Dropout(0.5), {"deep": nn.Sequential(nn.Linear(1, 1))}, "text"]
    model._cache = {}
    assert [path for path, _ in model.named_modules()] == [
        "", "_parts.0", "_parts.1.deep", "_parts.1.deep.layers.0",
    ]  # fmt: skip
    assert flat(model.parameters()) == ["w"]
    model.eval()
    assert not model._parts[0].training
    model.freeze(hold=True)
    assert model._parts[1]["deep"].held
    model.unfreeze()
    assert not model._parts[1]["deep"].held
    assert model.train()._parts[0].training


def test_a_private_module_that_is_public_elsewhere_is_trained():
    linear = nn.Linear(1, 1)
    model = Bag(_first=linear, second=linear)
    assert parameters(model) == ["second.weight", "second.bias"]
    assert model.aliases() == {}
    _, grads = nn.value_and_grad(model, lambda x: model._first(x).sum())(ones(1, 1))
    assert flat(grads) == ["second.weight", "second.bias"]


def test_private_names_within_a_dict_are_the_models():
    assert parameters(Bag(d={"_b": ones(1)})) == ["d._b"]


# ---------------------------------------------------------------- kinds of arrays


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool"])
def test_integers_and_booleans_are_buffers(kind):
    model = Bag(index=np.zeros(3, kind), inside=[np.zeros(1, kind), ones(1)])
    assert parameters(model) == ["inside.1"]
    assert buffers(model) == ["index", "inside.0"]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_are_parameters(kind):
    assert parameters(Bag(w=np.zeros(3, kind), scalar=np.array(1, kind))) == ["w", "scalar"]


def test_numpy_scalars_are_numbers():
    model = Bag(eps=np.float32(1e-5))
    assert parameters(model) == []
    assert model.eps == np.float32(1e-5)


def test_a_zero_dimensional_parameter_stays_one_through_arithmetic():
    model = Bag(scale=np.array(2.0, np.float32))
    model.scale = model.scale * 2  # NumPy gives a scalar here
    assert parameters(model) == ["scale"]
    model.apply(lambda p: p + 1)
    assert model.scale.shape == ()
    assert model.scale == 5
    model.freeze()
    model.scale = model.scale / 5
    assert flat(model.frozen_parameters()) == ["scale"]


def test_a_registered_buffer_is_saved_but_never_a_parameter():
    model = Bag()
    model.register_buffer("mean", ones(2))
    model.register_buffer("later", None)
    assert parameters(model) == []
    assert buffers(model) == ["mean"]
    assert flat(model.buffers()) == ["mean"]
    model.later = ones(3)
    model.mean = ones(4)
    assert buffers(model) == ["mean", "later"]
    assert flat(model.unfreeze().trainable_parameters()) == []


def test_a_buffer_takes_the_place_of_a_parameter_or_a_plain_value():
    model = Bag(w=ones(1), v=3)
    model.freeze()
    model.register_buffer("w", ones(2))
    model.register_buffer("v", ones(3))
    assert parameters(model) == []
    assert buffers(model) == ["w", "v"]
    assert model.v.shape == (3,)
    assert model.w.flags.writeable


def test_a_zero_dimensional_buffer_stays_one_through_arithmetic():
    model = Bag()
    model.register_buffer("steps", np.array(0))
    model.steps = model.steps + 1
    model.steps += 2
    assert buffers(model) == ["steps"]
    assert model.steps == 3
    model.steps = 0
    assert model.steps.dtype == np.int64
    assert buffers(model) == ["steps"]


@pytest.mark.parametrize("value", [[1.0], "x", 3, nn.Identity()])
def test_a_buffer_holds_arrays_only(value):
    model = Bag()
    with pytest.raises(TypeError, match="holds an array or None"):
        model.register_buffer("b", value)
    assert "b" not in model
    model.register_buffer("b", ones(1))
    if not isinstance(value, int):
        with pytest.raises(TypeError, match=r"Bag\.b is a buffer and holds an array or None"):
            model.b = value
        assert buffers(model) == ["b"]


# ---------------------------------------------------------------- attributes


def test_deleting_an_attribute_takes_it_out_of_the_model():
    model = Bag(w=ones(1), b=ones(2), m=nn.Linear(1, 1), plain=3)
    model.register_buffer("r", ones(1))
    model.freeze()
    del model.w, model.m, model.r, model.plain
    assert parameters(model) == ["b"]
    assert buffers(model) == []
    assert not hasattr(model, "w")
    with pytest.raises(AttributeError):
        del model.w
    model.w, model.r = ones(1), ones(1)
    assert flat(model.trainable_parameters()) == ["r"]  # freezing sticks to a name, as in MLX
    model.unfreeze()
    assert flat(model.trainable_parameters()) == ["b", "w", "r"]


def test_an_attribute_may_change_its_kind():
    model = Bag(x=ones(1))
    model.x = "text"
    assert parameters(model) == []
    assert model.x == "text"
    model.x = nn.Linear(1, 1)
    assert parameters(model) == ["x.weight", "x.bias"]
    model.x = None
    assert model.modules() == [model]
    model.x = ones(2)
    assert parameters(model) == ["x"]


def test_a_missing_attribute_names_the_closest():
    with pytest.raises(
        AttributeError, match=r"'Linear' object has no attribute 'wieght'.*'weight'"
    ):
        _ = nn.Linear(1, 1).wieght


def test_members_show_in_dir_and_contains():
    model = nn.Linear(1, 1, bias=False)
    assert "weight" in dir(model)
    assert "weight" in model
    assert "bias" not in model


def test_a_class_attribute_that_would_hide_an_array_is_refused():
    class Shadow(nn.Module):
        bias = None

    model = Shadow()
    with pytest.raises(AttributeError, match="the class has an attribute of this name"):
        model.bias = ones(1)
    with pytest.raises(AttributeError, match="the class has an attribute of this name"):
        model.register_buffer("train", ones(1))
    assert parameters(model) == buffers(model) == []
    model.bias = 3
    assert model.bias == 3


def test_a_property_gets_what_is_assigned_to_it():
    class Scaled(nn.Module):
        @property
        def scale(self):
            return np.exp(self.log_scale)

        @scale.setter
        def scale(self, value):
            self.log_scale = np.log(value)

    model = Scaled()
    model.scale = ones(2)
    assert parameters(model) == ["log_scale"]
    np.testing.assert_array_equal(model.scale, 1)


def test_a_property_without_a_setter_refuses_and_keeps_everything():
    model = Bag(w=ones(1))
    with pytest.raises(AttributeError, match="state"):
        model.state = ones(1)
    with pytest.raises(AttributeError, match="training"):
        model.training = False
    assert parameters(model) == ["w"]


def test_assigning_before_the_constructor_of_the_base_works():
    class Early(nn.Module):
        def __init__(self):
            self.w = ones(1)
            super().__init__()

    assert parameters(Early()) == ["w"]


def test_a_traced_array_cannot_be_kept():
    model, kept = Bag(w=ones(1)), Bag()

    def loss():
        kept.activation = model.w * 2
        return model.w.sum()

    with pytest.raises(AutodiffError, match=r"Bag.activation = ... would keep a traced array"):
        nn.value_and_grad(model, loss)()
    assert not hasattr(kept, "activation")


# ---------------------------------------------------------------- lists of modules


def test_children_are_the_direct_submodules():
    inner = nn.Linear(1, 1)
    model = Bag(a=inner, b=[nn.ReLU(), ones(1)], c={"x": Bag(deep=nn.Linear(1, 1))}, w=ones(1))
    children = model.children()
    assert children["a"] is inner
    assert [type(m).__name__ for m in children["b"][:1]] == ["ReLU"]
    assert set(children["c"]) == {"x"}
    assert "w" not in children


def test_leaf_modules_have_no_submodules():
    model = nn.TransformerEncoderLayer(4, 2)
    leaves = tree_flatten(model.leaf_modules(), is_leaf=nn.Module.is_module)
    assert [path for path, _ in leaves] == [
        "attention.query_proj", "attention.key_proj", "attention.value_proj", "attention.out_proj",
        "ln1", "ln2", "linear1", "linear2", "dropout1", "dropout2",
    ]  # fmt: skip


def test_filter_and_map_asks_for_every_member():
    model = Bag(w=ones(2), index=np.arange(3), inner=Bag(v=ones(1)), many=[ones(1), nn.ReLU()])
    shapes = model.filter_and_map(nn.Module.valid_parameter_filter, np.shape)
    assert dict(tree_flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))) == {
        "w": (2,), "inner.v": (1,), "many.0": (1,),
    }  # fmt: skip
    model.freeze(keys="w")
    model.many[0:1] = [ones(1)]
    trainable = model.filter_and_map(nn.Module.trainable_parameter_filter)
    assert flat(trainable) == ["inner.v", "many.0"]


def test_the_filters_ask_about_what_is_in_lists_and_hide_no_module():
    model = Bag(many=[ones(1), ones(1), nn.tanh, {"deep": [ones(1), 3]}]).freeze()
    model.many[1] = nn.Linear(1, 1)
    assert model.filter_and_map(nn.Module.trainable_parameter_filter).keys() == {"many"}
    trainable = model.filter_and_map(nn.Module.trainable_parameter_filter)
    assert flat(trainable) == ["many.1.weight", "many.1.bias"]
    everything = model.filter_and_map(nn.Module.valid_parameter_filter)
    assert flat(everything) == [
        "many.0", "many.1.weight", "many.1.bias", "many.3.deep.0",
    ]  # fmt: skip


def test_apply_to_modules_gives_paths():
    model = Bag(a=nn.Linear(1, 1), b=[nn.Dropout(0.1)])
    seen = []
    assert model.apply_to_modules(lambda path, m: seen.append((path, type(m).__name__))) is model
    assert seen == [("", "Bag"), ("a", "Linear"), ("b.0", "Dropout")]


def test_train_and_eval_reach_everything_and_return_the_model():
    model = Bag(a=nn.Dropout(0.5), b={"c": nn.BatchNorm(1)})
    assert model.eval() is model
    assert [m.training for m in model.modules()] == [False] * 3
    assert model.train() is model
    assert [m.training for m in model.modules()] == [True] * 3
    model.train(False)
    assert not model.a.training


def test_modules_are_iterated_in_depth():
    model = Bag(a=Bag(b=nn.ReLU()), c=nn.ReLU())
    assert [path for path, _ in model.named_modules()] == ["", "a", "a.b", "c"]
    assert model.modules() == [model, model.a, model.a.b, model.c]


# ---------------------------------------------------------------- cycles, depth


@pytest.fixture
def cycle():
    child = Bag(w=ones(1))
    model = Bag(child=child)
    child.parent = model
    child.siblings = [child, model]
    return model


def test_a_cycle_is_walked_once(cycle):
    assert parameters(cycle) == ["child.w"]
    assert [path for path, _ in cycle.named_modules()] == ["", "child"]
    assert cycle.aliases() == {}
    assert flat(cycle.parameters()) == ["child.w"]


def test_a_cycle_prints(cycle):
    assert repr(cycle).count("(child)") == 1
    assert "..." in repr(cycle)


def test_a_cycle_has_leaves_and_children(cycle):
    assert list(cycle.children()) == ["child"]
    assert flat(cycle.leaf_modules()) == []


def test_a_cycle_freezes_and_trains(cycle):
    cycle.freeze()
    assert flat(cycle.frozen_parameters()) == ["child.w"]
    cycle.unfreeze()
    _, grads = nn.value_and_grad(cycle, lambda: cycle.child.parent.child.w.sum())()
    assert grads["child"]["w"].tolist() == [1]


def test_a_cycle_through_private_modules_is_walked_once():
    p, h, q = Bag(w=ones(1)), Bag(), Bag(v=ones(2))
    p._h, h.q, q._back = h, q, p
    model = Bag(p=p, q=q)
    assert parameters(model) == ["p.w", "q.v"]
    assert model.aliases() == {}
    assert [path for path, _ in model.named_modules()] == ["", "p", "q", "p._h"]


def test_two_hundred_levels_are_fine():
    model = nn.Linear(2, 2)
    for _ in range(200):
        model = nn.Sequential(model)
    assert len(model.modules()) == 201
    assert flat(model.freeze().frozen_parameters()) == parameters(model)


def test_a_module_is_callable_with_plain_numpy():
    class Block(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.proj = nn.Linear(dim, dim)
            self.gain = np.ones(dim, np.float32)

        def __call__(self, x):
            return x + np.tanh(self.proj(x)) * self.gain

    model, x = Block(3), ones(2, 3)
    _, grads = nn.value_and_grad(model, lambda: (model(x) ** 2).mean())()
    assert flat(grads) == ["proj.weight", "proj.bias", "gain"]


def test_an_unbound_model_sees_no_tracers_of_other_functions():
    model = Bag(w=ones(2))
    seen = []

    def loss(x):
        seen.append(type(model.w))
        return (x * model.w).sum()

    value_and_grad(loss)(ones(2))
    assert seen == [np.ndarray]
    assert Tracer not in seen
