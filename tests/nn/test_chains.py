"""Small linear layers that are computed at once give what they give one by one, to the last bit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeviz import autodiff, nn
from freezeviz.autodiff import _chain, _sets, _tracer
from freezeviz.errors import AutodiffError, ShapeError
from freezeviz.nn._layers import _chains
from freezeviz.tree import tree_flatten

SIZES = st.integers(0, 6)


def _model(data, dtype):
    rng = np.random.default_rng(data.draw(st.integers(0, 5)))
    widths = data.draw(st.lists(SIZES, min_size=2, max_size=5))
    layers = []
    for inputs, outputs in pairwise(widths):
        layers.append(nn.Linear(inputs, outputs, bias=data.draw(st.booleans()), rng=rng))
        layers += data.draw(st.sampled_from([[], [nn.ReLU()], [nn.Tanh()], [nn.GELU()]]))
    model = nn.Sequential(*layers).set_dtype(dtype)
    for path, _ in model.named_parameters():
        if data.draw(st.booleans()):
            *parents, name = path.split(".")
            model.layers[int(parents[1])].freeze(keys=name)
    if data.draw(st.booleans()) and len(layers) > 1 and type(layers[0]) is nn.Linear:
        model.layers.append(layers[0])  # tied, and perhaps of a size that does not fit
    return model, rng.standard_normal((data.draw(st.integers(0, 5)), widths[0])).astype(dtype)


def _results(model, x, into_x):
    """Return value and gradients of a step, in the input, too, if asked for; or what is raised."""

    def loss(x):
        y = model(x)
        return (y * y).sum() + y.sum(), y

    try:
        if into_x:
            (value, y), gradients = autodiff.value_and_grad(loss)(x)
        else:
            (value, y), gradients = nn.value_and_grad(model, loss)(x)
        plain = model(x)
    except ShapeError as error:
        return str(error)
    arrays = [value, y, plain, *(g for _, g in tree_flatten(gradients))]
    return [(a.dtype, a.shape, a.tobytes()) for a in arrays if hasattr(a, "tobytes")]


@settings(max_examples=200)
@given(st.data())
def test_a_chain_gives_the_bits_of_its_layers(data):
    model, x = _model(data, data.draw(st.sampled_from([np.float32, np.float64])))
    into_x = data.draw(st.booleans())
    together = _results(model, x, into_x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_chains, "chain", lambda x, links: None)
        assert together == _results(model, x, into_x)


def test_a_layer_that_is_there_several_times_gets_the_bits_of_its_gradient():
    layer, x = nn.Linear(8, 8, rng=np.random.default_rng(0)), np.linspace(-1, 1, 72).reshape(9, 8)
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), layer, nn.ReLU(), layer)
    together = _results(model, x.astype(np.float32), into_x=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_chains, "chain", lambda x, links: None)
        assert together == _results(model, x.astype(np.float32), into_x=False)


def _chained(monkeypatch, model, x, around=None):
    """Return how many chains were computed in a step."""
    found = []

    def chain(x, links):
        value = _chain.chain(x, links)
        found.append(value is not None)
        return value

    monkeypatch.setattr(_chains, "chain", chain)
    fn = nn.value_and_grad(model, lambda x: (model(x) ** 2).sum())
    if around is None:
        fn(x)
    else:
        with around():
            fn(x)
    return sum(found)


def _mlp(*more):
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), *more)


X = np.ones((5, 3), np.float32)


def test_layers_of_a_small_network_are_computed_at_once(monkeypatch):
    assert _chained(monkeypatch, _mlp(), X) == 1
    assert _chained(monkeypatch, _mlp(nn.Linear(2, 2), nn.Tanh(), nn.LayerNorm(2)), X) == 1


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (_mlp(), np.ones((2, 5, 3), np.float32)),
        (_mlp(), np.ones((5, 3))),
        (_mlp(), np.ones((2000, 3), np.float32)),
        (_mlp(), np.ones((5, 3), np.float16)),
        (_mlp().set_dtype(np.float16), np.ones((5, 3), np.float16)),
    ],
    ids=["three axes", "another dtype", "large", "half inputs", "half"],
)
def test_what_is_not_small_or_plain_is_computed_layer_by_layer(monkeypatch, model, x):
    assert _chained(monkeypatch, model, x) == 0


def test_beside_large_arrays_no_chain_is_looked_for(monkeypatch):
    monkeypatch.setattr(_chains, "chain", lambda x, links: pytest.fail("nothing large is chained"))
    assert _mlp()(np.ones((2000, 3), np.float32)).shape == (2000, 2)


class _Linear(nn.Linear):
    pass


def test_layers_that_somebody_made_are_called_themselves(monkeypatch):
    model = nn.Sequential(nn.Linear(3, 4), _Linear(4, 4), nn.Linear(4, 2))
    assert _chained(monkeypatch, model, X) == 0
    called = []
    original = nn.Linear.__call__
    monkeypatch.setattr(
        nn.Linear, "__call__", lambda self, x: called.append(self) or original(self, x)
    )
    assert _chained(monkeypatch, _mlp(), X) == 0
    assert len(called) == 2


def test_who_counts_sees_every_layer(monkeypatch):
    assert _chained(monkeypatch, _mlp(), X, autodiff.count) == 0


def test_without_the_numpy_kernels_there_is_no_chain(monkeypatch):
    before = _sets.in_force()
    try:
        _sets.put_in_force(frozenset())
        assert _chained(monkeypatch, _mlp(), X) == 0
    finally:
        _sets.put_in_force(before)


def test_a_layer_of_the_wrong_size_is_named():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(5, 2))
    fn = nn.value_and_grad(model, lambda x: model(x).sum())
    with pytest.raises(ShapeError, match=r"layers\.2.*input_dims=5"):
        fn(X)


def test_second_derivatives_are_those_of_the_single_layers():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).set_dtype(np.float64)
    x = np.random.default_rng(0).standard_normal((2, 3))

    def gradient(x):
        return (autodiff.grad(lambda x: model(x).sum())(x) ** 2).sum()

    found, step = autodiff.grad(gradient)(x), 1e-6
    nudge = np.zeros_like(x)
    nudge[1, 2] = step
    difference = (gradient(x + nudge) - gradient(x - nudge)) / (2 * step)
    np.testing.assert_allclose(found[1, 2], difference, rtol=1e-6)


def test_the_pullback_of_a_chain_is_not_differentiated_by_itself():
    model = _mlp().set_dtype(np.float64)
    _, pullback = autodiff.vjp(model, np.ones((2, 3)))
    with pytest.raises(AutodiffError, match="cannot be differentiated by itself"):
        autodiff.grad(lambda g: pullback(g)[0].sum())(np.ones((2, 2)))


def test_an_infinite_cotangent_does_not_pass_where_relu_was_zero():
    layers = nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)
    model = nn.Sequential(*layers)
    model.load_weights(
        [
            (path, np.float32([[-1]]))
            for path, _ in model.named_parameters()
            if path.endswith("weight")
        ],
        strict=False,
    )
    layers[0].bias = np.zeros(1, np.float32)
    _, pullback = autodiff.vjp(model, np.ones((1, 1), np.float32))
    assert pullback(np.float32([[np.inf]]))[0].tolist() == [[0.0]]


def test_what_a_frozen_layer_below_all_others_was_given_is_not_kept():
    model = _mlp()
    model.layers[0].freeze()
    kept = []
    record = _tracer.Tape.record

    def spy(self, name, parents, pull, value):
        if name == "linear":
            kept.append(pull.kept)
        return record(self, name, parents, pull, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_tracer.Tape, "record", spy)
        nn.value_and_grad(model, lambda x: model(x).sum())(X)
    ((rows, weight, value, activation, into_bias),) = kept[0]
    assert rows.shape == (5, 4)
    assert (weight, value, activation, into_bias) == (None, None, None, True)
