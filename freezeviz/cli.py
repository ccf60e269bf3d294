"""The command line: ``freezeviz lab`` opens the first tutorial, ``freezeviz info`` the facts."""

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import numpy as np

from freezeviz import __version__, backend
from freezeviz.errors import DeviceError, FreezevizError, MissingExtraError

__all__ = ["main"]

_TUTORIAL = "01_first_freeze.ipynb"
_PACKAGE = Path(__file__).parent
_COPIES = "freezeviz-notebooks"

# What the tutorial imports beyond the core, and the name under which each is installed.
_LAB = {
    "anywidget": "anywidget",
    "ipykernel": "ipykernel",
    "ipywidgets": "ipywidgets",
    "jupyterlab": "jupyterlab",
    "matplotlib": "matplotlib",
    "sklearn": "scikit-learn",
}
_LIBRARIES = ("scipy", "array-api-compat", "safetensors", "anywidget", "matplotlib")
_FRONT_ENDS = ("jupyterlab", "notebook", "voila", "ipywidgets", "ipykernel")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of a ``freezeviz`` command.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``freezeviz``; by default those of the process.
    """
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command != "lab":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if arguments.command == "lab":
            _lab(arguments.root, rest)
        elif arguments.command == "info":
            print(_info())
        else:
            parser.print_help()
    except (FreezevizError, OSError) as error:
        print(f"freezeviz: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="freezeviz",
        allow_abbrev=False,
        description="See your model, freeze parts of it with a click while it trains.",
    )
    parser.add_argument("--version", action="version", version=f"freezeviz {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands")
    lab = commands.add_parser(
        "lab",
        allow_abbrev=False,  # a shortened flag is JupyterLab's to understand
        help="open JupyterLab on the first tutorial",
        usage="freezeviz lab [--notebook-dir FOLDER] [JupyterLab's arguments] [NOTEBOOK.ipynb]",
        description=(
            "Open JupyterLab on the first tutorial, or on NOTEBOOK.ipynb. Every other argument "
            "goes to JupyterLab: --no-browser, --port 8889, ... ('jupyter lab --help' lists them)."
        ),
    )
    lab.add_argument(
        "--notebook-dir",
        "--ServerApp.root_dir",
        dest="root",
        type=Path,
        metavar="FOLDER",
        help="where JupyterLab's file browser starts; the tutorials must be below it",
    )
    commands.add_parser("info", help="print versions, the device in use and the front ends found")
    return parser


def _lab(root: Path | None, arguments: list[str]) -> None:
    missing = [package for module, package in _LAB.items() if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"'freezeviz lab' needs {', '.join(missing)}, which this Python does not have. "
            'Install the extra: pip install "freezeviz[lab]" '
            '(in a clone of the repository: pip install -e ".[lab]").'
        )
    launch = [] if root is None else [f"--ServerApp.root_dir={root.absolute()}"]
    if not any(argument.endswith(".ipynb") for argument in arguments):
        launch = _on_tutorial(root)
    # Jupyter refuses to serve as root, which is who people are in containers.
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in arguments:
        print("freezeviz: running as root, so JupyterLab is started with --allow-root")
        launch.append("--allow-root")
    # Kernels inherit it. A second BLAS thread competes with the notebook's own, and on two busy
    # cores cut a small model's steps per second to a tenth; whoever trains large ones sets it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A folder with defaults of settings: no news popup, no look-up of updates over the network.
    # What the user has set for themselves still counts.
    folders = [str(_PACKAGE / "_jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, folders))
    from jupyterlab.labapp import LabApp  # only here: it takes a second

    LabApp.launch_instance([*launch, *arguments])


def _on_tutorial(root: Path | None) -> list[str]:
    """Return the arguments with which JupyterLab serves the tutorials and opens the first."""
    shipped, checkout = _PACKAGE / "_notebooks", _PACKAGE.parent / "notebooks"
    if shipped.is_dir():
        root = Path.cwd() if root is None else root.absolute()
        tutorial = _copy_notebooks(shipped, root / _COPIES) / _TUTORIAL
    else:
        root = checkout.parent if root is None else root.absolute()
        tutorial = checkout / _TUTORIAL
    if not tutorial.is_file():
        raise FileNotFoundError(f"the tutorial is not where it belongs: {tutorial}")
    try:
        path = tutorial.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise FileNotFoundError(
            f"the tutorial {tutorial} is not below --notebook-dir {root}. Leave that out, or give "
            "a folder above the tutorial."
        ) from None
    print(f"freezeviz: opening {tutorial}")
    # default_url, not the file as an argument: then the address that is printed leads to it too.
    return [f"--ServerApp.root_dir={root}", f"--LabApp.default_url=/lab/tree/{quote(path)}"]


def _copy_notebooks(source: Path, target: Path) -> Path:
    """Copy the notebooks to where their user may change them; what was changed there stays."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        for notebook in sorted(source.glob("*.ipynb")):
            copy = target / notebook.name
            if not copy.exists():
                shutil.copyfile(notebook, copy)
            elif copy.read_bytes() != notebook.read_bytes():
                print(f"freezeviz: kept your {copy}; delete it to get the original back")
    except OSError as error:
        raise OSError(
            f"cannot copy the notebooks to {target} ({error.strerror}). "
            "Start from a folder that you can write to."
        ) from error
    return target


def _info() -> str:
    try:
        device = f"{backend.device()}: {backend.device_reason()}"
    except DeviceError as error:
        device = f"none: {error}"
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    rows = [
        ("freezeviz", f"{__version__} in {_PACKAGE}"),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("device", device),
        ("numpy", f"{np.__version__}, BLAS: {blas.get('name')} {blas.get('version')}"),
        ("libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)),
        ("notebook", ", ".join(f"{name} {_version(name)}" for name in _FRONT_ENDS)),
    ]
    return "\n".join(f"{name:<11}{value}" for name, value in rows)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
