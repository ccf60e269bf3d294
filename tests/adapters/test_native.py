import dataclasses

import numpy as np
import pytest

from freezeviz import nn, tree_flatten
from freezeviz.adapters import BufferInfo, LayerInfo, NativeAdapter, ParameterInfo, adapt
from freezeviz.errors import SelectorError


class Bag(nn.Module):
    def __init__(self, **members):
        super().__init__()
        for name, value in members.items():
            setattr(self, name, value)


def ones(*shape):
    return np.ones(shape, np.float32)


def layers(info):
    return {layer.path: layer for layer in info.walk()}


def frozen(model):
    return {path for path, _ in tree_flatten(model.frozen_parameters())}


@pytest.fixture
def model():
    return Bag(
        first=nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm(3)),
        grid=[[nn.Dropout(0.1), nn.Linear(3, 3)], [ones(2), {"x": nn.LayerNorm(3)}]],
        scale=ones(5),
    )


# ---------------------------------------------------------------- snapshot


def test_the_root_is_named_after_its_class(model):
    root = adapt(model).snapshot()
    assert (root.path, root.name, root.kind) == ("", "Bag", "Bag")
    assert root.aliases == ()


def test_every_module_is_a_layer_in_order_under_its_parent(model):
    root = adapt(model).snapshot()
    assert [(c.path, c.name, c.kind) for c in root.children] == [
        ("first", "first", "Sequential"),
        ("grid.0.0", "grid.0.0", "Dropout"),
        ("grid.0.1", "grid.0.1", "Linear"),
        ("grid.1.1.x", "grid.1.1.x", "LayerNorm"),
    ]
    assert [(c.path, c.name) for c in root.children[0].children] == [
        ("first.layers.0", "layers.0"),
        ("first.layers.1", "layers.1"),
        ("first.layers.2", "layers.2"),
    ]
    assert [layer.path for layer in root.walk()] == [p for p, _ in model.named_modules()]


def test_parameters_and_buffers_are_the_layers_own(model):
    found = layers(adapt(model).snapshot())
    assert [p.path for p in found[""].parameters] == ["grid.1.0", "scale"]
    assert found["first"].parameters == ()
    norm = found["first.layers.2"]
    assert norm.parameters == (
        ParameterInfo("first.layers.2.weight", (3,), "float32", 3, 12),
        ParameterInfo("first.layers.2.bias", (3,), "float32", 3, 12),
    )
    assert norm.buffers == (
        BufferInfo("first.layers.2.running_mean", (3,), "float32", 12),
        BufferInfo("first.layers.2.running_var", (3,), "float32", 12),
    )
    below = {p.path for p in adapt(model).snapshot().all_parameters()}
    assert below == {path for path, _ in model.named_parameters()}


@pytest.mark.parametrize(
    ("array", "shape", "dtype", "size", "nbytes"),
    [
        (np.ones((2, 3)), (2, 3), "float64", 6, 48),
        (np.ones((), np.float16), (), "float16", 1, 2),
        (np.ones((0, 3), np.float32), (0, 3), "float32", 0, 0),
        (ones(2, 6)[:, ::2], (2, 3), "float32", 6, 24),
    ],
)
def test_sizes(array, shape, dtype, size, nbytes):
    (info,) = adapt(Bag(w=array)).snapshot().parameters
    assert info == ParameterInfo("w", shape, dtype, size, nbytes)


@pytest.mark.parametrize(
    ("layer", "detail"),
    [
        (nn.Linear(64, 128), "64 → 128"),
        (nn.Conv2d(3, 8, (3, 5)), "3 → 8, 3×5"),
        (nn.Conv2d(8, 16, 3, groups=4), "8 → 16, 3×3"),
        (nn.Embedding(1000, 16), "1000, 16"),
        (nn.Dropout(0.2), "p=0.2"),
        (nn.ReLU(), ""),
        (nn.LayerNorm(7), "7, eps=1e-05, affine=True"),
        (Bag(weight=3), ""),
    ],
)
def test_details_say_the_sizes(layer, detail):
    assert adapt(layer).snapshot().detail == detail


def test_bases_tell_the_type():
    class Wide(nn.Linear):
        pass

    assert nn.Linear in adapt(Wide(1, 1)).snapshot().bases


def test_a_snapshot_does_not_change_with_the_model(model):
    adapter = adapt(model)
    before = adapter.snapshot()
    again = adapter.snapshot()
    assert before == again
    model.first.layers.append(nn.Linear(1, 1))
    model.scale = ones(7)
    model.freeze()
    assert before == again
    assert adapter.snapshot() != before
    with pytest.raises(AttributeError):
        before.path = "x"
    with pytest.raises(AttributeError):
        before.parameters[0].path = "x"
    assert isinstance(before.children, tuple)
    assert hash(before)


def test_a_snapshot_holds_no_arrays_or_modules(model):
    def check(value):
        assert not isinstance(value, np.ndarray | nn.Module)
        if isinstance(value, tuple):
            for item in value:
                check(item)
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                check(getattr(value, field.name))

    check(adapt(model).snapshot())


def test_shared_layers_and_tied_arrays_have_aliases():
    inner = Bag(lin=nn.Linear(2, 2, bias=False))
    root = adapt(Bag(a=inner, b=[inner], w=inner.lin.weight)).snapshot()
    found = layers(root)
    assert set(found) == {"", "a", "a.lin"}
    assert found["a"].aliases == ("b.0",)
    assert found["a.lin"].aliases == ("b.0.lin",)
    (info,) = found["a.lin"].parameters
    assert info.path == "a.lin.weight"
    assert set(info.aliases) == {"b.0.lin.weight", "w"}
    assert root.parameters == ()


def test_private_modules_are_layers_without_parameters():
    root = adapt(Bag(_private=nn.Linear(1, 1), public=nn.Linear(1, 1))).snapshot()
    assert {c.path: len(c.parameters) for c in root.children} == {"_private": 0, "public": 2}


def test_a_cycle_is_a_tree():
    child = Bag(w=ones(1))
    model = Bag(child=child)
    child.parent = model
    assert [layer.path for layer in adapt(model).snapshot().walk()] == ["", "child"]


# ---------------------------------------------------------------- state


def test_frozen_is_what_is_frozen_now(model):
    adapter = adapt(model)
    assert adapter.frozen() == frozenset()
    model.first.freeze()
    assert adapter.frozen() == frozen(model)
    model.unfreeze()
    assert adapter.frozen() == frozenset()


def test_held_and_training(model):
    adapter = adapt(model)
    assert adapter.held() == frozenset()
    assert adapter.training()
    model.first.freeze(hold=True)
    assert adapter.held() == {"first", "first.layers.0", "first.layers.1", "first.layers.2"}
    model.eval()
    assert not adapter.training()
    model.train().freeze(recurse=False, hold=True)
    assert adapter.training()


def test_set_frozen_freezes_parameters_by_path(model):
    adapter = adapt(model)
    adapter.set_frozen(["scale", "grid.1.0", "first.layers.0.bias"], True)
    assert frozen(model) == {"scale", "grid.1.0", "first.layers.0.bias"}
    assert not model.scale.flags.writeable
    adapter.set_frozen(iter(["scale", "scale"]), False)
    assert frozen(model) == {"grid.1.0", "first.layers.0.bias"}
    assert model.scale.flags.writeable
    adapter.set_frozen([], True)
    assert adapter.held() == frozenset()


def test_set_frozen_takes_any_name_of_a_tied_parameter():
    model = Bag(a=nn.Linear(1, 1), b=nn.Linear(1, 1))
    model.b.weight = model.a.weight
    adapter = adapt(model)
    adapter.set_frozen(["b.weight"], True)
    assert adapter.frozen() == {"a.weight"}
    adapter.set_frozen(["a.weight"], False)
    assert adapter.frozen() == frozenset()


@pytest.mark.parametrize(
    "path", ["scal", "first", "first.layers.2.running_mean", "", "grid.1", "nope.weight"]
)
def test_an_unknown_path_changes_nothing(model, path):
    adapter = adapt(model)
    with pytest.raises(SelectorError, match=f"no parameter {path!r} in the model"):
        adapter.set_frozen(["scale", path], True, hold=True)
    assert adapter.frozen() == adapter.held() == frozenset()


def test_hold_takes_layers_whose_parameters_are_all_named(model):
    adapter = adapt(model)
    adapter.set_frozen(["first.layers.2.weight", "first.layers.2.bias"], True, hold=True)
    assert adapter.held() == {"first.layers.2"}
    adapter.set_frozen(["first.layers.0.weight", "first.layers.0.bias"], True, hold=True)
    assert adapter.held() == {"first.layers.2", "first.layers.0"}
    everything = [path for path, _ in model.named_parameters()]
    adapter.set_frozen(everything, True, hold=True)
    assert adapter.held() == {path for path, _ in model.named_modules()}
    adapter.set_frozen(everything, True)
    assert adapter.held() == {path for path, _ in model.named_modules()}
    adapter.set_frozen(everything, False, hold=False)
    assert adapter.held() == frozenset()


def test_hold_follows_a_tied_parameter_to_all_its_layers():
    model = Bag(embed=nn.Embedding(3, 2), head=nn.Linear(2, 3, bias=False))
    model.head.weight = model.embed.weight
    adapter = adapt(model)
    adapter.set_frozen(["embed.weight"], True, hold=True)
    assert adapter.held() == {"", "embed", "head"}


# ---------------------------------------------------------------- read


def test_read_gives_copies_of_parameters_and_buffers(model):
    adapter = adapt(model)
    model.freeze()
    for path, value in tree_flatten(model.state):
        got = adapter.read(path)
        np.testing.assert_array_equal(got, value)
        assert type(got) is np.ndarray
        assert got.flags.writeable
        assert not np.shares_memory(got, value)


def test_read_takes_any_name():
    inner = nn.Linear(1, 1)
    model = Bag(a=inner, b=inner, d={"x.y": ones(2), "x": {"z": ones(3)}})
    adapter = adapt(model)
    np.testing.assert_array_equal(adapter.read("b.weight"), inner.weight)
    assert adapter.read("d.x.y").shape == (2,)
    assert adapter.read("d.x.z").shape == (3,)


@pytest.mark.parametrize(
    "path", ["first", "first.layers.0.wieght", "", "grid.9", "_hidden", "grid.-1"]
)
def test_read_of_nothing_names_the_closest(model, path):
    model._hidden = ones(1)
    with pytest.raises(SelectorError, match=f"no array {path!r} in the model"):
        adapt(model).read(path)


def test_read_within_a_call_gives_the_models_own_arrays():
    model = nn.Linear(1, 1)
    seen = []

    def loss():
        seen.append(adapt(model).read("weight"))
        return model.weight.sum()

    nn.value_and_grad(model, loss)()
    np.testing.assert_array_equal(seen[0], model.weight)


# ---------------------------------------------------------------- size


def test_three_thousand_modules(capsys):
    import time

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(1, 1), nn.LayerNorm(1)

    model = Bag(blocks=[Block() for _ in range(1000)])
    adapter = adapt(model)
    start = time.perf_counter()
    root = adapter.snapshot()
    took = time.perf_counter() - start
    assert sum(1 for _ in root.walk()) == 3001
    adapter.set_frozen([p.path for p in root.all_parameters()], True, hold=True)
    assert len(adapter.frozen()) == 4000
    assert len(adapter.held()) == 3001
    with capsys.disabled():
        print(f"\n3,000 modules: snapshot in {took * 1e3:.0f} ms")


def test_the_adapter_of_an_adapter_is_itself(model):
    adapter = adapt(model)
    assert isinstance(adapter, NativeAdapter)
    assert adapt(adapter) is adapter
    assert adapter.framework == "freezeviz"
    assert adapter.model is model
    assert isinstance(adapter.snapshot(), LayerInfo)
