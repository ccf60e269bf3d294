"""Layers against PyTorch: forward, and gradients of parameters and inputs."""

import numpy as np
import pytest

from freezeviz import nn, random
from freezeviz.errors import ShapeError

torch = pytest.importorskip("torch")
from tests.nn._torch import DTYPES, TOLERANCE, check, close, here, normal, ours  # noqa: E402

F = torch.nn.functional


# ---------------------------------------------------------------- linear, embedding, norms


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(5, 3), (1, 3), (0, 3), (2, 4, 3), (2, 0, 3), (2, 1, 4, 3), (3,)]
)
def test_linear(shape, bias, dtype):
    def reference(p, x):
        return F.linear(x, p["weight"], p.get("bias"))

    check(nn.Linear(3, 4, bias=bias), reference, [normal(shape, dtype)], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_of_width_one(dtype):
    def reference(p, x):
        return F.linear(x, p["weight"], p["bias"])

    check(nn.Linear(1, 1), reference, [normal((1, 1), dtype)], dtype)


class Calling(nn.Module):
    """A layer with the rest of its call fixed."""

    def __init__(self, layer, call):
        super().__init__()
        self.layer = layer
        self._call = call

    def __call__(self, *inputs):
        return self._call(self.layer, *inputs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 5), (2, 0)])
def test_embedding(shape, dtype):
    indices = np.random.default_rng(3).integers(0, 6, shape)

    def reference(p):
        return F.embedding(torch.from_numpy(np.asarray(indices)), p["layer.weight"])

    check(Calling(nn.Embedding(6, 4), lambda e: e(here(indices))), reference, [], dtype)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint64"])
def test_embedding_takes_every_kind_of_integer(kind):
    layer = nn.Embedding(6, 4)
    indices = np.array([5, 0, 5], kind)
    np.testing.assert_array_equal(layer(indices), layer.weight[[5, 0, 5]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_as_linear(dtype):
    def reference(p, x):
        return x @ p["layer.weight"].T

    layer = Calling(nn.Embedding(6, 4), lambda e, x: e.as_linear(x))
    check(layer, reference, [normal((3, 4), dtype)], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("affine", "bias"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("shape", [(5, 6), (1, 6), (0, 6), (2, 3, 6), (6,)])
def test_layer_norm(shape, affine, bias, dtype):
    def reference(p, x):
        return F.layer_norm(x, (6,), p.get("weight"), p.get("bias"), 1e-5)

    check(nn.LayerNorm(6, affine=affine, bias=bias), reference, [normal(shape, dtype)], dtype)


def channels_first(x):
    return x.movedim(-1, 1) if x.ndim > 2 else x


def channels_last(x):
    return x.movedim(1, -1) if x.ndim > 2 else x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(8, 3), (4, 5, 3), (2, 3, 4, 3), (2, 2, 2, 2, 3), (1, 2, 3)])
def test_batch_norm(shape, training, affine, dtype):
    layer = nn.BatchNorm(3, eps=1e-3, momentum=0.3, affine=affine)
    mean, var = normal(3, dtype, 5), np.abs(normal(3, dtype, 6)) + 0.5
    layer.running_mean, layer.running_var = mean, var
    layer.train(training)
    running = torch.from_numpy(mean.copy()), torch.from_numpy(var.copy())

    def reference(p, x):
        y = F.batch_norm(
            channels_first(x), *running, p.get("weight"), p.get("bias"), training, 0.3, 1e-3
        )
        return channels_last(y)

    check(layer, reference, [normal(shape, dtype) * 2 + 1], dtype)
    assert layer.running_mean.dtype == layer.running_var.dtype == dtype
    close(layer.running_mean, running[0].numpy(), TOLERANCE[dtype], "running_mean")
    close(layer.running_var, running[1].numpy(), TOLERANCE[dtype], "running_var")


def test_batch_norm_statistics_over_several_batches(rng):
    layer = nn.BatchNorm(4)
    reference = torch.nn.BatchNorm1d(4)
    for _ in range(20):
        x = rng.standard_normal((6, 4), dtype=np.float32) * 3 + 2
        layer(x)
        reference(torch.from_numpy(x))
    close(layer.running_mean, reference.running_mean.numpy(), 1e-6, "mean")
    close(layer.running_var, reference.running_var.numpy(), 1e-6, "var")
    layer.eval(), reference.eval()
    close(layer(x), reference(torch.from_numpy(x)).detach().numpy(), 1e-6, "eval")


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_without_running_statistics(training):
    layer = nn.BatchNorm(3, track_running_stats=False).train(training)

    def reference(p, x):
        return F.batch_norm(x, None, None, p["weight"], p["bias"], True)

    check(layer, reference, [normal((8, 3), "float64")], "float64")
    assert layer.named_buffers() == []


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (1, 1, 1, 3)])
def test_batch_norm_refuses_to_train_on_one_value_per_channel(shape):
    layer = nn.BatchNorm(3)
    with pytest.raises(ShapeError, match=r"more than one value per channel.*eval\(\)"):
        layer(np.ones(shape, np.float32))
    assert layer.eval()(np.ones(shape, np.float32)).shape == shape


# ---------------------------------------------------------------- convolution and pooling

CONVOLUTIONS = [
    dict(),
    dict(bias=False),
    dict(stride=2),
    dict(padding=1),
    dict(stride=(2, 1), padding=(0, 2)),
    dict(dilation=2),
    dict(dilation=(1, 2), padding=2, stride=2),
    dict(groups=2),
    dict(groups=4, padding=1, stride=2),
    dict(kernel=(1, 1)),
    dict(kernel=(1, 4), stride=3),
    dict(kernel=(7, 6)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [3, 1, 0])
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_conv2d(options, batch, dtype):
    options = dict(options)
    kernel = options.pop("kernel", 3)
    layer = nn.Conv2d(4, 8, kernel, **options)
    options.pop("bias", None)

    def reference(p, x):
        weight = p["weight"].permute(0, 3, 1, 2)
        y = F.conv2d(x.permute(0, 3, 1, 2), weight, p.get("bias"), **options)
        return y.permute(0, 2, 3, 1)

    check(layer, reference, [normal((batch, 7, 6, 4), dtype)], dtype)


POOLS = [
    (2, None, 0),
    (3, 2, 1),
    ((2, 3), (1, 2), (0, 1)),
    (3, 1, 0),
    (1, 1, 0),
    (2, 3, 1),
    ((7, 6), None, 0),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [3, 1, 0])
@pytest.mark.parametrize("options", POOLS, ids=str)
def test_max_pool2d(options, batch, dtype):
    kernel, stride, padding = options

    def reference(p, x):
        return F.max_pool2d(x.permute(0, 3, 1, 2), kernel, stride, padding).permute(0, 2, 3, 1)

    check(nn.MaxPool2d(*options), reference, [normal((batch, 7, 6, 3), dtype)], dtype)


def test_max_pool2d_gives_ties_to_the_first():
    x = np.zeros((1, 4, 4, 2))

    def reference(p, x):
        return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)

    check(nn.MaxPool2d(2), reference, [x], "float64")


# ---------------------------------------------------------------- activations

ACTIVATIONS = {
    "ReLU": (nn.ReLU(), F.relu),
    "Sigmoid": (nn.Sigmoid(), torch.sigmoid),
    "Tanh": (nn.Tanh(), torch.tanh),
    "SiLU": (nn.SiLU(), F.silu),
    "GELU": (nn.GELU(), F.gelu),
    "ELU": (nn.ELU(), F.elu),
    "ELU(0.5)": (nn.ELU(0.5), lambda x: F.elu(x, 0.5)),
    "ELU(alpha=2)": (nn.ELU(alpha=2.0), lambda x: F.elu(x, 2.0)),
    "LeakyReLU": (nn.LeakyReLU(), F.leaky_relu),
    "LeakyReLU(0.3)": (nn.LeakyReLU(0.3), lambda x: F.leaky_relu(x, 0.3)),
    "Softplus": (nn.Softplus(), F.softplus),
    "Softmax": (nn.Softmax(), lambda x: F.softmax(x, -1)),
    "Softmax(1)": (nn.Softmax(axis=1), lambda x: F.softmax(x, 1)),
    "LogSoftmax": (nn.LogSoftmax(), lambda x: F.log_softmax(x, -1)),
    "LogSoftmax(1)": (nn.LogSoftmax(1), lambda x: F.log_softmax(x, 1)),
    "relu": (nn.relu, F.relu),
    "sigmoid": (nn.sigmoid, torch.sigmoid),
    "tanh": (nn.tanh, torch.tanh),
    "silu": (nn.silu, F.silu),
    "gelu": (nn.gelu, F.gelu),
    "gelu_approx": (nn.gelu_approx, lambda x: F.gelu(x, approximate="tanh")),
    "elu": (nn.elu, F.elu),
    "leaky_relu": (nn.leaky_relu, F.leaky_relu),
    "softplus": (nn.softplus, F.softplus),
    "softmax": (nn.softmax, lambda x: F.softmax(x, -1)),
    "log_softmax": (nn.log_softmax, lambda x: F.log_softmax(x, -1)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 5), (1, 1), (0, 3), (2, 3, 4)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name, shape, dtype):
    activation, reference = ACTIVATIONS[name]
    layer = Calling(nn.Identity(), lambda _, x: activation(x))
    check(layer, lambda p, x: reference(x), [normal(shape, dtype) * 3], dtype)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_of_large_values(name):
    activation, reference = ACTIVATIONS[name]
    x = np.array([[-1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4]] * 2, np.float32)
    expected = reference(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(activation(x), expected, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- containers


@pytest.mark.parametrize("dtype", DTYPES)
def test_sequential_with_flatten_and_functions(dtype):
    layer = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.relu, nn.MaxPool2d(2), nn.Flatten(), nn.Tanh(), nn.Linear(12, 2)
    )

    def reference(p, x):
        y = F.conv2d(x.movedim(-1, 1), p["layers.0.weight"].movedim(-1, 1), p["layers.0.bias"])
        y = F.max_pool2d(F.relu(y), 2).movedim(1, -1).flatten(1)
        return F.linear(torch.tanh(y), p["layers.5.weight"], p["layers.5.bias"])

    check(layer, reference, [normal((3, 6, 6, 1), dtype)], dtype)


@pytest.mark.parametrize("axes", [(1, -1), (0, -1), (0, 1), (-2, -1), (2, 2)])
@pytest.mark.parametrize("shape", [(2, 3, 4), (0, 3, 4), (1, 1, 1)])
def test_flatten(shape, axes):
    check(
        nn.Flatten(*axes),
        lambda p, x: torch.flatten(x, *axes),
        [normal(shape, "float64")],
        "float64",
    )


# ---------------------------------------------------------------- dropout


def test_dropout_drops_its_share_and_keeps_the_mean():
    x = np.ones((400, 500), np.float32)
    for p in (0.1, 0.5, 0.9):
        out = nn.Dropout(p)(x)
        dropped = float((out == 0).mean())
        assert dropped == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / x.size))
        np.testing.assert_allclose(out[out != 0], 1 / (1 - p), rtol=1e-6)
        # Per row and per column, too: the mask is not one row repeated.
        for axis in (0, 1):
            n = x.shape[axis]
            spread = (out == 0).mean(axis=axis).std()
            assert spread == pytest.approx(np.sqrt(p * (1 - p) / n), rel=0.2)


def test_dropout_gradient_has_the_mask_of_its_output():
    out, _, (grad,) = ours(nn.Dropout(0.5), [np.ones((6, 7))])
    assert 0 < (out == 0).sum() < out.size
    np.testing.assert_array_equal(grad == 0, out == 0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dropout_keeps_the_dtype(dtype):
    assert nn.Dropout(0.3)(np.ones((3, 4), dtype)).dtype == dtype


def test_dropout_is_the_identity_when_it_has_nothing_to_do():
    x = np.ones((3, 4))
    assert nn.Dropout(0.0)(x) is x
    assert nn.Dropout(0.5).eval()(x) is x


def test_dropout_masks_follow_the_seed():
    x, layer = np.ones((5, 6)), nn.Dropout(0.5)
    with random.using(np.random.default_rng(3)):
        first, second = layer(x), layer(x)
    with random.using(np.random.default_rng(3)):
        again = layer(x)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0])
def test_dropout_refuses_a_share_outside_of_the_interval(p):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        nn.Dropout(p)


# ---------------------------------------------------------------- memory layout, half precision

LAYERS = {
    "linear": (lambda: nn.Linear(4, 3), (5, 4)),
    "conv2d": (lambda: nn.Conv2d(4, 3, 2, padding=1), (2, 5, 6, 4)),
    "max_pool2d": (lambda: nn.MaxPool2d(2, padding=1), (2, 5, 6, 4)),
    "batch_norm": (lambda: nn.BatchNorm(4), (5, 4)),
    "layer_norm": (lambda: nn.LayerNorm(4), (2, 5, 4)),
    "attention": (lambda: Calling(nn.MultiHeadAttention(4, 2), lambda m, x: m(x, x, x)), (2, 5, 4)),
    "gelu": (nn.GELU, (5, 4)),
    "softmax": (nn.Softmax, (5, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layouts_in_memory_make_no_difference(name):
    make, shape = LAYERS[name]
    layer = make().set_dtype("float64")
    x = normal(shape, "float64")
    expected = ours(layer, [x])
    views = {
        "fortran": np.asfortranarray(x),
        "strided": np.repeat(x, 2, axis=0)[::2],
        "reversed": np.ascontiguousarray(x[::-1])[::-1],
        "transposed": np.ascontiguousarray(np.swapaxes(x, 0, 1)).swapaxes(0, 1),
        "read-only": np.frombuffer(x.tobytes()).reshape(shape),
    }
    for kind, view in views.items():
        got = ours(layer, [view])
        close(got[0], expected[0], 1e-12, kind)
        close(got[2][0], expected[2][0], 1e-12, kind)
        for path, gradient in expected[1].items():
            close(got[1][path], gradient, 1e-12, f"{kind} {path}")


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_writes_into_inputs_or_parameters(name):
    make, shape = LAYERS[name]
    layer, x = make(), normal(shape, "float32")
    before = x.copy()
    parameters = {path: np.array(value) for path, value in layer.named_parameters()}
    ours(layer, [x])
    np.testing.assert_array_equal(x, before)
    for path, value in layer.named_parameters():
        np.testing.assert_array_equal(value, parameters[path])


@pytest.mark.parametrize("name", LAYERS)
def test_half_precision_stays_close_to_single(name):
    make, shape = LAYERS[name]
    layer = make().set_dtype("float16")
    x = normal(shape, "float16")
    got = ours(layer, [x])
    layer.set_dtype("float32")
    expected = ours(layer, [x.astype("float32")])
    assert got[0].dtype == np.float16
    close(got[0].astype("float32"), expected[0], 5e-3, "output")
    close(got[2][0].astype("float32"), expected[2][0], 1e-2, "input")
    for path, gradient in expected[1].items():
        assert got[1][path].dtype == np.float16
        close(got[1][path].astype("float32"), gradient, 1e-2, path)
