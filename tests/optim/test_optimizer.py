"""What optimizers do with models: paths, freezing and unfreezing, state, errors."""

import copy
import pickle

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.errors import ParameterKeyError, ShapeError

ALL = {
    "SGD": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "Adam": lambda: optim.Adam(0.1, bias_correction=True),
    "AdamW": lambda: optim.AdamW(0.1, weight_decay=0.5),
}
every_optimizer = pytest.mark.parametrize("make", ALL.values(), ids=ALL)


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@pytest.fixture
def step(model, rng):
    x, y = rng.standard_normal((8, 3), dtype=np.float32), rng.integers(0, 2, 8)

    def take(optimizer):
        _, gradients = nn.value_and_grad(
            model, lambda: nn.losses.cross_entropy(model(x), y, reduction="mean")
        )()
        optimizer.update(model, gradients)

    return take


def values(model):
    return {path: np.array(value) for path, value in model.named_parameters()}


def moved(before, model):
    return {p for p, value in model.named_parameters() if value.tobytes() != before[p].tobytes()}


# ---- models -------------------------------------------------------------------------------


@every_optimizer
def test_update_moves_what_is_trainable_and_nothing_else(model, step, make):
    model.layers[0].freeze()
    before, optimizer = values(model), make()
    for _ in range(3):
        step(optimizer)
    assert moved(before, model) == {"layers.2.weight", "layers.2.bias"}
    assert set(optimizer.state) == {"layers.2.weight", "layers.2.bias"}


@every_optimizer
def test_unfreezing_in_mid_training_works(model, step, make):
    model.layers[0].freeze()
    optimizer = make()
    step(optimizer)
    model.unfreeze()
    before = values(model)
    step(optimizer)
    assert moved(before, model) == set(before)
    assert optimizer.step == 2
    assert optimizer.state["layers.0.weight"]["step"] == 1
    assert optimizer.state["layers.2.weight"]["step"] == 2


@every_optimizer
def test_what_is_unfrozen_late_moves_as_with_a_fresh_optimizer(model, step, make):
    model.layers[0].freeze()
    optimizer = make()
    step(optimizer)
    model.unfreeze()
    twin = copy.deepcopy(model)
    x = np.ones((4, 3), np.float32)

    def one_update(net, opt):
        _, gradients = nn.value_and_grad(net, lambda: (net(x) ** 2).mean())()
        opt.update(net, gradients)
        return values(net)

    got, expected = one_update(model, optimizer), one_update(twin, make())
    assert got["layers.0.weight"].tobytes() == expected["layers.0.weight"].tobytes()
    assert got["layers.0.bias"].tobytes() == expected["layers.0.bias"].tobytes()


@every_optimizer
def test_state_is_kept_across_a_freeze_and_taken_up_again(model, step, make):
    optimizer = make()
    step(optimizer)
    model.layers[0].freeze()
    kept = dict(optimizer.state["layers.0.weight"])
    step(optimizer)
    step(optimizer)
    assert all(optimizer.state["layers.0.weight"][name] is value for name, value in kept.items())
    model.unfreeze()
    step(optimizer)
    assert optimizer.state["layers.0.weight"]["step"] == 2
    assert optimizer.state["layers.2.weight"]["step"] == 4


def test_reset_starts_a_path_anew(model, step):
    optimizer = optim.Adam(0.1)
    step(optimizer)
    optimizer.reset(["layers.0.weight"])
    assert "layers.0.weight" not in optimizer.state
    step(optimizer)
    assert optimizer.state["layers.0.weight"]["step"] == 1
    assert optimizer.state["layers.0.bias"]["step"] == 2
    optimizer.reset()
    assert optimizer.state == {}
    assert optimizer.step == 2


def test_freezing_between_gradient_and_update_wins(model, rng):
    x = rng.standard_normal((4, 3), dtype=np.float32)
    _, gradients = nn.value_and_grad(model, lambda: (model(x) ** 2).mean())()
    model.layers[0].freeze()
    before, optimizer = values(model), optim.SGD(0.1)
    optimizer.update(model, gradients)
    assert moved(before, model) == {"layers.2.weight", "layers.2.bias"}
    assert "layers.0.weight" not in optimizer.state


def test_an_array_of_another_shape_under_an_old_path_starts_anew(model, step):
    optimizer = optim.Adam(0.1)
    step(optimizer)
    step(optimizer)
    model.layers[2] = nn.Linear(4, 5)
    step(optimizer)
    assert optimizer.state["layers.2.weight"]["step"] == 1
    assert optimizer.state["layers.2.weight"]["m"].shape == (5, 4)
    assert optimizer.state["layers.0.weight"]["step"] == 3


def test_every_name_of_a_tied_array_gets_the_new_one(rng):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 3, bias=False)
            self.second = nn.Linear(3, 3, bias=False)
            self.second.weight = self.first.weight

        def __call__(self, x):
            return self.second(self.first(x))

    model, x = Tied(), rng.standard_normal((4, 3), dtype=np.float32)
    _, gradients = nn.value_and_grad(model, lambda: (model(x) ** 2).mean())()
    optim.SGD(0.1).update(model, gradients)
    assert model.first.weight is model.second.weight
    assert [path for path, _ in model.named_parameters()] == ["first.weight"]


def test_the_model_keeps_its_old_arrays_unchanged_for_whoever_holds_them(model, step):
    held = [value for _, value in model.named_parameters()]
    copies = [value.copy() for value in held]
    step(optim.AdamW(0.1))
    assert all(np.array_equal(a, b) for a, b in zip(held, copies, strict=True))


def test_nothing_to_update_counts_as_an_update(model):
    optimizer = optim.Adam(0.1)
    optimizer.update(model.freeze(), {})
    assert (optimizer.step, optimizer.state) == (1, {})


# ---- trees --------------------------------------------------------------------------------


def test_apply_gradients_returns_a_tree_like_the_gradients():
    parameters = {"a": [np.ones(2), np.ones(2)], "b": {"c": np.ones(2)}, "d": np.ones(2)}
    gradients = {"a": [np.ones(2), {}], "b": {"c": np.ones(2)}}
    new = optim.SGD(0.5).apply_gradients(gradients, parameters)
    assert fv.tree_map(lambda v: v.tolist(), new) == {"a": [[0.5, 0.5], {}], "b": {"c": [0.5, 0.5]}}
    assert parameters["a"][0].tolist() == [1, 1]


def test_apply_gradients_takes_a_model_for_its_parameters(model):
    gradients = fv.tree_map(np.ones_like, model.parameters())
    new = optim.SGD(1.0).apply_gradients(gradients, model)
    assert np.array_equal(new["layers"][0]["bias"], model.layers[0].bias - 1)


def test_init_makes_the_state_of_a_tree_and_starts_over_what_was_there(model, step):
    optimizer = optim.Adam(0.1)
    step(optimizer)
    optimizer.init(model.layers[0].parameters())
    optimizer.init(model.trainable_parameters())
    assert {entry["step"] for key, entry in optimizer.state.items() if "layers" in key} == {0}
    assert optimizer.state["weight"]["m"].shape == (4, 3)


def test_case_16_a_learning_rate_set_while_frozen_holds_after_thawing():
    optimizer = optim.SGD(0.1)
    parameters = {"x": np.array([1.0, 2.0]), "y": np.array([3.0, 4.0])}
    gradients = {"x": np.array([1.0, 10.0]), "y": np.array([100.0, 1000.0])}
    parameters |= optimizer.apply_gradients({"x": gradients["x"]}, parameters)
    np.testing.assert_allclose(parameters["x"], [0.9, 1.0])
    assert parameters["y"].tolist() == [3.0, 4.0]
    optimizer.learning_rate = 0.2
    parameters = optimizer.apply_gradients(gradients, parameters)
    np.testing.assert_allclose(parameters["x"], [0.7, -1.0])
    np.testing.assert_allclose(parameters["y"], [-17, -196])


def test_case_17_frozen_momentum_stays_zero():
    optimizer = optim.SGD(0.01, momentum=0.9)
    parameters = {"x": np.array([1.0]), "y": np.array([3.0])}
    optimizer.init(parameters)
    new = optimizer.apply_gradients({"y": np.array([100 * np.pi])}, parameters)
    np.testing.assert_allclose(new["y"], [-0.14159265], atol=1e-8)
    # Julia's rule keeps the learning rate within the momentum, MLX's (and ours) applies it after.
    np.testing.assert_allclose(0.01 * optimizer.state["y"]["v"], [3.14159265])
    assert optimizer.state["x"] == {"step": 0, "v": np.zeros(1)}


# ---- numbers ------------------------------------------------------------------------------


def test_a_schedule_is_asked_with_the_updates_done_so_far():
    asked = []

    def schedule(step):
        asked.append(step)
        return 1.0 / (step + 1)

    optimizer = optim.SGD(schedule)
    assert optimizer.learning_rate == 1.0
    w = {"w": np.zeros(1)}
    for _ in range(3):
        w = optimizer.apply_gradients({"w": np.ones(1)}, w)
    assert asked == [0, 0, 1, 2]
    np.testing.assert_allclose(w["w"], [-(1 + 1 / 2 + 1 / 3)])
    assert optimizer.learning_rate == pytest.approx(1 / 3)


def test_a_number_put_in_place_of_a_schedule_stays():
    optimizer = optim.SGD(lambda step: 0.1 * step)
    optimizer.learning_rate = 0.5
    new = optimizer.apply_gradients({"w": np.ones(1)}, {"w": np.zeros(1)})
    assert new["w"].tolist() == [-0.5]


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf"), "fast", None])
def test_a_learning_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="learning_rate"):
        optim.Adam(rate)
    optimizer = optim.SGD(0.1)
    with pytest.raises(ValueError, match="learning_rate"):
        optimizer.learning_rate = rate
    assert optimizer.learning_rate == 0.1


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: optim.SGD(0.1, momentum=-1), "momentum"),
        (lambda: optim.SGD(0.1, weight_decay=-1), "weight_decay"),
        (lambda: optim.SGD(0.1, nesterov=True), "nesterov"),
        (lambda: optim.SGD(0.1, momentum=0.9, dampening=0.1, nesterov=True), "nesterov"),
        (lambda: optim.Adam(0.1, betas=(0.9, 1.0)), r"betas\[1\]"),
        (lambda: optim.Adam(0.1, betas=(0.9,)), "betas"),
        (lambda: optim.Adam(0.1, eps=-1), "eps"),
        (lambda: optim.AdamW(0.1, weight_decay=float("nan")), "weight_decay"),
    ],
)
def test_options_out_of_range_are_refused(make, name):
    with pytest.raises(ValueError, match=name):
        make()


# ---- errors -------------------------------------------------------------------------------


def test_a_gradient_without_parameter_names_the_closest(model):
    with pytest.raises(ParameterKeyError, match=r"'wieght'.*Closest: 'layers\.\d\.weight'|wieght"):
        optim.SGD(0.1).update(model, {"layers": [{"wieght": np.ones((4, 3))}]})
    with pytest.raises(KeyError, match="Closest: 'weight'"):
        optim.SGD(0.1).apply_gradients({"wieght": np.ones(1)}, {"weight": np.ones(1)})


@every_optimizer
def test_an_update_that_fails_changes_neither_model_nor_optimizer(model, step, make):
    optimizer = make()
    step(optimizer)
    before, state = values(model), copy.deepcopy(optimizer.state)
    bad = fv.tree_map(np.ones_like, model.trainable_parameters())
    bad["layers"][2]["bias"] = np.ones(7, np.float32)
    with pytest.raises(ShapeError, match=r"'layers.2.bias' has shape \(7,\), the parameter \(2,\)"):
        optimizer.update(model, bad)
    assert moved(before, model) == set()
    assert optimizer.step == 1
    assert fv.tree_map(np.array_equal, optimizer.state, state) == fv.tree_map(lambda _: True, state)


def test_a_rule_that_raises_in_the_middle_leaves_the_optimizer_as_it_was():
    class Fragile(optim.SGD):
        broken = False

        def apply_single(self, gradient, parameter, state):
            if self.broken and parameter.size == 2:
                raise RuntimeError("no")
            return super().apply_single(gradient, parameter, state)

    optimizer = Fragile(lambda step: 0.1 * (step + 1), momentum=0.9)
    tree = {"a": np.ones(1), "b": np.ones(2)}
    optimizer.apply_gradients(tree, tree)
    before = copy.deepcopy(optimizer.state)
    optimizer.broken = True
    with pytest.raises(RuntimeError, match="no"):
        optimizer.apply_gradients(tree, tree)
    assert (optimizer.step, optimizer.learning_rate) == (1, 0.1)
    assert repr(optimizer.state) == repr(before)


def test_the_base_says_what_is_missing():
    class Empty(optim.Optimizer):
        def __init__(self):
            super().__init__()
            self._maybe_schedule("learning_rate", 0.1)

    with pytest.raises(NotImplementedError, match="Empty"):
        Empty().apply_gradients({"w": np.ones(1)}, {"w": np.ones(1)})


# ---- copies and display -------------------------------------------------------------------


@every_optimizer
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_goes_on_as_the_original_does(make, copied):
    one, tree, gradient = make(), {"w": np.ones(3)}, {"w": np.arange(3.0)}
    tree = one.apply_gradients(gradient, tree)
    two = copied(one)
    a, b = one.apply_gradients(gradient, tree), two.apply_gradients(gradient, tree)
    assert a["w"].tobytes() == b["w"].tobytes()
    two.apply_gradients(gradient, b)
    assert one.step == 2


def test_repr_shows_the_arguments():
    assert repr(optim.SGD(0.1, momentum=0.9)) == (
        "SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.0, dampening=0.0, nesterov=False)"
    )
    assert repr(optim.AdamW(lambda step: 0.1)) == (
        "AdamW(learning_rate=<schedule>, betas=(0.9, 0.999), eps=1e-08, bias_correction=False, "
        "weight_decay=0.01)"
    )
