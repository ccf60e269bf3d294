"""What the other tests rely on: strict numerics, fixed seeds, word of a missing browser."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import freezeviz.random
from freezeviz import backend

ROOT = Path(__file__).parents[1]


def test_floating_point_trouble_raises_and_underflow_does_not() -> None:
    with pytest.raises(FloatingPointError):
        np.float32(1) / np.zeros(1, np.float32)
    assert np.exp(np.float32(-1000)) == 0


def test_floating_point_trouble_in_a_bare_thread_raises_too() -> None:
    caught: list[BaseException] = []

    def divide() -> None:
        try:
            np.ones(1) / np.zeros(1)
        except RuntimeWarning as error:
            caught.append(error)

    thread = threading.Thread(target=divide)
    thread.start()
    thread.join()
    assert "divide by zero" in str(caught[0])


@pytest.mark.parametrize("run", [1, 2])
def test_every_test_starts_from_the_same_seed(run: int, rng: np.random.Generator) -> None:
    expected = np.random.default_rng(0).random()
    assert freezeviz.random.default_rng().random() == expected
    assert rng.random() == expected


@pytest.mark.parametrize("run", [1, 2])
def test_a_device_chosen_in_one_test_is_not_the_next_one_s(run: int) -> None:
    assert backend.device_reason() == "asked for by FREEZEVIZ_DEVICE=cpu"
    backend.use("auto")


def ask_for_chromium(folder: Path, **environment: str) -> str:
    """Return the report of a test that needs a Chromium, run where the path holds none."""
    (folder / "test_it.py").write_text("def test_it(chromium): print('found', chromium)")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FREEZEVIZ_")}
    env = inherited | {"PYTHONPATH": str(ROOT), "PATH": str(folder)} | environment
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-rA", "--color=no"]
    command = [sys.executable, "-m", "pytest", f"--rootdir={folder}", *options, "test_it.py"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True).stdout


@pytest.mark.skipif(sys.platform == "darwin", reason="a browser may be in /Applications")
def test_without_chromium_the_skip_says_how_to_get_one(tmp_path: Path) -> None:
    report = ask_for_chromium(tmp_path)
    assert "1 skipped" in report
    assert "apt-get install chromium" in report
    assert "FREEZEVIZ_CHROMIUM" in report


@pytest.mark.skipif(sys.platform == "darwin", reason="a browser may be in /Applications")
def test_where_a_browser_is_required_its_absence_is_a_failure(tmp_path: Path) -> None:
    report = ask_for_chromium(tmp_path, FREEZEVIZ_REQUIRE_BROWSER="1")
    assert "1 error" in report
    assert "apt-get install chromium" in report


def test_chromium_that_is_named_but_not_there_is_a_failure(tmp_path: Path) -> None:
    report = ask_for_chromium(tmp_path, FREEZEVIZ_CHROMIUM=str(tmp_path / "none"))
    assert "1 error" in report
    assert "FREEZEVIZ_CHROMIUM names no executable" in report


def test_chromium_is_found_by_name_on_the_path(tmp_path: Path) -> None:
    browser = tmp_path / "chromium-browser"
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)
    report = ask_for_chromium(tmp_path)
    assert f"found {browser}" in report
    assert "1 passed" in report
