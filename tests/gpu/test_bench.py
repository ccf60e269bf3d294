"""The measurement for machines with a GPU: silent without one, and its code runs."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from freezeviz import backend
from freezeviz.train import _features_judge
from tests.benchmarks import bench_gpu
from tests.standin_cupy import cupy_of, host_reads

W2, W4, W6, W7 = bench_gpu.MEASURED
SMALL = (
    replace(W2, batch=4, widths=(6, 5, 4, 3)),
    replace(W4, batch=2, depth=2, dims=8, heads=2, hidden=12, length=5, words=20, classes=3),
    replace(W6, batch=2, dims=8, heads=2, hidden=12, length=5, words=20),
    replace(W7, batch=2, depth=3, dims=8, heads=2, hidden=12, length=5, words=20, classes=3),
)


def test_it_measures_the_workloads_that_it_is_for():
    assert [work.name for work in bench_gpu.MEASURED] == ["W2", "W4", "W6", "W7"]
    assert (W7.dims, W7.depth, W7.length, W7.batch) == (1024, 12, 256, 16)


@pytest.mark.skipif(backend.gpu_problem() is None, reason="here it would measure")
def test_without_a_gpu_it_says_so_and_ends_well():
    command = [sys.executable, "-m", "tests.benchmarks.bench_gpu"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=bench_gpu.ROOT)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("No GPU, so nothing was tested or measured: CuPy")


def test_it_makes_tables_with_a_row_for_each_workload(monkeypatch):
    monkeypatch.setattr(_features_judge, "FETCH", -1e9)  # small models are worth a cache, too
    with cupy_of("stand-in"):
        steps = bench_gpu.steps_table(SMALL, "cpu", steps=1, rounds=1)
        cached = bench_gpu.cache_table(SMALL, "cpu", count=9, epochs=3)
        line = bench_gpu.where()
    assert line.split("; ")[0].endswith(", a stand-in")
    assert line.endswith("TF32 off on both sides")
    for lines in (steps, cached):
        assert [row.split()[1] for row in lines[2:]] == [work.name for work in SMALL]
        assert all(row.count("|") == 6 for row in lines)
    assert all("100 % hits" in row for row in cached[2:])


@pytest.mark.parametrize("work", SMALL, ids=lambda work: work.name)
def test_its_steps_train_and_wait_for_nothing(work):
    with cupy_of("stand-in") as cupy:
        run, _ = bench_gpu.ours(work, "F0")
        run.batches = run.batches[:1]
        with host_reads() as reads:
            losses = [run.step() for _ in range(5)]
        assert reads == []
        assert all(isinstance(loss, cupy.ndarray) for loss in losses)
        assert float(losses[-1]) < float(losses[0])


@pytest.mark.parametrize("mode", ["F0", "F2"])
@pytest.mark.parametrize("work", SMALL, ids=lambda work: work.name)
def test_both_sides_compute_the_same(work, mode):
    pytest.importorskip("torch")
    other = bench_gpu.theirs(work, mode, "cpu")
    assert other is not None
    with cupy_of("stand-in"):
        run = bench_gpu.ours(work, mode).run
        losses = [float(run.step()) for _ in range(3)]
    np.testing.assert_allclose(losses, [float(other.run.step()) for _ in range(3)], rtol=1e-4)
