"""CuPy against PyTorch on a GPU: run the tests marked `gpu`, then time training steps.

Run as ``python tests/benchmarks/bench_gpu.py [table.md]``; the table goes to the file, too, if
one is named. Without a GPU it says so and measures nothing. Both sides compute in float32 without
TF32, as is their default, with Adam; PyTorch runs eagerly. A time is the median of several rounds,
each of several steps between two waits for the device. Exits with 1 if a test failed.
"""

import argparse
import datetime
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import freezeviz as fv
from freezeviz import backend, nn, optim

ROOT = Path(__file__).parents[2]
WARM_UP, STEPS, ROUNDS = 5, 20, 5


@dataclass(frozen=True)
class Workload:
    """A model by its sizes, and the batches it is trained on."""

    name: str
    batch: int
    widths: tuple[int, ...] = ()  # of an MLP; the rest is of a Transformer encoder
    layers: int = 0
    dims: int = 0
    heads: int = 0
    length: int = 0
    words: int = 0  # 0: the inputs are vectors
    classes: int = 10

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        if self.widths:
            x = rng.standard_normal((self.batch, self.widths[0]), dtype=np.float32)
        elif self.words:
            x = rng.integers(0, self.words, (self.batch, self.length))
        else:
            x = rng.standard_normal((self.batch, self.length, self.dims), dtype=np.float32)
        return x, rng.integers(0, self.classes, self.batch)


WORKLOADS = (
    Workload("MLP 784-1024×3-10, batch 256", 256, widths=(784, 1024, 1024, 1024, 10)),
    Workload(
        "Transformer encoder, 4 layers of 256, length 64, batch 16",
        16, layers=4, dims=256, heads=8, length=64,
    ),
    Workload(
        "BERT-shaped, 2 layers of 768, length 128, batch 8",
        8, layers=2, dims=768, heads=12, length=128, words=30522, classes=2,
    ),
    Workload(
        "Transformer encoder, 12 layers of 1024, length 256, batch 16",
        16, layers=12, dims=1024, heads=16, length=256,
    ),
)  # fmt: skip


# ---------------------------------------------------------------- the two sides


class Encoder(nn.Module):
    """A Transformer encoder with a classifier on its first position."""

    def __init__(self, work: Workload):
        super().__init__()
        self.words = nn.Embedding(work.words, work.dims) if work.words else None
        self.places = 0.02 * fv.random.default_rng().standard_normal(
            (1, work.length, work.dims), dtype=np.float32
        )
        self.encoder = nn.TransformerEncoder(
            work.layers, work.dims, work.heads, 4 * work.dims, activation=nn.gelu, norm_first=False
        )
        self.head = nn.Linear(work.dims, work.classes)

    def __call__(self, x: Any) -> Any:
        x = x if self.words is None else self.words(x)
        return self.head(self.encoder(x + self.places, None)[:, 0])


def ours(work: Workload) -> tuple[Callable[[], Any], int]:
    """Return a function that makes a step on the GPU, and the model's number of parameters."""
    fv.seed(0)
    if work.widths:
        parts: list[Any] = []
        for i, width in enumerate(work.widths[1:]):
            parts += [nn.Linear(work.widths[i], width), nn.ReLU()]
        model: Any = nn.Sequential(*parts[:-1])
    else:
        model = Encoder(work)
    model.to("gpu")
    x, y = (backend.to_device(array, "gpu") for array in work.data())
    optimizer = optim.Adam(1e-4, bias_correction=True)

    def loss_fn(x: Any, y: Any) -> Any:
        return nn.losses.cross_entropy(model(x), y, reduction="mean")

    value_and_grad = nn.value_and_grad(model, loss_fn)

    def step() -> Any:
        loss, gradients = value_and_grad(x, y)
        optimizer.update(model, gradients)
        return loss

    return step, sum(value.size for _, value in model.named_parameters())


def theirs(work: Workload, torch: Any, device: str) -> tuple[Callable[[], Any], int]:
    """Return the same of PyTorch."""
    torch.manual_seed(0)
    if work.widths:
        parts: list[Any] = []
        for i, width in enumerate(work.widths[1:]):
            parts += [torch.nn.Linear(work.widths[i], width), torch.nn.ReLU()]
        model = torch.nn.Sequential(*parts[:-1])
    else:
        model = _their_encoder(work, torch)
    model.to(device)
    x, y = (torch.from_numpy(array).to(device) for array in work.data())
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, sum(p.numel() for p in model.parameters())


def _their_encoder(work: Workload, torch: Any) -> Any:
    class TheirEncoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(work.words, work.dims) if work.words else None
            self.places = torch.nn.Parameter(0.02 * torch.randn(1, work.length, work.dims))
            # Its attention has biases, ours none: a few parameters in a thousand.
            layer = torch.nn.TransformerEncoderLayer(
                work.dims, work.heads, 4 * work.dims, 0.0, "gelu", batch_first=True
            )
            last = torch.nn.LayerNorm(work.dims)
            self.encoder = torch.nn.TransformerEncoder(
                layer, work.layers, norm=last, enable_nested_tensor=False
            )
            self.head = torch.nn.Linear(work.dims, work.classes)

        def forward(self, x: Any) -> Any:
            x = x if self.words is None else self.words(x)
            return self.head(self.encoder(x + self.places)[:, 0])

    return TheirEncoder()


# ---------------------------------------------------------------- measuring


def median_ms(step: Callable[[], Any], wait: Callable[[], Any], steps: int, rounds: int) -> float:
    """Return the median time of a step; the device is waited for around every round."""
    for _ in range(min(WARM_UP, steps)):
        step()
    times = []
    for _ in range(rounds):
        wait()
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        times.append(1e3 * (time.perf_counter() - begin) / steps)
    return median(times)


def table(
    workloads: tuple[Workload, ...], device: str, steps: int = STEPS, rounds: int = ROUNDS
) -> list[str]:
    """Return the lines of a Markdown table; PyTorch's column is empty where it has no `device`."""
    import cupy  # pyright: ignore[reportMissingImports]

    torch = _torch(device)
    lines = [
        "| Training step | Parameters | freezeviz, ms | PyTorch, ms | Ratio |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for work in workloads:
        step, size = ours(work)
        ms = median_ms(step, cupy.cuda.Device().synchronize, steps, rounds)
        cells = [work.name, f"{size:,}", f"{ms:.2f}"]
        if torch is None:
            cells += ["", ""]
        else:
            step, size = theirs(work, torch, device)
            wait = torch.cuda.synchronize if device == "cuda" else lambda: None
            other = median_ms(step, wait, steps, rounds)
            cells += [f"{other:.2f} ({size:,} parameters)", f"{ms / other:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _torch(device: str) -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch if device != "cuda" or torch.cuda.is_available() else None


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
    return f"{datetime.date.today()}, {name}; {', '.join(parts)}"


def main() -> int:
    parser = argparse.ArgumentParser(description="CuPy against PyTorch on a GPU.")
    parser.add_argument("file", nargs="?", type=Path, help="where the table goes, too")
    file = parser.parse_args().file
    problem = backend.gpu_problem()
    if problem is not None:
        print(f"No GPU, so nothing was tested or measured: {problem}")
        return 0
    passed, last = marked_tests()
    lines = [where(), "", f"Tests marked `gpu`: {last}", "", *table(WORKLOADS, "cuda")]
    text = "\n".join(lines) + "\n"
    print(text)
    if file is not None:
        file.write_text(text, encoding="utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
