"""The same programs and the same weights in MLX and here: same losses, same gradients, to 1e-5.

The programs are texts in which nothing but the import lines differs. Where MLX is not installed
(``pip install "mlx[cpu]"``) these tests are skipped; ``tests/conformance`` and
``tests/optim/mlx_*.json`` hold what was recorded.
"""

import inspect
import types

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim

mx = pytest.importorskip("mlx.core")
import mlx.nn as mlx_nn  # noqa: E402
import mlx.optimizers as mlx_optim  # noqa: E402
from mlx.utils import tree_flatten as mlx_flatten  # noqa: E402

MLX = """
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_flatten, tree_map
"""
HERE = """
import numpy as mx
from freezeviz import nn, optim, tree_flatten, tree_map
"""


@pytest.fixture(autouse=True)
def _on_the_cpu():
    mx.set_default_device(mx.cpu)


def both(text):
    """Return what a program defines, run with MLX's imports and with ours."""
    programs = []
    for imports in (MLX, HERE):
        module = types.SimpleNamespace()
        exec(compile(imports + text, "program", "exec"), vars(module))
        programs.append(module)
    return programs


def arrays(tree):
    """Return a tree's arrays by path, in NumPy."""
    return {path: np.array(value) for path, value in mlx_flatten(tree)}


def same_weights(theirs, model):
    """Give an MLX model the parameters and buffers of ours."""
    pairs = [*model.named_parameters(), *model.named_buffers()]
    theirs.load_weights([(path, mx.array(np.array(value))) for path, value in pairs])
    return theirs


def assert_close(got, expected, tolerance=1e-5, what=""):
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, what
    if expected.size:
        # A gradient that is nothing but rounding (of a key's bias, say) has no scale of its own.
        scale = max(np.abs(expected).max(), 0.1)
        assert np.abs(got - expected).max() <= tolerance * scale, what


def assert_same_gradients(got, expected):
    got, expected = arrays(got), arrays(expected)
    assert got.keys() == expected.keys()
    for path, gradient in expected.items():
        assert_close(got[path], gradient, what=path)


def compare_training(programs, models, data, make_optimizer, steps=12):
    """Compare loss and gradients at first, then the losses and the weights of a training run."""
    (mlx_program, ours), (theirs, model) = programs, models
    mlx_data = [mx.array(x) for x in data]
    frozen = {p: np.array(v) for p, v in fv.tree_flatten(model.frozen_parameters())}
    steps_of = [
        (mlx_nn.value_and_grad(theirs, mlx_program.loss_fn), theirs, mlx_data),
        (nn.value_and_grad(model, ours.loss_fn), model, data),
    ]
    (expected, mlx_grads), (loss, grads) = (fn(net, *xs) for fn, net, xs in steps_of)
    assert_close(loss, np.array(expected))
    assert_same_gradients(grads, mlx_grads)

    losses = []
    for (fn, net, xs), module in zip(steps_of, (mlx_optim, optim), strict=True):
        optimizer = make_optimizer(module)
        losses.append([])
        for _ in range(steps):
            loss, grads = fn(net, *xs)
            optimizer.update(net, grads)
            losses[-1].append(float(loss))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert losses[1][-1] < losses[1][0]
    after = dict(model.named_parameters())
    for path, value in mlx_flatten(theirs.parameters()):
        if path in after:  # MLX lists running statistics, too
            assert_close(after[path], np.array(value), 1e-3, path)
    assert all(after[path].tobytes() == value.tobytes() for path, value in frozen.items())


# ---------------------------------------------------------------- MLX's documented examples

MLP = """
class MLP(nn.Module):
    def __init__(self, num_layers: int, input_dim: int, hidden_dim: int, output_dim: int):
        super().__init__()
        layer_sizes = [input_dim] + [hidden_dim] * num_layers + [output_dim]
        self.layers = [
            nn.Linear(idim, odim) for idim, odim in zip(layer_sizes[:-1], layer_sizes[1:])
        ]

    def __call__(self, x):
        for l in self.layers[:-1]:
            x = mx.maximum(l(x), 0.0)
        return self.layers[-1](x)


def loss_fn(model, X, y):
    return mx.mean(nn.losses.cross_entropy(model(X), y))


def eval_fn(model, X, y):
    return mx.mean(mx.argmax(model(X), axis=1) == y)


def make():
    return MLP(2, 16, 32, 10)
"""

OPTIMIZERS = {
    "SGD": lambda o: o.SGD(learning_rate=0.1, momentum=0.9),
    "Adam": lambda o: o.Adam(learning_rate=1e-2, bias_correction=True),
    "AdamW": lambda o: o.AdamW(o.cosine_decay(1e-2, 10), weight_decay=0.1),
    "Adagrad": lambda o: o.Adagrad(learning_rate=1e-2),
    "RMSprop": lambda o: o.RMSprop(learning_rate=1e-3),
    "AdaDelta": lambda o: o.AdaDelta(learning_rate=1.0),
    "Adamax": lambda o: o.Adamax(learning_rate=1e-2),
    "Adafactor": lambda o: o.Adafactor(),
    "MultiOptimizer": lambda o: o.MultiOptimizer(
        [o.SGD(0.1), o.Adam(1e-2)], [lambda path, value: "bias" in path]
    ),
}


def classes(rng, n=24):
    return rng.standard_normal((n, 16), dtype=np.float32), rng.integers(0, 10, n).astype(np.int32)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_multi_layer_perceptron(name, rng):
    programs = both(MLP)
    model, data = programs[1].make(), classes(rng)
    theirs = same_weights(programs[0].make(), model)
    compare_training(programs, (theirs, model), data, OPTIMIZERS[name])
    accuracy = programs[0].eval_fn(theirs, *map(mx.array, data))
    assert float(programs[1].eval_fn(model, *data)) == pytest.approx(float(accuracy))


def test_the_multi_layer_perceptron_with_frozen_layers(rng):
    programs = both(
        MLP
        + """
def make():
    model = MLP(2, 16, 32, 10)
    model.freeze()
    model.layers[-1].unfreeze()
    model.unfreeze(keys="bias")
    return model
"""
    )
    model = programs[1].make()
    theirs = same_weights(programs[0].make(), model)
    assert {p for p, _ in fv.tree_flatten(model.trainable_parameters())} == set(
        arrays(theirs.trainable_parameters())
    )
    compare_training(programs, (theirs, model), classes(rng), OPTIMIZERS["AdamW"])


TRANSFORMER = """
class TransformerLM(nn.Module):
    def __init__(self, vocab_size, num_layers, dims, num_heads, checkpoint=False):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dims)
        self.pe = nn.SinusoidalPositionalEncoding(dims)
        self.transformer = nn.TransformerEncoder(
            num_layers, dims, num_heads, norm_first=True, checkpoint=checkpoint
        )
        self.out_proj = nn.Linear(dims, vocab_size)

    def __call__(self, x):
        L = x.shape[1]
        mask = nn.MultiHeadAttention.create_additive_causal_mask(L)
        x = self.embedding(x)
        x = x + self.pe(mx.arange(L))
        x = self.transformer(x, mask)
        return self.out_proj(x)


def loss_fn(model, inputs, targets):
    logits = model(inputs)
    return mx.mean(nn.losses.cross_entropy(logits, targets))


def make():
    model = TransformerLM(50, 2, 32, 4)
    # Train only the attention layers.
    model.freeze()
    model.apply_to_modules(lambda k, v: v.unfreeze() if k.endswith("attention") else None)
    return model
"""


def test_a_transformer_of_which_only_the_attention_is_trained(rng):
    programs = both(TRANSFORMER)
    tokens = rng.integers(0, 50, (3, 11)).astype(np.int32)
    model = programs[1].make()
    theirs = same_weights(programs[0].make(), model)
    trainable = {p for p, _ in fv.tree_flatten(model.trainable_parameters())}
    assert trainable == set(arrays(theirs.trainable_parameters()))
    assert len(trainable) == 8
    assert all(".attention." in path for path in trainable)
    data = tokens[:, :-1], tokens[:, 1:]
    compare_training(programs, (theirs, model), data, lambda o: o.Adam(learning_rate=1e-3))


LORA = (
    TRANSFORMER
    + """
class LoRALinear(nn.Module):
    @staticmethod
    def from_linear(linear, rank: int = 8):
        output_dims, input_dims = linear.weight.shape
        lora_lin = LoRALinear(input_dims, output_dims, rank)
        lora_lin.linear = linear
        return lora_lin

    def __init__(self, input_dims, output_dims, lora_rank=8, bias=False, scale=20.0):
        super().__init__()
        # Regular linear layer weights
        self.linear = nn.Linear(input_dims, output_dims, bias=bias)
        # Scale for low-rank update
        self.scale = scale
        # Low rank lora weights
        scale = 1 / mx.sqrt(input_dims).item()
        self.lora_a = nn.init.uniform(-scale, scale)(mx.zeros((input_dims, lora_rank)))
        self.lora_b = mx.zeros(shape=(lora_rank, output_dims))

    def __call__(self, x):
        dtype = self.linear.weight.dtype
        y = self.linear(x.astype(dtype))
        z = (x @ self.lora_a) @ self.lora_b
        return y + self.scale * z


def make():
    model = TransformerLM(50, 2, 32, 4)
    # Freeze all layers other than LORA linears
    model.freeze()
    for l in model.transformer.layers:
        l.attention.query_proj = LoRALinear.from_linear(l.attention.query_proj, rank=4)
        l.attention.value_proj = LoRALinear.from_linear(l.attention.value_proj, rank=4)
    return model


def count(model):
    return sum(v.size for _, v in tree_flatten(model.trainable_parameters()))
"""
)


def test_lora_adapters_wrapped_after_freeze(rng):
    programs = both(LORA)
    tokens = rng.integers(0, 50, (3, 11)).astype(np.int32)
    model = programs[1].make()
    theirs = same_weights(programs[0].make(), model)
    trainable = {p for p, _ in fv.tree_flatten(model.trainable_parameters())}
    assert trainable == set(arrays(theirs.trainable_parameters()))
    assert {path.rsplit(".", 1)[1] for path in trainable} == {"lora_a", "lora_b"}
    assert programs[1].count(model) == programs[0].count(theirs) == 2 * 2 * 2 * 4 * 32
    data = tokens[:, :-1], tokens[:, 1:]
    compare_training(programs, (theirs, model), data, lambda o: o.Adam(learning_rate=1e-3))


CNN = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn = nn.BatchNorm(8)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(8, 8, 3, stride=2, groups=2)
        self.norm = nn.GroupNorm(2, 8)
        self.head = nn.Linear(8, 10)

    def __call__(self, x):
        x = self.pool(nn.relu(self.bn(self.conv1(x))))
        x = nn.silu(self.norm(self.conv2(x)))
        return self.head(mx.mean(x, axis=(1, 2)))


def loss_fn(model, X, y):
    return nn.losses.cross_entropy(model(X), y, reduction="mean")


def make():
    model = Net()
    model.conv1.freeze()
    return model
"""


def test_a_convolutional_network_with_a_frozen_layer(rng):
    programs = both(CNN)
    data = rng.standard_normal((8, 12, 12, 1), dtype=np.float32), rng.integers(0, 10, 8, np.int32)
    model = programs[1].make()
    theirs = same_weights(programs[0].make(), model)
    compare_training(programs, (theirs, model), data, OPTIMIZERS["SGD"])
    for name in ("running_mean", "running_var"):
        assert_close(getattr(model.bn, name), np.array(getattr(theirs.bn, name)), 1e-3)


LSTM = """
class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 12)
        self.lstm = nn.LSTM(12, 16)
        self.gru = nn.GRU(16, 8)
        self.rnn = nn.RNN(8, 8)
        self.norm = nn.RMSNorm(8)
        self.out = nn.Linear(8, 5)

    def __call__(self, x):
        hidden, _ = self.lstm(self.embedding(x))
        return self.out(self.norm(self.rnn(self.gru(hidden))))


def loss_fn(model, X, y):
    return mx.mean(nn.losses.nll_loss(nn.log_softmax(model(X)), y))


def make():
    model = Tagger()
    model.embedding.freeze()
    model.gru.freeze(keys=["Wh", "bhn"])
    return model
"""


def test_a_recurrent_network_with_frozen_parts(rng):
    programs = both(LSTM)
    data = [rng.integers(0, n, (4, 9)).astype(np.int32) for n in (30, 5)]
    model = programs[1].make()
    theirs = same_weights(programs[0].make(), model)
    compare_training(programs, (theirs, model), data, lambda o: o.Adam(learning_rate=1e-2))


# ---------------------------------------------------------------- layer by layer

LAYERS = [
    ("Linear", (4, 3), {}, [(5, 4)]),
    ("Linear", (4, 3), {"bias": False}, [(2, 5, 4)]),
    ("Bilinear", (4, 3, 5), {}, [(6, 4), (6, 3)]),
    ("Bilinear", (4, 3, 5), {"bias": False}, [(2, 6, 4), (2, 6, 3)]),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1}, [(2, 9, 4)]),
    ("Conv1d", (4, 6, 3), {"dilation": 2, "groups": 2, "bias": False}, [(2, 9, 4)]),
    ("Conv2d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, [(2, 7, 8, 4)]),
    ("ConvTranspose2d", (4, 3, 3), {}, [(2, 4, 5, 4)]),
    ("ConvTranspose2d", (4, 3, (3, 2)), {"stride": 2, "padding": 1}, [(2, 4, 5, 4)]),
    ("ConvTranspose2d", (4, 3, 3), {"dilation": 2, "stride": 3}, [(2, 3, 4, 4)]),
    ("MaxPool1d", (2,), {}, [(2, 9, 4)]),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, [(2, 9, 4)]),
    ("AvgPool1d", (2,), {}, [(2, 9, 4)]),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1}, [(2, 9, 4)]),
    ("MaxPool2d", ((2, 3),), {}, [(2, 7, 8, 4)]),
    ("AvgPool2d", (2,), {}, [(2, 7, 8, 4)]),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1}, [(2, 7, 8, 4)]),
    ("BatchNorm", (4,), {}, [(5, 4)]),
    ("LayerNorm", (4,), {}, [(2, 5, 4)]),
    ("RMSNorm", (4,), {"eps": 1e-3}, [(2, 5, 4)]),
    ("GroupNorm", (2, 4), {}, [(2, 5, 4)]),
    ("GroupNorm", (2, 4), {"affine": False}, [(2, 3, 5, 4)]),
    ("GroupNorm", (2, 4), {"pytorch_compatible": True}, [(2, 3, 5, 4)]),
    ("InstanceNorm", (4,), {}, [(2, 3, 5, 4)]),
    ("InstanceNorm", (4,), {"affine": True}, [(2, 5, 4)]),
    ("RNN", (4, 3), {}, [(2, 5, 4)]),
    ("RNN", (4, 3), {"bias": False}, [(5, 4), (3,)]),
    ("GRU", (4, 3), {}, [(2, 5, 4)]),
    ("GRU", (4, 3), {"bias": False}, [(2, 5, 4), (2, 3)]),
    ("GRU", (4, 3), {}, [(2, 5, 4), (2, 3)]),
    ("LSTM", (4, 3), {}, [(2, 5, 4)]),
    ("LSTM", (4, 3), {"bias": False}, [(2, 5, 4), (2, 3), (2, 3)]),
    ("RoPE", (4,), {}, [(2, 3, 5, 4)]),
    ("RoPE", (4,), {"traditional": True, "base": 100, "scale": 0.5}, [(2, 5, 6)]),
    ("SinusoidalPositionalEncoding", (6,), {}, [(2, 5)]),
    ("SinusoidalPositionalEncoding", (2,), {"cos_first": True, "full_turns": True}, [(5,)]),
    ("PReLU", (), {}, [(5, 4)]),
    ("PReLU", (4,), {"init": 0.1}, [(5, 4)]),
    ("MultiHeadAttention", (8, 2), {"bias": True}, [(2, 5, 8), (2, 6, 8), (2, 6, 8)]),
    *[
        (name, (), {}, [(5, 4)])
        for name in (
            "CELU", "ELU", "GELU", "GLU", "HardShrink", "HardTanh", "Hardswish", "LeakyReLU",
            "LogSigmoid", "LogSoftmax", "Mish", "ReLU", "ReLU2", "ReLU6", "SELU", "SiLU",
            "Sigmoid", "Softmax", "Softmin", "Softplus", "Softshrink", "Softsign", "Step", "Tanh",
        )
    ],
    ("GELU", ("precise",), {}, [(5, 4)]),
    ("GELU", ("fast",), {}, [(5, 4)]),
    ("CELU", (0.4,), {}, [(5, 4)]),
    ("GLU", (), {"axis": 0}, [(4, 5)]),
    ("Step", (0.5,), {}, [(5, 4)]),
]  # fmt: skip


@pytest.mark.parametrize("case", LAYERS, ids=lambda c: f"{c[0]}{c[1]}{c[2] or ''}")
def test_layer(case, rng):
    name, arguments, options, shapes = case
    layer = getattr(nn, name)(*arguments, **options)
    theirs = getattr(mlx_nn, name)(*arguments, **options)
    layer.apply(lambda p: p + rng.standard_normal(p.shape).astype(np.float32) * 0.2)
    expected_paths = set(arrays(theirs.parameters())) - {"running_mean", "running_var"}
    assert {path for path, _ in layer.named_parameters()} == expected_paths
    same_weights(theirs, layer)
    inputs = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    weights = np.random.default_rng(1)

    def joined(out, stack):
        return stack(out) if isinstance(out, tuple) else out

    out = np.asarray(joined(layer(*inputs), np.stack))
    g = weights.standard_normal(out.shape, dtype=np.float32)

    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs = [np.array(x) for x in inputs]
            self.layer = layer

        def __call__(self):
            return (joined(self.layer(*self.inputs), np.stack) * g).sum()

    called = Called()
    _, gradients = nn.value_and_grad(called, called)()

    def mlx_loss(xs):
        return (joined(theirs(*xs), mx.stack) * mx.array(g)).sum()

    mlx_inputs = [mx.array(x) for x in inputs]
    assert_close(out, np.array(joined(theirs(*mlx_inputs), mx.stack)), what="output")
    for i, expected in enumerate(mx.grad(mlx_loss)(mlx_inputs)):
        assert_close(gradients["inputs"][i], np.array(expected), what=f"input {i}")
    if expected_paths:  # MLX refuses a model without parameters
        _, expected = mlx_nn.value_and_grad(theirs, mlx_loss)(mlx_inputs)
        assert_same_gradients(gradients["layer"], expected)


def test_what_layer_by_layer_leaves_out(rng):
    x = rng.standard_normal((1, 2, 5, 8), dtype=np.float32)
    for traditional in (True, False):
        got = nn.RoPE(8, traditional)(x, offset=7)
        assert_close(got, np.array(mlx_nn.RoPE(8, traditional)(mx.array(x), offset=7)))
    # Of an output padding, MLX 0.32.4 gives the input's gradient a wrong shape.
    layer = nn.ConvTranspose2d(8, 3, 3, stride=2, output_padding=1)
    theirs = same_weights(mlx_nn.ConvTranspose2d(8, 3, 3, stride=2, output_padding=1), layer)
    assert_close(layer(x), np.array(theirs(mx.array(x))))


# ---------------------------------------------------------------- losses

LOSSES = [
    ("cross_entropy", ["scores", "classes"], {"label_smoothing": 0.1}),
    ("cross_entropy", ["scores", "log_probs"], {}),
    ("binary_cross_entropy", ["scores", "shares"], {}),
    ("binary_cross_entropy", ["shares", "shares"], {"with_logits": False}),
    ("l1_loss", ["scores", "scores"], {}),
    ("mse_loss", ["scores", "scores"], {}),
    ("smooth_l1_loss", ["scores", "scores"], {"beta": 0.5}),
    ("huber_loss", ["scores", "scores"], {"delta": 0.5}),
    ("log_cosh_loss", ["scores", "scores"], {}),
    ("nll_loss", ["log_probs", "classes"], {}),
    ("kl_div_loss", ["log_probs", "log_probs"], {}),
    ("kl_div_loss", ["log_probs", "log_probs"], {"axis": 0}),
    ("cosine_similarity_loss", ["scores", "scores"], {}),
    ("hinge_loss", ["scores", "signs"], {}),
    ("margin_ranking_loss", ["scores", "scores", "signs"], {"margin": 0.1}),
    ("triplet_loss", ["scores", "scores", "scores"], {"p": 3}),
    ("gaussian_nll_loss", ["scores", "scores", "shares"], {"full": True}),
]


@pytest.mark.parametrize("reduction", [None, "none", "mean", "sum"])
@pytest.mark.parametrize("case", LOSSES, ids=lambda c: f"{c[0]}{c[2] or ''}")
def test_loss(case, reduction, rng):
    name, kinds, options = case
    options = options | ({"reduction": reduction} if reduction else {})
    draw = {
        "scores": lambda: rng.standard_normal((6, 4), dtype=np.float32),
        "classes": lambda: rng.integers(0, 4, 6).astype(np.int32),
        "shares": lambda: rng.uniform(0.05, 0.95, (6, 4)).astype(np.float32),
        "signs": lambda: np.sign(rng.standard_normal((6, 4))).astype(np.float32),
        "log_probs": lambda: nn.log_softmax(rng.standard_normal((6, 4), dtype=np.float32)),
    }
    inputs = [draw[kind]() for kind in kinds]
    if name == "cross_entropy" and kinds[1] == "log_probs":
        inputs[1] = np.exp(inputs[1])
    fn, theirs = getattr(nn.losses, name), getattr(mlx_nn.losses, name)
    expected = theirs(*map(mx.array, inputs), **options)
    assert_close(fn(*inputs, **options), np.array(expected))
    got = fv.autodiff.grad(lambda x, *rest: fn(x, *rest, **options).sum())(*inputs)
    wanted = mx.grad(lambda x, *rest: theirs(x, *rest, **options).sum())(*map(mx.array, inputs))
    assert_close(got, np.array(wanted))
    assert np.asarray(fn(*inputs, **options)).shape == tuple(expected.shape)


# ---------------------------------------------------------------- names and arguments

# What MLX has and this library leaves out: 3-d, quantized and distributed layers, and some more.
ABSENT = {
    "ALiBi", "AvgPool3d", "Conv3d", "ConvTranspose1d", "ConvTranspose3d", "Dropout2d", "Dropout3d",
    "MaxPool3d", "Upsample", "AllToShardedLinear", "FullyShardedModule", "QQLinear",
    "QuantizedAllToShardedLinear", "QuantizedEmbedding", "QuantizedLinear",
    "QuantizedShardedToAllLinear", "ShardedToAllLinear", "average_gradients", "fully_shard",
    "quantize", "Muon",
}  # fmt: skip


def public(module):
    found = {n: v for n, v in vars(module).items() if n[0] != "_" and callable(v)}
    return {n for n, v in found.items() if getattr(v, "__module__", "").startswith("mlx.")}


PAIRS = {
    "nn": (mlx_nn, nn),
    "losses": (mlx_nn.losses, nn.losses),
    "optim": (mlx_optim, optim),
    "init": (mlx_nn.init, nn.init),
}


@pytest.mark.parametrize("where", PAIRS)
def test_what_mlx_has_and_this_library_has_not_is_listed_above(where):
    theirs, ours = PAIRS[where]
    names = {name for name in public(theirs) if not name.startswith("tree_")} - {"Module"}
    assert names - set(ours.__all__) - ABSENT == set()
    assert ABSENT.isdisjoint(ours.__all__)


def arguments(fn):
    """Return positional arguments and defaults, in a form that compares."""
    found = []
    for name, parameter in inspect.signature(fn).parameters.items():
        value = parameter.default
        if isinstance(value, list | tuple):
            value = tuple(value)
        if parameter.kind is not parameter.KEYWORD_ONLY:
            found.append((name, getattr(value, "__name__", value)))
    return found


@pytest.mark.parametrize("where", ["nn", "losses", "optim"])
def test_arguments_their_order_and_defaults_are_those_of_mlx(where):
    theirs, ours = PAIRS[where]
    compared = 0
    for name in ours.__all__:
        theirs_of = getattr(theirs, name, None)
        if theirs_of is None or inspect.ismodule(theirs_of) or name in ("Module", "Optimizer"):
            continue
        try:
            expected = arguments(theirs_of)
        except ValueError:
            continue  # a compiled function of MLX's shows no arguments
        # Further ones of ours come after MLX's.
        assert arguments(getattr(ours, name))[: len(expected)] == expected, name
        compared += 1
    assert compared > 10


def test_checkpointing_is_refused_when_asked_for():
    for make in (
        lambda: nn.TransformerEncoder(1, 4, 2, checkpoint=True),
        lambda: nn.TransformerDecoder(1, 4, 2, checkpoint=True),
        lambda: nn.Transformer(4, 2, 1, 1, checkpoint=True),
    ):
        with pytest.raises(ValueError, match="checkpoint=True"):
            make()


# ---------------------------------------------------------------- the rest of a program


def test_initialisers_are_applied_as_in_mlx():
    for name in ("he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "normal", "uniform"):
        model = nn.Linear(400, 300, bias=False).apply(getattr(nn.init, name)())
        theirs = mlx_nn.Linear(400, 300, bias=False).apply(getattr(mlx_nn.init, name)())
        assert model.weight.dtype == np.float32
        spread = float(np.array(theirs.weight).std())
        assert float(model.weight.std()) == pytest.approx(spread, rel=0.02)


def test_clip_grad_norm(rng):
    grads = {"a": [rng.standard_normal((3, 4), dtype=np.float32)], "b": np.ones(3, np.float32)}
    for limit in (0.5, 100.0):
        clipped, norm = optim.clip_grad_norm(grads, limit)
        expected, mlx_norm = mlx_optim.clip_grad_norm(fv.tree_map(mx.array, grads), limit)
        assert_close(norm, np.array(mlx_norm))
        assert_same_gradients(clipped, expected)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_weights_written_by_mlx_are_read_here_and_back(suffix, rng, tmp_path):
    programs = both(TRANSFORMER)
    theirs, model = programs[0].make(), programs[1].make()
    path = str(tmp_path / f"weights.{suffix}")
    theirs.save_weights(path)
    model.load_weights(path)
    tokens = rng.integers(0, 50, (2, 7)).astype(np.int32)
    assert_close(model(tokens), np.array(theirs(mx.array(tokens))))
    model.out_proj.bias = model.out_proj.bias + 1
    model.save_weights(path)
    theirs.load_weights(path)
    assert_close(model(tokens), np.array(theirs(mx.array(tokens))))
