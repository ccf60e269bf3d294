"""Training steps on a GPU: nothing goes between host and device, and the CPU's numbers come out."""

import inspect
import itertools
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import backend, nn, optim
from freezeviz.autodiff import FUSED
from tests.autodiff._table import ROWS
from tests.benchmarks.engine.on_freezeviz import Training
from tests.benchmarks.engine.workloads import MODES, WORKLOADS, Cnn, Encoder
from tests.standin_cupy import CUPYS, cupy_of, on_device_only

SMALL = {
    "MLP": replace(WORKLOADS["W1"], batch=4, widths=(6, 5, 4, 3)),
    "regression": replace(WORKLOADS["W5"], batch=4, widths=(6, 5, 4, 1)),
    "CNN": Cnn("CNN", 2, 10, (2, 3, 4), (5, 3)),
    "encoder": Encoder("encoder", 2, 3, 8, 2, 12, 5, 20, 3, norm_first=True),
    "BERT": Encoder("BERT", 2, 2, 8, 2, 12, 5, 20, 2, norm_first=False),
}


@pytest.fixture(params=CUPYS)
def device(request):
    """CuPy, and a context in which host and device may not exchange anything."""
    with cupy_of(request.param) as cupy:
        yield cupy, on_device_only if request.param == "stand-in" else nullcontext


# ---------------------------------------------------------------- whole steps


@contextmanager
def moved(run):
    """Have a run of the benchmark train on the GPU."""
    run.model.to("gpu")
    run.batches = [tuple(backend.to_device(array, "gpu") for array in b) for b in run.batches]
    yield run


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SMALL)
def test_a_step_stays_on_the_device_whatever_is_frozen(name, mode, device):
    cupy, alone = device
    host = Training(SMALL[name], mode)
    expected = [float(host.step()) for _ in range(3)]
    with moved(Training(SMALL[name], mode)) as run:
        with alone():
            losses = [run.step() for _ in range(3)]
        assert all(isinstance(loss, cupy.ndarray) for loss in losses)
        np.testing.assert_allclose([float(loss) for loss in losses], expected, rtol=1e-5)
        for (path, value), (_, wanted) in zip(
            run.model.named_parameters(), host.model.named_parameters(), strict=True
        ):
            assert isinstance(value, cupy.ndarray), path
            if path.endswith("key_proj.bias"):
                # It adds the same to all scores of a query: its gradient is rounding, and Adam
                # makes whole steps of that.
                continue
            np.testing.assert_allclose(value.get(), wanted, rtol=1e-3, atol=1e-5, err_msg=path)


# ---------------------------------------------------------------- optimizers

OPTIMIZERS = {
    "AdaDelta": lambda: optim.AdaDelta(0.1),
    "Adafactor": lambda: optim.Adafactor(),
    "Adafactor with momentum": lambda: optim.Adafactor(
        0.01, beta_1=0.9, relative_step=False, scale_parameter=False, weight_decay=0.1
    ),
    "Adagrad": lambda: optim.Adagrad(0.1),
    "Adam": lambda: optim.Adam(0.01),
    "Adam, corrected": lambda: optim.Adam(0.01, bias_correction=True),
    "Adam, scheduled": lambda: optim.Adam(optim.cosine_decay(0.05, 10)),
    "AdamW": lambda: optim.AdamW(0.01),
    "Adamax": lambda: optim.Adamax(0.01),
    "Lion": lambda: optim.Lion(0.01, weight_decay=0.1),
    "MultiOptimizer": lambda: optim.MultiOptimizer(
        [optim.Adam(0.01), optim.SGD(0.1)], [lambda path, _: path.endswith("weight")]
    ),
    "RMSprop": lambda: optim.RMSprop(0.01),
    "SGD": lambda: optim.SGD(0.1),
    "SGD with momentum": lambda: optim.SGD(0.1, momentum=0.9, nesterov=True, dampening=0.0),
    "SGD with decay": lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.1),
}
X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
CLASSES = np.array([0, 2, 1, 1, 0, 2])


def test_no_optimizer_is_forgotten():
    known = {
        name
        for name, member in vars(optim).items()
        if inspect.isclass(member) and issubclass(member, optim.Optimizer)
    }
    assert {name.split()[0].strip(",") for name in OPTIMIZERS} == known - {"Optimizer"}


@pytest.mark.parametrize("clipped", [False, True], ids=["", "clipped"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_stays_on_the_device(name, clipped, device):
    cupy, alone = device
    values = []
    for place in ("cpu", "gpu"):
        fv.seed(1)
        model: Any = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))
        model.to(place)
        model.layers[0].freeze(keys="bias")
        optimizer = OPTIMIZERS[name]()
        x, classes = (backend.to_device(array, place) for array in (X, CLASSES))
        loss = nn.value_and_grad(
            model, lambda m=model, x=x, y=classes: nn.losses.cross_entropy(m(x), y).mean()
        )
        with alone() if place == "gpu" else nullcontext():
            for _ in range(4):
                _, gradients = loss()
                if clipped:
                    gradients, _ = optim.clip_grad_norm(gradients, 0.1)
                optimizer.update(model, gradients)
        values.append(model.named_parameters())
        kind = np.ndarray if place == "cpu" else cupy.ndarray
        arrays = [value for _, value in fv.tree_flatten(optimizer.state) if backend.is_array(value)]
        assert all(isinstance(value, kind) for value in arrays)
    for (path, wanted), (_, got) in zip(*values, strict=True):
        assert isinstance(got, cupy.ndarray), path
        np.testing.assert_allclose(got.get(), wanted, rtol=1e-4, atol=1e-5, err_msg=path)


# ---------------------------------------------------------------- fused primitives


def test_every_option_of_every_fused_primitive_is_in_the_table():
    given = {name: set() for name in FUSED}
    for row in ROWS:
        if row.rule in FUSED:
            given[row.rule] |= set(row.options)
    for name, fused in FUSED.items():
        parameters = inspect.signature(fused.reference).parameters.values()
        options = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        assert options <= given[name], name


@pytest.mark.parametrize("name", sorted(FUSED))
def test_portable_kernels_stay_on_the_device_for_every_set_of_derivatives(name, device):
    cupy, alone = device
    fused = FUSED[name]

    def there(x):
        if type(x) is tuple:
            return tuple(map(there, x))
        return cupy.asarray(x) if isinstance(x, np.ndarray) else x

    for row in (row for row in ROWS if row.rule == name):
        args, options = row.drawn()
        on_device = [there(a) for a in args]
        device_options = {key: there(value) for key, value in options.items()}
        for chosen in itertools.product((False, True), repeat=len(args)):
            needs = tuple(want and i in row.traced() for i, want in enumerate(chosen))
            out, residual = fused.forward(needs, *args, **options)
            with alone():
                got, kept = fused.forward(needs, *on_device, **device_options)
            wanted, found = ([y] if type(y) is not tuple else list(y) for y in (out, got))
            for a, b in zip(wanted, found, strict=True):
                assert isinstance(b, cupy.ndarray)
                np.testing.assert_allclose(b.get(), a, rtol=1e-12, atol=1e-12)
            if not any(needs):
                continue
            g = np.random.default_rng(0).standard_normal(wanted[0].shape)
            cotangents = fused.backward(g, needs, residual)
            there_g = cupy.asarray(g)
            with alone():
                results = fused.backward(there_g, needs, kept)
            for need, a, b in zip(needs, cotangents, results, strict=True):
                if need:
                    assert isinstance(b, cupy.ndarray)
                    np.testing.assert_allclose(b.get(), a, rtol=1e-10, atol=1e-12)
                else:
                    assert a is None
                    assert b is None
