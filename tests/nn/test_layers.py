"""What layers say about themselves and about inputs that do not fit; first values."""

import pickle

import numpy as np
import pytest

from freezeviz import nn, random
from freezeviz.errors import DataError, ShapeError


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (nn.Linear(3, 2), ones(4, 2), r"Linear expects x of shape \(..., input_dims=3\).*\(4, 2\)"),
        (nn.Linear(3, 2), np.float32(1), r"input_dims=3\), got \(\)"),
        (nn.Linear(3, 2), [1.0, 2.0, 3.0], "expects an array, got list"),
        (nn.LayerNorm(3), ones(4, 2), r"LayerNorm expects x of shape \(..., dims=3\)"),
        (nn.BatchNorm(3), ones(4, 2), r"BatchNorm expects x of shape \(..., num_features=3\)"),
        (
            nn.Conv2d(3, 2, 2),
            ones(1, 5, 5, 2),
            r"\(batch, height, width, channels=3\), got \(1, 5, 5, 2\)",
        ),
        (nn.Conv2d(3, 2, 2), ones(5, 5, 3), r"got \(5, 5, 3\)"),
        (nn.Conv2d(1, 2, 3), ones(1, 5, 2, 1), r"width 2, padded by 0.*kernel's reach of 3"),
        (nn.Conv2d(1, 2, 3, dilation=2, padding=1), ones(1, 2, 9, 1), "height 2.*reach of 5"),
        (nn.MaxPool2d(3), ones(1, 2, 3, 1), "height 2.*reach of 3"),
        (nn.MaxPool2d(3), ones(1, 2, 3), r"\(batch, height, width, channels\), got \(1, 2, 3\)"),
        (nn.Flatten(), ones(3), r"joins the axes 1 to -1, got x of shape \(3,\)"),
        (nn.Embedding(3, 2).as_linear, ones(4, 3), r"Embedding expects x of shape \(..., dims=2\)"),
    ],
)
def test_an_input_of_the_wrong_shape_is_named(layer, x, message):
    with pytest.raises(ShapeError, match=message):
        layer(x)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 3], "has 3 vectors, got the index 3: indices run from 0 to 2"),
        ([-1], "got the index -1"),
        ([0.0, 1.0], "integer indices, got float64"),
        ([True], "integer indices, got bool"),
    ],
)
def test_an_embedding_refuses_what_is_no_index(indices, message):
    with pytest.raises(DataError, match=message):
        nn.Embedding(3, 2)(np.array(indices))


def test_a_message_names_the_path_while_the_model_computes():
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Linear(5, 2)))
    with pytest.raises(ShapeError, match=r"Linear 'layers.1.layers.0' expects"):
        nn.value_and_grad(model, lambda x: model(x).sum())(ones(1, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 2, groups=2), "in_channels=3.*divisible by groups=2"),
        (lambda: nn.Conv2d(3, 4, 0), "kernel_size is an int or a pair of ints of at least 1"),
        (lambda: nn.Conv2d(3, 4, 2, stride=(1, 1, 1)), "stride.*got \\(1, 1, 1\\)"),
        (lambda: nn.Conv2d(3, 4, 2, padding=-1), "padding.*at least 0, got -1"),
        (lambda: nn.Conv2d(3, 4, 2.5), "kernel_size.*got 2.5"),
        (lambda: nn.MaxPool2d(2, padding=2), "padding=.*more than half of kernel_size"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_sequential_names_a_class_that_was_not_called():
    with pytest.raises(TypeError, match=r"class ReLU; make a layer of it: ReLU\(\)"):
        nn.Sequential(nn.Linear(2, 2), nn.ReLU)


def test_sequential_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match="modules and callables"):
        nn.Sequential([nn.Linear(2, 2)])


def test_an_activation_refuses_options_that_it_does_not_have():
    with pytest.raises(TypeError, match="LeakyReLU takes"):
        nn.LeakyReLU(slope=0.1)
    with pytest.raises(TypeError, match="ReLU takes no arguments"):
        nn.ReLU(0.1)


ALL = [
    nn.Linear(3, 2),
    nn.Linear(3, 2, bias=False),
    nn.Identity(1, two=2),
    nn.Conv2d(4, 2, (3, 2), stride=2, groups=2),
    nn.MaxPool2d(2),
    nn.BatchNorm(3),
    nn.LayerNorm(3),
    nn.Dropout(0.2),
    nn.Embedding(4, 2),
    nn.Flatten(),
    nn.Sequential(nn.Linear(2, 2), nn.ReLU()),
    nn.MultiHeadAttention(4, 2),
    nn.TransformerEncoderLayer(4, 2),
    nn.TransformerDecoder(1, 4, 2),
    nn.LeakyReLU(0.2),
    nn.Softmax(),
]


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: type(layer).__name__)
def test_every_layer_prints_and_pickles(layer):
    assert repr(layer).startswith(type(layer).__name__ + "(")
    again = pickle.loads(pickle.dumps(layer))
    assert type(again) is type(layer)
    assert repr(again) == repr(layer)


def test_a_picture_of_a_model():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Dropout(0.1))
    assert repr(model) == (
        "Sequential(\n"
        "  (layers.0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(0, 0), "
        "dilation=(1, 1), groups=1, bias=True)\n"
        "  (layers.1): ReLU()\n"
        "  (layers.2): Dropout(p=0.1)\n"
        ")"
    )


def test_identity_takes_anything():
    assert nn.Identity(1, "two", three=3)("x") == "x"


# ---------------------------------------------------------------- first values


def test_the_same_seed_gives_the_same_layer():
    layers = [nn.Linear(3, 4, rng=np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(layers[0].weight, layers[1].weight)
    random.seed(3)
    first = nn.Conv2d(2, 2, 3)
    random.seed(3)
    np.testing.assert_array_equal(nn.Conv2d(2, 2, 3).weight, first.weight)


def test_linear_starts_uniform_in_one_over_the_root_of_its_inputs(rng):
    layer = nn.Linear(400, 300, rng=rng)
    for array in (layer.weight, layer.bias):
        assert array.dtype == np.float32
        assert np.abs(array).max() <= 0.05
        assert array.std() == pytest.approx(0.05 / np.sqrt(3), rel=0.1)


def test_norms_start_as_the_identity():
    for layer in (nn.BatchNorm(3), nn.LayerNorm(3)):
        np.testing.assert_array_equal(layer.weight, 1)
        np.testing.assert_array_equal(layer.bias, 0)


INITS = {
    "glorot_uniform": (nn.init.glorot_uniform(), np.sqrt(2 / (300 + 500)), True),
    "glorot_normal": (nn.init.glorot_normal(2.0), 2 * np.sqrt(2 / (300 + 500)), False),
    "he_uniform": (nn.init.he_uniform(), np.sqrt(1 / 500), True),
    "he_uniform out": (nn.init.he_uniform("fan_out"), np.sqrt(1 / 300), True),
    "he_normal": (nn.init.he_normal(gain=np.sqrt(2)), np.sqrt(2 / 500), False),
    "normal": (nn.init.normal(0.0, 0.3), 0.3, False),
    "uniform": (nn.init.uniform(-0.3, 0.3), 0.3 / np.sqrt(3), True),
}


@pytest.mark.parametrize("name", INITS)
def test_initialisers_have_the_spread_they_say(name, rng):
    init, std, bounded = INITS[name]
    values = init((300, 500), rng=rng)
    assert values.shape == (300, 500)
    assert values.dtype == np.float32
    assert values.std() == pytest.approx(std, rel=0.02)
    assert values.mean() == pytest.approx(0, abs=0.01 * std + 1e-3)
    assert (np.abs(values).max() <= std * np.sqrt(3) * 1.001) == bounded


def test_initialisers_count_a_kernel_in_both_fans(rng):
    values = nn.init.glorot_normal()((64, 3, 3, 32), rng=rng)
    assert values.std() == pytest.approx(np.sqrt(2 / (9 * (64 + 32))), rel=0.05)


def test_initialisers_take_a_dtype_and_scalars_a_shape():
    assert nn.init.constant(2.5)((2, 2), np.float64).tolist() == [[2.5, 2.5], [2.5, 2.5]]
    assert nn.init.normal()((3,), np.float16).dtype == np.float16


def test_initialisers_refuse_what_has_no_fans():
    with pytest.raises(ValueError, match=r"two or more dimensions, got shape \(3,\)"):
        nn.init.he_normal()((3,))
    with pytest.raises(ValueError, match="'fan_in' or 'fan_out', got 'fan'"):
        nn.init.he_normal("fan")((3, 3))
