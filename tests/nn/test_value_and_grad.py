"""`nn.value_and_grad`: what it gives, what a call sees, and what it leaves behind."""

import threading
from typing import NamedTuple

import numpy as np
import pytest

from freezeviz import nn, tree_flatten
from freezeviz.autodiff import Tracer, count, grad, stop_gradient
from freezeviz.errors import AutodiffError


class Bag(nn.Module):
    def __init__(self, **members):
        super().__init__()
        for name, value in members.items():
            setattr(self, name, value)


def ones(*shape):
    return np.ones(shape, np.float32)


def mlp():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def flat(tree):
    return [path for path, _ in tree_flatten(tree)]


def state_of(model):
    return {path: (id(value), value.tobytes()) for path, value in tree_flatten(model.state)}


# ---------------------------------------------------------------- what it gives


def test_gradients_are_nested_as_the_model_is():
    model = Bag(a=[nn.Linear(1, 1), nn.ReLU(), {"x": ones(2)}], b=ones(3))
    loss = nn.value_and_grad(model, lambda: model.a[2]["x"].sum() + model.b.sum())
    value, grads = loss()
    assert value == 5
    assert grads["a"][1] == {}
    assert grads["a"][2]["x"].tolist() == [1, 1]
    assert grads["a"][0]["weight"].tolist() == [[0]]
    assert flat(grads) == flat(model.parameters())


def test_gradients_have_shape_and_dtype_of_their_parameters():
    model = Bag(h=np.ones(2, np.float16), f=ones(2, 1), d=np.ones((), np.float64))
    _, grads = nn.value_and_grad(model, lambda: (model.h * model.f * model.d).sum())()
    for path, value in model.named_parameters():
        assert grads[path].dtype == value.dtype
        assert grads[path].shape == value.shape
        assert type(grads[path]) is np.ndarray


def test_arguments_and_keywords_reach_the_function():
    model = mlp()

    def loss(x, *, scale):
        return (model(x) * scale).sum()

    one, _ = nn.value_and_grad(model, loss)(ones(1, 3), scale=1.0)
    two, _ = nn.value_and_grad(model, loss)(ones(1, 3), scale=2.0)
    assert two == pytest.approx(2 * one)


class Aux(NamedTuple):
    logits: np.ndarray
    extra: dict


def test_further_outputs_come_back_as_plain_arrays():
    model = mlp()

    def loss(x):
        y = model(x)
        return (y**2).sum(), y, Aux(y + 1, {"w": [model.layers[0].weight, "text"]})

    (value, logits, aux), grads = nn.value_and_grad(model, loss)(ones(2, 3))
    assert value == pytest.approx((model(ones(2, 3)) ** 2).sum())
    assert type(logits) is type(aux.logits) is np.ndarray
    assert isinstance(aux, Aux)
    np.testing.assert_array_equal(aux.extra["w"][0], model.layers[0].weight)
    assert aux.extra["w"][1] == "text"
    assert flat(grads) == flat(model.parameters())


def test_nothing_trainable_gives_the_value_and_no_gradients():
    model = nn.Sequential(mlp(), nn.BatchNorm(2)).freeze()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    with count() as counts:
        value, grads = nn.value_and_grad(model, lambda: model(x).sum())()
    assert grads == {}
    assert not counts.nodes
    assert np.isfinite(value)
    assert model.layers[1].running_mean.any()


def test_a_model_without_parameters_gives_no_gradients():
    value, grads = nn.value_and_grad(nn.ReLU(), lambda: np.float32(3))()
    assert (value, grads) == (3, {})


def test_a_parameter_without_influence_gets_zeros():
    model = Bag(used=ones(2), unused=ones(3))
    _, grads = nn.value_and_grad(model, lambda: model.used.sum())()
    assert grads["unused"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "result", [lambda m: m(ones(2, 3)), lambda m: "loss", lambda m: None, lambda m: ()]
)
def test_a_function_without_a_scalar_is_refused_and_changes_nothing(result):
    model = nn.Sequential(nn.BatchNorm(3), mlp())
    before = state_of(model)

    def loss():
        model(np.arange(6, dtype=np.float32).reshape(2, 3))
        return result(model)

    with pytest.raises((AutodiffError, IndexError)):
        nn.value_and_grad(model, loss)()
    assert state_of(model) == before


def test_a_function_in_place_of_the_model_is_named():
    with pytest.raises(TypeError, match="takes a model first, got function"):
        nn.value_and_grad(lambda: 0, nn.ReLU())


def test_complex_parameters_are_refused_not_descended_by_their_own_value():
    model = Bag(w=np.ones(2, np.complex64))
    with pytest.raises(AutodiffError, match="complex64"):
        nn.value_and_grad(model, lambda: np.float32(1))()
    model.freeze()
    assert nn.value_and_grad(model, lambda: np.float32(1))() == (1, {})


# ---------------------------------------------------------------- what a call sees


def test_a_call_sees_tracers_only_where_something_trains():
    model = mlp()
    model.layers[0].freeze()
    seen = {}

    def loss():
        seen.update({path: type(value) for path, value in model.named_parameters()})
        seen["attribute"] = type(model.layers[2].weight)
        return model(ones(1, 3)).sum()

    nn.value_and_grad(model, loss)()
    assert seen == {
        "layers.0.weight": np.ndarray,
        "layers.0.bias": np.ndarray,
        "layers.2.weight": Tracer,
        "layers.2.bias": Tracer,
        "attribute": Tracer,
    }


PENALTIES = {
    "named_parameters": lambda m: [v for _, v in m.named_parameters()],
    "parameters": lambda m: [v for _, v in tree_flatten(m.parameters())],
    "trainable_parameters": lambda m: [v for _, v in tree_flatten(m.trainable_parameters())],
    "state": lambda m: [v for p, v in tree_flatten(m.state) if "running" not in p],
    "filter_and_map": lambda m: [
        v for _, v in tree_flatten(m.filter_and_map(m.valid_parameter_filter))
    ],
    "map": lambda m: [
        v
        for _, v in tree_flatten(m.filter_and_map(m.trainable_parameter_filter, lambda p: p * 1.0))
    ],
}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_on_the_parameters_has_a_gradient(name):
    model = Bag(a=nn.Linear(2, 2), many=[np.full(2, 3.0), {"x": np.full(1, 5.0)}])

    def loss():
        return sum((p**2).sum() for p in PENALTIES[name](model))

    value, grads = nn.value_and_grad(model, loss)()
    for path, gradient in tree_flatten(grads):
        parameter = dict(model.named_parameters())[path]
        np.testing.assert_allclose(gradient, 2 * parameter, rtol=1e-6)
    assert value == pytest.approx(sum((v**2).sum() for _, v in model.named_parameters()))


def test_derivatives_nest():
    model = Bag(w=np.array([1.0, 2.0]), many=[np.array(3.0)])

    def inner():
        return (model.w**3).sum() * model.many[0]

    def outer():
        _, grads = nn.value_and_grad(model, inner)()
        return (grads["w"] ** 2).sum()  # sum of (3 w^2 m)^2

    value, grads = nn.value_and_grad(model, outer)()
    assert value == (9 * 9 + 36 * 36)
    np.testing.assert_allclose(grads["w"], 36 * model.w**3 * 9)
    np.testing.assert_allclose(grads["many"][0], 2 * (9 + 144) * 3)


def test_a_model_within_another_models_call_is_seen_by_both():
    first, second = Bag(w=np.array(2.0)), Bag(v=np.array(5.0))

    def outer():
        _, grads = nn.value_and_grad(second, lambda: first.w**2 * second.v**2)()
        return grads["v"]  # 2 w^2 v

    value, grads = nn.value_and_grad(first, outer)()
    assert value == 40
    assert grads["w"] == 40


def test_a_function_of_arrays_may_use_a_model():
    model = mlp()
    g = grad(lambda x: (model(x) ** 2).sum())(ones(2, 3))
    assert g.shape == (2, 3)
    assert type(model.layers[0].weight) is np.ndarray


def test_another_thread_sees_plain_arrays_during_a_call():
    model = nn.Sequential(nn.BatchNorm(3), mlp())
    inside, checked = threading.Event(), threading.Event()
    seen = {}

    def reader():
        inside.wait(10)
        seen["parameters"] = {type(v) for _, v in model.named_parameters()}
        seen["attribute"] = type(model.layers[1].layers[0].weight)
        seen["statistics"] = model.layers[0].running_mean.tolist()
        checked.set()

    thread = threading.Thread(target=reader)
    thread.start()

    def loss():
        y = model(np.arange(6, dtype=np.float32).reshape(2, 3))
        inside.set()
        assert checked.wait(10)
        return y.sum()

    nn.value_and_grad(model, loss)()
    thread.join()
    assert seen == {"parameters": {np.ndarray}, "attribute": np.ndarray, "statistics": [0, 0, 0]}


# ---------------------------------------------------------------- what it leaves behind


class Counting(nn.Module):
    """A layer with every kind of buffer."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm(3)
        self.calls = np.array([0])
        self.register_buffer("total", np.array(0.0))
        self.register_buffer("last", None)

    def __call__(self, x):
        self.calls = self.calls + 1
        self.total = self.total + stop_gradient(x).sum()
        self.last = x
        return self.norm(x)


def test_buffers_are_committed_when_the_call_returns(rng):
    model = nn.Sequential(nn.Linear(3, 3), Counting())
    layer, x = model.layers[1], rng.standard_normal((4, 3), dtype=np.float32)
    inside = {}

    def loss():
        y = model(x)
        inside.update(calls=layer.calls.tolist(), last=type(layer.last))
        model(x)
        inside["again"] = layer.calls.tolist()
        return y.sum()

    nn.value_and_grad(model, loss)()
    assert inside == {"calls": [1], "last": np.ndarray, "again": [2]}
    assert layer.calls.tolist() == [2]
    assert type(layer.last) is np.ndarray
    np.testing.assert_array_equal(layer.last, model.layers[0](x))
    assert layer.norm.running_mean.any()
    assert layer.total == pytest.approx(2 * model.layers[0](x).sum(), rel=1e-4)


def test_a_call_that_raises_leaves_the_model_as_it_was(rng):
    model = nn.Sequential(nn.Linear(3, 3), Counting(), nn.Linear(3, 2))
    model.layers[0].freeze()
    before, x = state_of(model), rng.standard_normal((4, 3), dtype=np.float32)

    def loss():
        model(x)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        nn.value_and_grad(model, loss)()
    assert state_of(model) == before
    assert model.layers[1].last is None
    assert model(x).shape == (4, 2)


def test_an_interrupt_leaves_the_model_as_it_was(rng):
    model, x = nn.Sequential(nn.BatchNorm(3), mlp()), rng.standard_normal((4, 3))
    before = state_of(model)

    def loss():
        model(x)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nn.value_and_grad(model, loss)()
    assert state_of(model) == before


def test_an_inner_call_within_one_that_raises_leaves_no_statistics(rng):
    norm, linear = nn.BatchNorm(3), nn.Linear(3, 3)
    x = rng.standard_normal((4, 3), dtype=np.float32)

    def outer():
        nn.value_and_grad(linear, lambda: linear(norm(x)).sum())()
        assert norm.running_mean.any()
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        nn.value_and_grad(norm, outer)()
    assert not norm.running_mean.any()


def test_a_call_without_gradients_updates_buffers_at_once(rng):
    model = Counting()
    model(rng.standard_normal((4, 3)))
    assert model.calls.tolist() == [1]
    assert model.norm.running_mean.any()


def test_arrays_of_the_model_are_the_same_objects_afterwards():
    model = mlp()
    before = state_of(model)
    nn.value_and_grad(model, lambda: model(ones(1, 3)).sum())()
    assert state_of(model) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(m.parameters()),
        lambda m: m.apply(lambda p: p * 2),
        lambda m: m.load_weights(m.named_parameters()),
        lambda m: m.layers[0].update({"weight": m.layers[0].weight}),
    ],
)
def test_traced_arrays_do_not_get_into_the_model(change):
    model = mlp()
    before = state_of(model)

    def loss():
        change(model)
        return model(ones(1, 3)).sum()

    with pytest.raises(AutodiffError):
        nn.value_and_grad(model, loss)()
    assert state_of(model) == before


def test_the_same_function_serves_every_freeze_state():
    model = mlp()
    both = nn.value_and_grad(model, lambda x: model(x).sum())
    x, value = ones(2, 3), None
    for keys in ("weight", "bias", ["weight", "bias"], None):
        model.unfreeze()
        if keys:
            model.freeze(keys=keys)
        now, grads = both(x)
        assert flat(grads) == flat(model.trainable_parameters())
        assert value is None or now == value
        value = now
