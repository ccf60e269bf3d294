"""New values for a model: update, update_modules, apply, set_dtype, to."""

import numpy as np
import pytest

from freezeviz import nn, tree_flatten, tree_map
from freezeviz.errors import DeviceError, WeightsError


class Bag(nn.Module):
    def __init__(self, **members):
        super().__init__()
        for name, value in members.items():
            setattr(self, name, value)


def ones(*shape):
    return np.ones(shape, np.float32)


def model():
    made = Bag(a=nn.Linear(2, 2), many=[ones(1), {"x": ones(2)}, nn.BatchNorm(2)], w=ones(3))
    made.a.freeze()
    return made


def state_of(model):
    return {path: value.tobytes() for path, value in tree_flatten(model.state)}


def frozen(model):
    return [path for path, _ in tree_flatten(model.frozen_parameters())]


# ---------------------------------------------------------------- update


def test_update_takes_the_tree_that_parameters_gives():
    m = model()
    assert m.update(tree_map(lambda p: p + 1, m.parameters())) is m
    np.testing.assert_array_equal(m.w, 2)
    np.testing.assert_array_equal(m.many[1]["x"], 2)


def test_update_changes_only_what_it_is_given():
    m = model()
    before = state_of(m)
    m.update({"many": [{}, {"x": ones(2) * 7}]})
    after = state_of(m)
    assert [path for path in after if after[path] != before[path]] == ["many.1.x"]
    m.update({})
    m.update({"many": [None, {}, {"running_mean": ones(2)}]})
    np.testing.assert_array_equal(m.many[2].running_mean, 1)


def test_update_keeps_frozen_names_frozen_and_read_only():
    m = model()
    new = ones(2, 2) * 3
    m.update({"a": {"weight": new}})
    assert frozen(m) == ["a.weight", "a.bias"]
    assert not m.a.weight.flags.writeable
    assert m.unfreeze().a.weight is new


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"w": ones(3) * 2, "nope": ones(1)}, "no parameter 'nope'"),
        ({"w": ones(3) * 2, "a": {"wieght": ones(2, 2)}}, r"'a.wieght'.*Closest: 'weight'"),
        ({"w": ones(3) * 2, "many": [ones(1), {}, {}, ones(1)]}, "no parameter 'many.3'"),
        ({"w": ones(3) * 2, "a": ones(2, 2)}, "tree at 'a' is a ndarray, expected a dict"),
        ({"w": ones(3) * 2, "many": {"0": ones(1)}}, "at 'many' is a dict, expected a list"),
        ({"w": ones(3) * 2, "a": {"weight": "text"}}, "'a.weight' expects an array, got str"),
        ({"w": ones(3) * 2, "a": {"weight": 3.0}}, "'a.weight' expects an array, got float"),
        ({"w": ones(3) * 2, "a": {"weight": {}}}, "'a.weight' expects an array, got dict"),
        ({"w": ones(3) * 2, "a": {"weight": None}}, "'a.weight' expects an array, got NoneType"),
        (
            {"w": ones(3) * 2, "a": {"weight": np.ones((2, 2), int)}},
            "'a.weight' expects a floating array, got int64",
        ),
        ([ones(1)], "given is a list, expected a dict"),
    ],
)
def test_an_update_that_does_not_fit_changes_nothing(tree, message):
    m = model()
    before = state_of(m)
    with pytest.raises(WeightsError, match=message):
        m.update(tree)
    assert state_of(m) == before


def test_a_tree_may_leave_out_what_has_no_parameters():
    # A list in a tree has `{}` for a function, as for a layer without parameters.
    m = nn.Sequential(nn.tanh, nn.ReLU(), nn.Linear(2, 2))
    m.update(m.parameters())
    m.update({"layers": [{}, None, {"bias": ones(2) * 3}]})
    np.testing.assert_array_equal(m.layers[2].bias, 3)
    m.apply(lambda p: p * 2, nn.Module.valid_parameter_filter)  # which is not given functions
    np.testing.assert_array_equal(m.layers[2].bias, 6)
    with pytest.raises(WeightsError, match=r"'layers.0' is a dict.*has a \w+ there, without param"):
        m.update({"layers": [{"weight": ones(2)}]})


def test_only_a_dict_is_a_tree_of_modules():
    with pytest.raises(WeightsError, match="the tree given is a ReLU, expected a dict"):
        model().update_modules(nn.ReLU())


def test_an_update_that_is_not_strict_passes_unknown_names_over():
    m = model()
    m.update({"w": ones(3) * 2, "nope": {"deep": ones(1)}, "many": [ones(1), 3, {}, {}]}, False)
    np.testing.assert_array_equal(m.w, 2)


# ---------------------------------------------------------------- update_modules


def test_replaced_modules_are_trainable():
    m = model().freeze()
    new, norm = nn.Linear(2, 5), nn.LayerNorm(2)
    assert m.update_modules({"a": new, "many": [{}, {}, norm]}) is m
    assert m.a is new
    assert m.many[2] is norm
    assert frozen(m) == ["many.0", "many.1.x", "w"]


def test_modules_are_replaced_at_any_depth():
    t = nn.Transformer(4, 2, 1, 1)
    new = nn.Linear(4, 4)
    t.update_modules({"encoder": {"layers": [{"attention": {"query_proj": new}}]}})
    assert t.encoder.layers[0].attention.query_proj is new


def test_leaf_modules_can_be_mapped_and_put_back():
    m = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    leaves = tree_map(
        lambda x: nn.Identity() if isinstance(x, nn.ReLU) else x,
        m.leaf_modules(),
        is_leaf=nn.Module.is_module,
    )
    first = m.layers[0]
    m.update_modules(leaves)
    assert m.layers[0] is first
    assert isinstance(m.layers[1], nn.Identity)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"w": nn.ReLU()}, "'w' is no module but a ndarray"),
        ({"nope": nn.ReLU()}, "has no 'nope'"),
        ({"mani": [nn.ReLU()]}, "has no 'mani'. Closest: 'many'"),
        ({"many": {"0": nn.ReLU()}}, "at 'many' is a dict, expected a list"),
        ({"a": ones(1)}, "'a' expects a module, got ndarray"),
        ({"many": [{}, {}, {}, nn.ReLU()]}, "has no 'many.3': the list has 3 items"),
        ({"many": [nn.ReLU()]}, "'many.0' is no module but a ndarray"),
    ],
)
def test_modules_that_do_not_fit_change_nothing(tree, message):
    m = model()
    inner = m.a
    with pytest.raises(WeightsError, match=message):
        m.update_modules({"a": nn.Linear(2, 2)} | tree)
    assert m.a is inner
    m.update_modules(tree, strict=False)
    assert m.a is inner


# ---------------------------------------------------------------- apply, set_dtype, to


def test_apply_maps_parameters_but_not_buffers():
    m = model()
    mean = m.many[2].running_mean
    assert m.apply(lambda p: p * 0) is m
    assert all((value == 0).all() for _, value in m.named_parameters())
    assert m.many[2].running_mean is mean
    assert frozen(m) == ["a.weight", "a.bias"]


def test_apply_with_a_filter():
    m = model()
    m.apply(lambda p: p * 0, m.trainable_parameter_filter)
    assert m.a.weight.any()
    assert not m.w.any()


@pytest.mark.parametrize("bad", [lambda p: None, lambda p: p.tolist(), lambda p: p.astype(int)])
def test_apply_of_something_that_gives_no_floating_array_changes_nothing(bad):
    m = model()
    before = state_of(m)
    with pytest.raises(WeightsError, match=r"Bag\.apply\(\): 'w' expects"):
        m.apply(lambda p: bad(p) if p.shape == (3,) else p * 2)
    assert state_of(m) == before


def test_apply_that_raises_changes_nothing():
    m = model()
    before = state_of(m)

    def fail_on_the_last(p):
        if p.shape == (3,):
            raise ZeroDivisionError
        return p * 2

    with pytest.raises(ZeroDivisionError):
        m.apply(fail_on_the_last)
    assert state_of(m) == before


@pytest.mark.parametrize("dtype", ["float16", "float64", np.float16])
def test_set_dtype_casts_all_that_floats(dtype):
    m = model()
    m.index = np.arange(3)
    assert m.set_dtype(dtype) is m
    assert {v.dtype for _, v in m.named_parameters()} == {np.dtype(dtype)}
    assert m.many[2].running_mean.dtype == dtype
    assert m.index.dtype == np.int64
    assert frozen(m) == ["a.weight", "a.bias"]
    assert not m.a.weight.flags.writeable


def test_set_dtype_asks_a_predicate():
    m = model()
    m.w = np.ones(3)
    m.set_dtype("float16", lambda dtype: dtype == np.float64)
    assert m.w.dtype == np.float16
    assert m.many[0].dtype == np.float32


class Bfloat16:
    """Stands for `ml_dtypes.bfloat16`, which need not be installed."""

    kind, name = "V", "bfloat16"


class Bfloat16Array:
    """Stands for an array of it."""

    dtype, shape = Bfloat16(), (2, 2)

    def __array_namespace__(self, api_version=None):
        return np


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", Bfloat16()])
def test_set_dtype_to_what_numpy_has_not_is_refused_by_name(dtype):
    layer = nn.Linear(2, 2)
    before = state_of(layer)
    with pytest.raises(WeightsError, match=r"expects float16.*got (bf|f)loat\w+, which NumPy"):
        layer.set_dtype(dtype)
    assert state_of(layer) == before


def test_a_bfloat16_array_is_refused_and_never_taken_for_a_buffer():
    layer, raw = nn.Linear(2, 2), Bfloat16Array()
    before = state_of(layer)
    for put in (
        lambda: setattr(layer, "weight", raw),
        lambda: setattr(layer, "new", raw),
        lambda: layer.update({"weight": raw}),
        lambda: layer.apply(lambda p: raw),
        lambda: layer.load_weights({"weight": raw, "bias": ones(2)}),
    ):
        with pytest.raises(WeightsError, match=r"got bfloat16.*convert with .astype\(np.float32\)"):
            put()
    assert state_of(layer) == before


def test_set_dtype_to_integers_is_refused():
    m = model()
    before = state_of(m)
    with pytest.raises(WeightsError, match="expects a floating array, got int32"):
        m.set_dtype("int32")
    assert state_of(m) == before


def test_a_tied_array_stays_tied_through_all_of_these():
    m = Bag(a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    m.b.weight = m.a.weight
    for change in (
        lambda: m.apply(lambda p: p + 1),
        lambda: m.set_dtype("float64"),
        lambda: m.update({"b": {"weight": np.zeros((2, 2))}}),
        lambda: m.load_weights([("b.weight", np.ones((2, 2)))], strict=False),
        lambda: m.to("cpu"),
    ):
        change()
        assert m.aliases() == {"a.weight": ("b.weight",)}
    np.testing.assert_array_equal(m.a.weight, 1)


def test_to_the_cpu_keeps_what_is_there():
    m = model()
    before = state_of(m)
    arrays = [id(v) for _, v in tree_flatten(m.state)]
    assert m.to("cpu") is m
    assert state_of(m) == before
    assert frozen(m) == ["a.weight", "a.bias"]
    assert len(arrays) == len(tree_flatten(m.state))


def test_to_nowhere_is_refused():
    with pytest.raises(DeviceError, match="'tpu'"):
        model().to("tpu")
