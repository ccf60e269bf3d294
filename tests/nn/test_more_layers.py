"""Convolution, pooling, norms, recurrence and positions against PyTorch.

Forward, and gradients of parameters and inputs; float32 to 1e-5 and float64 to 1e-10 of the
largest value. bfloat16 is left out: NumPy has no such dtype of its own, and takes that of
``ml_dtypes`` for no floating one.
"""

import copy
import pickle

import numpy as np
import pytest

from freezeviz import autodiff, explicit, nn, tree_flatten
from freezeviz.errors import ShapeError

torch = pytest.importorskip("torch")
from tests.nn._torch import DTYPES, check, close, normal, ours  # noqa: E402

F = torch.nn.functional
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


class Calling(nn.Module):
    """A layer with the rest of its call fixed."""

    def __init__(self, layer, call):
        super().__init__()
        self.layer = layer
        self._call = call

    def __call__(self, *inputs):
        return self._call(self.layer, *inputs)


def layered(fn):
    """Return a torch function that takes parameters without the name of the fixed layer."""
    return lambda p, *xs: fn({k.removeprefix("layer."): v for k, v in p.items()}, *xs)


# ---------------------------------------------------------------- bilinear


@every_dtype
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(5,), (1,), (0,), (2, 3), (2, 0), ()])
def test_bilinear(lead, bias, dtype):
    def reference(p, x1, x2):
        # PyTorch's weight is (outputs, inputs 1, inputs 2), and it takes no vectors.
        weight, flat = p["weight"].movedim(1, 2), [x.reshape(-1, x.shape[-1]) for x in (x1, x2)]
        return F.bilinear(*flat, weight, p.get("bias")).reshape(*lead, 2)

    inputs = [normal((*lead, 3), dtype), normal((*lead, 4), dtype, 1)]
    check(nn.Bilinear(3, 4, 2, bias=bias), reference, inputs, dtype)


# ---------------------------------------------------------------- convolution

CONV1D = [
    {},
    {"stride": 2},
    {"padding": 2},
    {"dilation": 3},
    {"stride": 3, "padding": 1, "dilation": 2},
    {"groups": 2},
    {"groups": 4, "bias": False},
    {"kernel_size": 1},
    {"kernel_size": 9, "padding": 0},
    {"kernel_size": (3,), "stride": (2,)},
]


@every_dtype
@pytest.mark.parametrize("batch", [2, 1, 0])
@pytest.mark.parametrize("options", CONV1D, ids=str)
def test_conv1d(options, batch, dtype):
    options = {"kernel_size": 3} | options
    layer = nn.Conv1d(4, 8, **options)

    def reference(p, x):
        y = F.conv1d(
            x.mT, p["weight"].mT, p.get("bias"), layer.stride, layer.padding, layer.dilation,
            layer.groups,
        )  # fmt: skip
        return y.mT

    check(layer, reference, [normal((batch, 9, 4), dtype)], dtype)


TRANSPOSED = [
    {},
    {"stride": 2},
    {"stride": 2, "padding": 1, "output_padding": 1},
    {"stride": (2, 3), "padding": (0, 2)},
    {"stride": (3, 2), "kernel_size": 2, "output_padding": (2, 1)},
    {"stride": (1, 2), "bias": False},
    {"stride": 4, "kernel_size": 2},
    {"dilation": 2},
    {"dilation": (2, 1), "padding": (2, 1)},
    {"dilation": (2, 3), "stride": (3, 2), "padding": 1, "output_padding": (2, 1)},
    {"kernel_size": (2, 4), "stride": 3, "padding": (1, 2)},
    {"kernel_size": 1},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": 5, "padding": 3},
]


@every_dtype
@pytest.mark.parametrize("batch", [2, 1])
@pytest.mark.parametrize("options", TRANSPOSED, ids=str)
def test_conv_transpose2d(options, batch, dtype):
    options = {"kernel_size": 3} | options
    layer = nn.ConvTranspose2d(3, 2, **options)

    def reference(p, x):
        y = F.conv_transpose2d(
            x.movedim(-1, 1), p["weight"].permute(3, 0, 1, 2), p.get("bias"), layer.stride,
            layer.padding, layer.output_padding, 1, layer.dilation,
        )  # fmt: skip
        return y.movedim(1, -1)

    check(layer, reference, [normal((batch, 4, 5, 3), dtype)], dtype)


def test_conv_transpose2d_of_one_pixel_is_its_kernel():
    layer = nn.ConvTranspose2d(1, 1, (2, 3), stride=5, bias=False)
    out = layer(np.full((1, 1, 1, 1), 2.0, np.float32))
    np.testing.assert_allclose(out[0, :, :, 0], 2 * layer.weight[0, :, :, 0])


def test_convolutions_start_within_one_over_the_root_of_what_an_output_sees():
    for layer, seen in [
        (nn.Conv1d(8, 64, 5, groups=4), 2 * 5),
        (nn.Conv2d(8, 64, (5, 3), groups=4), 2 * 5 * 3),
        (nn.ConvTranspose2d(8, 64, (5, 3)), 8 * 5 * 3),
    ]:
        limit = 1 / np.sqrt(seen)
        assert 0.9 * limit < np.abs(layer.weight).max() <= limit
        assert not layer.bias.any()


# ---------------------------------------------------------------- pooling

POOL1D = [
    (2, None, 0),
    (3, None, 0),
    (3, 1, 1),
    (4, 2, 2),
    (2, 3, 0),
    (1, 1, 0),
    (9, 9, 0),
    ((2,), (2,), (1,)),
]


@every_dtype
@pytest.mark.parametrize("batch", [2, 1])
@pytest.mark.parametrize("options", POOL1D, ids=str)
@pytest.mark.parametrize("kind", ["MaxPool1d", "AvgPool1d"])
def test_pool1d(kind, options, batch, dtype):
    fn = F.max_pool1d if kind == "MaxPool1d" else F.avg_pool1d

    def reference(p, x):
        return fn(x.mT, *options).mT

    check(getattr(nn, kind)(*options), reference, [normal((batch, 9, 4), dtype)], dtype)


POOL2D = [
    (2, None, 0),
    ((3, 2), None, 0),
    (3, 1, 1),
    ((2, 3), (3, 1), (1, 0)),
    (2, 2, 1),
    (1, 2, 0),
    ((6, 7), None, 0),
]


@every_dtype
@pytest.mark.parametrize("batch", [2, 1])
@pytest.mark.parametrize("options", POOL2D, ids=str)
def test_avg_pool2d(options, batch, dtype):
    def reference(p, x):
        return F.avg_pool2d(x.movedim(-1, 1), *options).movedim(1, -1)

    check(nn.AvgPool2d(*options), reference, [normal((batch, 6, 7, 3), dtype)], dtype)


@every_dtype
@pytest.mark.parametrize("size", [1, 2, 3, (2, 7), (6, None), (None, 5), (4, 3), (9, 11), (12, 14)])
def test_adaptive_avg_pool2d(size, dtype):
    def reference(p, x):
        return F.adaptive_avg_pool2d(x.movedim(-1, 1), size).movedim(1, -1)

    check(nn.AdaptiveAvgPool2d(size), reference, [normal((2, 6, 7, 3), dtype)], dtype)


def test_adaptive_avg_pool2d_of_one_pixel_repeats_it():
    x = normal((1, 1, 1, 2), "float32")
    np.testing.assert_array_equal(nn.AdaptiveAvgPool2d((4, 3))(x), np.broadcast_to(x, (1, 4, 3, 2)))


def test_an_infinite_value_stays_in_its_window():
    x = np.zeros((1, 4, 4, 1))
    x[0, 0, 0] = np.inf
    for layer in (nn.AvgPool2d(2), nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(3)):
        out = layer(x)
        assert np.isinf(out).sum() == 1
        assert not np.isnan(out).any()


# ---------------------------------------------------------------- norms


@every_dtype
@pytest.mark.parametrize("shape", [(5, 6), (1, 6), (0, 6), (2, 3, 6), (6,), (2, 0, 6)])
def test_rms_norm(shape, dtype):
    def reference(p, x):
        return F.rms_norm(x, (6,), p["weight"], 1e-3)

    check(nn.RMSNorm(6, eps=1e-3), reference, [normal(shape, dtype)], dtype)


NORMED = [(2, 5, 6), (1, 5, 6), (0, 5, 6), (2, 3, 4, 6), (2, 2, 3, 2, 6), (3, 1, 6)]


@every_dtype
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("shape", "groups"),
    # Without those in which a group is a single value: torch refuses them, see below.
    [
        (shape, groups)
        for shape in [*NORMED, (4, 6)]
        for groups in (1, 2, 3, 6)
        if groups < 6 or (len(shape) > 2 and shape[1] > 1)
    ],
)
def test_group_norm_as_pytorch_groups(shape, groups, affine, dtype):
    layer = nn.GroupNorm(groups, 6, eps=1e-3, affine=affine, pytorch_compatible=True)

    def reference(p, x):
        y = F.group_norm(x.movedim(-1, 1), groups, p.get("weight"), p.get("bias"), 1e-3)
        return y.movedim(1, -1)

    check(layer, reference, [normal(shape, dtype)], dtype)


@every_dtype
@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("shape", NORMED)
def test_group_norm_as_mlx_groups(shape, groups, dtype):
    def reference(p, x):
        # Every groups-th channel: PyTorch's groups of the channels in another order.
        order = torch.arange(6).reshape(-1, groups).T.reshape(-1)
        y = F.group_norm(x.movedim(-1, 1)[:, order], groups, None, None, 1e-5)
        return y[:, torch.argsort(order)].movedim(1, -1) * p["weight"] + p["bias"]

    check(nn.GroupNorm(groups, 6), reference, [normal(shape, dtype)], dtype)


@every_dtype
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(2, 5, 6), (1, 5, 6), (2, 3, 4, 6), (2, 2, 3, 2, 6)])
def test_instance_norm(shape, training, affine, dtype):
    layer = nn.InstanceNorm(6, affine=affine).train(training)

    def reference(p, x):
        y = F.instance_norm(x.movedim(-1, 1), weight=p.get("weight"), bias=p.get("bias"))
        return y.movedim(1, -1)

    check(layer, reference, [normal(shape, dtype)], dtype)


@pytest.mark.parametrize("layer", [nn.InstanceNorm(3, affine=True), nn.GroupNorm(3, 3)])
def test_a_single_value_is_normalised_to_the_bias(layer):
    layer.bias = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(layer(normal((2, 1, 3), "float32")), [[[0, 1, 2]]] * 2)


@pytest.mark.parametrize("layer", [nn.InstanceNorm(3, affine=True), nn.GroupNorm(3, 3)])
@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3)])
def test_norms_of_nothing_are_empty_and_have_zero_gradients(layer, shape):
    out, gradients, _ = ours(layer, [normal(shape, "float32")])
    assert out.shape == shape
    assert [g.tolist() for g in gradients.values()] == [[0, 0, 0], [0, 0, 0]]


def test_rms_norm_squares_half_precision_in_single():
    x = np.full((1, 4), 300, np.float16)
    np.testing.assert_allclose(nn.RMSNorm(4).set_dtype("float16")(x), np.ones((1, 4)), rtol=1e-3)


# ---------------------------------------------------------------- recurrence


def torch_rnn(kind, p, x, states, bias):
    """Return torch's layer applied with given parameters, which stay connected to their leaves."""
    n, wx = {"RNN": 1, "GRU": 3}[kind], p["Wxh" if kind == "RNN" else "Wx"]
    size = wx.shape[0] // n
    module = getattr(torch.nn, kind)(wx.shape[1], size, batch_first=True, bias=bias, dtype=x.dtype)
    given = {"weight_ih_l0": wx, "weight_hh_l0": p["Whh" if kind == "RNN" else "Wh"]}
    if bias and kind == "GRU":
        zeros = torch.zeros(2 * size, dtype=x.dtype)
        given |= {"bias_ih_l0": p["b"], "bias_hh_l0": torch.cat([zeros, p["bhn"]])}
    elif bias:
        given |= {"bias_ih_l0": p["bias"], "bias_hh_l0": torch.zeros(size, dtype=x.dtype)}
    out, _ = torch.func.functional_call(module, given, (x, *(s[None] for s in states)))
    return out


@every_dtype
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("shape", [(3, 7, 4), (1, 5, 4), (2, 1, 4), (6, 4)])
@pytest.mark.parametrize("kind", ["RNN", "GRU"])
def test_rnn_and_gru(kind, shape, given, bias, dtype):
    layer = getattr(nn, kind)(4, 5, bias=bias)

    def reference(p, x, *states):
        batched = x if x.ndim == 3 else x[None]
        states = [s if x.ndim == 3 else s[None] for s in states]
        out = torch_rnn(kind, p, batched, states, bias)
        return out if x.ndim == 3 else out[0]

    inputs = [normal(shape, dtype)]
    inputs += [normal((*shape[:-2], 5), dtype, 3)] if given else []
    check(layer, reference, inputs, dtype)


@every_dtype
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("shape", [(3, 7, 4), (1, 5, 4), (2, 1, 4)])
def test_lstm(shape, given, bias, dtype):
    layer = Calling(nn.LSTM(4, 5, bias=bias), lambda m, *xs: np.stack(m(*xs)))

    # A cell at a time: torch's layer gives the last cell only.
    cell = torch.nn.LSTMCell(4, 5, bias=bias, dtype=getattr(torch, dtype))

    @layered
    def reference(p, x, *states):
        given = {"weight_ih": p["Wx"], "weight_hh": p["Wh"]}
        if bias:
            given |= {"bias_ih": p["bias"], "bias_hh": torch.zeros(20, dtype=x.dtype)}
        state, steps = states or None, []
        for t in range(x.shape[1]):
            state = torch.func.functional_call(cell, given, (x[:, t], state))
            steps.append(torch.stack(state))
        return torch.stack(steps, dim=2)

    inputs = [normal(shape, dtype)]
    inputs += [normal((shape[0], 5), dtype, seed) for seed in ((3, 4) if given else ())]
    check(layer, reference, inputs, dtype)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_sequence_in_two_pieces_is_the_sequence(kind):
    layer, x = getattr(nn, kind)(3, 4), normal((2, 6, 3), "float32")
    whole = layer(x)
    if kind == "LSTM":
        hidden, cell = layer(x[:, :4])
        rest = layer(x[:, 4:], hidden[:, -1], cell[:, -1])
        for a, b in zip(whole, rest, strict=True):
            np.testing.assert_allclose(a[:, 4:], b, rtol=1e-6, atol=1e-7)
    else:
        rest = layer(x[:, 4:], layer(x[:, :4])[:, -1])
        np.testing.assert_allclose(whole[:, 4:], rest, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_layers_take_more_than_one_batch_axis(kind):
    layer = Calling(getattr(nn, kind)(3, 4), lambda m, x: m(x)[0] if kind == "LSTM" else m(x))
    x = normal((2, 3, 5, 3), "float32")
    np.testing.assert_allclose(layer(x)[1], layer(x[1]), rtol=1e-5, atol=1e-6)


def test_rnn_takes_another_nonlinearity():
    layer = nn.RNN(3, 4, nonlinearity=nn.relu)
    x = normal((2, 5, 3), "float64")

    def reference(p, x):
        h, out = torch.zeros(2, 4, dtype=x.dtype), []
        for t in range(5):
            h = F.relu(x[:, t] @ p["Wxh"].T + h @ p["Whh"].T + p["bias"])
            out.append(h)
        return torch.stack(out, 1)

    check(layer, reference, [x], "float64")


def test_the_gradient_of_a_long_sequence_takes_time_in_proportion_to_it():
    # The bytes of the arrays that gradients of slices make: n log n, not n * n.
    def written(length):
        model = nn.GRU(4, 4)
        total = 0
        scatter, real = autodiff.RULES["scatter_add"], autodiff.RULES["scatter_add"].fun

        def counted(x, *, index, like):
            nonlocal total
            total += int(np.prod(like.shape))
            return real(x, index=index, like=like)

        scatter.fun = counted
        try:
            ours(model, [normal((1, length, 4), "float32")])
        finally:
            scatter.fun = real
        return total

    assert written(256) < 4.0 * written(128) * 0.75


# ---------------------------------------------------------------- positions


def turned(x, dims, traditional, base, scale, offset):
    """Return RoPE by multiplying complex numbers."""
    places = (torch.arange(x.shape[-2], dtype=torch.float64) + offset) * scale
    rates = base ** (-torch.arange(0, dims, 2, dtype=torch.float64) / dims)
    turn = torch.polar(torch.ones(()).double(), places[:, None] * rates)
    front = x[..., :dims].double()
    if traditional:
        pairs = torch.view_as_complex(front.unflatten(-1, (-1, 2)).contiguous())
        done = torch.view_as_real(pairs * turn).flatten(-2)
    else:
        done = torch.complex(front[..., : dims // 2], front[..., dims // 2 :]) * turn
        done = torch.cat([done.real, done.imag], dim=-1)
    return torch.cat([done.to(x.dtype), x[..., dims:]], dim=-1)


@every_dtype
@pytest.mark.parametrize("traditional", [True, False])
@pytest.mark.parametrize("shape", [(2, 5, 8), (2, 3, 5, 8), (1, 1, 8), (0, 5, 8), (5, 8)])
@pytest.mark.parametrize(
    ("dims", "base", "scale", "offset"), [(8, 10000.0, 1.0, 0), (6, 100.0, 0.5, 7), (2, 10.0, 2, 1)]
)
def test_rope(dims, base, scale, offset, shape, traditional, dtype):
    layer = Calling(nn.RoPE(dims, traditional, base, scale), lambda m, x: m(x, offset=offset))

    def reference(p, x):
        return turned(x, dims, traditional, base, scale, offset)

    check(layer, reference, [normal(shape, dtype)], dtype)


def test_rope_keeps_products_that_depend_on_the_distance_alone():
    layer, x = nn.RoPE(8), normal((1, 8), "float64")
    q, k = np.repeat(x, 12, axis=0), np.repeat(normal((1, 8), "float64", 1), 12, axis=0)
    scores = layer(q) @ layer(k).T
    for distance in range(-11, 12):
        along = np.diagonal(scores, distance)
        np.testing.assert_allclose(along, along[0], rtol=1e-12)
    np.testing.assert_allclose(layer(q, offset=100) @ layer(k, offset=100).T, scores, rtol=1e-10)


@every_dtype
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_freq": 0.01, "max_freq": 2.0},
        {"scale": 1.0, "cos_first": True},
        {"full_turns": True, "scale": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("dims", [6, 2])
@pytest.mark.parametrize("shape", [(5,), (0,), (2, 3), ()])
def test_sinusoidal_positional_encoding(shape, dims, options, dtype):
    low, high = options.get("min_freq", 1e-4), options.get("max_freq", 1.0)

    def reference(p, x):
        share = torch.linspace(1, 0, dims // 2, dtype=torch.float64)
        rates = low ** (1 - share) * high**share * (2 * np.pi if "full_turns" in options else 1)
        y = x[..., None] * rates.to(x.dtype)
        waves = [torch.sin(y), torch.cos(y)]
        if "cos_first" in options:
            waves.reverse()
        return torch.cat(waves, -1) * options.get("scale", (2 / dims) ** 0.5)

    layer = nn.SinusoidalPositionalEncoding(dims, **options)
    assert layer.named_parameters() == layer.named_buffers() == []
    check(layer, reference, [normal(shape, dtype)], dtype)


def test_positions_may_be_integers_and_their_encodings_have_norm_one():
    out = nn.SinusoidalPositionalEncoding(8)(np.arange(50).reshape(5, 10))
    assert out.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(out, axis=-1), 1.0, rtol=1e-6)


# ---------------------------------------------------------------- layout, precision, device


class OneInput(nn.Bilinear):
    def __call__(self, x):
        return super().__call__(x, x * 0.5)


LAYERS = {
    "bilinear": (lambda: OneInput(4, 4, 3), (5, 4)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, groups=2), (2, 6, 4)),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(4, 3, 3, stride=2), (2, 3, 4, 4)),
    "max_pool1d": (lambda: nn.MaxPool1d(2, padding=1), (2, 6, 4)),
    "avg_pool1d": (lambda: nn.AvgPool1d(3, 2), (2, 6, 4)),
    "avg_pool2d": (lambda: nn.AvgPool2d(2, padding=1), (2, 5, 6, 4)),
    "avg_pool2d overlapping": (lambda: nn.AvgPool2d(3, 2, 1), (2, 5, 6, 4)),
    "adaptive_avg_pool2d": (lambda: nn.AdaptiveAvgPool2d((2, 4)), (2, 5, 6, 4)),
    "rms_norm": (lambda: nn.RMSNorm(4), (2, 5, 4)),
    "group_norm": (lambda: nn.GroupNorm(2, 4), (2, 5, 4)),
    "instance_norm": (lambda: nn.InstanceNorm(4, affine=True), (2, 5, 3, 4)),
    "rnn": (lambda: nn.RNN(4, 3), (2, 5, 4)),
    "gru": (lambda: nn.GRU(4, 3), (2, 5, 4)),
    "lstm": (lambda: Calling(nn.LSTM(4, 3), lambda m, x: np.stack(m(x))), (2, 5, 4)),
    "rope": (lambda: nn.RoPE(4), (2, 5, 4)),
    "rope traditional": (lambda: nn.RoPE(2, traditional=True), (2, 5, 4)),
    "sinusoidal": (lambda: nn.SinusoidalPositionalEncoding(4), (2, 5)),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


@every_layer
def test_an_empty_batch_gives_an_empty_output_and_zero_gradients(name):
    make, (batch, *rest) = LAYERS[name]
    layer = make()
    full = layer(normal((batch, *rest), "float32"))
    axis = 0 if name != "lstm" else 1
    out, gradients, (of_x,) = ours(layer, [normal((0, *rest), "float32")])
    assert out.shape == (*full.shape[:axis], 0, *full.shape[axis + 1 :])
    assert out.dtype == of_x.dtype == np.float32
    assert of_x.shape == (0, *rest)
    assert not any(gradient.any() for gradient in gradients.values())


@every_layer
def test_layouts_in_memory_make_no_difference(name):
    make, shape = LAYERS[name]
    layer, x = make().set_dtype("float64"), normal(shape, "float64")
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


@every_layer
def test_nothing_writes_into_inputs_or_parameters(name):
    make, shape = LAYERS[name]
    layer, x = make().freeze(), normal(shape, "float32")  # frozen arrays and x are read-only
    x.flags.writeable = False
    layer(x)
    layer.unfreeze()
    before = {path: value.copy() for path, value in layer.named_parameters()}
    ours(layer, [x])
    for path, value in layer.named_parameters():
        np.testing.assert_array_equal(value, before[path])


@every_layer
def test_half_precision_stays_close_to_single(name):
    make, shape = LAYERS[name]
    layer, x = make().set_dtype("float16"), normal(shape, "float16")
    got = ours(layer, [x])
    layer.set_dtype("float32")
    expected = ours(layer, [x.astype("float32")])
    for what, value in [("output", got[0]), *got[1].items(), ("input", got[2][0])]:
        assert value.dtype == np.float16, what
    close(got[0].astype("float32"), expected[0], 5e-3, "output")
    close(got[2][0].astype("float32"), expected[2][0], 1e-2, "input")
    for path, gradient in expected[1].items():
        close(got[1][path].astype("float32"), gradient, 1e-2, path)


@every_layer
def test_a_frozen_layer_with_a_plain_input_leaves_no_node(name):
    make, shape = LAYERS[name]
    model = nn.Sequential(make().freeze(), lambda x: x.reshape(-1)[:1].astype("float32"))
    model.layers.append(nn.Linear(1, 1))
    with autodiff.count() as counts:
        nn.value_and_grad(model, lambda x: model(x).sum())(normal(shape, "float32"))
    assert set(counts.nodes) <= {"linear", "sum"}


@every_layer
def test_a_gpu_gives_the_numbers_of_the_cpu(name, cupy):
    make, shape = LAYERS[name]
    layer, x = make(), normal(shape, "float32")
    expected = ours(layer, [x])
    layer.to("gpu")

    def loss(x):
        out = layer(x)
        g = cupy.asarray(np.random.default_rng(2).standard_normal(out.shape).astype("float32"))
        return (out * g).sum(), out

    (_, out), gradients = nn.value_and_grad(layer, loss)(cupy.asarray(x))
    assert isinstance(out, cupy.ndarray)
    close(cupy.asnumpy(out), expected[0], 1e-4, "output")
    for path, gradient in tree_flatten(gradients):
        close(cupy.asnumpy(gradient), expected[1][path], 1e-4, path)


# ---------------------------------------------------------------- bad input

x3, x4 = np.ones((2, 5, 4), np.float32), np.ones((2, 5, 5, 4), np.float32)
REFUSED = [
    (nn.Bilinear(3, 4, 2), (np.ones((2, 3)), np.ones((2, 3))), r"input2_dims=4.*got \(2, 3\) and"),
    (nn.Bilinear(3, 4, 2), (np.ones((2, 3)), np.ones((1, 4))), r"same axes before the last"),
    (nn.Conv1d(3, 4, 2), (x3,), r"\(batch, length, channels=3\), got \(2, 5, 4\)"),
    (nn.Conv1d(4, 4, 6), (x3,), r"length 5, padded by 0 .* reach of 6"),
    (nn.ConvTranspose2d(3, 4, 2), (x4,), r"channels=3\), got \(2, 5, 5, 4\)"),
    (nn.ConvTranspose2d(4, 4, 2, padding=4), (x4,), r"output of \(-2, -2\)"),
    (nn.ConvTranspose2d(4, 4, 2), (x4[:, :0],), r"\(0, 5\) would give"),
    (nn.MaxPool1d(2), (x4,), r"\(batch, length, channels\), got \(2, 5, 5, 4\)"),
    (nn.MaxPool1d(6), (x3,), r"length 5, padded by 0 on each side, is smaller .* window of 6"),
    (nn.AvgPool1d(6), (x3,), r"AvgPool1d: the input's length 5"),
    (nn.AvgPool2d(2), (x3,), r"\(batch, height, width, channels\), got \(2, 5, 4\)"),
    (nn.AvgPool2d((2, 6)), (x4,), r"width 5, padded by 0"),
    (nn.AdaptiveAvgPool2d(1), (x3,), r"got \(2, 5, 4\)"),
    (nn.AdaptiveAvgPool2d(1), (x4[:, :0],), r"at least one row and column, got .*\(2, 0, 5, 4\)"),
    (nn.RMSNorm(3), (x3,), r"dims=3\), got \(2, 5, 4\)"),
    (nn.GroupNorm(1, 3), (x3,), r"dims=3\), got \(2, 5, 4\)"),
    (nn.GroupNorm(2, 4), (np.ones(4),), r"\(batch, \.\.\., dims=4\), got \(4,\)"),
    (nn.InstanceNorm(4), (np.ones((2, 4)),), r"at least one axis in between, got \(2, 4\)"),
    (nn.RNN(3, 4), (x3,), r"input_size=3\), got \(2, 5, 4\)"),
    (nn.GRU(4, 3), (x3[:, :0],), r"at least one step, got \(2, 0, 4\)"),
    (nn.GRU(4, 3), (np.ones(4),), r"at least one step, got \(4,\)"),
    (nn.GRU(4, 3), (x3, np.ones(3)), r"hidden of shape \(2, 3\), .* got \(3,\)"),
    (nn.LSTM(4, 3), (x3, np.ones((2, 3)), np.ones((2, 4))), r"cell of shape \(2, 3\).*\(2, 4\)"),
    (nn.RoPE(6), (x3,), r"at least 6 features, got \(2, 5, 4\)"),
    (nn.RoPE(4), (np.ones(4),), r"\(\.\.\., length, features\).* got \(4,\)"),
]


@pytest.mark.parametrize(
    ("layer", "inputs", "message"), REFUSED, ids=[f"{type(r[0]).__name__}-{r[2]}" for r in REFUSED]
)
def test_an_input_of_the_wrong_shape_is_named(layer, inputs, message):
    with pytest.raises(ShapeError, match=message) as caught:
        layer(*inputs)
    assert str(caught.value).startswith(type(layer).__name__)


def test_a_message_names_the_path_while_a_model_computes():
    model = nn.Sequential(nn.RMSNorm(4), nn.GRU(3, 2))
    with pytest.raises(ShapeError, match=r"GRU 'layers\.1' expects"):
        nn.value_and_grad(model, lambda: model(x3).sum())()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv1d(3, 4, 2, groups=2), "divisible by groups=2"),
        (lambda: nn.Conv1d(4, 4, 0), "kernel_size is an int of at least 1, got 0"),
        (lambda: nn.Conv1d(4, 4, (2, 2)), r"kernel_size is an int .* got \(2, 2\)"),
        (lambda: nn.Conv1d(4, 4, 2, padding=1.5), "padding is an int of at least 0, got 1.5"),
        (lambda: nn.ConvTranspose2d(4, 4, 2, stride=0), "stride is an int or a pair"),
        (lambda: nn.ConvTranspose2d(4, 4, 2, output_padding=-1), "output_padding"),
        (lambda: nn.MaxPool1d(3, padding=2), "more than half"),
        (lambda: nn.AvgPool1d(2, stride=0), "stride"),
        (lambda: nn.AvgPool2d(0), "kernel_size"),
        (lambda: nn.AdaptiveAvgPool2d(0), "output_size"),
        (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), "output_size"),
        (lambda: nn.RMSNorm(4, eps=0), "RMSNorm: eps is above zero"),
        (lambda: nn.GroupNorm(3, 4), "dims=4 is no positive multiple of num_groups=3"),
        (lambda: nn.GroupNorm(0, 4), "num_groups is an int of at least 1, got 0"),
        (lambda: nn.GroupNorm(2, 4, eps=-1), "GroupNorm: eps"),
        (lambda: nn.InstanceNorm(4, eps=0), "InstanceNorm: eps"),
        (lambda: nn.RNN(3, 4, nonlinearity="tanh"), "nonlinearity is a function"),
        (lambda: nn.RoPE(5), "dims is even"),
        (lambda: nn.SinusoidalPositionalEncoding(3), "dims is even"),
        (lambda: nn.SinusoidalPositionalEncoding(4, min_freq=0), "frequencies are above zero"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---------------------------------------------------------------- printing, copying, first values


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Bilinear(3, 4, 2), "Bilinear(input1_dims=3, input2_dims=4, output_dims=2, bias=True)"),
        (nn.MaxPool1d(2), "MaxPool1d(kernel_size=2, stride=2, padding=0)"),
        (nn.AvgPool2d(2, 1), "AvgPool2d(kernel_size=(2, 2), stride=(1, 1), padding=(0, 0))"),
        (nn.AdaptiveAvgPool2d(1), "AdaptiveAvgPool2d(output_size=(1, 1))"),
        (nn.RMSNorm(4), "RMSNorm(4, eps=1e-05)"),
        (
            nn.GroupNorm(2, 4),
            "GroupNorm(2, 4, eps=1e-05, affine=True, pytorch_compatible=False)",
        ),
        (nn.InstanceNorm(4), "InstanceNorm(4, eps=1e-05, affine=False)"),
        (nn.RNN(3, 4), "RNN(input_dims=3, hidden_size=4, nonlinearity=tanh, bias=True)"),
        (nn.GRU(3, 4, bias=False), "GRU(input_dims=3, hidden_size=4, bias=False)"),
        (nn.LSTM(3, 4), "LSTM(input_dims=3, hidden_size=4, bias=True)"),
        (nn.RoPE(4), "RoPE(4, traditional=False)"),
        (
            nn.Conv1d(4, 8, 3, groups=2),
            "Conv1d(4, 8, kernel_size=3, stride=1, padding=0, dilation=1, groups=2, bias=True)",
        ),
        (
            nn.ConvTranspose2d(4, 8, 3),
            "ConvTranspose2d(4, 8, kernel_size=(3, 3), stride=(1, 1), padding=(0, 0), "
            "dilation=(1, 1), output_padding=(0, 0), bias=True)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layers_print_their_arguments(layer, text):
    assert repr(layer) == text


def test_parameters_have_the_names_and_the_order_of_mlx():
    for layer, names in [
        (nn.RNN(3, 4), ["Wxh", "Whh", "bias"]),
        (nn.GRU(3, 4), ["Wx", "Wh", "b", "bhn"]),
        (nn.LSTM(3, 4), ["Wx", "Wh", "bias"]),
        (nn.GRU(3, 4, bias=False), ["Wx", "Wh"]),
        (nn.GroupNorm(2, 4), ["bias", "weight"]),
        (nn.InstanceNorm(4), []),
        (nn.RoPE(4), []),
    ]:
        assert [path for path, _ in layer.named_parameters()] == names


@every_layer
def test_a_generator_gives_the_same_layer_in_both_faces(name):
    make, shape = LAYERS[name]
    layer = make()
    layer = getattr(layer, "layer", layer)
    ps, st = explicit.setup(7, layer)
    again, _ = explicit.setup(7, layer)
    for (path, a), (_, b) in zip(tree_flatten(ps), tree_flatten(again), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)
    assert {p for p, _ in tree_flatten(ps)} == {p for p, _ in layer.named_parameters()}
    x = normal(shape, "float32")
    layer.update(ps)
    expected, (got, _) = layer(x), explicit.apply(layer, x, ps, st)
    np.testing.assert_array_equal(np.stack(got), np.stack(expected))
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(np.stack(copied(x)), np.stack(expected))
