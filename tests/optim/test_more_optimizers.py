"""Adagrad, RMSprop, AdaDelta, Adamax, Lion, Adafactor and MultiOptimizer.

Their arithmetic against recorded runs of MLX and against PyTorch, and what they do with models
whose parameters are frozen and unfrozen.
"""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from freezeviz import nn, optim, tree_flatten
from freezeviz.errors import ParameterKeyError, ShapeError

RECORDED = json.loads((Path(__file__).parent / "mlx_more_trajectories.json").read_text())


def of_bias(path, value):
    return path.endswith("bias")


def multi():
    return optim.MultiOptimizer([optim.SGD(0.1, momentum=0.9), optim.Adam(0.1)], [of_bias])


ALL = {
    "Adagrad": lambda: optim.Adagrad(0.1),
    "RMSprop": lambda: optim.RMSprop(0.01),
    "AdaDelta": lambda: optim.AdaDelta(1.0),
    "Adamax": lambda: optim.Adamax(0.1),
    "Lion": lambda: optim.Lion(0.01, weight_decay=0.1),
    "Adafactor": lambda: optim.Adafactor(),
    "Adafactor with momentum": lambda: optim.Adafactor(0.1, beta_1=0.9, relative_step=False),
    "MultiOptimizer": multi,
}
every_optimizer = pytest.mark.parametrize("make", ALL.values(), ids=ALL)


def run(optimizer, tree, gradients):
    """Return the parameters after each update."""
    seen = []
    for gradient in gradients:
        tree = optimizer.apply_gradients(gradient, tree)
        seen.append(tree)
    return seen


# ---- arithmetic ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", RECORDED["cases"], ids=lambda c: f"{c['optimizer']}-{c['arguments']}"
)
def test_the_updates_are_those_that_mlx_makes(case):
    arguments = dict(case["arguments"])
    if arguments.get("learning_rate") == "schedule":
        arguments["learning_rate"] = lambda step: RECORDED["schedule"][step]
    start = {k: np.array(v, np.float32) for k, v in RECORDED["start"].items()}
    gradients = [
        {k: np.array(v[t], np.float32) for k, v in RECORDED["gradients"].items()} for t in range(6)
    ]
    seen = run(getattr(optim, case["optimizer"])(**arguments), start, gradients)
    for name, expected in case["trajectory"].items():
        got = np.array([tree[name] for tree in seen])
        np.testing.assert_allclose(got, np.array(expected), rtol=1e-6, atol=1e-6)


# PyTorch's Adamax corrects the bias of the mean: here by a schedule.
TORCH = {
    "adagrad": (
        lambda: optim.Adagrad(0.1, eps=1e-5),
        lambda t, p: t.optim.Adagrad(p, lr=0.1, eps=1e-5),
    ),
    "rmsprop": (
        lambda: optim.RMSprop(0.01, alpha=0.9, eps=1e-5),
        lambda t, p: t.optim.RMSprop(p, lr=0.01, alpha=0.9, eps=1e-5),
    ),
    "adadelta": (
        lambda: optim.AdaDelta(0.7, rho=0.8),
        lambda t, p: t.optim.Adadelta(p, lr=0.7, rho=0.8),
    ),
    "adamax": (
        lambda: optim.Adamax(lambda step: 0.1 / (1 - 0.9 ** (step + 1)), eps=1e-30),
        lambda t, p: t.optim.Adamax(p, lr=0.1, eps=1e-30),
    ),
    "adafactor": (
        lambda: optim.Adafactor(),
        lambda t, p: t.optim.Adafactor(p, lr=1e-2, eps=(1e-15, 1e-3)),
    ),
    "adafactor options": (
        lambda: optim.Adafactor(clip_threshold=1.1, decay_rate=-0.5, eps=(1e-30, 0.2)),
        lambda t, p: t.optim.Adafactor(p, lr=1e-2, eps=(1e-15, 0.2), d=1.1, beta2_decay=-0.5),
    ),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("shape", [(4, 5), (6,)], ids=str)
@pytest.mark.parametrize("name", TORCH)
def test_the_updates_are_those_that_pytorch_makes(name, shape, dtype, tolerance, rng):
    torch = pytest.importorskip("torch")
    start = rng.standard_normal(shape).astype(dtype)
    gradients = rng.standard_normal((20, *shape)).astype(dtype)
    ours, theirs = TORCH[name]
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = theirs(torch, [parameter])
    expected = []
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        expected.append(parameter.detach().numpy().copy())
    got = [tree["w"] for tree in run(ours(), {"w": start}, [{"w": g} for g in gradients])]
    np.testing.assert_allclose(got, np.array(expected), rtol=tolerance, atol=tolerance)


def test_lion_by_hand():
    optimizer = optim.Lion(0.1, betas=(0.5, 0.25), weight_decay=0.5)
    trees = run(
        optimizer, {"w": np.array([1.0])}, [{"w": np.array([2.0])}, {"w": np.array([-1.0])}]
    )
    # c = 1, m = 1.5; then c = 0.5 * 1.5 - 0.5 * 1 = 0.25: still upwards.
    np.testing.assert_allclose(trees[0]["w"], [1.0 * 0.95 - 0.1])
    np.testing.assert_allclose(trees[1]["w"], [0.85 * 0.95 - 0.1])
    np.testing.assert_allclose(optimizer.state["w"]["m"], [0.25 * 1.5 + 0.75 * -1.0])


def test_adafactor_keeps_rows_and_columns_and_no_matrix():
    optimizer = optim.Adafactor()
    run(optimizer, {"w": np.ones((3, 4))}, [{"w": np.ones((3, 4))}])
    shapes = {k: v.shape for k, v in optimizer.state["w"].items() if hasattr(v, "shape")}
    assert shapes == {"exp_avg_sq_row": (3,), "exp_avg_sq_col": (4,)}


@every_optimizer
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_parameter_keeps_its_dtype_and_shape(make, dtype, rng):
    for shape in [(), (3,), (0, 2), (2, 3), (2, 1, 3), (2, 0)]:
        start = np.asarray(rng.standard_normal(shape), dtype)
        gradient = {"w": np.ones(shape, dtype)}
        for tree in run(make(), {"w": start}, [gradient, gradient]):
            assert isinstance(tree["w"], np.ndarray)
            assert (tree["w"].dtype, tree["w"].shape) == (start.dtype, shape)


@every_optimizer
def test_a_gradient_of_zero_stays_harmless_in_every_precision(make):
    for dtype in ("float16", "float32", "float64"):
        start = {"w": np.ones((2, 3), dtype)}
        seen = run(make(), start, [{"w": np.zeros((2, 3), dtype)}] * 3)
        assert all(np.isfinite(tree["w"]).all() for tree in seen)


@every_optimizer
def test_nothing_that_goes_in_is_written_into(make, rng):
    start, gradients = rng.standard_normal((2, 3)), rng.standard_normal((3, 2, 3))
    start.flags.writeable = gradients.flags.writeable = False
    optimizer, tree, kept = make(), {"w": start}, []
    for gradient in gradients:
        tree = optimizer.apply_gradients({"w": gradient}, tree)
        for _, array in [*tree_flatten(tree), *tree_flatten(optimizer.state)]:
            if isinstance(array, np.ndarray):
                kept.append((array, array.copy()))
    assert len(kept) > 5
    assert all(np.array_equal(array, before) for array, before in kept)
    assert not np.shares_memory(tree["w"], start)


@every_optimizer
def test_cupy_arrays_give_the_numbers_of_numpy_arrays(make, rng, cupy):
    start = rng.standard_normal((4, 5)).astype(np.float32)
    gradients = rng.standard_normal((5, 4, 5)).astype(np.float32)
    expected = run(make(), {"w": start}, [{"w": g} for g in gradients])
    got = run(make(), {"w": cupy.asarray(start)}, [{"w": cupy.asarray(g)} for g in gradients])
    for a, b in zip(got, expected, strict=True):
        assert isinstance(a["w"], cupy.ndarray)
        np.testing.assert_allclose(a["w"].get(), b["w"], rtol=1e-5, atol=1e-6)


# ---- models, freezing and unfreezing ------------------------------------------------------


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@pytest.fixture
def step(model, rng):
    x, y = rng.standard_normal((8, 3), dtype=np.float32), rng.integers(0, 2, 8)

    def take(optimizer, net=model):
        loss, gradients = nn.value_and_grad(
            net, lambda: nn.losses.cross_entropy(net(x), y, reduction="mean")
        )()
        optimizer.update(net, gradients)
        return loss

    return take


def entries(optimizer):
    """Return state by path, of one optimizer or of several."""
    if isinstance(optimizer, optim.MultiOptimizer):
        return {k: v for one in optimizer.optimizers for k, v in entries(one).items()}
    return optimizer.state


def values(model):
    return {path: np.array(value) for path, value in model.named_parameters()}


def moved(before, model):
    return {p for p, value in model.named_parameters() if value.tobytes() != before[p].tobytes()}


@every_optimizer
def test_frozen_parameters_do_not_move_and_have_no_state(model, step, make):
    model.layers[0].freeze()
    before, optimizer = values(model), make()
    for _ in range(3):
        step(optimizer)
    assert moved(before, model) == {"layers.2.weight", "layers.2.bias"}
    assert set(entries(optimizer)) == {"layers.2.weight", "layers.2.bias"}


@every_optimizer
def test_what_is_unfrozen_late_moves_as_with_a_fresh_optimizer(model, step, make):
    model.layers[0].freeze()
    optimizer = make()
    step(optimizer)
    model.unfreeze()
    twin = copy.deepcopy(model)
    step(optimizer)
    step(make(), twin)
    for name in ("weight", "bias"):
        got, expected = (getattr(net.layers[0], name) for net in (model, twin))
        assert got.tobytes() == expected.tobytes()
    assert entries(optimizer)["layers.0.weight"]["step"] == 1
    assert entries(optimizer)["layers.2.weight"]["step"] == 2


@every_optimizer
def test_state_is_kept_across_a_freeze_and_taken_up_again(model, step, make):
    optimizer = make()
    step(optimizer)
    model.layers[0].freeze()
    kept = dict(entries(optimizer)["layers.0.weight"])
    step(optimizer)
    step(optimizer)
    assert all(entries(optimizer)["layers.0.weight"][name] is value for name, value in kept.items())
    model.unfreeze()
    step(optimizer)
    assert entries(optimizer)["layers.0.weight"]["step"] == 2
    assert entries(optimizer)["layers.2.weight"]["step"] == 4


@every_optimizer
def test_reset_starts_a_path_anew(model, step, make):
    optimizer = make()
    step(optimizer)
    optimizer.reset("layers.0.weight")
    assert "layers.0.weight" not in entries(optimizer)
    step(optimizer)
    assert entries(optimizer)["layers.0.weight"]["step"] == 1
    assert entries(optimizer)["layers.0.bias"]["step"] == 2
    optimizer.reset()
    assert entries(optimizer) == {}


@every_optimizer
def test_training_lowers_the_loss(model, step, make):
    optimizer = make()
    losses = [step(optimizer) for _ in range(30)]
    assert losses[-1] < losses[0]


@every_optimizer
def test_nothing_trainable_counts_as_an_update(model, make):
    optimizer = make()
    optimizer.update(model.freeze(), {})
    assert (optimizer.step, entries(optimizer)) == (1, {})


@every_optimizer
def test_an_update_that_fails_changes_neither_model_nor_optimizer(model, step, make):
    optimizer = make()
    step(optimizer)
    before, kept, count = values(model), copy.deepcopy(entries(optimizer)), optimizer.step
    bad = {"layers": [{}, {}, {"bias": np.ones(7, np.float32), "weight": np.ones((2, 4), "f")}]}
    with pytest.raises(ShapeError, match=r"'layers.2.bias' has shape \(7,\), the parameter \(2,\)"):
        optimizer.update(model, bad)
    assert moved(before, model) == set()
    assert optimizer.step == count
    for (path, a), (_, b) in zip(tree_flatten(entries(optimizer)), tree_flatten(kept), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)


@every_optimizer
def test_a_gradient_without_parameter_is_named(model, make):
    with pytest.raises(ParameterKeyError, match=r"layers\.0\.wieght"):
        make().update(model, {"layers": [{"wieght": np.ones((4, 3))}]})


@every_optimizer
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_goes_on_as_the_original_does(make, copied):
    one, tree, gradient = make(), {"w": np.ones((2, 3))}, {"w": np.arange(6.0).reshape(2, 3)}
    tree = one.apply_gradients(gradient, tree)
    two = copied(one)
    a, b = one.apply_gradients(gradient, tree), two.apply_gradients(gradient, tree)
    assert a["w"].tobytes() == b["w"].tobytes()
    two.apply_gradients(gradient, b)
    assert (one.step, two.step) == (2, 3)


@every_optimizer
def test_state_put_into_another_optimizer_goes_on_there(make):
    one, tree, gradient = make(), {"w": np.ones((2, 3))}, {"w": np.arange(6.0).reshape(2, 3)}
    tree = one.apply_gradients(gradient, tree)
    two = make()
    two.state = copy.deepcopy(one.state)
    a, b = one.apply_gradients(gradient, tree), two.apply_gradients(gradient, tree)
    assert a["w"].tobytes() == b["w"].tobytes()


# ---- arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.Adagrad(-1), "learning_rate"),
        (lambda: optim.Adagrad(0.1, eps=0), "eps must be above zero"),
        (lambda: optim.RMSprop(0.1, alpha=-0.1), "alpha"),
        (lambda: optim.RMSprop(0.1, eps=-1), "eps"),
        (lambda: optim.AdaDelta(0.1, rho=-1), "rho"),
        (lambda: optim.AdaDelta(0.1, eps=0), "eps"),
        (lambda: optim.Adamax(0.1, betas=(0.9, 1.0)), r"betas\[1\]"),
        (lambda: optim.Adamax(0.1, eps=0), "eps"),
        (lambda: optim.Lion(0.1, betas=(1.0, 0.9)), r"betas\[0\]"),
        (lambda: optim.Lion(0.1, betas=(0.9,)), "betas are two numbers"),
        (lambda: optim.Lion(0.1, weight_decay=-1), "weight_decay"),
        (lambda: optim.Adafactor(relative_step=False), "needs a learning_rate"),
        (lambda: optim.Adafactor(eps=(1e-30,)), "eps are two numbers"),
        (lambda: optim.Adafactor(eps=(0, 1e-3)), r"eps\[0\]"),
        (lambda: optim.Adafactor(clip_threshold=0), "clip_threshold"),
        (lambda: optim.Adafactor(decay_rate=0.8), "decay_rate"),
        (lambda: optim.Adafactor(beta_1=1.0), "beta_1"),
        (lambda: optim.MultiOptimizer([]), "got 0 optimizers and 0 filters"),
        (lambda: optim.MultiOptimizer([optim.SGD(0.1)], [of_bias]), "1 optimizers and 1 filters"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_repr_shows_the_arguments():
    assert repr(optim.Adagrad(0.1)) == "Adagrad(learning_rate=0.1, eps=1e-08)"
    assert repr(optim.RMSprop(0.1)) == "RMSprop(learning_rate=0.1, alpha=0.99, eps=1e-08)"
    assert repr(optim.AdaDelta(0.1)) == "AdaDelta(learning_rate=0.1, rho=0.9, eps=1e-06)"
    assert repr(optim.Adamax(0.1)) == "Adamax(learning_rate=0.1, betas=(0.9, 0.999), eps=1e-08)"
    assert repr(optim.Lion(0.1)) == "Lion(learning_rate=0.1, betas=(0.9, 0.99), weight_decay=0.0)"
    assert repr(optim.Adafactor()) == (
        "Adafactor(eps=(1e-30, 0.001), clip_threshold=1.0, decay_rate=-0.8, beta_1=None, "
        "weight_decay=0.0, scale_parameter=True, relative_step=True, warmup_init=False)"
    )
    assert repr(optim.MultiOptimizer([optim.Adagrad(0.1)])) == (
        "MultiOptimizer([Adagrad(learning_rate=0.1, eps=1e-08)])"
    )


def test_adafactor_says_its_relative_step_and_refuses_another():
    optimizer, tree = optim.Adafactor(), {"w": np.ones((2, 2))}
    assert optimizer.learning_rate == 1e-2
    optimizer.step = 40_000
    assert optimizer.learning_rate == pytest.approx(1 / 200)
    with pytest.raises(ValueError, match="relative_step=False"):
        optimizer.learning_rate = 0.1
    optimizer = optim.Adafactor(0.1, relative_step=False)
    optimizer.learning_rate = lambda step: 0.5 / (step + 1)
    run(optimizer, tree, [tree, tree])
    assert optimizer.learning_rate == 0.25


# ---- several optimizers -------------------------------------------------------------------


def test_each_parameter_moves_as_with_its_own_optimizer(rng):
    start = {"a": {"weight": np.ones((2, 2)), "bias": np.ones(2)}, "b": {"bias": np.ones(2)}}
    gradients = [
        {"a": {"weight": g, "bias": g[0]}, "b": {"bias": g[1]}}
        for g in rng.standard_normal((4, 2, 2))
    ]
    got = run(multi(), start, gradients)
    sgd = run(optim.SGD(0.1, momentum=0.9), start, gradients)
    adam = run(optim.Adam(0.1), start, gradients)
    for tree, biases, weights in zip(got, sgd, adam, strict=True):
        assert tree["a"]["weight"].tobytes() == weights["a"]["weight"].tobytes()
        for layer in "ab":
            assert tree[layer]["bias"].tobytes() == biases[layer]["bias"].tobytes()


def test_filters_see_path_and_parameter_and_the_first_that_wants_it_gets_it():
    seen = []

    def vectors(path, value):
        seen.append((path, value.tolist()))
        return value.ndim == 1

    optimizer = optim.MultiOptimizer(
        [optim.SGD(1.0), optim.SGD(10.0), optim.SGD(100.0)], [vectors, lambda path, value: True]
    )
    tree = {"v": np.zeros(2), "m": np.zeros((1, 1))}
    new = optimizer.apply_gradients({"v": np.ones(2), "m": np.ones((1, 1))}, tree)
    assert seen == [("v", [0.0, 0.0]), ("m", [[0.0]])]
    assert (new["v"].tolist(), new["m"].tolist()) == ([-1, -1], [[-10]])


def test_the_learning_rate_of_all_is_set_at_once_and_schedules_go_on_without_parameters():
    optimizer = optim.MultiOptimizer(
        [optim.SGD(lambda step: 1.0 / (step + 1)), optim.SGD(0.5)], [of_bias]
    )
    run(optimizer, {"weight": np.ones(1)}, [{"weight": np.ones(1)}] * 3)
    assert [one.step for one in optimizer.optimizers] == [3, 3]
    assert optimizer.learning_rate == pytest.approx(1 / 3)
    optimizer.learning_rate = 0.25
    assert [one.learning_rate for one in optimizer.optimizers] == [0.25, 0.25]


def test_the_state_is_that_of_each_optimizer():
    optimizer = multi()
    tree = {"weight": np.ones(1), "bias": np.ones(1)}
    optimizer.init(tree)
    assert [list(state) for state in optimizer.state["states"]] == [["bias"], ["weight"]]
    with pytest.raises(ValueError, match="one of each of its 2 optimizers, got 1"):
        optimizer.state = {"states": [{}]}


class Fragile(optim.SGD):
    def apply_single(self, gradient, parameter, state):
        raise RuntimeError("no")


def test_one_optimizer_that_raises_takes_back_what_the_others_did():
    first = optim.Adam(lambda step: 0.1 * (step + 1))
    inner = optim.MultiOptimizer([first])
    optimizer = optim.MultiOptimizer([inner, Fragile(0.1)], [of_bias])
    tree = {"bias": np.ones(1), "weight": np.ones(1)}
    optimizer.apply_gradients({"bias": np.ones(1)}, tree)
    kept = copy.deepcopy(first.state)
    with pytest.raises(RuntimeError, match="no"):
        optimizer.apply_gradients(tree, tree)
    assert [one.step for one in (optimizer, inner, first, optimizer.optimizers[1])] == [1, 1, 1, 1]
    assert first.state == kept
    assert first.learning_rate == pytest.approx(0.1)


def test_optimizers_of_optimizers_work():
    inner = optim.MultiOptimizer([optim.SGD(1.0), optim.SGD(10.0)], [of_bias])
    optimizer = optim.MultiOptimizer([optim.SGD(100.0), inner], [lambda path, v: path[0] == "x"])
    tree = {name: np.zeros(1) for name in ("x", "bias", "weight")}
    new = optimizer.apply_gradients({name: np.ones(1) for name in tree}, tree)
    assert {name: value.item() for name, value in new.items()} == {
        "x": -100, "bias": -1, "weight": -10,
    }  # fmt: skip
