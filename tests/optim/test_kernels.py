"""The rules in blocks: the same bits as the formulas, whatever the size and layout."""

import threading
from itertools import pairwise

import numpy as np
import pytest

from freezeviz import optim
from freezeviz.autodiff import _sets
from freezeviz.optim import _kernels

MAKERS = {
    "SGD": lambda: optim.SGD(0.1),
    "SGD, decay": lambda: optim.SGD(0.1, weight_decay=0.2),
    "momentum": lambda: optim.SGD(0.1, momentum=0.9),
    "momentum, decay": lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.2),
    "dampening": lambda: optim.SGD(0.1, momentum=0.9, dampening=0.3),
    "dampening, decay": lambda: optim.SGD(0.1, momentum=0.9, dampening=0.3, weight_decay=0.2),
    "nesterov": lambda: optim.SGD(0.1, momentum=0.9, nesterov=True),
    "nesterov, decay": lambda: optim.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.2),
    "Adam": lambda: optim.Adam(0.1),
    "Adam, corrected": lambda: optim.Adam(0.1, betas=(0.8, 0.95), bias_correction=True),
    "AdamW": lambda: optim.AdamW(0.1, weight_decay=0.3),
    "AdamW, corrected": lambda: optim.AdamW(0.1, weight_decay=0.3, bias_correction=True),
    "Adamax": lambda: optim.Adamax(0.1),
    "Adagrad": lambda: optim.Adagrad(0.1),
    "RMSprop": lambda: optim.RMSprop(0.01),
    "AdaDelta": lambda: optim.AdaDelta(0.7),
    "Lion": lambda: optim.Lion(0.01),
    "Lion, decay": lambda: optim.Lion(0.01, weight_decay=0.3),
}
every_rule = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
SHAPES = [(), (1,), (0,), (3, 0), (7, 5), (2, 3, 4), (1025,), (64, 33)]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """NumPy's kernels, with blocks of 128 numbers of 8 bytes: small arrays have several."""
    monkeypatch.setattr(_sets, "_in_force", frozenset({"numpy"}))
    monkeypatch.setattr(_kernels, "BLOCK", 1 << 10)
    monkeypatch.setattr(_kernels, "_of_thread", threading.local())


@pytest.fixture
def formulas(monkeypatch):
    """Return a function that computes with the formulas for other libraries' arrays."""

    def run(make, start, gradients):
        with monkeypatch.context() as patch:
            patch.setattr(_kernels, "takes", lambda *_: False)
            return singly(make(), start, gradients)

    return run


def singly(optimizer, parameter, gradients):
    """Return the values and states after each update, by the rule itself."""
    state, seen = {"step": 0}, []
    optimizer.init_single(parameter, state)
    for gradient in gradients:
        state["step"] += 1
        parameter = optimizer.apply_single(gradient, parameter, state)
        seen.append((np.asarray(parameter), dict(state)))
    return seen


def assert_same(got, expected):
    for (value, state), (right, states) in zip(got, expected, strict=True):
        assert (value.dtype, value.shape) == (right.dtype, right.shape)
        assert value.tobytes() == right.tobytes()
        assert state.keys() == states.keys()
        for name, array in states.items():
            assert np.asarray(state[name]).tobytes() == np.asarray(array).tobytes(), name


@every_rule
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_give_the_bits_of_the_formula(make, dtype, rng, formulas):
    for shape in SHAPES:
        start = np.asarray(rng.standard_normal(shape), dtype)
        gradients = np.asarray(rng.standard_normal((3, *shape)), dtype)
        assert_same(singly(make(), start, gradients), formulas(make, start, gradients))


@every_rule
def test_the_layout_of_memory_does_not_matter(make, rng, formulas):
    start, gradients = rng.standard_normal((30, 40)), rng.standard_normal((3, 30, 40))
    expected = formulas(make, start, gradients)
    assert_same(singly(make(), np.asfortranarray(start), gradients), expected)
    assert_same(singly(make(), start, [np.asfortranarray(g) for g in gradients]), expected)
    wide = np.zeros((60, 80))
    wide[::2, ::2] = start
    assert_same(singly(make(), wide[::2, ::2], gradients), expected)


def test_floating_point_trouble_is_handled_as_the_caller_does():
    optimizer, tree = optim.Adam(0.1), {"w": np.ones(4096, np.float32)}
    tree = optimizer.apply_gradients(tree, tree)
    kept = {name: np.array(value) for name, value in optimizer.state["w"].items()}
    gradient = np.ones(4096, np.float32)
    gradient[-1] = 1e30
    with pytest.raises(FloatingPointError, match="overflow"):
        optimizer.apply_gradients({"w": gradient}, tree)
    assert optimizer.step == 1
    for name, value in optimizer.state["w"].items():
        np.testing.assert_array_equal(value, kept[name])
    with np.errstate(over="ignore"):
        new = optimizer.apply_gradients({"w": gradient}, tree)
    assert np.isinf(optimizer.state["w"]["v"][-1])
    assert np.isfinite(new["w"]).all()


@pytest.mark.parametrize("size", [10, 100_000])
@every_rule
def test_arrays_are_values_at_every_size(make, size, rng):
    """Small ones are in rows, large ones alone; with states that somebody looks at, and without."""
    for look in (True, False):
        optimizer, kept = make(), []
        tree = {name: rng.standard_normal(size) for name in "ab"}
        for _ in range(4):
            gradients = {name: rng.standard_normal(size) for name in "ab"}
            kept += [(array, array.copy()) for array in (*tree.values(), *gradients.values())]
            before, tree = tree, optimizer.apply_gradients(gradients, tree)
            assert not any(np.shares_memory(tree[name], before[name]) for name in tree)
            if look:
                entries = optimizer.state.values()
                arrays = [a for e in entries for a in e.values() if isinstance(a, np.ndarray)]
                kept += [(array, array.copy()) for array in arrays]
        assert all(np.array_equal(array, copy) for array, copy in kept)


def test_new_memory_is_not_that_of_arrays_in_use(rng):
    tree = {"w": rng.standard_normal(200_000), "b": rng.standard_normal(10)}
    optimizer, seen = optim.Adam(0.1), [tree]
    for _ in range(6):
        tree = optimizer.apply_gradients({"w": tree["w"], "b": tree["b"]}, tree)
        seen.append(tree)
    for old, new in pairwise(seen):
        assert not np.array_equal(old["w"], new["w"])
    assert len({tree["w"].ctypes.data for tree in seen}) == len(seen)


# ---- rules of users ------------------------------------------------------------------------


class Halved(optim.Adam):
    """A user's rule on top of ours."""

    calls = 0

    def apply_single(self, gradient, parameter, state):
        self.calls += 1
        return super().apply_single(gradient / 2, parameter, state)


@pytest.mark.parametrize("size", [4, 3000, 50_000])
def test_a_subclass_with_its_own_rule_is_asked_for_every_parameter(size, rng):
    start = {name: rng.standard_normal(size) for name in "abc"}
    gradients = [{name: rng.standard_normal(size) for name in "abc"} for _ in range(3)]
    got, expected, optimizer, plain = start, start, Halved(0.1), optim.Adam(0.1)
    for gradient in gradients:
        got = optimizer.apply_gradients(gradient, got)
        halves = {name: g / 2 for name, g in gradient.items()}
        expected = plain.apply_gradients(halves, expected)
        for name in "abc":
            assert got[name].tobytes() == expected[name].tobytes()
    assert optimizer.calls == 9


def test_a_rule_that_skips_the_one_above_it_gets_what_it_asks_for(rng):
    class Skips(optim.AdamW):
        def apply_single(self, gradient, parameter, state):
            return optim.Adam.apply_single(self, gradient, parameter, state)

    start, gradient = {"w": rng.standard_normal(300)}, {"w": rng.standard_normal(300)}
    got = Skips(0.1, weight_decay=0.5).apply_gradients(gradient, start)
    expected = optim.Adam(0.1).apply_gradients(gradient, start)
    assert got["w"].tobytes() == expected["w"].tobytes()


def test_a_rule_put_on_the_instance_or_the_class_is_followed(monkeypatch):
    tree = {"a": np.ones(2), "b": np.ones(2)}
    optimizer = optim.SGD(0.1)
    optimizer.apply_single = lambda gradient, parameter, state: parameter * 7
    assert [v.tolist() for v in optimizer.apply_gradients(tree, tree).values()] == [[7, 7]] * 2
    monkeypatch.setattr(optim.SGD, "apply_single", lambda self, g, p, state: p * 5)
    assert optim.SGD(0.1).apply_gradients(tree, tree)["b"].tolist() == [5, 5]


def test_states_of_a_users_own_are_kept_as_they_are(rng):
    class Counted(optim.Adagrad):
        def init_single(self, parameter, state):
            state["v"] = np.ones(parameter.shape[-1:])  # broadcasts, in the formula
            state["born"] = "here"

    class Named(optim.Adagrad):
        def init_single(self, parameter, state):
            super().init_single(parameter, state)
            state["born"] = "here"

    start = {name: rng.standard_normal((3, 4)) for name in "ab"}
    for kind, first in ((Counted, 1), (Named, 0)):
        optimizer, tree = kind(0.1), start
        for _ in range(2):
            tree = optimizer.apply_gradients(start, tree)
        for name in "ab":
            assert optimizer.state[name]["born"] == "here"
            np.testing.assert_allclose(optimizer.state[name]["v"], first + 2 * start[name] ** 2)
