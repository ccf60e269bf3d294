"""The `freezeviz` command, up to a JupyterLab that really serves the tutorial."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jupyterlab.labapp
import pytest

from freezeviz import cli

ROOT = Path(__file__).parents[1]
TUTORIAL = "01_first_freeze.ipynb"


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Argument lists with which JupyterLab would have been started."""
    calls: list[list[str]] = []
    monkeypatch.setattr(jupyterlab.labapp.LabApp, "launch_instance", calls.append)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", os.environ.get("JUPYTER_CONFIG_PATH", ""))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return calls


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package as a wheel installs it: with its notebooks inside, and in another place."""
    package = tmp_path / "site-packages" / "freezeviz"
    notebooks = package / "_notebooks"
    notebooks.mkdir(parents=True)
    (notebooks / TUTORIAL).write_text("tutorial 1")
    (notebooks / "02_second.ipynb").write_text("tutorial 2")
    monkeypatch.setattr(cli, "_PACKAGE", package)
    start = tmp_path / "my work"
    start.mkdir()
    monkeypatch.chdir(start)
    return start


def test_version_and_help_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--version", "--help"):
        with pytest.raises(SystemExit) as stopped:
            cli.main([flag])
        assert stopped.value.code == 0
    assert re.match(r"freezeviz \S+", capsys.readouterr().out)
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    assert "lab " in out
    assert "info " in out


def test_unknown_arguments_are_refused_outside_lab(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["info", "--port", "1"], ["--no-browser"], ["lob"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 2
    assert "invalid choice: 'lob'" in capsys.readouterr().err


def test_info_names_versions_device_blas_and_front_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts.keys() == {"freezeviz", "python", "device", "numpy", "libraries", "notebook"}
    assert facts["device"] == "cpu: asked for by FREEZEVIZ_DEVICE=cpu"
    assert re.search(r"BLAS: \S+ \S+", facts["numpy"])
    assert re.search(r"jupyterlab \d", facts["notebook"])


def test_info_shows_a_wrong_device_instead_of_failing() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "freezeviz.cli", "info"],
        cwd=ROOT,
        env=os.environ | {"FREEZEVIZ_DEVICE": "tpu"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "none: FREEZEVIZ_DEVICE takes 'auto', 'cpu' or 'gpu', got 'tpu'." in result.stdout


def test_lab_without_jupyterlab_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert cli.main(["lab", "--no-browser"]) == 1
    message = capsys.readouterr().err
    assert "'freezeviz lab' needs jupyterlab, scikit-learn, which this Python does not" in message
    assert 'pip install "freezeviz[lab]"' in message


def test_lab_passes_its_arguments_on_in_order(launched: list[list[str]]) -> None:
    words = ["--no-browser", "--port", "8899", "--ServerApp.token=t", "-y", "--ip=127.0.0.1"]
    assert cli.main(["lab", *words]) == 0
    [arguments] = launched
    assert arguments[-len(words) :] == words
    assert arguments[: -len(words)] == [
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/notebooks/{TUTORIAL}",
    ]


def test_lab_opens_a_notebook_that_is_given(launched: list[list[str]]) -> None:
    assert cli.main(["lab", "mine.ipynb", "--no-browser"]) == 0
    assert launched == [["mine.ipynb", "--no-browser"]]


@pytest.mark.parametrize("flag", ["--notebook-dir", "--ServerApp.root_dir"])
def test_lab_opens_the_tutorial_below_another_folder(launched: list[list[str]], flag: str) -> None:
    assert cli.main(["lab", flag, str(ROOT / "notebooks")]) == 0
    assert cli.main(["lab", f"{flag}={ROOT.parent}"]) == 0
    assert launched == [
        [
            f"--ServerApp.root_dir={ROOT / 'notebooks'}",
            f"--LabApp.default_url=/lab/tree/{TUTORIAL}",
        ],
        [
            f"--ServerApp.root_dir={ROOT.parent}",
            f"--LabApp.default_url=/lab/tree/{ROOT.name}/notebooks/{TUTORIAL}",
        ],
    ]


def test_lab_refuses_a_folder_that_does_not_hold_the_tutorial(
    launched: list[list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["lab", "--notebook-dir", str(tmp_path)]) == 1
    assert f"is not below --notebook-dir {tmp_path}" in capsys.readouterr().err
    assert launched == []


def test_lab_as_root_says_that_it_allows_root(
    launched: list[list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    cli.main(["lab"])
    assert "running as root, so JupyterLab is started with --allow-root" in capsys.readouterr().out
    cli.main(["lab", "--allow-root"])
    assert "running as root" not in capsys.readouterr().out
    assert [arguments.count("--allow-root") for arguments in launched] == [1, 1]


def test_lab_of_an_installed_package_copies_the_notebooks(
    installed: Path, launched: list[list[str]]
) -> None:
    assert cli.main(["lab"]) == 0
    folder = installed / "freezeviz-notebooks"
    assert sorted(path.name for path in folder.iterdir()) == [TUTORIAL, "02_second.ipynb"]
    assert (folder / TUTORIAL).read_text() == "tutorial 1"
    assert launched == [
        [
            f"--ServerApp.root_dir={installed}",
            f"--LabApp.default_url=/lab/tree/freezeviz-notebooks/{TUTORIAL}",
        ]
    ]


def test_lab_of_an_installed_package_keeps_a_changed_notebook(
    installed: Path, launched: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["lab"])
    mine = installed / "freezeviz-notebooks" / TUTORIAL
    mine.write_text("my own notes")
    (installed / "freezeviz-notebooks" / "02_second.ipynb").unlink()
    capsys.readouterr()
    assert cli.main(["lab"]) == 0
    assert mine.read_text() == "my own notes"
    assert (installed / "freezeviz-notebooks" / "02_second.ipynb").read_text() == "tutorial 2"
    kept = [line for line in capsys.readouterr().out.splitlines() if "kept your" in line]
    assert kept == [f"freezeviz: kept your {mine}; delete it to get the original back"]


def test_lab_of_an_installed_package_needs_a_folder_to_write_to(
    installed: Path, launched: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    # A file in the way: permissions do not stop root.
    (installed / "freezeviz-notebooks").write_text("")
    assert cli.main(["lab"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("freezeviz: cannot copy the notebooks to")
    assert "folder that you can write to" in message
    assert launched == []


def test_lab_without_a_tutorial_says_where_it_looked(
    launched: list[list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(cli, "_PACKAGE", tmp_path / "freezeviz")
    assert cli.main(["lab"]) == 1
    assert str(tmp_path / "notebooks" / TUTORIAL) in capsys.readouterr().err


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    """Run `freezeviz lab` until it answers; its output lies in the file that is given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "log"
    home = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "freezeviz.cli", "lab", "--no-browser", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--ServerApp.port_retries=0"],
            cwd=folder,
            env=os.environ | home | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process, log, port
        finally:
            process.kill()
            process.wait()


def test_lab_serves_the_tutorial_at_the_address_it_prints(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, log, port):
        token = _wait_for_address(process, log, port)
        site = f"http://127.0.0.1:{port}"

        def get(path: str) -> bytes:
            request = urllib.request.Request(
                site + path, headers={"Authorization": f"token {token}"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read()

        assert "started" in json.loads(get("/api/status"))
        assert b"jupyter-config-data" in get(f"/lab/tree/notebooks/{TUTORIAL}")
        served = json.loads(get(f"/api/contents/notebooks/{TUTORIAL}"))["content"]
        saved = json.loads((ROOT / "notebooks" / TUTORIAL).read_text(encoding="utf-8"))
        assert len(served["cells"]) == len(saved["cells"])

        # The news popup is off, and nothing asks the network for updates.
        plugin = "@jupyterlab/apputils-extension:notification"
        schema = json.loads(get(f"/lab/api/settings/{plugin}"))["schema"]["properties"]
        assert schema["fetchNews"]["default"] == "false"
        assert schema["checkForUpdates"]["default"] is False

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, log.read_text()


def _wait_for_address(process: subprocess.Popen[str], log: Path, port: int) -> str:
    """Return the token in the printed address, once the server answers."""
    address = rf"http://127\.0\.0\.1:{port}/lab/tree/notebooks/{TUTORIAL}\?token=(\w+)"
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        if found := re.search(address, log.read_text()):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
            except urllib.error.URLError:
                pass
            else:
                return found[1]
        time.sleep(0.1)
    pytest.fail(f"no address within a minute:\n{log.read_text()}")
