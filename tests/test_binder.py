"""The files from which Binder builds its image: repo2docker's rules, and the extras'."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
BINDER = ROOT / "binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirement_lines() -> list[str]:
    lines = (BINDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    bare = (line.split("#", 1)[0].strip() for line in lines)
    return [line for line in bare if line]


def test_requirements_install_the_project_with_an_extra_that_exists() -> None:
    project, *others = requirement_lines()
    # A line that starts with "." tells repo2docker to copy the whole repository before pip runs.
    assert project == ".[lab]"
    assert "lab" in PROJECT["optional-dependencies"]
    assert not [line for line in others if line.startswith((".", "-", "/"))]


def test_requirements_agree_with_the_extra() -> None:
    wanted = {r.name: r for r in map(Requirement, PROJECT["optional-dependencies"]["lab"])}
    pinned = [Requirement(line) for line in requirement_lines()[1:]]
    assert [r.name for r in pinned] == ["ipykernel"]
    for requirement in pinned:
        assert requirement.specifier == wanted[requirement.name].specifier


def test_requirements_exclude_the_kernel_that_repo2docker_brings() -> None:
    [kernel] = [Requirement(line) for line in requirement_lines()[1:]]
    assert "7.0.1" not in kernel.specifier
    assert "7.2.0" not in kernel.specifier
    assert "7.4.0" in kernel.specifier


def test_runtime_names_a_python_that_the_package_supports() -> None:
    name, number = (BINDER / "runtime.txt").read_text().strip().split("-")
    assert name == "python"
    assert Version(number) in SpecifierSet(PROJECT["requires-python"])


def test_build_script_stops_at_the_first_error() -> None:
    script = (BINDER / "postBuild").read_text(encoding="utf-8").splitlines()
    assert script[0].startswith("#!")
    assert any(line.startswith("set -e") for line in script)
    assert os.access(BINDER / "postBuild", os.X_OK)


def test_build_script_runs_and_leaves_the_settings_where_jupyter_looks(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    # What pip would have installed there.
    folder = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    (Path(folder) / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    env = os.environ | {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
    }
    subprocess.run([BINDER / "postBuild"], cwd=ROOT, env=env, check=True, timeout=300)
    ask = "import jupyter_core.paths as p; print(*p.jupyter_config_path(), sep='\\n')"
    looked_at = subprocess.check_output([python, "-c", ask], env=env, text=True).splitlines()
    settings = "labconfig/default_setting_overrides.json"
    assert (tmp_path / "env" / "etc" / "jupyter" / settings).is_file()
    assert str(tmp_path / "env" / "etc" / "jupyter") in looked_at
    assert list((tmp_path / "matplotlib").glob("fontlist*.json"))


def test_start_script_hands_over_to_the_command_it_is_given() -> None:
    script = (BINDER / "start").read_text(encoding="utf-8").split("\n")
    assert [line for line in script if line][-1] == 'exec "$@"'
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    code = "import os; print(os.getpid(), os.environ['OPENBLAS_NUM_THREADS'])"
    started = subprocess.Popen(
        [BINDER / "start", sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True
    )
    out, _ = started.communicate(timeout=60)
    # The same process: signals of the container reach the server.
    assert out.split() == [str(started.pid), "1"]
    assert started.returncode == 0
