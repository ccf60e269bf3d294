"""Learning-rate schedules, and clipping of gradients."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from freezeviz import nn, optim, tree_flatten

RECORDED = json.loads((Path(__file__).parent / "mlx_more_trajectories.json").read_text())


def made(name, arguments):
    if name == "join_schedules":
        parts, boundaries = arguments
        return optim.join_schedules([made(*part) for part in parts], boundaries)
    return getattr(optim, name)(*arguments)


@pytest.mark.parametrize(
    "case", RECORDED["schedules"], ids=lambda c: f"{c['schedule']}-{c['arguments']}"
)
def test_the_values_are_those_of_mlx(case):
    schedule = made(case["schedule"], case["arguments"])
    got = [schedule(step) for step in range(12)]
    # MLX computes in float32.
    np.testing.assert_allclose(got, case["values"], rtol=1e-6, atol=1e-8)
    assert all(type(value) is float for value in got)


@pytest.mark.parametrize("case", RECORDED["schedules"], ids=lambda c: c["schedule"])
def test_a_schedule_has_no_memory_and_can_be_copied(case):
    schedule = made(case["schedule"], case["arguments"])
    expected = [schedule(step) for step in range(12)]
    for copied in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule)), schedule):
        assert [copied(step) for step in reversed(range(12))] == expected[::-1]


def test_the_ends_are_exact():
    assert optim.linear_schedule(0.3, 0.1, 7)(7) == optim.linear_schedule(0.3, 0.1, 7)(100) == 0.1
    assert optim.cosine_decay(0.3, 7, 0.1)(7) == optim.cosine_decay(0.3, 7, 0.1)(100) == 0.1
    assert optim.cosine_decay(0.3, 7)(0) == optim.linear_schedule(0.3, 0.1, 7)(0) == 0.3


def test_an_optimizer_follows_its_schedule_whatever_is_frozen():
    optimizer = optim.SGD(optim.step_decay(1.0, 0.5, 2))
    tree, gradient = {"w": np.zeros(1)}, {"w": np.ones(1)}
    for updates, rate in [({}, 1.0), (gradient, 1.0), ({}, 0.5), (gradient, 0.5), (gradient, 0.25)]:
        tree |= optimizer.apply_gradients(updates, tree)
        assert optimizer.learning_rate == rate
    assert tree["w"].item() == -(1.0 + 0.5 + 0.25)


def test_a_warmup_may_start_at_zero():
    warm = optim.join_schedules(
        [optim.linear_schedule(0.0, 0.1, 10), optim.cosine_decay(0.1, 200)], [10]
    )
    optimizer, tree = optim.Adam(warm), {"w": np.ones(2)}
    assert optimizer.apply_gradients({"w": np.ones(2)}, tree)["w"].tolist() == [1.0, 1.0]
    assert optimizer.apply_gradients({"w": np.ones(2)}, tree)["w"][0] < 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.step_decay(0.1, 0.5, 0), "step_size is at least 1, got 0"),
        (lambda: optim.cosine_decay(0.1, 0), "decay_steps is at least 1, got 0"),
        (lambda: optim.linear_schedule(0.0, 0.1, -1), "steps is at least 1, got -1"),
        (lambda: optim.join_schedules([], []), "got 0 schedules and 0 boundaries"),
        (lambda: optim.join_schedules([abs, abs], []), "2 schedules and 0 boundaries"),
        (lambda: optim.join_schedules([abs, abs, abs], [5, 2]), r"in order, got \[5, 2\]"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- clipping -----------------------------------------------------------------------------


def norm(tree):
    return np.sqrt(sum(float((np.asarray(g, float) ** 2).sum()) for _, g in tree_flatten(tree)))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("max_norm", [0.5, 3.0, 1e3])
def test_clipping_is_that_of_pytorch(max_norm, dtype, tolerance, rng):
    torch = pytest.importorskip("torch")
    grads = {"a": [rng.standard_normal((3, 4)).astype(dtype)], "b": np.ones(2, dtype)}
    leaves = [torch.nn.Parameter(torch.zeros(g.shape)) for _, g in tree_flatten(grads)]
    for leaf, (_, g) in zip(leaves, tree_flatten(grads), strict=True):
        leaf.data, leaf.grad = torch.tensor(g), torch.tensor(g)
    expected = torch.nn.utils.clip_grad_norm_(leaves, max_norm)
    clipped, before = optim.clip_grad_norm(grads, max_norm)
    np.testing.assert_allclose(before, expected.numpy(), rtol=tolerance)
    for (_, g), leaf in zip(tree_flatten(clipped), leaves, strict=True):
        np.testing.assert_allclose(g, leaf.grad.numpy(), rtol=tolerance)
        assert g.dtype == dtype


def test_small_gradients_keep_their_values_and_nothing_is_written_into():
    grads = {"w": np.array([3.0, 4.0]), "frozen": {}}
    grads["w"].flags.writeable = False
    clipped, before = optim.clip_grad_norm(grads, 100.0)
    assert before == 5.0
    assert clipped["w"].tolist() == [3.0, 4.0]
    assert clipped["frozen"] == {}
    clipped, _ = optim.clip_grad_norm(grads, 0.0)
    assert clipped["w"].tolist() == [0.0, 0.0]


def test_half_precision_is_squared_in_single():
    grads = {"w": np.full(4, 300, np.float16), "s": np.array(1.0, np.float16)}
    clipped, before = optim.clip_grad_norm(grads, 1.0)
    np.testing.assert_allclose(before, np.sqrt(4 * 300**2 + 1), rtol=1e-6)
    assert clipped["w"].dtype == np.float16
    assert isinstance(clipped["s"], np.ndarray)
    np.testing.assert_allclose(norm(clipped), 1.0, rtol=1e-3)


def test_no_gradients_and_zero_gradients_have_a_norm_of_zero():
    assert optim.clip_grad_norm({}, 1.0) == ({}, 0.0)
    clipped, before = optim.clip_grad_norm({"w": np.zeros(3), "c": None}, 1.0)
    assert before == 0
    assert clipped["w"].tolist() == [0, 0, 0]
    assert clipped["c"] is None


def test_frozen_parameters_do_not_count(rng):
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)), rng.standard_normal((5, 3))

    def loss():
        return (model(x) ** 2).sum()

    _, whole = nn.value_and_grad(model, loss)()
    model.layers[0].freeze()
    _, part = nn.value_and_grad(model, loss)()
    _, before = optim.clip_grad_norm(part, 0.1)
    np.testing.assert_allclose(before, norm({"head": whole["layers"][1]}), rtol=1e-6)
    assert before < norm(whole)


@pytest.mark.parametrize("max_norm", [-1.0, float("nan")])
def test_a_norm_that_is_none_is_refused(max_norm):
    with pytest.raises(ValueError, match="max_norm"):
        optim.clip_grad_norm({"w": np.ones(1)}, max_norm)
