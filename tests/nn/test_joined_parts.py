"""Layers that compute parts together give what the parts give one by one."""

from typing import Any

import numpy as np
import pytest

from freezeviz import autodiff, nn, tree_flatten
from freezeviz.nn._calls import listened


class Conv2d(nn.Conv2d):
    """One that is not exactly ours, so that nothing is joined with it."""


class Linear(nn.Linear):
    """The same for linear layers."""


def _results(model: Any, x: Any) -> tuple[Any, Any, autodiff.Counts]:
    with autodiff.count() as counts:
        loss, gradients = nn.value_and_grad(model, lambda x: (model(x) ** 2).mean())(x)
    return loss, gradients, counts


def _assert_same(model: Any, other: Any, x: Any, nodes: int) -> None:
    """Assert that two models of equal values compute the same, one with fewer nodes."""
    for (path, value), (same, _) in zip(
        model.named_parameters(), other.named_parameters(), strict=True
    ):
        assert path == same
        other.load_weights([(path, value)], strict=False)
    loss, gradients, counts = _results(model, x)
    expected, wanted, one_by_one = _results(other, x)
    assert one_by_one.nodes.total() - counts.nodes.total() == nodes
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    pairs = zip(tree_flatten(gradients), tree_flatten(wanted), strict=True)
    for (path, got), (same, want) in pairs:
        assert path == same
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6, err_msg=path)


def _convolutions(conv: Any) -> nn.Sequential:
    return nn.Sequential(
        conv(2, 4, 3), nn.ReLU(),
        conv(4, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        conv(3, 5, 2), nn.MaxPool2d(2),
        conv(5, 2, 1), nn.GELU(),
        nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def _image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((3, 12, 12, 2)).astype(np.float32)


@pytest.mark.parametrize("frozen", [None, 0, 2])
def test_a_convolution_with_relu_and_pooling_is_one(
    frozen: int | None, rng: np.random.Generator
) -> None:
    models = [_convolutions(nn.Conv2d), _convolutions(Conv2d)]
    for model in models:
        if frozen is not None:
            model.layers[frozen].freeze()
    _assert_same(*models, _image(rng), 3 - (frozen == 0))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2, 1), nn.MaxPool2d(2, padding=1)])
def test_other_pooling_is_done_by_its_layer(pool: nn.Module, rng: np.random.Generator) -> None:
    models = [nn.Sequential(conv(2, 3, 3), nn.ReLU(), pool) for conv in (nn.Conv2d, Conv2d)]
    _assert_same(*models, _image(rng), 1)


def test_an_image_too_small_for_the_pooling_behind_a_convolution_is_told_by_the_pooling() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    with pytest.raises(ValueError, match=r"MaxPool2d.*height 1.* smaller"):
        model(np.ones((1, 3, 9, 1), np.float32))
    with pytest.raises(ValueError, match=r"Conv2d.*expects x of shape"):
        model(np.ones((3, 9, 1), np.float32))


class _Attention(nn.Module):
    def __init__(self, linear: Any, bias: bool = True, values: int | None = None):
        super().__init__()
        self.inner = nn.MultiHeadAttention(6, 2, value_dims=values, bias=bias)
        self.inner.query_proj = linear(6, 6, bias=bias)

    def __call__(self, x: Any) -> Any:
        return self.inner(x, x, x)


def _sequence(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((3, 5, 6)).astype(np.float32)


# Packed: one node for three projections, one for the attention, none that splits or joins.
_SPARED = 3 + 3 * 2 + 1 + 2 - 2


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("values", [None, 10])
def test_attention_of_an_input_to_itself_is_one_product_with_three_weights(
    bias: bool, values: int | None, rng: np.random.Generator
) -> None:
    models = [_Attention(linear, bias, values) for linear in (nn.Linear, Linear)]
    _assert_same(*models, _sequence(rng), _SPARED)
    gemms = _results(models[0], _sequence(rng))[2].gemms
    width = 12 + (values or 6)
    assert gemms[((15, 6), (6, width))] == gemms[((width, 15), (15, 6))] == 1


@pytest.mark.parametrize("keys", [["weight"], ["bias"]])
def test_what_is_frozen_of_all_three_is_not_computed(
    keys: list[str], rng: np.random.Generator
) -> None:
    models = [_Attention(linear) for linear in (nn.Linear, Linear)]
    for model in models:
        for name in ("query_proj", "key_proj", "value_proj"):
            getattr(model.inner, name).freeze(keys=keys)
    _assert_same(*models, _sequence(rng), _SPARED)
    gemms = _results(models[0], _sequence(rng))[2].gemms
    assert gemms[((18, 15), (15, 6))] == (keys == ["bias"])


def test_with_one_projection_frozen_and_nothing_below_it_its_cotangent_is_not_computed(
    rng: np.random.Generator,
) -> None:
    model = _Attention(nn.Linear)
    model.inner.query_proj.freeze()
    model.inner.key_proj.freeze()
    counts = _results(model, _sequence(rng))[2]
    # Neither scores nor what led to them: values alone train.
    forward = {((3, 2, 5, 3), (3, 2, 3, 5)): 1, ((3, 2, 5, 5), (3, 2, 5, 3)): 2}
    assert {k: n for k, n in counts.gemms.items() if len(k[0]) == 4} == forward
    assert "projections" not in counts.nodes


def test_a_part_of_three_trained_weights_takes_a_part_of_the_product(
    rng: np.random.Generator,
) -> None:
    models = [nn.Sequential(nn.Linear(6, 6), _Attention(linear)) for linear in (nn.Linear, Linear)]
    for model in models:
        model.layers[1].inner.key_proj.freeze()
    _assert_same(*models, _sequence(rng), _SPARED)
    gemms = _results(models[0], _sequence(rng))[2].gemms
    assert ((18, 15), (15, 6)) not in gemms
    assert gemms[((6, 15), (15, 6))] == 4  # query, value, the output and the layer below


def test_while_somebody_listens_every_layer_is_called(rng: np.random.Generator) -> None:
    model, x = _Attention(nn.Linear), _sequence(rng)
    joined = model(x)
    with listened(model.modules()):
        counts = _results(model, x)[2]
        np.testing.assert_allclose(model(x), joined, rtol=1e-5, atol=1e-6)
    assert counts.nodes["linear"] == 4
    assert "projections" in _results(model, x)[2].nodes


@pytest.mark.parametrize("change", ["mixed dtypes", "activation", "some biases"])
def test_projections_that_do_not_go_together_are_called_one_by_one(
    change: str, rng: np.random.Generator
) -> None:
    model, x = _Attention(nn.Linear), _sequence(rng)
    if change == "mixed dtypes":
        model.inner.key_proj.weight = model.inner.key_proj.weight.astype(np.float64)
    elif change == "activation":
        model.inner.key_proj.activation = nn.relu
    else:
        model.inner.key_proj = nn.Linear(6, 6, bias=False)
    assert "projections" not in _results(model, x)[2].nodes


@pytest.mark.parametrize("activation", [nn.gelu, nn.relu, nn.GELU()])
def test_a_transformer_layer_joins_its_activation(
    activation: Any, rng: np.random.Generator
) -> None:
    models = [nn.TransformerEncoderLayer(6, 2, 8, activation=activation) for _ in range(2)]
    models[1].linear1 = Linear(6, 8)
    _assert_same(*models, _sequence(rng), 1)
