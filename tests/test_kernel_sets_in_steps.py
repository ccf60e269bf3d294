"""Whole training steps with each set of kernels: same numbers, every time, nothing compiled."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from freezeviz import tree_flatten
from tests._kernel_sets import SETS, kernels_of
from tests.benchmarks.engine.on_freezeviz import Training
from tests.benchmarks.engine.workloads import MODES, Cnn, Workload
from tests.test_cost_minimum import CASES, SMALL

STEPS = 4


def trained(work: Workload, mode: str, kernels: str) -> tuple[list[float], dict[str, np.ndarray]]:
    with kernels_of(kernels):
        run = Training(work, mode)
        losses = [float(run.step()) for _ in range(STEPS)]
        return losses, dict(run.model.named_parameters())


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collect what Numba compiles within the block."""
    event = pytest.importorskip("numba.core.event")
    found: list[str] = []

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            found.append(str(event.data.get("dispatcher")))

        def on_end(self, event: Any) -> None:
            pass

    with event.install_listener("numba:compile", Listener()):
        yield found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SMALL)
def test_no_step_compiles_anything(name: str, mode: str) -> None:
    with kernels_of("numba"), compilations() as found:
        run = Training(SMALL[name], mode)
        for _ in range(2):
            run.step()
    assert found == []


def test_compilations_would_be_seen() -> None:
    numba = pytest.importorskip("numba")
    with compilations() as found:
        numba.njit(lambda x: x + 1)(1)
    assert len(found) == 1


@pytest.mark.parametrize(("work", "mode"), CASES)
@pytest.mark.parametrize("kernels", SETS)
def test_each_set_is_the_same_from_run_to_run(kernels: str, work: Workload, mode: str) -> None:
    (losses, values), (again, others) = (trained(work, mode, kernels) for _ in range(2))
    assert losses == again
    for path, value in values.items():
        assert value.tobytes() == others[path].tobytes(), path


def gradients(work: Workload, mode: str, kernels: str) -> tuple[float, dict[str, np.ndarray]]:
    with kernels_of(kernels):
        run = Training(work, mode)
        loss, found = run.value_and_grad(*run.batches[0])
        return float(loss), dict(tree_flatten(found))


@pytest.mark.parametrize(("work", "mode"), CASES)
def test_sets_agree_to_rounding(work: Workload, mode: str) -> None:
    # Of one step: Adam makes whole steps of gradients that are nothing but rounding.
    (loss, mine), (other, theirs) = (gradients(work, mode, kernels) for kernels in SETS)
    np.testing.assert_allclose(loss, other, rtol=2e-6)
    largest = max(float(np.abs(g).max()) for g in mine.values())
    # Where two entries of a window are equal but for rounding, either may be the larger one, and
    # some entries of the gradient jump.
    near = 1e-3 if isinstance(work, Cnn) else 1e-5
    for path, g in mine.items():
        apart = float(np.linalg.norm(g - theirs[path]))
        assert apart <= near * max(float(np.linalg.norm(g)), largest), path
