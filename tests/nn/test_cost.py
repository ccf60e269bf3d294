"""What frozen parts cost: nodes on the tape, matrix products, and what is kept alive.

Sizes differ everywhere, so that a matrix product is known by the shapes of its operands.
"""

import weakref

import numpy as np
import pytest

from freezeviz import autodiff, nn, tree_flatten

BATCH = 5


def mlp():
    return nn.Sequential(
        nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 11), nn.Tanh(), nn.Linear(11, 13), nn.Linear(13, 2)
    )


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 5, 2),
        nn.BatchNorm(5),
        nn.Flatten(),
        nn.Linear(20, 4),
    )


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 6)
        self.encoder = nn.TransformerEncoder(3, 6, 2, 10)
        self.head = nn.Linear(6, 4)

    def __call__(self, tokens):
        return self.head(self.encoder(self.embed(tokens))[:, 0])


RNG = np.random.default_rng(0)
MODELS = {
    "mlp": (mlp, RNG.standard_normal((BATCH, 3), dtype=np.float32)),
    "cnn": (cnn, RNG.standard_normal((BATCH, 8, 8, 1), dtype=np.float32)),
    "transformer": (Encoder, RNG.integers(0, 9, (BATCH, 8))),
}


def counted(model, x):
    def loss(x):
        return nn.losses.cross_entropy(model(x), np.zeros(len(x), int), reduction="mean")

    with autodiff.count() as counts:
        _, grads = nn.value_and_grad(model, loss)(x)
    return counts, grads


def plain(model, x):
    """Count what the forward computation alone does."""
    with autodiff.count() as counts:
        nn.losses.cross_entropy(model(x), np.zeros(len(x), int), reduction="mean")
    return counts


def backward(model, x):
    """Return the matrix products of the backward computation."""
    before = plain(model, x).gemms
    counts, _ = counted(model, x)
    assert not before - counts.gemms  # the forward computation is in it
    return counts.gemms - before


@pytest.mark.parametrize("name", MODELS)
def test_a_fully_frozen_model_records_nothing(name):
    make, x = MODELS[name]
    model = make().freeze()
    counts, grads = counted(model, x)
    assert grads == {}
    assert not counts.nodes
    assert counts.gemms == plain(model, x).gemms


@pytest.mark.parametrize("name", MODELS)
def test_a_frozen_model_computes_the_same_as_without_gradients(name):
    make, x = MODELS[name]
    model = make().eval()
    outputs = []
    for freeze in (False, True):
        if freeze:
            model.freeze()
        nn.value_and_grad(model, lambda: (outputs.append(model(x)), outputs[-1].sum())[1])()
    np.testing.assert_array_equal(autodiff.stop_gradient(outputs[0]), outputs[1])
    np.testing.assert_array_equal(model(x), outputs[1])


@pytest.mark.parametrize("name", MODELS)
def test_only_a_trained_head_costs_its_own_nodes_and_one_product(name):
    make, x = MODELS[name]
    model = make().freeze()
    head = model.head if name == "transformer" else model.layers[-1]
    head.unfreeze()
    counts, _ = counted(model, x)
    assert counts.nodes["linear"] == 1
    assert set(counts.nodes) <= {
        "linear",
        "softmax_cross_entropy",
        "mean",
        "sum",
        "multiply",
        "divide",
    }
    outputs, inputs = head.weight.shape
    assert backward(model, x) == {((outputs, BATCH), (BATCH, inputs)): 1}


def test_a_frozen_prefix_of_an_mlp_records_nothing():
    model, x = mlp(), MODELS["mlp"][1]
    model.layers[0].freeze()
    model.layers[2].freeze()
    counts, _ = counted(model, x)
    assert counts.nodes["linear"] == 2
    assert "relu" not in counts.nodes
    assert "tanh" not in counts.nodes
    assert backward(model, x) == {
        ((13, BATCH), (BATCH, 11)): 1,  # dW of the third
        ((BATCH, 2), (2, 13)): 1,  # dX of the last
        ((2, BATCH), (BATCH, 13)): 1,  # dW of the last
    }


def test_a_frozen_prefix_of_a_cnn_records_nothing():
    model, x = cnn(), MODELS["cnn"][1]
    model.layers[0].freeze()
    counts, _ = counted(model, x)
    assert counts.nodes["conv2d"] == 1
    assert not {"relu", "max_pool2d"} & set(counts.nodes)


def test_a_frozen_prefix_of_a_transformer_records_nothing():
    model, x = Encoder(), MODELS["transformer"][1]
    everything, _ = counted(model, x)
    model.embed.freeze()
    model.encoder.layers[0].freeze()
    model.encoder.layers[1].freeze()
    counts, _ = counted(model, x)
    assert counts.nodes["projections"] == counts.nodes["packed_attention"] == 1
    assert counts.nodes["linear"] == 4  # after the attention, two of the network, the head
    assert counts.nodes["layer_norm"] == 3
    assert "embedding" not in counts.nodes
    assert sum(counts.nodes.values()) < sum(everything.nodes.values()) / 2


@pytest.mark.parametrize("size", [7, 11])
def test_a_frozen_middle_passes_gradients_and_computes_none_of_its_own(size):
    model, x = mlp(), MODELS["mlp"][1]
    everything, reference = backward(model, x), counted(model, x)[1]
    layer = next(m for m in model.layers if m.parameters() and m.weight.shape[0] == size)
    layer.freeze()
    left = backward(model, x)
    own = ((size, BATCH), (BATCH, layer.weight.shape[1]))
    gone = everything - left
    if size == 7:  # the first: nothing is upstream
        assert gone == {own: 1, ((BATCH, 11), (11, 7)): 1}
    else:
        assert gone == {own: 1}
    grads = dict(tree_flatten(counted(model, x)[1]))
    for path, expected in tree_flatten(reference):
        if path in grads:
            np.testing.assert_array_equal(grads[path], expected)
    assert not any(np.shape(g) == layer.weight.shape for g in grads.values())


def test_a_frozen_middle_of_a_transformer_computes_no_weight_gradients():
    model, x = Encoder(), MODELS["transformer"][1]
    everything, reference = backward(model, x), counted(model, x)[1]
    middle = model.encoder.layers[1].freeze()
    gone = everything - backward(model, x)
    rows = BATCH * 8
    expected = {}
    for path, weight in middle.named_parameters():
        if path.startswith("attention.") and "out_proj" not in path:
            continue
        if weight.ndim == 2:
            key = ((weight.shape[0], rows), (rows, weight.shape[1]))
            expected[key] = expected.get(key, 0) + 1
    dims = middle.attention.query_proj.weight.shape[0]
    expected[((3 * dims, rows), (rows, dims))] = 1  # queries, keys and values as one
    assert gone == expected
    np.testing.assert_array_equal(
        counted(model, x)[1]["embed"]["weight"], reference["embed"]["weight"]
    )


@pytest.mark.parametrize("name", MODELS)
def test_biases_alone_cost_no_weight_gradients(name):
    make, x = MODELS[name]
    model = make().freeze().unfreeze(keys="bias")
    weights = {
        (w.shape[0], w.shape[1])
        for path, w in model.named_parameters()
        if path.endswith("weight") and w.ndim == 2
    }
    rows = {BATCH, BATCH * 8}
    forbidden = {((o, n), (n, i)) for o, i in weights for n in rows}
    assert not forbidden & set(backward(model, x))
    _, grads = counted(model, x)
    assert {path.rpartition(".")[2] for path, _ in tree_flatten(grads)} == {"bias"}


class Watched(nn.Module):
    """Keeps weak references to what passes."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self._seen = []

    def __call__(self, x):
        array = x.value if isinstance(x, autodiff.Tracer) else x
        # Of the owner, in case that a view is what is kept.
        while array.base is not None:
            array = array.base
        self._seen.append(weakref.ref(array))
        return self.layer(x)


def alive_during_backward(frozen, keys=None):
    """Return whether the middle layer's input is alive when the forward computation is over."""
    middle = Watched(nn.Linear(7, 11))
    model = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Sequential(), middle, nn.Linear(11, 2))
    # Tanh keeps its output, so something else has to be in between.
    model.layers[2] = lambda x: x + 1.0
    if frozen:
        middle.freeze(keys=keys)
    alive = []

    def loss(x):
        y = (model(x) ** 2).sum()
        alive.append(middle._seen[-1]() is not None)
        return y

    nn.value_and_grad(model, loss)(np.ones((BATCH, 3), np.float32))
    return alive[0]


def test_the_input_of_a_frozen_weight_is_not_kept():
    assert alive_during_backward(frozen=False)
    assert not alive_during_backward(frozen=True)
    assert not alive_during_backward(frozen=True, keys="weight")
    assert alive_during_backward(frozen=True, keys="bias")


def test_a_frozen_prefix_keeps_none_of_its_values():
    layers = [
        Watched(nn.Linear(3, 7)),
        Watched(nn.ReLU()),
        Watched(nn.Linear(7, 7)),
        nn.Linear(7, 2),
    ]
    model = nn.Sequential(*layers)
    model.freeze()
    layers[-1].unfreeze()
    alive = []

    def loss(x):
        y = (model(x) ** 2).sum()
        alive.extend(layer._seen[-1]() is not None for layer in layers[1:3])
        return y

    nn.value_and_grad(model, loss)(np.ones((BATCH, 3), np.float32))
    assert alive == [False, False]


def test_nothing_is_kept_after_the_call():
    middle = Watched(nn.Linear(7, 11))
    model = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), middle)
    nn.value_and_grad(model, lambda x: (model(x) ** 2).sum())(np.ones((BATCH, 3), np.float32))
    assert middle._seen[-1]() is None
