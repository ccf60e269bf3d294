"""What measuring layers costs a run: steps a second with and without a watcher, in one run.

    python tests/benchmarks/bench_measures.py

One trainer makes steps in rounds, alternately with `watch_measures` and without (A B B A, so that a
drift of the machine falls on both). Printed is, per workload, the ratio of steps a second of the
process's own time, with the bootstrapped 95 % interval of the median over pairs of rounds; how many
steps were measured; and what a measured step takes, by what the others take. Gates nothing.
"""

import argparse
import os
import time
from itertools import pairwise

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import freezeviz as fv
from freezeviz import nn, optim


def mlp(*sizes):
    """Return a perceptron."""
    layers = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def deep(n, dims):
    """Return many small layers."""
    return nn.Sequential(*(nn.Linear(dims, dims) for _ in range(n)), nn.Linear(dims, 10))


WORKLOADS = {
    "tiny MLP, 8-32-32-1, batch 32": (lambda: mlp(8, 32, 32, 1), (3200, 8), 32),
    "MLP, 64-128-128-10, batch 64": (lambda: mlp(64, 128, 128, 10), (6400, 64), 64),
    "MLP, 784-512-512-10, batch 128": (lambda: mlp(784, 512, 512, 10), (2560, 784), 128),
    "1,000 layers of 8-8, batch 16": (lambda: deep(1000, 8), (1600, 8), 16),
}


def measure(name, rounds, seconds):
    """Return steps per second of own time, shape (rounds, 2): watched and alone; and measures."""
    fv.seed(0)
    model, shape, batch = WORKLOADS[name]
    model = model()
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, dtype=np.float32)
    classes = model(x[:1]).shape[-1]
    y = rng.integers(0, classes, len(x)) if classes > 1 else x[:, :1]
    loss = "cross_entropy" if classes > 1 else "mse_loss"
    trainer = fv.Trainer(model, optim.Adam(1e-4), loss, data=(x, y), batch_size=batch)
    steps = trainer.steps(10**9)
    for _ in range(20):
        next(steps)

    def rate():
        began, first, end = time.process_time(), trainer.step, time.perf_counter() + seconds
        while time.perf_counter() < end:
            next(steps)
        return (trainer.step - first) / (time.process_time() - began)

    rates = []
    for i in range(rounds):
        pair = {}
        for watched in (True, False) if i % 2 else (False, True):
            stop = trainer.watch_measures() if watched else None
            pair[watched] = rate()
            if stop is not None:
                stop()
        rates.append((pair[True], pair[False]))
    steps.close()
    columns = trainer.history.steps
    was = ~np.isnan(columns["saved_bytes"])
    slower = np.median(columns["seconds"][was]) / np.median(columns["seconds"][~was])
    return np.array(rates), int(was.sum()), slower


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    head = "alone/s  watched/alone (95 %)        measured  measured/other step"
    print(f"{'workload':<32} {head}")
    for name in WORKLOADS:
        rates, measured, slower = measure(name, options.rounds, options.seconds)
        ratios = rates[:, 0] / rates[:, 1]
        samples = np.median(rng.choice(ratios, (4000, len(ratios))), axis=1)
        low, high = np.quantile(samples, [0.025, 0.975])
        print(
            f"{name:<32} {np.median(rates[:, 1]):>7.0f}  {np.median(ratios):.3f} "
            f"({low:.3f} to {high:.3f})  {measured:>12}  {slower:>19.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
