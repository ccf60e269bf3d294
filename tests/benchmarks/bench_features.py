"""What the feature cache saves: ten epochs with it, beside PyTorch without one.

    python -m tests.benchmarks.bench_features [--workloads W1,W3,W4] [--modes F1,F2] [--threads 2]

Each run has a process of its own, in turn, `--rounds` times; medians of the same weights, data,
optimizer (Adam) and number of threads. `10 epochs` is all of a run of 2,000 samples, building
included; `later epoch` is the quickest after the first, the head's steps and nothing else. Before
the clock starts, another model of each side makes an epoch of two batches: importing, and loading
of compiled kernels, is no part of either.
"""

import argparse
import json
import os
import subprocess
import sys
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from tests.benchmarks.engine.workloads import LEARNING_RATE, WORKLOADS

SAMPLES, EPOCHS = 2000, 10
# Least ratios to PyTorch: of ten epochs, and of a later one.
GOALS = {
    ("W1", "F2"): (5.0, None),
    ("W3", "F1"): (2.2, None),
    ("W3", "F2"): (9.0, 200.0),
    ("W4", "F1"): (1.5, None),
    ("W4", "F2"): (9.0, 100.0),
}
SIDES = ("torch", "without", "with")


def _samples(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng, work = np.random.default_rng(1), WORKLOADS[name]
    drawn = [work.draw(rng) for _ in range(-(-SAMPLES // work.batch))]
    x, y = (np.concatenate(parts)[:SAMPLES] for parts in zip(*drawn, strict=True))
    return x, y


def _with_torch(name: str, mode: str, threads: int, epochs: int) -> list[float]:
    import torch

    from tests.benchmarks.engine import on_torch

    work, (x, y) = WORKLOADS[name], _samples(name)
    warm = on_torch.build(work, mode, threads)
    warm.step()
    warm.step()
    training = on_torch.build(work, mode, threads)
    x_all, y_all = torch.from_numpy(on_torch._image(work, x)), torch.from_numpy(y)
    seconds = []
    for epoch in range(epochs):
        begin = perf_counter()
        order = torch.from_numpy(np.random.default_rng([0, epoch]).permutation(SAMPLES))
        for at in range(0, SAMPLES, work.batch):
            chosen = order[at : at + work.batch]
            training.batches = [(x_all[chosen], y_all[chosen])]
            float(training.step())
        seconds.append(perf_counter() - begin)
    return seconds


def _with_freezeviz(name: str, mode: str, cache: bool, epochs: int) -> tuple[list[float], str]:
    import freezeviz as fv
    from freezeviz import nn, optim
    from tests.benchmarks.engine import on_freezeviz

    work, data = WORKLOADS[name], _samples(name)
    loss: Any = "cross_entropy" if getattr(work, "classes", True) else nn.losses.mse_loss

    def made(samples: int) -> fv.Trainer:
        return fv.Trainer(
            on_freezeviz.Training(work, mode).model,
            optim.Adam(LEARNING_RATE, bias_correction=True),
            loss,
            (data[0][:samples], data[1][:samples]),
            batch_size=work.batch,
            feature_cache=cache,
        )

    made(2 * work.batch).fit(2, progress=False)
    trainer = made(SAMPLES)
    seconds, begin = [], perf_counter()
    for done in trainer.steps(epochs):
        if done.step % trainer.steps_per_epoch == 0:
            now = perf_counter()
            seconds.append(now - begin)
            begin = now
    told = trainer.history.features
    return seconds, told[-1].text if told else ""


def _work(side: str, name: str, mode: str, threads: int, epochs: int) -> None:
    if side == "torch":
        seconds, text = _with_torch(name, mode, threads, epochs), ""
    else:
        seconds, text = _with_freezeviz(name, mode, side == "with", epochs)
    print(json.dumps({"seconds": seconds, "text": text}))


def _measured(side: str, name: str, mode: str, threads: int, epochs: int) -> dict[str, Any]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            __spec__.name,
            "--work",
            side,
            name,
            mode,
            str(threads),
            str(epochs),
        ],
        env=os.environ | dict.fromkeys(names, str(threads)),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--workloads", default="W1,W3,W4")
    options.add_argument("--modes", default="F1,F2")
    options.add_argument("--sides", default=",".join(SIDES))
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.work:
        side, name, mode, threads, epochs = given.work
        _work(side, name, mode, int(threads), int(epochs))
        return
    sides = given.sides.split(",")
    for name in given.workloads.split(","):
        for mode in given.modes.split(","):
            rounds: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
            for _ in range(given.rounds):
                for side in sides:
                    rounds[side].append(_measured(side, name, mode, given.threads, given.epochs))
            _tell(name, mode, rounds)


def _tell(name: str, mode: str, rounds: dict[str, list[dict[str, Any]]]) -> None:
    whole = {side: median(sum(r["seconds"]) for r in found) for side, found in rounds.items()}
    later = {
        side: median(min(r["seconds"][1:], default=np.nan) for r in found)
        for side, found in rounds.items()
    }
    goal = GOALS.get((name, mode), (None, None))
    print(f"{name} {mode}")
    for side in rounds:
        print(f"  {side:8} all {whole[side]:8.2f} s   later epoch {1e3 * later[side]:9.2f} ms")
    if "torch" in rounds and "with" in rounds:
        for what, took, least in (("all", whole, goal[0]), ("later epoch", later, goal[1])):
            ratio = took["torch"] / took["with"]
            said = (
                ""
                if least is None
                else f" (goal {least:g}: {'met' if ratio >= least else 'not met'})"
            )
            print(f"  {what}: {ratio:.1f}x as fast as PyTorch{said}")
    if "with" in rounds:
        print(f"  {rounds['with'][-1]['text']}")


if __name__ == "__main__":
    main()
