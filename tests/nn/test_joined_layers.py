"""Layers that Sequential computes together: what it saves, and that nobody can see it."""

import functools
from typing import Any

import numpy as np
import pytest

from freezeviz import autodiff, nn
from freezeviz.nn import _calls
from freezeviz.nn._layers import _joining

ACTIVATIONS = {"ReLU": nn.ReLU, "GELU": nn.GELU, "Tanh": nn.Tanh}


def _model(activation: Any, seed: int = 0) -> nn.Sequential:
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Linear(4, 6, rng=rng), activation, nn.Linear(6, 3, rng=rng))


def _x(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape or (5, 4)).astype(np.float32)


def _counts(model: Any, x: Any) -> autodiff.Counts:
    with autodiff.count() as counts:
        nn.value_and_grad(model, lambda x: model(x).sum())(x)
    return counts


def _both(model: Any, x: Any) -> tuple[Any, Any]:
    """Return loss and gradients with layers joined, and with each called by itself."""
    value_and_grad = nn.value_and_grad(model, lambda x: (model(x) ** 2).sum())
    together = value_and_grad(x)
    with _calls.listened(model.modules()):
        apart = value_and_grad(x)
    return together, apart


def _flat(result: Any) -> list[np.ndarray]:
    loss, gradients = result
    layers = gradients["layers"]
    return [np.asarray(loss), *(layer[k] for layer in layers for k in sorted(layer))]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_linear_layer_and_its_activation_are_one_node(name: str) -> None:
    model = _model(ACTIVATIONS[name]())
    assert _counts(model, _x()).nodes == {"linear": 2, "sum": 1}


@pytest.mark.parametrize("shape", [(5, 4), (4,), (2, 3, 4), (0, 4), (1, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_joined_layers_give_the_bits_of_separate_ones(name: str, dtype: Any, shape: Any) -> None:
    model = _model(ACTIVATIONS[name]())
    model.update({"layers": [_cast(p, dtype) for p in model.parameters()["layers"]]})
    x = _x(*shape).astype(dtype)
    together, apart = _both(model, x)
    for a, b in zip(_flat(together), _flat(apart), strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, b)


def _cast(parameters: dict[str, Any], dtype: Any) -> dict[str, Any]:
    return {k: v.astype(dtype) for k, v in parameters.items()}


@pytest.mark.parametrize("freeze", [[0], [2], [0, 2]])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_frozen_layers_change_no_value_of_joined_ones(name: str, freeze: list[int]) -> None:
    model = _model(ACTIVATIONS[name]())
    free = nn.value_and_grad(model, lambda x: (model(x) ** 2).sum())(_x())
    for i in freeze:
        model.layers[i].freeze()
    loss, gradients = nn.value_and_grad(model, lambda x: (model(x) ** 2).sum())(_x())
    np.testing.assert_array_equal(loss, free[0])
    for mine, all_ in zip(gradients.get("layers", []), free[1]["layers"], strict=False):
        for key, value in mine.items():
            np.testing.assert_array_equal(value, all_[key])


class Doubled(nn.Linear):
    def __call__(self, x: Any) -> Any:
        return super().__call__(x) * 2.0


class Shifted(nn.GELU):
    def __call__(self, x: Any) -> Any:
        return super().__call__(x) + 1.0


def test_subclasses_are_called_themselves() -> None:
    x, plain = _x(), _model(nn.ReLU())
    doubled = nn.Sequential(Doubled(4, 6), nn.ReLU(), plain.layers[2])
    doubled.layers[0].update(plain.layers[0].parameters())
    hidden = np.maximum(plain.layers[0](x) * 2, 0)
    np.testing.assert_allclose(doubled(x), plain.layers[2](hidden), rtol=1e-6)
    shifted = nn.Sequential(plain.layers[0], Shifted(), plain.layers[2])
    hidden = nn.gelu(plain.layers[0](x)) + 1.0
    np.testing.assert_allclose(shifted(x), plain.layers[2](hidden), rtol=1e-5)


@pytest.mark.parametrize("place", [0, 1])
def test_a_replaced_call_is_called(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = _model(nn.ReLU()), []
    cls = type(model.layers[place])
    before = cls.__call__

    @functools.wraps(before)
    def call(self: Any, x: Any) -> Any:
        seen.append(type(self).__name__)
        return before(self, x)

    monkeypatch.setattr(cls, "__call__", call)
    model(_x())
    assert seen == ([["Linear", "Linear"], ["ReLU"]][place])
    monkeypatch.undo()
    assert _counts(model, _x()).nodes == {"linear": 2, "sum": 1}


def test_while_somebody_listens_every_layer_is_heard() -> None:
    model = _model(nn.ReLU())
    heard: list[str] = []

    class Listener:
        def is_open(self) -> bool:
            return True

        def call(self, function: Any, module: Any, args: Any, options: Any) -> Any:
            heard.append(type(module).__name__)
            return function(module, *args, **options)

        def gradients(self, entries: Any) -> None:
            raise AssertionError("there are none in a plain call")

    token = _calls.current.set(Listener())
    try:
        with _calls.listened(model.modules()):
            model(_x())
    finally:
        _calls.current.reset(token)
    assert sorted(heard) == ["Linear", "Linear", "ReLU", "Sequential"]


def test_layers_that_are_nobody_s_business_stay_separate() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU("tanh"), nn.Linear(4, 4), nn.Sigmoid())
    assert "sigmoid" in _counts(model, _x()).nodes
    own = nn.Sequential(nn.Linear(4, 4, activation=nn.silu), nn.ReLU())
    np.testing.assert_array_equal(own(_x()), np.maximum(own.layers[0](_x()), 0))
    function = nn.Sequential(nn.Linear(4, 4), np.tanh, nn.ReLU())
    np.testing.assert_array_equal(function(_x()), np.maximum(np.tanh(function.layers[0](_x())), 0))


@pytest.mark.parametrize("activation", [nn.relu, nn.gelu, nn.tanh, np.tanh, autodiff.relu])
def test_a_linear_layer_with_a_known_activation_is_one_node(activation: Any) -> None:
    layer = nn.Linear(4, 6, activation=activation)
    assert _counts(layer, _x()).nodes == {"linear": 1, "sum": 1}
    plain = autodiff.linear(_x(), layer.weight, layer.bias)
    np.testing.assert_array_equal(layer(_x()), activation(plain))


def test_a_linear_layer_with_an_activation_of_the_user_s_calls_it() -> None:
    seen: list[Any] = []

    def mine(x: Any) -> Any:
        seen.append(x.shape)
        return x * 2.0

    layer = nn.Linear(4, 6, activation=mine)
    expected = autodiff.linear(_x(), layer.weight, layer.bias) * 2.0
    np.testing.assert_array_equal(layer(_x()), expected)
    assert seen == [(5, 6)]


def test_an_error_in_a_joined_layer_names_it() -> None:
    model = _model(nn.ReLU())
    with pytest.raises(ValueError, match=r"Linear.*input_dims=4"):
        model(_x(5, 3))


def test_a_joint_may_take_as_many_layers_as_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plus(nn.Module):
        def __call__(self, x: Any) -> Any:
            raise AssertionError("the joint computes it")

    def all_of_them(layers: Any, at: int, x: Any) -> tuple[Any, int]:
        n = 0
        while at + n < len(layers) and type(layers[at + n]) is Plus:
            n += 1
        return x + n, n

    monkeypatch.setattr(_joining, "_joints", dict(_joining._joints))
    _joining.add_joint(Plus, all_of_them)
    model = nn.Sequential(Plus(), Plus(), Plus(), nn.Identity())
    assert model(1.0) == 4.0
