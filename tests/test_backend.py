"""Which array library is used: the choice, its errors, and silence where there is no GPU.

The choice depends on what is installed and on the environment, so most of these tests ask a fresh
process; CuPy is hidden there by an import hook, replaced by a broken one, or the real one.
"""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeviz import backend
from freezeviz.errors import DeviceError

ROOT = Path(__file__).parents[1]

NO_CUPY = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cupy":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
"""


def ask(code: str, setup: str = "", **environment: str) -> dict:
    """Run code in a fresh process and return its `answer`; a warning or a line on stderr fails."""
    env = {name: value for name, value in os.environ.items() if name != "FREEZEVIZ_DEVICE"}
    # No device for CuPy even on a machine that has one.
    env |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"} | environment
    script = "\n".join(
        [
            textwrap.dedent(setup),
            "import json, sys",
            "from freezeviz import backend",
            "from freezeviz.errors import DeviceError",
            "answer = {'cupy_at_import': 'cupy' in sys.modules}",
            "def attempt(function, *arguments):",
            "    try:",
            "        return function(*arguments)",
            "    except DeviceError as error:",
            "        return f'DeviceError: {error}'",
            textwrap.dedent(code),
            "print(json.dumps(answer))",
        ]
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


# What the default is


def test_default_without_cupy_is_numpy_without_noise() -> None:
    answer = ask(
        """
        answer["device"] = backend.device()
        answer["reason"] = backend.device_reason()
        answer["namespace"] = backend.default_namespace().__name__
        """,
        setup=NO_CUPY,
    )
    assert answer["device"] == "cpu"
    assert answer["namespace"] == "numpy"
    assert answer["reason"].startswith("CuPy is not installed")


def test_gpu_without_cupy_says_how_to_install_it() -> None:
    answer = ask("answer['use'] = attempt(backend.use, 'gpu')", setup=NO_CUPY)
    assert answer["use"].startswith("DeviceError: use('gpu') asks for a GPU, and CuPy is not")
    assert 'pip install "freezeviz[gpu]"' in answer["use"]


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")
def test_real_cupy_without_a_device_leaves_numpy_without_noise() -> None:
    answer = ask(
        """
        answer["device"] = backend.device()
        answer["reason"] = backend.device_reason()
        answer["cupy_at_the_end"] = "cupy" in sys.modules
        answer["use"] = attempt(backend.use, "gpu")
        answer["after"] = backend.device()
        answer["move"] = attempt(backend.to_device, [1.0], "gpu")
        """
    )
    assert not answer["cupy_at_import"]
    assert answer["cupy_at_the_end"]
    assert answer["device"] == answer["after"] == "cpu"
    # The driver's own words: a device that hides, or no driver at all.
    assert "cudaError" in answer["reason"]
    assert answer["use"].startswith("DeviceError: use('gpu') asks for a GPU, and CuPy")
    assert "cudaError" in answer["use"]
    assert answer["move"].startswith("DeviceError: an array cannot go to the GPU")


def test_cpu_by_name_never_looks_for_cupy() -> None:
    code = """
    backend.use("cpu")
    answer["device"] = backend.device()
    answer["cupy"] = "cupy" in sys.modules
    """
    assert ask(code) == {"cupy_at_import": False, "device": "cpu", "cupy": False}


def test_arrays_that_exist_never_start_the_search_for_cupy() -> None:
    code = """
    import numpy as np
    x = backend.asarray(np.ones(3))
    backend.array_namespace(x, 2.0), backend.to_numpy(x), backend.memory_key(x), backend.is_array(x)
    backend.use("auto")
    answer["cupy"] = "cupy" in sys.modules
    """
    assert ask(code)["cupy"] is False


# Broken CuPys, each as one was met or can be: they stand in for hardware that a test cannot have.
BROKEN = {
    "does not import": (
        "raise ImportError('=====\\nFailed to import CuPy.\\n  libcudart is missing\\n=====')",
        "CuPy does not import (ImportError: Failed to import CuPy. libcudart is missing;",
    ),
    "lacks one of its own modules": (
        "import cupy_that_is_not_there",
        "CuPy does not import (ModuleNotFoundError: No module named 'cupy_that_is_not_there').",
    ),
    "sees no device": (
        "class runtime:\n    getDeviceCount = staticmethod(lambda: 0)",
        "CuPy sees no CUDA device.",
    ),
    "lacks cuBLAS": (
        """
        class runtime:
            getDeviceCount = staticmethod(lambda: 1)
        def arange(n, dtype):
            raise OSError("libcublas.so.12: cannot open shared object file")
        """,
        "(OSError: libcublas.so.12: cannot open shared object file).",
    ),
    "computes nonsense": (
        """
        import numpy
        class runtime:
            getDeviceCount = staticmethod(lambda: 1)
        arange = numpy.arange
        asnumpy = lambda x: x + 1
        """,
        "CuPy's test kernel gave",
    ),
}


def write_cupy(folder: Path, body: str) -> None:
    (folder / "cupy.py").write_text(
        "import sys, warnings\n"
        "warnings.warn('noise that CuPy makes at import')\n"
        "ndarray = type('ndarray', (), {})\n"
        "cuda = sys.modules[__name__]\n" + textwrap.dedent(body)
    )


@pytest.mark.parametrize("fault", BROKEN)
def test_auto_passes_over_a_cupy_that(fault: str, tmp_path: Path) -> None:
    body, reason = BROKEN[fault]
    write_cupy(tmp_path, body)
    answer = ask(
        """
        answer["device"] = backend.device()
        answer["reason"] = backend.device_reason()
        answer["use"] = attempt(backend.use, "gpu")
        answer["after"] = backend.device()
        """,
        setup=f"import sys; sys.path.insert(0, {str(tmp_path)!r})",
    )
    assert answer["device"] == answer["after"] == "cpu"
    assert reason in answer["reason"]
    assert reason in answer["use"]


def test_auto_takes_a_cupy_that_computes_right(tmp_path: Path) -> None:
    body = BROKEN["computes nonsense"][0].replace("x + 1", "x")
    write_cupy(tmp_path, body)
    answer = ask(
        """
        answer["device"] = backend.device()
        answer["reason"] = backend.device_reason()
        answer["wrong"] = attempt(backend.use, "tpu")
        answer["kept"] = backend.device()
        backend.use("cpu")
        answer["then"] = backend.device()
        """,
        setup=f"import sys; sys.path.insert(0, {str(tmp_path)!r})",
    )
    assert answer["device"] == answer["kept"] == "gpu"
    assert answer["reason"] == "CuPy ran a kernel; asked for by the default"
    assert answer["wrong"].startswith("DeviceError: use() takes")
    assert answer["then"] == "cpu"


def test_use_looks_again_after_cupy_was_installed(tmp_path: Path) -> None:
    write_cupy(tmp_path, BROKEN["sees no device"][0])
    answer = ask(
        f"""
        answer["before"] = attempt(backend.use, "gpu")
        sys.meta_path.pop(0)
        sys.path.insert(0, {str(tmp_path)!r})
        answer["after"] = attempt(backend.use, "gpu")
        """,
        setup=NO_CUPY,
    )
    assert "CuPy is not installed" in answer["before"]
    assert "CuPy sees no CUDA device" in answer["after"]


def test_the_search_runs_once_for_all_threads(tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text(
        "import pathlib, time\n"
        "with pathlib.Path(__file__).with_name('count').open('a') as file:\n"
        "    file.write('x')\n"
        "time.sleep(0.2)\n"
        "raise ImportError('no')\n"
    )
    answer = ask(
        """
        import threading
        devices = []
        threads = [
            threading.Thread(target=lambda: devices.append(backend.device())) for _ in range(8)
        ]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        answer["devices"] = devices
        """,
        setup=f"import sys; sys.path.insert(0, {str(tmp_path)!r})",
    )
    assert answer["devices"] == ["cpu"] * 8
    assert (tmp_path / "count").read_text() == "x"


# The environment variable


@pytest.mark.parametrize("value", ["cpu", " CPU ", "auto", ""])
def test_environment_variable_is_understood(value: str) -> None:
    answer = ask("answer['device'] = backend.device()", setup=NO_CUPY, FREEZEVIZ_DEVICE=value)
    assert answer["device"] == "cpu"


def test_environment_variable_is_the_reason_given() -> None:
    answer = ask("answer['reason'] = backend.device_reason()", FREEZEVIZ_DEVICE="cpu")
    assert answer["reason"] == "asked for by FREEZEVIZ_DEVICE=cpu"


def test_environment_variable_with_an_unknown_device_is_named() -> None:
    answer = ask("answer['device'] = attempt(backend.device)", FREEZEVIZ_DEVICE="tpu")
    expected = "DeviceError: FREEZEVIZ_DEVICE takes 'auto', 'cpu' or 'gpu', got 'tpu'."
    assert answer["device"] == expected


def test_environment_variable_asking_for_a_gpu_that_is_not_there() -> None:
    answer = ask(
        """
        answer["first"] = attempt(backend.device)
        answer["second"] = attempt(backend.default_namespace)
        backend.use("cpu")
        answer["then"] = backend.device()
        """,
        setup=NO_CUPY,
        FREEZEVIZ_DEVICE="gpu",
    )
    assert answer["first"].startswith("DeviceError: FREEZEVIZ_DEVICE=gpu asks for a GPU, and")
    assert answer["second"] == answer["first"]
    assert answer["then"] == "cpu"


def test_environment_variable_is_read_at_first_use_only() -> None:
    answer = ask(
        """
        import os
        os.environ["FREEZEVIZ_DEVICE"] = "cpu"
        answer["first"] = backend.device()
        os.environ["FREEZEVIZ_DEVICE"] = "tpu"
        answer["second"] = backend.device()
        """,
        FREEZEVIZ_DEVICE="tpu",
    )
    assert answer["first"] == answer["second"] == "cpu"


@pytest.mark.parametrize("name", ["tpu", "", None, 0])
def test_use_with_an_unknown_device_keeps_the_choice(name: object) -> None:
    backend.use("cpu")
    with pytest.raises(DeviceError, match=r"use\(\) takes 'auto', 'cpu' or 'gpu', got"):
        backend.use(name)  # type: ignore[arg-type]
    assert backend.device_reason() == "asked for by use('cpu')"


# The namespace of given arrays


def test_numpy_arrays_and_scalars_give_numpy_itself() -> None:
    x = np.ones(2)
    for arrays in [(x,), (x, x), (x, 2.0, None, True, 1j), (np.float32(1),), (2,), (), (x[0], x)]:
        assert backend.array_namespace(*arrays) is np
    assert backend.array_namespace(np.ma.array([1.0])) is np


def test_another_library_gives_its_own_namespace() -> None:
    x = array_api_strict.ones(2)
    assert backend.array_namespace(x) is array_api_strict
    assert backend.array_namespace(2.0, x, np.float32(1)) is array_api_strict


def test_two_libraries_in_one_call_are_named() -> None:
    with pytest.raises(DeviceError) as caught:
        backend.array_namespace(np.ones((2, 3)), array_api_strict.ones(4))
    assert "numpy.ndarray of shape (2, 3) and array_api_strict" in str(caught.value)
    assert "of shape (4,)" in str(caught.value)


@pytest.mark.parametrize("thing", [[1.0], "x", object()])
def test_what_is_no_array_has_no_namespace(thing: object) -> None:
    with pytest.raises(TypeError, match="is not a supported array type"):
        backend.array_namespace(np.ones(2), thing)


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (np.ones(2), True),
        (np.ones(()), True),
        (np.ma.array([1.0]), True),
        (array_api_strict.ones(2), True),
        (np.float32(1), False),
        (1.0, False),
        ([1.0], False),
        (None, False),
        (np.ndarray, False),
        (array_api_strict, False),
    ],
)
def test_is_array(thing: object, expected: bool) -> None:
    assert backend.is_array(thing) is expected


def test_is_array_does_not_run_the_getattr_of_an_object() -> None:
    class Nosy:
        def __getattr__(self, name: str) -> None:
            pytest.fail(f"asked for {name}")

    assert backend.is_array(Nosy()) is False


# Moving


def test_asarray_leaves_an_array_and_makes_one_of_a_list() -> None:
    backend.use("cpu")
    numpy_array, strict = np.ones(2), array_api_strict.ones(2)
    assert backend.asarray(numpy_array) is numpy_array
    assert backend.asarray(strict) is strict
    np.testing.assert_array_equal(backend.asarray([[1, 2]]), np.array([[1, 2]]))
    assert type(backend.asarray(strict, device="cpu")) is np.ndarray


def test_to_numpy_does_not_copy_numpy_arrays() -> None:
    x = np.arange(3.0)
    x.flags.writeable = False
    assert backend.to_numpy(x) is x
    assert backend.to_device(x, "cpu") is x


@pytest.mark.parametrize("thing", [array_api_strict.asarray([1.0, 2.0]), [1.0, 2.0], (1, 2)])
def test_to_numpy_takes_what_numpy_understands(thing: object) -> None:
    result = backend.to_numpy(thing)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, [1.0, 2.0])


def test_to_device_with_an_unknown_device_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"to_device\(\) takes 'cpu' or 'gpu', got 'cuda'"):
        backend.to_device(np.ones(2), "cuda")


# Identity of memory


def test_views_of_the_same_memory_share_a_key() -> None:
    x = np.arange(12.0).reshape(3, 4)
    frozen = x.view()
    frozen.flags.writeable = False
    assert backend.memory_key(frozen) == backend.memory_key(x) == backend.memory_key(x[:])
    assert backend.memory_key(x[1:]) == backend.memory_key(x[1:])


def test_other_memory_or_another_reading_of_it_has_another_key() -> None:
    x = np.arange(16.0).reshape(4, 4)
    others = [x.copy(), x.T, x[:2], x[::2], x.reshape(2, 8), x.view(np.int64), x[1:]]
    keys = [backend.memory_key(array) for array in [x, *others]]
    assert len(set(keys)) == len(keys)


def test_empty_arrays_are_the_same_only_as_views_of_one() -> None:
    # NumPy may give two empty arrays one pointer, so that says nothing.
    first, second = np.empty((0, 3)), np.empty((0, 3))
    assert backend.memory_key(first) != backend.memory_key(second)
    assert backend.memory_key(first) == backend.memory_key(first.view())


def test_arrays_without_a_pointer_are_known_by_identity() -> None:
    first, second = array_api_strict.ones(2), array_api_strict.ones(2)
    assert backend.memory_key(first) == backend.memory_key(first)
    assert backend.memory_key(first) != backend.memory_key(second)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data())
def test_equal_keys_mean_that_a_write_shows_in_both(shape: list[int], data: st.DataObject) -> None:
    base = np.zeros(shape, np.int32)
    views = [base, base.T, base[::-1], base[:1], base.reshape(-1), base.view(), base.copy()]
    a, b = data.draw(st.sampled_from(views)), data.draw(st.sampled_from(views))
    if backend.memory_key(a) == backend.memory_key(b):
        base[...] = 0
        a[...] = np.arange(a.size).reshape(a.shape)
        np.testing.assert_array_equal(a, b)


def test_arrays_with_memory_of_their_own_are_surely_apart() -> None:
    x, y = np.zeros((2, 3)), np.zeros((2, 3))
    assert backend.surely_apart([])
    assert backend.surely_apart([x, y, np.empty((0, 2))])
    assert backend.surely_apart(
        [x.view(), y[1:]]
    )  # each the only view of its memory, as when frozen


def test_what_may_share_memory_is_not_surely_apart() -> None:
    x = np.zeros((2, 3))
    foreign = np.frombuffer(bytearray(8), np.float32)
    matrix = np.zeros((2, 2)).view(np.matrix)
    for arrays in (
        [x, x],
        [x, x.T],
        [x[:1], x[1:]],
        [foreign],
        [matrix],
        [array_api_strict.ones(2)],
    ):
        assert not backend.surely_apart(arrays)


@given(st.lists(st.integers(0, 7), min_size=2, max_size=3))
def test_a_write_to_what_is_surely_apart_shows_nowhere_else(chosen: list[int]) -> None:
    a, b = np.zeros((2, 2)), np.zeros((2, 2))
    views = [a, a.T, a[:1], a.view(), np.asarray(memoryview(a)), b, b.reshape(-1), b.copy()]
    arrays = [views[i] for i in chosen]
    if backend.surely_apart(arrays):
        arrays[0][...] = 1
        assert not any(other.any() for other in arrays[1:])


# On a GPU


def test_gpu_is_what_auto_finds(cupy: Any) -> None:
    backend.use("auto")
    assert backend.device() == "gpu"
    x = backend.asarray([[1.0, 2.0]])
    assert type(x).__module__.startswith("cupy")
    assert backend.array_namespace(x, 2.0) is backend.default_namespace()
    assert backend.is_array(x)
    np.testing.assert_array_equal(backend.to_numpy(x @ x.T), [[5.0]])


def test_gpu_arrays_do_not_mix_with_numpy_arrays(cupy: Any) -> None:
    backend.use("gpu")
    with pytest.raises(DeviceError, match="expected arrays of one library, got cupy"):
        backend.array_namespace(backend.asarray([1.0]), np.ones(1))


def test_gpu_arrays_move_there_and_back(cupy: Any) -> None:
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    moved = backend.to_device(x, "gpu")
    assert backend.to_device(moved, "gpu") is moved
    np.testing.assert_array_equal(backend.to_device(moved, "cpu"), x)


def test_gpu_memory_keys_follow_the_memory(cupy: Any) -> None:
    x = backend.to_device(np.arange(12.0).reshape(3, 4), "gpu")
    assert backend.memory_key(x) == backend.memory_key(x.view())
    assert len({backend.memory_key(array) for array in (x, x.copy(), x.T, x[1:])}) == 4


def test_gpu_choice_holds_in_other_threads(cupy: Any) -> None:
    backend.use("gpu")
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(backend.device()))
    thread.start()
    thread.join()
    assert seen == ["gpu"]
