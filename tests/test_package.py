"""What `import freezeviz` costs and shows."""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import freezeviz

ROOT = Path(__file__).parents[1]
HEAVY = ["IPython", "anywidget", "cupy", "ipywidgets", "matplotlib", "numba", "sklearn", "torch"]
HEAVY += ["tqdm"]

MODULES = {"freezeviz": True} | {
    module.name: module.ispkg
    for module in pkgutil.walk_packages(freezeviz.__path__, "freezeviz.")
    if not any(part.startswith("_") for part in module.name.split("."))
}


def fresh(code: str) -> str:
    """Return what code prints in a fresh process in which a warning is an error."""
    env = {name: value for name, value in os.environ.items() if name != "FREEZEVIZ_DEVICE"}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def test_import_takes_less_than_300_ms_beyond_numpy() -> None:
    code = (
        "import time, numpy\n"
        "start = time.perf_counter()\n"
        "import freezeviz\n"
        "print(time.perf_counter() - start)"
    )
    fresh(code)  # writes the byte code
    # The smallest: whatever else the machine does can only add to it.
    seconds = min(float(fresh(code)) for _ in range(7))
    assert seconds < 0.3


def test_import_loads_nothing_heavy_and_no_foreign_framework() -> None:
    loaded = json.loads(fresh("import json, sys, freezeviz; print(json.dumps(list(sys.modules)))"))
    assert sorted(set(HEAVY) & {name.split(".")[0] for name in loaded}) == []


def test_first_use_of_a_model_still_loads_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "import numpy as np\n"
        "import freezeviz as fv\n"
        "from freezeviz import nn, optim\n"
        "model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))\n"
        "model(np.ones((2, 4), np.float32))\n"
        "fv.freeze(model, 'layers.0')\n"
        "print(json.dumps(list(sys.modules)))"
    )
    loaded = {name.split(".")[0] for name in json.loads(fresh(code))}
    # CuPy is left out: making a model asks for the default device, which looks for one.
    assert sorted(set(HEAVY) - {"cupy"} & loaded) == []


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_sorted_and_exist(name: str) -> None:
    module = importlib.import_module(name)
    if MODULES[name] or hasattr(module, "__all__"):  # a package must have one
        assert list(module.__all__) == sorted(set(module.__all__))
        assert [public for public in module.__all__ if not hasattr(module, public)] == []
        assert set(module.__all__) <= set(dir(module))


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="frieze"):
        _ = freezeviz.frieze


def test_package_is_typed() -> None:
    assert (ROOT / "freezeviz" / "py.typed").is_file()
