"""Initialisers: what they draw, and the ways in which they are called."""

import numpy as np
import pytest

from freezeviz import nn
from freezeviz.errors import ShapeError
from freezeviz.nn import init

ALL = {
    "constant": init.constant(0.5),
    "normal": init.normal(),
    "uniform": init.uniform(),
    "glorot_normal": init.glorot_normal(),
    "glorot_uniform": init.glorot_uniform(),
    "he_normal": init.he_normal(),
    "he_uniform": init.he_uniform(),
    "identity": init.identity(),
    "orthogonal": init.orthogonal(),
    "sparse": init.sparse(0.5),
}
every = pytest.mark.parametrize("name", ALL)


def test_every_initialiser_is_listed_above():
    assert set(ALL) == set(init.__all__)


@every
def test_shape_dtype_and_generator_decide(name):
    draw, generators = ALL[name], [np.random.default_rng(3) for _ in range(2)]
    one, two = (draw((4, 4), rng=rng) for rng in generators)
    assert (one.shape, one.dtype) == ((4, 4), np.float32)
    np.testing.assert_array_equal(one, two)
    assert draw((4, 4), np.float16).dtype == np.float16


@every
def test_an_array_gives_shape_and_dtype(name):
    for dtype in ("float16", "float32", "float64"):
        like = np.zeros((4, 4), dtype)
        value = ALL[name](like)
        assert (value.shape, value.dtype) == ((4, 4), like.dtype)
        assert not np.shares_memory(value, like)
        assert ALL[name](like, np.float32).dtype == np.float32


def test_a_dtype_can_be_given_to_the_maker():
    assert init.uniform(0, 1, np.float64)((2, 2)).dtype == np.float64
    assert init.he_normal(dtype=np.float16)(np.zeros((2, 2))).dtype == np.float16


@pytest.mark.parametrize(
    ("made", "default", "options"),
    [
        (init.glorot_normal(2.0), init.glorot_normal(), {"gain": 2.0}),
        (init.glorot_uniform(2.0), init.glorot_uniform(), {"gain": 2.0}),
        (init.he_normal("fan_out", 3.0), init.he_normal(), {"mode": "fan_out", "gain": 3.0}),
        (init.he_uniform("fan_out"), init.he_uniform(), {"mode": "fan_out"}),
    ],
)
def test_gain_and_mode_can_be_given_at_either_place(made, default, options):
    one, two, plain = (
        draw((30, 50), rng=np.random.default_rng(1), **more)
        for draw, more in [(made, {}), (default, options), (default, {})]
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, plain)


def test_an_option_that_an_initialiser_does_not_have_is_refused():
    with pytest.raises(TypeError, match=r"takes \['gain'\], got \['mode'\]"):
        init.glorot_normal()((3, 3), mode="fan_in")


def test_a_model_is_drawn_anew_and_stays_in_its_precision():
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    model.set_dtype("float64")
    before = model.layers[0].weight
    model.apply(init.he_uniform())
    assert model.layers[0].weight.dtype == np.float64
    assert not np.array_equal(model.layers[0].weight, before)


def test_identity():
    np.testing.assert_array_equal(init.identity()((3, 3)), np.eye(3))


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (1, 4)])
def test_orthogonal_rows_or_columns_have_the_norm_of_the_gain(shape):
    w = init.orthogonal(2.0)(shape, np.float64)
    small = w @ w.T if shape[0] <= shape[1] else w.T @ w
    np.testing.assert_allclose(small, 4 * np.eye(min(shape)), atol=1e-12)


@pytest.mark.parametrize(("share", "zeros"), [(0.0, 0), (0.5, 5), (0.7, 7), (0.71, 8), (1.0, 10)])
def test_sparse_rows_have_their_share_of_zeros_at_their_own_places(share, zeros):
    w = init.sparse(share, std=2.0)((200, 10))
    assert ((w == 0).sum(axis=1) == zeros).all()
    if 0 < zeros < 10:
        assert (w == 0).any(axis=0).all()
        assert w[w != 0].std() == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.identity()((2, 3)), ShapeError, r"square matrices, got the shape \(2, 3\)"),
        (lambda: init.identity()((2,)), ShapeError, r"makes matrices, got the shape \(2,\)"),
        (lambda: init.orthogonal()((2, 2, 2)), ShapeError, "init.orthogonal makes matrices"),
        (lambda: init.sparse(0.5)((2,)), ShapeError, "init.sparse makes matrices"),
        (lambda: init.sparse(1.5), ValueError, r"sparsity is in \[0, 1\], got 1.5"),
    ],
)
def test_what_makes_no_sense_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
