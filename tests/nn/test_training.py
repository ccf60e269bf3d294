"""Models that learn real digits, whole and with parts frozen."""

import numpy as np
import pytest

from freezeviz import nn, optim, random, tree_flatten

pytest.importorskip("sklearn")
from freezeviz import data

DIGITS = data.digits(seed=0, flat=False)


def mlp(rng):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 64, rng=rng),
        nn.LayerNorm(64),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(64, 10, rng=rng),
    )


def cnn(rng):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, rng=rng),
        nn.BatchNorm(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, rng=rng),
        nn.BatchNorm(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10, rng=rng),
    )


class Transformer(nn.Module):
    """The rows of an image as eight tokens."""

    def __init__(self, rng):
        super().__init__()
        self.embed = nn.Linear(8, 24, rng=rng)
        self.position = nn.init.normal(0.0, 0.2)((8, 24), rng=rng)
        self.encoder = nn.TransformerEncoder(2, 24, 4, 48, dropout=0.05, activation=nn.gelu)
        self.head = nn.Linear(24, 10, rng=rng)

    def __call__(self, x):
        tokens = x.reshape(-1, 8, 8)
        return self.head(self.encoder(self.embed(tokens) + self.position).mean(axis=1))


def train(model, optimizer, epochs, seed=0):
    rng = np.random.default_rng(seed)
    x, y = DIGITS.train
    step = nn.value_and_grad(
        model, lambda x, y: nn.losses.cross_entropy(model(x), y, reduction="mean")
    )
    losses = []
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - 63, 64):
            batch = order[start : start + 64]
            loss, grads = step(x[batch], y[batch])
            optimizer.update(model, grads)
            losses.append(float(loss))
    return losses


def accuracy(model):
    x, y = DIGITS.validation
    model.eval()
    try:
        return float((model(x).argmax(axis=-1) == y).mean())
    finally:
        model.train()


RUNS = {
    "mlp": (mlp, lambda: optim.Adam(2e-3), 12, 0.95),
    "cnn": (cnn, lambda: optim.SGD(0.05, momentum=0.9), 4, 0.95),
    "transformer": (Transformer, lambda: optim.AdamW(3e-3, weight_decay=0.05), 12, 0.92),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_model_learns_digits(name):
    make, optimizer, epochs, enough = RUNS[name]
    model = make(np.random.default_rng(0))
    before = accuracy(model)
    losses = train(model, optimizer(), epochs)
    assert before < 0.3
    assert accuracy(model) >= enough
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:5])


FROZEN = {
    "mlp": lambda model: model.layers[1].freeze(),
    "cnn": lambda model: (model.layers[0].freeze(), model.layers[1].freeze(hold=True)),
    "transformer": lambda model: (
        model.encoder.layers[1].freeze(),
        model.embed.freeze(keys="weight"),
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_with_a_part_frozen_the_rest_learns_and_the_part_stands_still(name):
    make, optimizer, epochs, _ = RUNS[name]
    model = make(np.random.default_rng(0))
    FROZEN[name](model)
    frozen = {path: v.tobytes() for path, v in tree_flatten(model.frozen_parameters())}
    others = {path: v.tobytes() for path, v in tree_flatten(model.trainable_parameters())}
    opt = optimizer()
    train(model, opt, epochs // 2)
    now = {path: value.tobytes() for path, value in model.named_parameters()}
    assert frozen
    assert {path: now[path] for path in frozen} == frozen
    assert all(now[path] != value for path, value in others.items())
    assert not set(opt.state) & set(frozen)
    assert accuracy(model) >= 0.85


def test_a_held_batch_norm_keeps_its_statistics_while_the_rest_learns():
    model = cnn(np.random.default_rng(0))
    train(model, optim.SGD(0.05, momentum=0.9), 1)
    model.layers[1].freeze(hold=True)
    held = {path: v.tobytes() for path, v in tree_flatten(model.layers[1].state)}
    moving = model.layers[5].running_mean.tobytes()
    train(model, optim.SGD(0.05, momentum=0.9), 1)
    assert {path: v.tobytes() for path, v in tree_flatten(model.layers[1].state)} == held
    assert model.layers[5].running_mean.tobytes() != moving


def test_a_frozen_then_unfrozen_model_goes_on_learning():
    model, opt = mlp(np.random.default_rng(0)), optim.Adam(2e-3)
    model.layers[1].freeze()
    train(model, opt, 3)
    before = accuracy(model)
    state = opt.state["layers.5.weight"]["step"]
    model.unfreeze()
    train(model, opt, 6)
    assert accuracy(model) > max(before, 0.93)
    assert opt.state["layers.5.weight"]["step"] == 3 * state
    assert opt.state["layers.1.weight"]["step"] == 2 * state


def test_the_same_seed_gives_the_same_bytes():
    runs = []
    for _ in range(2):
        random.seed(5)
        model = cnn(np.random.default_rng(0))
        train(model, optim.Adam(1e-3), 1)
        runs.append({path: value.tobytes() for path, value in tree_flatten(model.state)})
    assert runs[0] == runs[1]
