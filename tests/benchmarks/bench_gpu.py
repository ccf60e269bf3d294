"""CuPy against PyTorch on a GPU: the tests marked `gpu`, training steps, the feature cache.

Run as ``python -m tests.benchmarks.bench_gpu [table.md]``; what it prints goes to the file, too, if
one is named. Without a GPU it says so and measures nothing. Both sides have the same weights, data
and optimizer (Adam) and compute in float32 without TF32; PyTorch runs eagerly, with its fused Adam.
A step's time is the median of rounds, in which the sides take turns, each of several steps between
two waits for the device. `Ten epochs` are of 2,000 samples with all but the head frozen: ours by a
`Trainer`, which caches features and reads every loss, building included; PyTorch's by a plain loop
that computes everything and reads nothing before the end. Exits with 1 if a test failed.
"""

import argparse
import datetime
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

import freezeviz as fv
from freezeviz import backend, optim
from tests.benchmarks.engine import on_freezeviz
from tests.benchmarks.engine.workloads import LEARNING_RATE, WORKLOADS, Encoder, Workload

ROOT = Path(__file__).parents[2]
WARM_UP, STEPS, ROUNDS = 5, 20, 5
SAMPLES, EPOCHS = 2000, 10
W7 = Encoder("W7", 16, 12, 1024, 16, 4096, 256, 1000, 10, norm_first=True)
MEASURED: tuple[Workload, ...] = (WORKLOADS["W2"], WORKLOADS["W4"], WORKLOADS["W6"], W7)


class Side(NamedTuple):
    """A run of one of the two, and what waits for its device."""

    run: Any
    wait: Callable[[], Any]


def ours(work: Workload, mode: str) -> Side:
    """Return a run of freezeviz on the GPU."""
    import cupy  # pyright: ignore[reportMissingImports]

    run = on_freezeviz.Training(work, mode)
    run.model.to("gpu")
    run.batches = [_there(batch) for batch in run.batches]
    return Side(run, cupy.cuda.Device().synchronize)


def _there(batch: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
    x, y = (backend.to_device(array, "gpu") for array in batch)
    return x, y


def theirs(work: Workload, mode: str, device: str) -> Side | None:
    """Return the same of PyTorch; None where it is not installed, or has no such device."""
    try:
        import torch
    except ImportError:
        return None
    if device == "cuda" and not torch.cuda.is_available():
        return None
    from tests.benchmarks.engine import on_torch

    torch.set_float32_matmul_precision("highest")  # no TF32
    run = on_torch.Training(work, mode, compiled=False)
    for parameter in run.parameters.values():
        parameter.data = parameter.data.to(device)
    run.batches = [(x.to(device), y.to(device)) for x, y in run.batches]
    return Side(run, torch.cuda.synchronize if device == "cuda" else lambda: None)


# ---------------------------------------------------------------- measuring


def step_ms(sides: Sequence[Side], steps: int, rounds: int) -> list[float]:
    """Return the median time of a step of each side, in rounds that take turns."""
    for run, _ in sides:
        for _ in range(min(WARM_UP, steps)):
            run.step()
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for (run, wait), found in zip(sides, times, strict=True):
            wait()
            begin = time.perf_counter()
            for _ in range(steps):
                run.step()
            wait()
            found.append(1e3 * (time.perf_counter() - begin) / steps)
    return [median(found) for found in times]


def steps_table(
    workloads: Sequence[Workload], device: str, steps: int = STEPS, rounds: int = ROUNDS
) -> list[str]:
    """Return the lines of a Markdown table; PyTorch's column is empty where it has no `device`."""
    lines = [
        "| Training step | Parameters | freezeviz, ms | PyTorch, ms | Ratio |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for work in workloads:
        first, second = ours(work, "F0"), theirs(work, "F0", device)
        size = sum(value.size for _, value in first.run.model.named_parameters())
        ms = step_ms([first] if second is None else [first, second], steps, rounds)
        cells = [f"{work.name} {work.title}", f"{size:,}", *(f"{t:.2f}" for t in ms)]
        cells.append("" if second is None else f"{ms[0] / ms[1]:.2f}")
        lines.append(_row(cells, 5))
    return lines


def samples(work: Workload, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return data for a workload."""
    rng = np.random.default_rng(1)
    drawn = [work.draw(rng) for _ in range(-(-count // work.batch))]
    x, y = (np.concatenate(parts)[:count] for parts in zip(*drawn, strict=True))
    return x, y


def our_epochs(work: Workload, count: int, epochs: int) -> tuple[float, str]:
    """Return the seconds of a run with all but the head frozen, and what its cache told."""

    def made(data: tuple[np.ndarray, np.ndarray]) -> tuple[fv.Trainer, Side]:
        side = ours(work, "F2")
        optimizer = optim.Adam(LEARNING_RATE, bias_correction=True)
        return fv.Trainer(side.run.model, optimizer, data=data, batch_size=work.batch), side

    x, y = samples(work, count)
    warm, _ = made((x[: 2 * work.batch], y[: 2 * work.batch]))
    warm.fit(2, progress=False)  # kernels are compiled at their first use
    trainer, side = made((x, y))
    side.wait()
    begin = time.perf_counter()
    trainer.fit(epochs, progress=False)
    side.wait()
    seconds = time.perf_counter() - begin
    told = trainer.history.features
    return seconds, told[-1].text if told else "nothing was cached"


def their_epochs(work: Workload, count: int, epochs: int, device: str) -> float | None:
    """Return the seconds of PyTorch's run with all but the head frozen."""
    side = theirs(work, "F2", device)
    if side is None:
        return None
    import torch

    x, y = (torch.from_numpy(array).to(device) for array in samples(work, count))
    side.run.step()
    side.run.step()
    side.wait()
    begin = time.perf_counter()
    for epoch in range(epochs):
        order = np.random.default_rng([0, epoch]).permutation(count)
        order = torch.from_numpy(order).to(device)
        for at in range(0, count, work.batch):
            chosen = order[at : at + work.batch]
            side.run.batches = [(x[chosen], y[chosen])]
            side.run.step()
    side.wait()
    return time.perf_counter() - begin


def cache_table(
    workloads: Sequence[Workload], device: str, count: int = SAMPLES, epochs: int = EPOCHS
) -> list[str]:
    """Return the lines of a Markdown table: ten epochs with the feature cache, and without."""
    lines = [
        "| Ten epochs, all but the head frozen | freezeviz, s | PyTorch, s | Times as fast | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for work in workloads:
        seconds, told = our_epochs(work, count, epochs)
        other = their_epochs(work, count, epochs, device)
        there = ["", ""] if other is None else [f"{other:.2f}", f"{other / seconds:.1f}"]
        lines.append(_row([work.name, f"{seconds:.2f}", *there, told], 5))
    return lines


def _row(cells: list[str], columns: int) -> str:
    if len(cells) < columns:
        cells = [*cells[:-1], *[""] * (columns - len(cells)), cells[-1]]
    return f"| {' | '.join(cells)} |"


def marked_tests() -> tuple[bool, str]:
    """Run the tests marked `gpu`; return whether all passed, and pytest's last line."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "--tb=short", "tests"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        print(run.stdout[-6000:], run.stderr[-2000:], sep="\n")
    last = [line for line in run.stdout.splitlines() if line.strip()] or ["no output"]
    return run.returncode == 0, last[-1].strip("= ")


def where() -> str:
    """Return date, device and versions, in one line."""
    import cupy  # pyright: ignore[reportMissingImports]

    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    parts = [f"freezeviz {fv.__version__}", f"CuPy {cupy.__version__}", f"NumPy {np.__version__}"]
    try:
        parts.append(f"PyTorch {version('torch')}")
    except PackageNotFoundError:
        parts.append("no PyTorch")
    return f"{datetime.date.today()}, {name}; {', '.join(parts)}; float32, TF32 off on both sides"


def main() -> int:
    parser = argparse.ArgumentParser(description="CuPy against PyTorch on a GPU.")
    parser.add_argument("file", nargs="?", type=Path, help="where the table goes, too")
    file = parser.parse_args().file
    os.environ["CUPY_TF32"] = "0"  # read when CuPy is imported
    problem = backend.gpu_problem()
    if problem is not None:
        print(f"No GPU, so nothing was tested or measured: {problem}")
        return 0
    passed, last = marked_tests()
    lines = [where(), "", f"Tests marked `gpu`: {last}", ""]
    lines += [*steps_table(MEASURED, "cuda"), "", *cache_table(MEASURED, "cuda")]
    text = "\n".join(lines) + "\n"
    print(text)
    if file is not None:
        file.write_text(text, encoding="utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
