"""The built wheel and source archive: what is in them, and that the installed package works."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import freezeviz

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "freezeviz" / "widgets" / "static"
ASSETS = sorted(path for path in STATIC.rglob("*") if path.is_file())
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


def build(kind: str, source: Path, target: Path) -> Path:
    """Build with the build system itself, so without an isolated environment or a network."""
    code = f"import hatchling.build as b; print(b.build_{kind}({str(target)!r}))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return target / result.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the wheel and nothing else."""
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    result = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", target, wheel],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return target


def run(site: Path, folder: Path, *arguments: str) -> str:
    """Run Python with the installed wheel in front, in a folder far from the repository."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_the_javascript_and_css(wheel: Path) -> None:
    assert {path.suffix for path in ASSETS} >= {".js", ".css"}
    assert {path.relative_to(ROOT).as_posix() for path in ASSETS} <= files(wheel)


def test_wheel_holds_the_notebooks_inside_the_package(wheel: Path) -> None:
    assert "01_first_freeze.ipynb" in NOTEBOOKS
    shipped = {name for name in files(wheel) if name.endswith(".ipynb")}
    assert shipped == {f"freezeviz/_notebooks/{name}" for name in NOTEBOOKS}


def test_wheel_holds_every_module_and_nothing_beside_the_package(wheel: Path) -> None:
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "freezeviz").rglob("*")
        if path.suffix in {".py", ".json", ".typed"} or path.name == "py.typed"
    }
    names = files(wheel)
    assert modules <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"freezeviz"}
    assert [name for name in names if "__pycache__" in name or ".ipynb_checkpoints" in name] == []


def test_installed_wheel_imports_and_reads_its_static_files(site: Path, tmp_path: Path) -> None:
    code = (
        "import freezeviz, freezeviz.widgets, importlib.resources as r\n"
        "static = r.files('freezeviz.widgets') / 'static'\n"
        "print(freezeviz.__file__)\n"
        "from freezeviz.widgets._assets import script, style\n"
        "print(sorted(f.name for f in (static / 'js').iterdir() if f.read_text('utf-8')))\n"
        "print(bool(script() and style()))"
    )
    where, modules, joined = run(site, tmp_path, "-W", "error", "-c", code).splitlines()
    assert Path(where).is_relative_to(site)
    assert modules == str([path.name for path in ASSETS if path.parent.name == "js"])
    assert joined == "True"


def test_installed_wheel_has_a_command(site: Path, tmp_path: Path) -> None:
    printed = run(site, tmp_path, str(site / "bin" / "freezeviz"), "--version")
    assert printed == f"freezeviz {freezeviz.__version__}"


def test_lab_from_an_installed_wheel_copies_its_notebooks(site: Path, tmp_path: Path) -> None:
    # JupyterLab itself is started in test_cli.py; here only what it is started with counts.
    code = (
        "import jupyterlab.labapp as lab\n"
        "lab.LabApp.launch_instance = lambda arguments: print(arguments)\n"
        "from freezeviz.cli import main\n"
        "raise SystemExit(main(['lab', '--no-browser']))"
    )
    arguments = run(site, tmp_path, "-c", code).splitlines()[-1]
    assert "/lab/tree/freezeviz-notebooks/01_first_freeze.ipynb" in arguments
    copies = sorted(path.name for path in (tmp_path / "freezeviz-notebooks").iterdir())
    assert copies == NOTEBOOKS
    for name in NOTEBOOKS:
        original = (ROOT / "notebooks" / name).read_bytes()
        assert (tmp_path / "freezeviz-notebooks" / name).read_bytes() == original


def test_source_archive_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    assert files(build("wheel", source, tmp_path)) == files(wheel)


def test_source_archive_holds_the_project_and_no_leftovers(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    tops = {name.split("/")[0] for name in names}
    assert tops >= {"LICENSE", "README.md", "CHANGELOG.md", "binder", "tests", "notebooks"}
    # hatchling adds .gitignore, which its own file selection needs
    assert tops <= {path.name for path in ROOT.iterdir()} | {"PKG-INFO"}
    assert not tops & {".git", ".venv", "build", "dist"}
    assert [name for name in names if "__pycache__" in name or ".ipynb_checkpoints" in name] == []
