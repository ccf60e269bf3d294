"""Damaged and malicious files of weights, by the hundred thousand.

    python -m tests.benchmarks.fuzz_weights [inputs] [seed]

Mutations of valid files (bytes anywhere, numbers in headers, members of archives, configurations,
indices) go through `io.load_arrays`, `io.read_json`, `Module.load_weights` and `models.load`. The
run fails if anything comes out but arrays, `WeightsError` or `FileNotFoundError`; if a call takes
more memory than 1 MiB and 64 times the size of its files; or if a file that was refused has
changed a model. Warnings count as errors. `tests/test_io_fuzz.py` is the short version of this.

Last run: 22 November 2026, 120,000 inputs, seed 3, no failure. 105,429 were refused, 14,571 were
loaded (a changed byte within an array is another array); the most memory that a file of arrays
took was 76 KiB, and a whole directory 1.4 MiB.
"""

import json
import shutil
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from freezeviz import io, models, nn
from freezeviz.errors import FreezevizWarning, WeightsError
from tests import _mutations as m
from tests.models import _checkpoints as c


class Arrays:
    """Files of arrays."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.valid = {
            "safetensors": [m.safetensors_file()],
            "npz": [m.npz_file(compressed=False), m.npz_file(compressed=True)],
        }

    def make(self, rng: np.random.Generator) -> tuple[str, Callable[[], object], int]:
        suffix = ["safetensors", "npz"][rng.integers(2)]
        valid = self.valid[suffix][rng.integers(len(self.valid[suffix]))]
        if rng.random() < 0.5:
            data, how = m.mutated(valid, rng), "bytes"
        elif suffix == "npz":
            data, how = m.tampered_npz(rng), "structure"
        else:
            data, how = m.tampered_safetensors(valid, rng), "structure"
        path = self.folder / f"x.{suffix}"
        path.write_bytes(data)
        return f"{suffix}, {how}", lambda: io.load_arrays(path), len(data)


class Weights(Arrays):
    """The same files, into a model that has to stay as it was where they are refused."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4))

    def make(self, rng: np.random.Generator) -> tuple[str, Callable[[], object], int]:
        what, _, size = super().make(rng)
        path = self.folder / f"x.{what.partition(',')[0]}"
        strict = bool(rng.integers(2))

        def load() -> None:
            before = self.state()
            try:
                self.model.load_weights(path, strict=strict)
            except WeightsError:
                if self.state() != before:
                    raise AssertionError("a file that was refused changed the model") from None
                raise

        return "model, " + what, load, size

    def state(self) -> list[tuple[str, int, bytes]]:
        held = self.model.named_parameters() + self.model.named_buffers()
        return [(name, id(x), x.tobytes()) for name, x in held]


class Json:
    """Configurations and indices, as JSON alone."""

    def __init__(self, folder: Path):
        self.path = folder / "x.json"

    def make(self, rng: np.random.Generator) -> tuple[str, Callable[[], object], int]:
        valid = c.config(list(c.CONFIGS)[rng.integers(4)])
        if rng.random() < 0.5:
            data = m.json_text(valid, rng)
        else:
            data = m.mutated(json.dumps(valid).encode(), rng)
        self.path.write_bytes(data)
        return "json", lambda: io.read_json(self.path), len(data)


class Checkpoints:
    """Directories with one of their files damaged."""

    def __init__(self, folder: Path):
        self.kept = {
            (kind, n): c.write(folder / f"{kind}{n}", c.config(kind), shards=n)
            for kind in c.CONFIGS
            for n in (1, 2)
        }
        self.trial = folder / "trial"

    def make(self, rng: np.random.Generator) -> tuple[str, Callable[[], object], int]:
        whole = list(self.kept.values())[rng.integers(len(self.kept))]
        shutil.rmtree(self.trial, ignore_errors=True)
        shutil.copytree(whole, self.trial)
        names = sorted(p.name for p in self.trial.iterdir())
        path = self.trial / names[rng.integers(len(names))]
        data = path.read_bytes()
        if rng.random() < 0.4:
            data = m.mutated(data, rng)
        elif path.suffix == ".json":
            data = m.json_text(json.loads(data), rng)
        else:
            data = m.tampered_safetensors(data, rng)
        path.write_bytes(data)
        size = sum(p.stat().st_size for p in self.trial.iterdir())
        strict = bool(rng.integers(2))

        def load() -> None:
            with warnings.catch_warnings():
                if not strict:
                    warnings.simplefilter("ignore", FreezevizWarning)
                models.load(self.trial, strict=strict)

        return f"directory, {path.suffix[1:]}", load, size


def main(inputs: int, seed: int) -> int:
    warnings.simplefilter("error")
    counts: Counter[tuple[str, str]] = Counter()
    most = Counter[str]()
    slowest = 0.0
    failures = 0
    tracemalloc.start()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, np.errstate(all="raise", under="ignore"):
        folder = Path(name)
        sources = [Arrays(folder), Weights(folder), Json(folder), Checkpoints(folder)]
        shares = np.cumsum([0.5, 0.2, 0.1, 0.2])
        for i in range(inputs):
            rng = np.random.default_rng([seed, i])
            what, load, size = sources[int(np.searchsorted(shares, rng.random()))].make(rng)
            tracemalloc.reset_peak()
            held, begin = tracemalloc.get_traced_memory()[0], time.perf_counter()
            try:
                load()
                outcome = "loaded"
            except (WeightsError, FileNotFoundError) as error:
                outcome = type(error).__name__
            except Exception as error:
                outcome = f"!! {type(error).__name__}"
                failures += 1
                print(f"input {i}: {what}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            peak = tracemalloc.get_traced_memory()[1] - held
            slowest = max(slowest, time.perf_counter() - begin)
            most[what] = max(most[what], peak)
            if peak > 2**20 + 64 * size:
                failures += 1
                print(f"input {i}: {what}: {peak} bytes of memory for files of {size}", flush=True)
            counts[what, outcome] += 1
            if i % 10_000 == 9_999:
                print(f"{i + 1} inputs, {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{inputs} inputs, seed {seed}, {failures} failures")
    for (what, outcome), n in sorted(counts.items()):
        print(f"  {what:28} {outcome:18} {n:7}   at most {most[what] / 2**10:8.0f} KiB")
    print(f"slowest call: {slowest * 1000:.0f} ms")
    return 1 if failures else 0


if __name__ == "__main__":
    given = [int(x) for x in sys.argv[1:]]
    sys.exit(main(*given, *[100_000, 0][len(given) :]))
