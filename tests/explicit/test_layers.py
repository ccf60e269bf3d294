"""Layers under Lux's names, and what the explicit face needed of them."""

import pickle

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import explicit as lux
from freezeviz import nn
from freezeviz.explicit import BatchNorm, Dense
from tests.explicit._models import equal, leaves, same

X = np.random.default_rng(1).standard_normal((4, 3), dtype=np.float32)


def test_batch_norm_is_the_librarys_under_another_name():
    ours, theirs = BatchNorm(3), nn.BatchNorm(3)
    assert list(leaves(ours.parameters())) == ["scale", "bias"]
    assert list(leaves(theirs.parameters())) == ["weight", "bias"]
    ours.scale = theirs.weight = np.array([1, 2, 3], np.float32)
    assert equal(ours(X), theirs(X))
    assert same(ours.buffers(), theirs.buffers())
    assert equal(ours.eval()(X), theirs.eval()(X))
    assert "affine=True" in repr(ours)
    assert leaves(BatchNorm(3, affine=False).parameters()) == {}


def test_dense_applies_its_activation():
    layer = Dense(3, 2, activation=np.tanh)
    assert equal(layer(X), np.tanh(Dense.__call__(bare(layer), X)))
    gradients = [
        nn.value_and_grad(f, lambda f=f, g=g: g(f(X)).sum())()[1]
        for f, g in (
            (layer, lambda y: y),
            (bare(layer), np.tanh),
        )
    ]
    assert same(*gradients)
    assert repr(layer) == "Linear(input_dims=3, output_dims=2, bias=True, activation=tanh)"
    assert equal(pickle.loads(pickle.dumps(layer))(X), layer(X))


def bare(layer):
    """Return a layer with the same parameters and no activation."""
    new = Dense(3, 2)
    return new.update(layer.parameters())


def test_an_activation_is_given_by_name_and_is_a_function():
    with pytest.raises(TypeError, match="bias is True or False, got <ufunc 'tanh'>; write activat"):
        Dense(3, 2, np.tanh)
    with pytest.raises(TypeError, match="activation is a function, got the layer Tanh"):
        Dense(3, 2, activation=nn.Tanh())


def test_dropout_draws_from_the_generator_in_use_or_from_its_state():
    layer = nn.Dropout(0.5)
    with fv.random.using(np.random.default_rng(8)):
        stateful = layer(X)
    state = {"rng": np.random.default_rng(8), "training": True}
    y, new = lux.apply(layer, X, {}, state)
    assert equal(y, stateful)
    assert state["rng"].bit_generator.state == np.random.default_rng(8).bit_generator.state
    assert lux.apply(layer, X, {}, lux.testmode(new))[1]["rng"] is new["rng"]
