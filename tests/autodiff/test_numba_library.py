"""Whose products the compiled kernels use: SciPy's, MKL's, or those of a library that is named."""

import ctypes
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.autodiff.test_numba import _fresh

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed"
)

_TRAINED = """
import hashlib, json
import numpy as np
import freezeviz as fv
from freezeviz import nn, optim
fv.use_kernels("numba")
from freezeviz.autodiff._numba import _launch
from freezeviz.autodiff._numba._library import LIBRARY
fv.random.seed(0)
rng = np.random.default_rng(0)
x, y = rng.standard_normal((64, 8, 48), dtype=np.float32), rng.integers(0, 33, 64)
model = nn.Sequential(
    nn.Linear(48, 96), nn.GELU(), nn.TransformerEncoderLayer(96, 4, 200), nn.Flatten(),
    nn.Linear(768, 33),
)
model.freeze(keys="bias")
step = nn.value_and_grad(model, lambda x, y: nn.losses.cross_entropy(model(x), y).mean())
optimizer = optim.Adam(1e-3)
before = [library.get() for library in LIBRARY.threads]
losses = []
for _ in range(5):
    loss, gradients = step(x, y)
    optimizer.update(model, gradients)
    losses.append(float(loss))
digest = hashlib.sha256(b"".join(p.tobytes() for _, p in model.named_parameters())).hexdigest()
print(json.dumps({
    "name": LIBRARY.name, "losses": losses, "digest": digest,
    "threads": [before, [library.get() for library in LIBRARY.threads]],
}))
"""


def _another_library() -> Path | None:
    """Return a library with Fortran's sgemm_ beside SciPy's: MKL, or PyTorch's copy of it."""
    from freezeviz.autodiff._numba import _library

    for path in _library._installed():
        return path
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return None
    path = Path(torch.origin).parent / "lib" / "libtorch_cpu.so"
    try:
        return path if hasattr(ctypes.CDLL(str(path)), "sgemm_") else None
    except OSError:
        return None


def _trained(blas: str) -> dict[str, Any]:
    done = _fresh(_TRAINED, FREEZEVIZ_BLAS=blas)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_library_that_is_named_trains_as_scipys_does_and_the_same_in_every_run() -> None:
    path = _another_library()
    if path is None:
        pytest.skip("no BLAS library beside SciPy's is installed")
    scipys, others, again = _trained("scipy"), _trained(str(path)), _trained(str(path))
    assert (scipys["name"], others["name"]) == ("SciPy's", path.name)
    assert others == again
    assert others["losses"] == pytest.approx(scipys["losses"], rel=2e-5)
    assert scipys["losses"][-1] < scipys["losses"][0]
    for result in (scipys, others):
        before, after = result["threads"]
        assert before == after


def test_what_is_installed_is_taken_unless_scipys_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from freezeviz.autodiff._numba import _library

    path = _another_library()
    if path is None:
        pytest.skip("no BLAS library beside SciPy's is installed")
    monkeypatch.setattr(_library, "_installed", lambda: [path])
    monkeypatch.delenv(_library.VARIABLE, raising=False)
    found = _library.find()
    assert found.name == path.name
    monkeypatch.setenv(_library.VARIABLE, "scipy")
    scipys = _library.find()
    assert scipys.name == "SciPy's"
    assert scipys.sgemm != found.sgemm


def test_mkl_is_looked_for_where_pip_and_conda_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from freezeviz.autodiff._numba import _library

    monkeypatch.setattr(_library.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(_library.site, "getuserbase", lambda: str(tmp_path / "user"))
    assert _library._installed() == []
    for name in ("lib/libmkl_rt.so.2", "lib/libmkl_rt.so.3", "user/lib/libmkl_rt.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert _library._installed() == [
        tmp_path / "lib" / "libmkl_rt.so.3",
        tmp_path / "user" / "lib" / "libmkl_rt.so",
    ]


def test_an_installed_library_that_does_not_load_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from freezeviz.autodiff._numba import _library

    broken = tmp_path / "libmkl_rt.so.3"
    broken.write_text("not a library")
    monkeypatch.setattr(_library, "_installed", lambda: [broken])
    monkeypatch.delenv(_library.VARIABLE, raising=False)
    with caplog.at_level("INFO", logger="freezeviz"):
        assert _library.find().name == "SciPy's"
    assert "libmkl_rt.so.3 cannot be used for products" in caplog.text
    assert "SciPy's BLAS is used instead." in caplog.text


def test_a_library_that_is_named_and_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    code = "import freezeviz as fv\nfv.use_kernels('numba')"
    done = _fresh(code, FREEZEVIZ_BLAS=str(tmp_path / "none.so"))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "none.so cannot be used for products" in last
    assert "FREEZEVIZ_BLAS takes 'auto', 'scipy', or the file of a library" in last


def test_a_library_of_other_integers_is_found_out() -> None:
    from freezeviz.autodiff._numba import _library

    # As Fortran reads them: column by column, of the numbers' 64 bits, or of the lower 32.
    def product(integer: Any) -> Any:
        def sgemm(*arguments: int) -> None:
            numbers = [integer.from_address(arguments[i]).value for i in (2, 3, 4, 7, 9, 12)]
            m, n, k, lda, ldb, ldc = numbers
            if min(numbers) < 0:
                return
            a, b, c = (
                np.ctypeslib.as_array(
                    ctypes.cast(arguments[at], ctypes.POINTER(ctypes.c_float)), (columns, rows)
                )
                for at, columns, rows in ((6, k, lda), (8, n, ldb), (11, n, ldc))
            )
            c[:, :m] = b[:, :k] @ a[:, :m]

        return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(sgemm)

    assert _library._multiplies(product(ctypes.c_int32))
    assert not _library._multiplies(product(ctypes.c_int64))
