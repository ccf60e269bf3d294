"""Every test by `check` of a layer or `compare` of a loss runs on NumPy's and on CuPy's arrays."""

from collections.abc import Iterator

import pytest

from freezeviz import backend
from tests.standin_cupy import CUPYS, cupy_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    called = {"check", "compare"}.intersection(metafunc.function.__code__.co_names)
    shared = [getattr(metafunc.module, name, None) for name in called]
    if any(getattr(fn, "__module__", "") == "tests.nn._torch" for fn in shared):
        # Hundreds of tests: where there is no GPU, those on it are left out, not skipped.
        kinds = CUPYS if backend.gpu_problem() is None else CUPYS[:1]
        metafunc.parametrize("arrays", ["numpy", *kinds], indirect=True)


@pytest.fixture(autouse=True)
def arrays(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kind = getattr(request, "param", "numpy")  # other tests are not parametrised
    if kind == "numpy":
        yield
        return
    from tests.nn import _torch

    with cupy_of(kind) as cupy:
        monkeypatch.setattr(_torch, "cupy", cupy)
        if kind == "device":  # other orders of summation
            monkeypatch.setattr(_torch, "TOLERANCE", {"float32": 1e-4, "float64": 1e-9})
        yield
