"""Runs with and without a feature cache, compared."""

import numpy as np

import freezeviz as fv
from freezeviz import nn, optim
from tests.train._setup import weights

SAMPLES, BATCH = 50, 16


def images(n=SAMPLES, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 6, 6, 1), dtype=np.float32), rng.integers(0, 3, n)


def rows(n=SAMPLES, width=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, width), dtype=np.float32), rng.integers(0, 3, n)


def tokens(n=SAMPLES, length=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 11, (n, length)), rng.integers(0, 3, n)


def conv_net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(),
        nn.Linear(8, 3),
    )  # fmt: skip


def trainer_of(make, frozen, cache, **options):
    fv.seed(0)
    model = make()
    if frozen:
        fv.freeze(model, frozen)
    options = {"batch_size": BATCH, "seed": 3} | options
    return fv.Trainer(model, optim.Adam(0.01), feature_cache=cache, **options)


def told(trainer):
    """Return what the cache told last."""
    return trainer.history.features[-1]


def driven(trainer, script=None, epochs=3):
    """Make all steps; of a script, call ``script[step](trainer)`` after each step that is in it."""
    script = script or {}
    if 0 in script:
        script[0](trainer)
    for done in trainer.steps(epochs):
        if done.step in script:
            script[done.step](trainer)
    return trainer


def both(make, frozen, script=None, epochs=3, **options):
    """Return a run with a cache and one without, which have to be the same to rounding."""
    pair = [
        driven(trainer_of(make, frozen, cache, **options), script, epochs)
        for cache in (True, False)
    ]
    assert_same(*pair)
    return pair


def assert_same(first, second, *, bits=False):
    for name in ("loss", "accuracy"):
        a, b = (t.history.steps[name] for t in (first, second))
        np.testing.assert_allclose(a, b, rtol=0 if bits else 1e-5, atol=0 if bits else 1e-6)
    a, b = (t.history.validation["loss"] for t in (first, second))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    if bits:
        assert weights(first.model) == weights(second.model)
    for (path, x), (_, y) in zip(
        first.model.named_parameters() + first.model.named_buffers(),
        second.model.named_parameters() + second.model.named_buffers(),
        strict=True,
    ):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-5, err_msg=path)


class Counting(nn.Linear):
    """A linear layer that counts the rows it computes; a class of a user's."""

    counted = 0

    def __call__(self, x):
        type(self).counted += len(x)
        return super().__call__(x)
