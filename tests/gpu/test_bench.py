"""The measurement for machines with a GPU: silent without one, and its code runs."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from freezeviz import backend
from tests.benchmarks import bench_gpu
from tests.standin_cupy import cupy_of, host_reads

SMALL = (
    replace(bench_gpu.WORKLOADS[0], batch=4, widths=(6, 5, 3), classes=3),
    replace(bench_gpu.WORKLOADS[1], batch=2, layers=1, dims=8, heads=2, length=5),
    replace(bench_gpu.WORKLOADS[2], batch=2, layers=2, dims=8, heads=2, length=5, words=20),
)


@pytest.mark.skipif(backend.gpu_problem() is None, reason="here it would measure")
def test_without_a_gpu_it_says_so_and_ends_well():
    command = [sys.executable, str(bench_gpu.ROOT / "tests/benchmarks/bench_gpu.py")]
    environment = os.environ | {"PYTHONPATH": str(bench_gpu.ROOT)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("No GPU, so nothing was tested or measured: CuPy")


def test_it_makes_a_table_with_a_row_for_each_workload():
    with cupy_of("stand-in"):
        lines = bench_gpu.table(SMALL, "cpu", steps=1, rounds=1)
        assert bench_gpu.where().split("; ")[0].endswith(", a stand-in")
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {work.name}" for work in SMALL]
    assert all(line.count("|") == 6 for line in lines)


@pytest.mark.parametrize("work", SMALL, ids=lambda work: work.name)
def test_its_steps_train_and_wait_for_nothing(work):
    with cupy_of("stand-in") as cupy:
        step, _ = bench_gpu.ours(work)
        with host_reads() as reads:
            losses = [step() for _ in range(5)]
        assert reads == []
        assert all(isinstance(loss, cupy.ndarray) for loss in losses)
        assert float(losses[-1]) < float(losses[0])


@pytest.mark.parametrize("work", SMALL, ids=lambda work: work.name)
def test_both_sides_have_the_same_model_but_for_biases(work):
    torch = pytest.importorskip("torch")
    with cupy_of("stand-in"):
        _, size = bench_gpu.ours(work)
    step, other = bench_gpu.theirs(work, torch, "cpu")
    assert np.isfinite(float(step()))
    # PyTorch's attention has four biases, ours none.
    assert other - size == 4 * work.dims * work.layers
