"""A small model, data it can learn, and ways to look at what a run did."""

import time

import numpy as np

import freezeviz as fv
from freezeviz import nn, optim

SAMPLES, BATCH = 50, 16
STEPS_PER_EPOCH = 4  # the last batch has 2 samples


def make_model(dropout=False, seed=0):
    fv.seed(seed)
    middle = [nn.Dropout(0.5), nn.BatchNorm(8)] if dropout else []
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), *middle, nn.Linear(8, 3))


def make_data(n=SAMPLES, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4), dtype=np.float32)
    return x, x[:, :3].argmax(axis=1)


def make_trainer(model=None, optimizer=None, **options):
    options = {"data": make_data(), "batch_size": BATCH} | options
    return fv.Trainer(model or make_model(), optimizer or optim.Adam(0.01), **options)


def weights(model):
    """Return the bytes of every array of a model by path."""
    pairs = model.named_parameters() + model.named_buffers()
    return {path: np.ascontiguousarray(value).tobytes() for path, value in pairs}


def kinds(trainer):
    return [type(event).__name__ for event in trainer.events]


def eventually(condition, seconds=20.0):
    """Wait until something is true; fail if it does not become so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)
