"""The optimizers' arithmetic: against recorded runs of MLX, against PyTorch, and in all dtypes."""

import json
from pathlib import Path

import numpy as np
import pytest

from freezeviz import optim

RECORDED = json.loads((Path(__file__).parent / "mlx_trajectories.json").read_text())


def run(optimizer, start, gradients):
    """Return the parameter after each update."""
    values, tree = [], {"w": start}
    for gradient in gradients:
        tree = optimizer.apply_gradients({"w": gradient}, tree)
        values.append(tree["w"])
    return values


@pytest.mark.parametrize(
    "case", RECORDED["cases"], ids=lambda c: f"{c['optimizer']}-{c['arguments']}"
)
def test_the_updates_are_those_that_mlx_makes(case):
    arguments = dict(case["arguments"])
    if arguments["learning_rate"] == "schedule":
        arguments["learning_rate"] = lambda step: RECORDED["schedule"][step]
    got = run(
        getattr(optim, case["optimizer"])(**arguments),
        np.array(RECORDED["start"], np.float32),
        np.array(RECORDED["gradients"], np.float32),
    )
    # Bias correction takes 1 - b2**t, which MLX computes in float32: 6e-5 of it are rounding.
    corrected = 5e-6 if arguments.get("bias_correction") else 5e-7
    np.testing.assert_allclose(got, np.array(case["trajectory"]), rtol=corrected, atol=corrected)


TORCH = {
    "sgd": (lambda: optim.SGD(0.1), lambda t, p: t.optim.SGD(p, lr=0.1)),
    "momentum": (
        lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.2),
        lambda t, p: t.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.2),
    ),
    "nesterov": (
        lambda: optim.SGD(0.1, momentum=0.8, nesterov=True),
        lambda t, p: t.optim.SGD(p, lr=0.1, momentum=0.8, nesterov=True),
    ),
    "adam": (
        lambda: optim.Adam(0.1, bias_correction=True),
        lambda t, p: t.optim.Adam(p, lr=0.1),
    ),
    "adam betas": (
        lambda: optim.Adam(0.1, betas=(0.5, 0.7), eps=1e-2, bias_correction=True),
        lambda t, p: t.optim.Adam(p, lr=0.1, betas=(0.5, 0.7), eps=1e-2),
    ),
    "adamw": (
        lambda: optim.AdamW(0.1, weight_decay=0.3, bias_correction=True),
        lambda t, p: t.optim.AdamW(p, lr=0.1, weight_decay=0.3),
    ),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("name", TORCH)
def test_the_updates_are_those_that_pytorch_makes(name, dtype, tolerance, rng):
    torch = pytest.importorskip("torch")
    start = rng.standard_normal((4, 5)).astype(dtype)
    gradients = rng.standard_normal((20, 4, 5)).astype(dtype)
    ours, theirs = TORCH[name]
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = theirs(torch, [parameter])
    expected = []
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        expected.append(parameter.detach().numpy().copy())
    got = run(ours(), start, gradients)
    np.testing.assert_allclose(got, np.array(expected), rtol=tolerance, atol=tolerance)


MAKERS = {
    "SGD": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "Adam": lambda: optim.Adam(0.1),
    "corrected": lambda: optim.Adam(0.1, bias_correction=True),
    "AdamW": lambda: optim.AdamW(0.1),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", MAKERS)
def test_a_parameter_keeps_its_dtype_and_shape(name, dtype, rng):
    for shape in [(), (3,), (0, 2), (2, 3)]:
        start = np.asarray(rng.standard_normal(shape), dtype)
        for value in run(MAKERS[name](), start, np.ones((2, *shape), dtype)):
            assert isinstance(value, np.ndarray)
            assert (value.dtype, value.shape) == (start.dtype, shape)


@pytest.mark.parametrize("name", MAKERS)
def test_a_gradient_of_another_precision_does_not_change_the_dtype(name):
    (value,) = run(MAKERS[name](), np.ones(3, np.float32), [np.ones(3)])
    assert value.dtype == np.float32


def test_a_vanishing_gradient_stays_harmless_in_float16():
    # Squared it is zero in float16, and eps=1e-8 is zero there too: 0 / 0 in MLX's formula.
    optimizer = optim.Adam(0.01)
    values = run(optimizer, np.ones(2, np.float16), np.full((5, 2), 1e-5, np.float16))
    assert np.isfinite(values).all()
    assert optimizer.state["w"]["v"].dtype == np.float32


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_that_goes_in_is_written_into(name, rng):
    start, gradients = rng.standard_normal(6), rng.standard_normal((3, 6))
    start.flags.writeable = gradients.flags.writeable = False
    optimizer = MAKERS[name]()
    kept = []
    tree = {"w": start}
    for gradient in gradients:
        tree = optimizer.apply_gradients({"w": gradient}, tree)
        for array in (tree["w"], *optimizer.state["w"].values()):
            if isinstance(array, np.ndarray):
                kept.append((array, array.copy()))
    assert all(np.array_equal(array, copy) for array, copy in kept)
    assert not np.shares_memory(tree["w"], start)


@pytest.mark.parametrize("name", MAKERS)
def test_cupy_arrays_give_the_numbers_of_numpy_arrays(name, rng, cupy):
    start = rng.standard_normal((4, 5)).astype(np.float32)
    gradients = rng.standard_normal((5, 4, 5)).astype(np.float32)
    expected = run(MAKERS[name](), start, gradients)
    got = run(MAKERS[name](), cupy.asarray(start), [cupy.asarray(g) for g in gradients])
    assert all(isinstance(value, cupy.ndarray) for value in got)
    np.testing.assert_allclose(
        [value.get() for value in got], np.array(expected), rtol=1e-5, atol=1e-6
    )
