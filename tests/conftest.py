"""What every test runs under: strict numerics, fixed seeds, no display, perhaps a Chromium."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before anything imports matplotlib or Jupyter, and inherited by the processes that tests start.
os.environ["MPLBACKEND"] = "agg"
os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
# Kernels of notebooks share the cores with the tests: a second BLAS thread makes them ten times
# slower on two busy cores. As `freezeviz lab` does it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A machine with a GPU tests the CPU too; tests marked `gpu` choose the GPU themselves.
os.environ["FREEZEVIZ_DEVICE"] = "cpu"

import hypothesis
import numpy as np
import pytest

import freezeviz.random
from freezeviz import backend
from freezeviz.autodiff import _pool, prepare_kernels
from tests.standin_cupy import CUPYS, cupy_of

_MAC_BROWSERS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_NO_CHROMIUM = (
    "no Chromium found: install one ('apt-get install chromium' on Debian, 'brew install --cask "
    "chromium' on macOS) or name its executable in FREEZEVIZ_CHROMIUM"
)

# The same examples every time, and no time limit for one: a busy machine is no failure.
hypothesis.settings.register_profile("freezeviz", derandomize=True, deadline=None)
hypothesis.settings.load_profile("freezeviz")


@pytest.fixture(autouse=True, scope="session")
def _compiled_kernels() -> None:
    """Kernels are compiled before a test measures something, or reads what is printed."""
    prepare_kernels()


@pytest.fixture(autouse=True)
def _strict_numerics() -> Iterator[None]:
    """Floating-point trouble raises. Underflow does not: zero is the right value of a tiny softmax.

    NumPy keeps this in a context variable. A training thread inherits it with its copied context;
    a bare thread starts with NumPy's own setting, whose warnings pytest turns into errors.
    """
    with np.errstate(all="raise", under="ignore"):
        yield


@pytest.fixture(autouse=True)
def _same_randomness() -> None:
    freezeviz.random.seed(0)


@pytest.fixture(autouse=True)
def _same_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that calls `fv.use` chooses for itself only."""
    monkeypatch.setattr(backend, "_state", backend._state)


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel reads before it has written it is NaN, whatever was there before."""
    monkeypatch.setattr(_pool, "poisoned", True)


@pytest.fixture(autouse=True)
def _log_is_heard() -> Iterator[None]:
    """Our log reaches `caplog`, whatever a library before has configured for the process."""
    log = logging.getLogger("freezeviz")
    before = log.disabled, log.propagate, log.level
    logging.disable(logging.NOTSET)
    log.disabled, log.propagate = False, True
    log.setLevel(logging.INFO)
    yield
    log.disabled, log.propagate = before[:2]
    log.setLevel(before[2])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; without one the test is skipped, or fails where one is required."""
    path = _find_chromium()
    if path is None:
        if os.environ.get("FREEZEVIZ_REQUIRE_BROWSER") == "1":
            pytest.fail(_NO_CHROMIUM)
        pytest.skip(_NO_CHROMIUM)
    return path


def _find_chromium() -> str | None:
    if named := os.environ.get("FREEZEVIZ_CHROMIUM"):
        found = shutil.which(named)
        if found is None:
            pytest.fail(f"FREEZEVIZ_CHROMIUM names no executable: {named}")
        return found
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    if sys.platform == "darwin":
        return next((path for path in _MAC_BROWSERS if Path(path).exists()), None)
    return None


@pytest.fixture(params=CUPYS)
def cupy(request: pytest.FixtureRequest) -> Iterator[Any]:
    """CuPy: a strict stand-in everywhere, and CuPy itself where it runs a kernel."""
    with cupy_of(request.param) as found:
        yield found


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and (problem := backend.gpu_problem()):
        pytest.skip(f"no GPU: {problem}")
