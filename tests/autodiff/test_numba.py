"""The compiled kernels, the switch that chooses them, and what running them leaves alone."""

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.autodiff import FUSED, _choice, _sets
from freezeviz.errors import KernelsError, KernelsWarning, MissingExtraError
from tests.autodiff import test_kernel_sets as sets
from tests.autodiff._table import Row, normal, strided, transposed

ROOT = Path(__file__).parents[2]
_INSTALLED = importlib.util.find_spec("numba") is not None

pytestmark = pytest.mark.skipif(not _INSTALLED, reason="Numba is not installed")

_NAMES = ["attention", "conv2d", "layer_norm", "linear", "packed_attention", "projections"]


@pytest.fixture(autouse=True)
def _same_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that chooses kernels chooses for itself only."""
    before = _sets.in_force()
    for name in ("_asked", "_settled", "_loaded"):
        monkeypatch.setattr(_choice, name, getattr(_choice, name))
    monkeypatch.delenv(_choice.VARIABLE, raising=False)
    yield
    _sets.put_in_force(before)


@pytest.fixture
def numba(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The compiled kernels, loaded and in force."""
    fv.use_kernels("numba")
    from freezeviz.autodiff import _numba

    return _numba


@pytest.fixture(params=[1, 2, 3])
def eager(request: pytest.FixtureRequest, numba: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Compiled kernels that take calls of any size, with some number of threads."""
    from freezeviz.autodiff._numba import _attention, _conv, _launch, _linear, _norm, _projections

    for module in (_attention, _conv, _linear, _projections):
        monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(_norm, "ELEMENTS", 0)
    for module in (_attention, _linear, _norm):
        monkeypatch.setattr(module, "NARROW", 0)
    monkeypatch.setattr(_launch, "threads", lambda: request.param)
    monkeypatch.setattr(_launch, "most_threads", lambda: request.param)
    for module in (_attention, _conv, _linear):
        monkeypatch.setattr(module, "most_threads", lambda: request.param)
    return request.param


def _kernels(name: str) -> _sets.Kernels:
    (found,) = [k for k in FUSED[name].kernels if k.set == "numba"]
    return found


def _conv_rows() -> Iterator[Row]:
    for (n, h, w, c, o, kh, kw), options in (
        ((2, 6, 5, 1, 3, 3, 3), {}),
        ((3, 9, 7, 8, 5, 3, 2), {}),
        ((3, 9, 7, 8, 5, 3, 2), {"padding": (1, 2)}),
        ((2, 8, 8, 2, 33, 3, 3), {"padding": (2, 1)}),
        ((1, 5, 4, 20, 1, 1, 1), {}),
        ((5, 4, 4, 17, 3, 4, 4), {}),
        ((1, 9, 9, 6, 4, 5, 5), {"padding": (4, 4)}),
    ):
        for end in ({}, {"activation": "relu"}, {"activation": "relu", "pool": 2}, {"pool": 2}):
            if end.get("pool") and kh == h:
                continue
            args = normal(n, h, w, c), normal(o, kh, kw, c), normal(o)
            yield Row("conv2d", args, options | end)
            yield Row("conv2d", (*args[:2], None), options | end)


def _rows(name: str) -> list[Row]:
    rows = [row for row in (*sets._ROWS, *sets._MORE) if row.rule == name]
    if name == "conv2d":
        rows += _conv_rows()
    if name == "layer_norm":
        for m, d in ((1, 1), (1, 33), (2, 7), (65, 16), (130, 257)):
            rows.append(Row(name, (normal(m, d), normal(d), normal(d))))
            rows.append(Row(name, (normal(m, d), None, normal(d)), {"eps": 0.1}))
        rows.append(Row(name, (strided(normal(3, 5, 8)), normal(8), None)))
    if name == "attention":
        for b, h, m, n, d, e in ((1, 1, 1, 1, 1, 1), (2, 3, 5, 7, 4, 6), (2, 1, 17, 33, 16, 9)):
            rows.append(Row(name, (normal(b, h, m, d), normal(b, h, n, d), normal(b, h, n, e))))
        turned = transposed(normal(2, 3, 4, 5))
        rows.append(Row(name, (normal(2, 3, 4, 5), turned, normal(2, 3, 4, 2)), {"scale": 0.3}))
    if name == "packed_attention":
        for b, n, heads, d, e in ((1, 1, 1, 1, 1), (2, 7, 3, 12, 6), (3, 33, 2, 16, 16)):
            rows.append(Row(name, (normal(b, n, 2 * d + e),), {"heads": heads, "dims": d}))
    if name == "projections":
        for m, k, d, e in ((1, 1, 1, 1), (5, 7, 3, 4), (33, 17, 65, 65)):
            weights = normal(d, k), normal(d, k), normal(e, k)
            biases = normal(d), normal(d), normal(e)
            rows.append(Row(name, (normal(2, m, k), *weights, *biases)))
            rows.append(Row(name, (normal(m, k), *weights, None, None, None)))
    return rows


# ---------------------------------------------------------------- values


def test_the_kernels_are_those_that_are_tested_here(numba: Any) -> None:
    found = {n for n, fused in FUSED.items() if any(k.set == "numba" for k in fused.kernels)}
    assert found == set(_NAMES)


@pytest.mark.parametrize("name", _NAMES)
def test_they_give_what_the_portable_kernels_give(
    name: str, eager: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sums of products in another order, and activations by polynomials.
    monkeypatch.setitem(sets._ROUNDING, np.dtype(np.float32), 6e-6)
    taken = [sets._compare(FUSED[name], _kernels(name), row, np.float32) for row in _rows(name)]
    assert any(taken)


@pytest.mark.parametrize("name", _NAMES)
def test_they_take_nothing_but_single_precision_in_one_piece(name: str, eager: int) -> None:
    kernels, fused = _kernels(name), FUSED[name]
    for row in _rows(name):
        args, options = row.drawn(np.float64)
        needs = (True,) * len(args)
        assert not kernels.accepts(needs, *args, **options)
        mixed = [args[0].astype(np.float32), *args[1:]]
        if any(isinstance(a, np.ndarray) for a in mixed[1:]):
            assert not kernels.accepts(needs, *mixed, **options)
    assert fused._pair(needs, args, options)[0] is not kernels.forward


@pytest.mark.parametrize("name", _NAMES)
def test_they_give_the_same_bits_in_every_run(
    name: str, eager: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freezeviz.autodiff._numba import _attention, _launch, _linear, _norm

    for module in (_attention, _linear, _norm):
        monkeypatch.setattr(module, "NARROW", _launch.NARROW)
    kernels, taken = _kernels(name), 0
    for row in _rows(name):
        args, options = row.drawn(np.float32)
        needs = tuple(i in row.traced() for i in range(len(args)))
        if not kernels.accepts(needs, *args, **options):
            continue
        taken += 1
        runs = []
        for _ in range(3):
            out, residual = kernels.forward(needs, *args, **options)
            g = np.linspace(-1, 1, out.size, dtype=np.float32).reshape(out.shape)
            cotangents = kernels.backward(g, needs, residual)
            runs.append([a.tobytes() for a in (out, *cotangents) if a is not None])
        assert runs[0] == runs[1] == runs[2], str(row)
    assert taken


def test_what_is_not_a_number_stays_so(eager: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((20, 16), dtype=np.float32)
    x[3, 4] = np.nan
    weight = rng.standard_normal((8, 16), dtype=np.float32)
    for activation in (None, "relu", "gelu", "tanh"):
        out = _kernels("linear").forward((True,) * 3, x, weight, None, activation=activation)[0]
        assert np.isnan(out[3]).all(), activation
        assert np.isfinite(np.delete(out, 3, 0)).all(), activation
    normed = _kernels("layer_norm").forward((False,) * 3, x, None, None)[0]
    assert np.isnan(normed[3]).all()
    heads = np.ascontiguousarray(x.reshape(1, 2, 10, 16))
    mixed = _kernels("attention").forward((False,) * 3, heads, heads, heads)[0]
    assert np.isnan(mixed[0, 0]).all()
    assert np.isfinite(mixed[0, 1]).all()
    image = rng.standard_normal((1, 6, 6, 8), dtype=np.float32)
    image[0, 5, 5] = np.nan
    kernel = rng.standard_normal((3, 3, 3, 8), dtype=np.float32)
    for end in ({}, {"activation": "relu"}, {"activation": "relu", "pool": 2}):
        for needs in ((False,) * 3, (True,) * 3):
            out = _kernels("conv2d").forward(needs, image, kernel, None, **end)[0]
            assert np.isnan(out[0, -1, -1]).all(), end
            assert np.isfinite(out[0, 0, 0]).all(), end


def test_activations_are_accurate_to_rounding(eager: int) -> None:
    x = np.concatenate([np.linspace(-12, 12, 50_001), np.linspace(-0.01, 0.01, 10_001)])
    x = x.astype(np.float32)[:, None]
    one, wide = np.ones((1, 1), np.float32), x.astype(np.float64)
    needs, kernels = (True, False, False), _kernels("linear")
    out, residual = kernels.forward(needs, x, one, None, activation="tanh")
    assert np.max(np.abs(out - np.tanh(wide)) / np.maximum(np.abs(np.tanh(wide)), 1e-30)) < 6e-7
    out, residual = kernels.forward(needs, x, one, None, activation="gelu")
    slope, _, _ = kernels.backward(np.ones_like(out), needs, residual)
    exact, exact_slope = _gelu(wide)
    assert np.max(np.abs(out - exact) / np.maximum(1, np.abs(wide))) < 4e-7
    assert np.max(np.abs(slope - exact_slope)) < 6e-7


def _gelu(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import ndtr

    return x * ndtr(x), ndtr(x) + x * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.Adam(1e-2),
        lambda: optim.Adam(1e-2, bias_correction=True),
        lambda: optim.AdamW(1e-2, weight_decay=0.1),
        lambda: optim.SGD(0.1),
        lambda: optim.SGD(0.1, weight_decay=0.01),
        lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
        lambda: optim.SGD(0.1, momentum=0.9, dampening=0.3),
    ],
)
@pytest.mark.parametrize("shape", [(3,), (50, 7), (300, 170)])
def test_optimizers_take_the_same_steps_bit_for_bit(
    make: Any, shape: tuple[int, ...], numba: Any, rng: np.random.Generator
) -> None:
    start = rng.standard_normal(shape, dtype=np.float32)
    gradients = [rng.standard_normal(shape, dtype=np.float32) for _ in range(3)]
    ends = []
    for kernels in ("numpy", "numba"):
        fv.use_kernels(kernels)
        optimizer, values = make(), {"w": start}
        for gradient in gradients:
            values = optimizer.apply_gradients({"w": gradient}, values)
        ends.append(
            [
                values["w"],
                *(optimizer.state["w"][k] for k in ("m", "v") if k in optimizer.state["w"]),
            ]
        )
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- training


def _trained(steps: int = 4) -> list[np.ndarray]:
    fv.seed(3)
    model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 96), nn.Tanh())
    model.layers += [nn.LayerNorm(96), nn.Linear(96, 10)]
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((96, 64), dtype=np.float32), rng.integers(0, 10, 96)
    step = nn.value_and_grad(
        model, lambda x, y: nn.losses.cross_entropy(model(x), y, reduction="mean")
    )
    optimizer = optim.Adam(1e-3)
    for _ in range(steps):
        _, gradients = step(x, y)
        optimizer.update(model, gradients)
    return [value for _, value in model.named_parameters()]


def test_training_agrees_with_numpys_kernels_to_rounding(numba: Any) -> None:
    compiled = _trained()
    fv.use_kernels("numpy")
    for a, b in zip(compiled, _trained(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


def test_trainers_in_several_threads_do_not_disturb_each_other(numba: Any) -> None:
    alone = [a.tobytes() for a in _trained()]
    results: dict[int, list[bytes]] = {}
    rng = np.random.default_rng(9)
    x = rng.standard_normal((128, 256), dtype=np.float32)
    weight = rng.standard_normal((256, 256), dtype=np.float32)

    def work(number: int) -> None:
        needs, kernels = (True, True, True), _kernels("linear")
        results[number] = found = []
        for _ in range(20):
            out, residual = kernels.forward(needs, x, weight, None, activation="gelu")
            found.append(kernels.backward(out, needs, residual)[1].tobytes())

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len({one for found in results.values() for one in found}) == 1
    assert [a.tobytes() for a in _trained()] == alone


def test_products_are_counted_once(numba: Any, eager: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((6, 5), dtype=np.float32)
    weight = rng.standard_normal((4, 5), dtype=np.float32)
    with fv.autodiff.count() as counts:
        fv.autodiff.grad(lambda w: fv.autodiff.linear(x, w, None, activation="relu").sum())(weight)
    assert dict(counts.gemms) == {((6, 5), (5, 4)): 1, ((4, 6), (6, 5)): 1}


# ---------------------------------------------------------------- what is left alone


def _blas_threads() -> list[int]:
    from threadpoolctl import threadpool_info

    return [library["num_threads"] for library in threadpool_info()]


def test_thread_counts_are_those_of_before(numba: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from threadpoolctl import threadpool_limits

    from freezeviz.autodiff._numba import _launch

    with threadpool_limits(2):
        before, seen = _blas_threads(), []

        def kernel(*arguments: Any) -> None:
            seen.append((arguments, [library.get() for library in _launch._libraries]))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            _launch.launch_with_blas(kernel, "argument")
        assert _blas_threads() == before
        _trained(1)
        assert _blas_threads() == before
    [((argument, number), within)] = seen
    assert argument == "argument"
    assert number == min(2, _launch.most_threads())
    assert set(within) <= {1}


def test_a_thread_count_that_somebody_else_sets_meanwhile_stays(numba: Any) -> None:
    from threadpoolctl import threadpool_limits

    from freezeviz.autodiff._numba import _launch

    if not _launch._libraries:
        pytest.skip("this BLAS has no thread count to set")
    with threadpool_limits(2):
        _launch.launch_with_blas(lambda threads: [lib.set(3) for lib in _launch._libraries])
        assert {library.get() for library in _launch._libraries} == {3}


def test_kernels_do_not_use_more_threads_than_blas_was_given(numba: Any) -> None:
    from threadpoolctl import threadpool_limits

    from freezeviz.autodiff._numba import _launch

    with threadpool_limits(1):
        assert _launch.threads() == 1 or not _launch._libraries


def _fresh(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    names = ("FREEZEVIZ_KERNELS", "FREEZEVIZ_DEVICE", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    env = {name: value for name, value in os.environ.items() if name not in names}
    env |= {"PYTHONPATH": str(ROOT), "FREEZEVIZ_DEVICE": "cpu", "OPENBLAS_NUM_THREADS": "2"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=env | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


_STEP = """
import os, sys, threading
import numpy as np
import freezeviz as fv
from freezeviz import nn
assert "numba" not in sys.modules
model = nn.Linear(256, 256)
x = np.ones((128, 256), np.float32)
assert "numba" not in sys.modules
step = nn.value_and_grad(model, lambda x: (model(x) ** 2).mean())
"""


def test_they_are_loaded_by_the_first_value_and_grad_and_leave_the_environment_alone() -> None:
    done = _fresh(
        _STEP + "loaded = set(sys.modules)\nassert 'numba' in loaded\nstep(x)\n"
        "assert not [m for m in set(sys.modules) - loaded if 'numba' in m]\n"
        "assert 'GOMP_SPINCOUNT' not in os.environ\nprint(fv.kernels())"
    )
    assert (done.returncode, done.stdout) == (0, "numba\n"), done.stderr


def test_numba_can_be_left_out_from_outside() -> None:
    done = _fresh(
        _STEP + "step(x)\nprint(fv.kernels(), 'numba' in sys.modules)", FREEZEVIZ_KERNELS="numpy"
    )
    assert (done.returncode, done.stdout) == (0, "numpy False\n"), done.stderr


@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_threads_at_once_are_safe_with_any_threads_of_numba(layer: str) -> None:
    work = """
def work():
    for _ in range(20):
        step(x)
threads = [threading.Thread(target=work) for _ in range(3)]
[t.start() for t in threads]
work()
[t.join() for t in threads]
print("done")
"""
    done = _fresh(_STEP + work, NUMBA_THREADING_LAYER=layer)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_forked_process_computes_on() -> None:
    code = """
step(x)
pid = os.fork()
value = step(x)[0]
if pid:
    assert os.waitpid(pid, 0)[1] == 0
print(bool(np.isfinite(value)), flush=True)
if pid == 0:
    os._exit(0)
"""
    # Forking with threads is deprecated by Python, for reasons like the one that this is about.
    done = _fresh("import warnings\nwarnings.simplefilter('ignore')\n" + _STEP + code)
    assert (done.returncode, done.stdout) == (0, "True\nTrue\n"), done.stderr


# ---------------------------------------------------------------- the switch


def test_switching_takes_effect_at_once(numba: Any, eager: int) -> None:
    x = np.ones((4, 3), np.float32)
    call = ((False,) * 3, (x, x, None), {})
    assert fv.kernels() == "numba"
    assert FUSED["linear"]._pair(*call)[0] is _kernels("linear").forward
    fv.use_kernels("numpy")
    assert fv.kernels() == "numpy"
    assert FUSED["linear"]._pair(*call)[0] is not _kernels("linear").forward
    fv.use_kernels("auto")
    assert fv.kernels() == "numba"


@pytest.mark.parametrize("name", ["cuda", None, 3])
def test_an_unknown_name_is_refused_with_the_known_ones(name: Any) -> None:
    before = fv.kernels()
    with pytest.raises(KernelsError, match=r"use_kernels\(\) takes 'auto', 'numpy' or 'numba'"):
        fv.use_kernels(name)
    assert fv.kernels() == before


def test_an_unknown_name_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_choice.VARIABLE, "fortran")
    monkeypatch.setattr(_choice, "_asked", None)
    monkeypatch.setattr(_choice, "_settled", False)
    with pytest.raises(KernelsError, match=r"FREEZEVIZ_KERNELS takes .* got 'fortran'"):
        fv.kernels()


def _start_anew(monkeypatch: pytest.MonkeyPatch, spec: Any = None) -> None:
    monkeypatch.setattr(_choice, "_asked", None)
    monkeypatch.setattr(_choice, "_settled", False)
    monkeypatch.setattr(_choice, "_loaded", None)
    if spec is not None:
        monkeypatch.setattr(importlib.util, "find_spec", spec)


def test_where_numba_is_missing_numpy_computes_and_asking_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _start_anew(monkeypatch, lambda name: None)
    assert fv.kernels() == "numpy"
    with pytest.raises(MissingExtraError, match=r'pip install "freezeviz\[fast\]"'):
        fv.use_kernels("numba")
    assert fv.kernels() == "numpy"


def test_where_numba_does_not_work_one_warning_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ImportError("Numba needs NumPy 9.9 or less\nand more lines")

    _start_anew(monkeypatch)
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.warns(
        KernelsWarning, match=r"ImportError: Numba needs NumPy 9\.9 or less\. NumPy's"
    ):
        nn.value_and_grad(nn.Linear(2, 2), lambda: 0.0)
    assert fv.kernels() == "numpy"
    nn.value_and_grad(nn.Linear(2, 2), lambda: 0.0)  # and no second one
    with pytest.raises(KernelsError, match=r"asks for compiled kernels, and .* 'numpy' or 'auto'"):
        fv.use_kernels("numba")
    assert fv.kernels() == "numpy"


def test_no_kernel_is_compiled_for_other_types_later(numba: Any) -> None:
    from freezeviz.autodiff._numba._compiled import _kernels as compiled

    assert compiled
    for dispatcher, _ in compiled:
        assert len(dispatcher.signatures) == 1
        with pytest.raises(TypeError):
            dispatcher(*[1j] * len(dispatcher.signatures[0]))


def test_a_second_process_reads_from_the_disk_what_the_first_compiled(numba: Any) -> None:
    done = _fresh(_STEP + "print('done')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
