"""Small parameters side by side: nobody can tell, whatever happens to them between two updates."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeviz import nn, optim, tree_flatten
from freezeviz.backend import memory_key
from freezeviz.optim import _rows, _together

MAKERS = {
    "SGD": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "Adam": lambda: optim.Adam(0.1, bias_correction=True),
    "AdamW": lambda: optim.AdamW(0.1, weight_decay=0.5),
    "AdaDelta": lambda: optim.AdaDelta(0.5),
    "Lion": lambda: optim.Lion(0.01),
}
SHAPES = {"a": (3, 4), "b": (4,), "c": (), "d": (0, 3), "e": (5, 2), "f": (2,), "g": (100, 90)}


def raw(array):
    return str(array.dtype), array.shape, array.tobytes()


class Singly:
    """What rows are measured against: an optimizer for each path."""

    def __init__(self, make, values):
        self.make, self.values = make, {path: np.array(v) for path, v in values.items()}
        self.optimizers = {}

    def update(self, gradients):
        for path, gradient in gradients.items():
            one = self.optimizers.setdefault(path, self.make())
            self.values |= one.apply_gradients({path: gradient}, {path: self.values[path]})

    def state(self):
        return {path: one.state[path] for path, one in self.optimizers.items() if one.state}


ACTIONS = ["update", "update some", "reset", "look", "copy", "pickle", "new value", "write value"]
ACTIONS += ["write state", "put state", "step", "cast", "state from a copy", "init", "raise"]


# Without a look at the state, its entries are not made.
UNSEEN = ["update", "update", "update some", "reset", "copy", "pickle", "new value", "init"]


@settings(max_examples=300)
@given(st.sampled_from(sorted(MAKERS)), st.sampled_from([ACTIONS, UNSEEN]), st.data())
def test_rows_give_the_bits_of_single_updates_whatever_happens_in_between(name, actions, data):
    make, rng = MAKERS[name], np.random.default_rng(data.draw(st.integers(0, 9)))
    values = {path: np.asarray(rng.standard_normal(shape)) for path, shape in SHAPES.items()}
    optimizer, singly = make(), Singly(make, values)
    some = st.lists(st.sampled_from(sorted(SHAPES)), min_size=1, unique=True)

    def new(path):
        return np.asarray(rng.standard_normal(SHAPES[path]), values[path].dtype)

    for action in data.draw(st.lists(st.sampled_from(actions), min_size=1, max_size=12)):
        paths = data.draw(some)
        if action == "reset":
            optimizer.reset(paths)
            for path in paths:
                singly.optimizers.pop(path, None)
        elif action == "look":
            assert set(optimizer.state) == set(singly.state())
        elif action == "copy":
            optimizer, values = copy.deepcopy((optimizer, values))
        elif action == "pickle":
            optimizer = pickle.loads(pickle.dumps(optimizer))
        elif action == "new value":
            for path in paths:
                values[path] = new(path)
                singly.values[path] = values[path].copy()
        elif action == "write value":
            for path in paths:
                values[path][...] = singly.values[path][...] = new(path)
        elif action == "cast":
            for path in paths:
                values[path] = values[path].astype("f4" if values[path].itemsize == 8 else "f8")
                singly.values[path] = values[path].copy()
            optimizer.reset(paths)  # a state of another precision would be NumPy's affair
            for path in paths:
                singly.optimizers.pop(path, None)
        elif action == "init":
            optimizer.init({path: values[path] for path in paths})
            for path in paths:
                singly.optimizers[path] = make()
                singly.optimizers[path].init({path: values[path]})
        elif action == "state from a copy":
            other = make()
            other.state = copy.deepcopy(optimizer.state)
            optimizer = other
        elif action == "raise":
            bad = {path: new(path) for path in paths}
            bad[paths[0]][...] = np.finfo(values[paths[0]].dtype).max  # its square overflows
            try:
                before = copy.deepcopy(optimizer.state)
                optimizer.apply_gradients(bad, values)
            except FloatingPointError:
                assert repr(optimizer.state) == repr(before)
            else:
                optimizer.state = before
        elif action in ("write state", "put state", "step"):
            for path in set(paths) & set(optimizer.state):
                entries = optimizer.state[path], singly.optimizers[path].state[path]
                if action == "step":
                    for entry in entries:
                        entry["step"] += 3
                for key in [k for k, v in entries[0].items() if isinstance(v, np.ndarray)]:
                    array = np.abs(np.asarray(new(path), entries[0][key].dtype))
                    if action == "write state":
                        for entry in entries:
                            entry[key][...] = array
                    elif action == "put state":
                        entries[0][key], entries[1][key] = array, array.copy()
        else:
            wanted = sorted(SHAPES) if action == "update" else paths
            gradients = {path: new(path) for path in wanted}
            values |= optimizer.apply_gradients(gradients, values)
            singly.update(gradients)
        assert {p: raw(v) for p, v in values.items()} == {
            p: raw(v) for p, v in singly.values.items()
        }
    got, expected = optimizer.state, singly.state()
    assert repr({p: got[p] for p in sorted(got)}) == repr({p: expected[p] for p in sorted(got)})
    assert set(got) == set(expected)


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))


@pytest.fixture
def step(model, rng):
    x = rng.standard_normal((8, 3), dtype=np.float32)

    def take(optimizer):
        _, gradients = nn.value_and_grad(model, lambda: (model(x) ** 2).mean())()
        optimizer.update(model, gradients)

    return take


def test_nothing_is_gathered_but_gradients_as_long_as_the_same_arrays_come_back(
    model, step, monkeypatch
):
    made = []
    real = _together.gathered

    def gathered(kernel, step, paths, *rest):
        made.append(tuple(paths))
        return real(kernel, step, paths, *rest)

    monkeypatch.setattr(_together, "gathered", gathered)
    optimizer = optim.Adam(0.1)
    for _ in range(4):
        step(optimizer)
    assert made == [tuple(path for path, _ in model.named_parameters())]
    model.layers[0].freeze()
    for _ in range(3):
        step(optimizer)
    assert made[1:] == [tuple(path for path, _ in model.named_parameters() if path[7] != "0")]
    model.unfreeze()
    for _ in range(3):
        step(optimizer)
    # Those that had a rest have a step count of their own, and a row.
    assert made[2:] == [("layers.0.weight", "layers.0.bias")]


def test_parameters_that_take_turns_keep_their_rows(monkeypatch):
    made = []
    real = _together.gathered
    monkeypatch.setattr(_together, "gathered", lambda *args: [made.append(args[2]), real(*args)][1])
    optimizer, tree = optim.Adam(0.1), {name: np.ones(3) for name in "abcd"}
    for step in range(6):
        names = "ab" if step % 2 else "cd"
        tree |= optimizer.apply_gradients({name: np.ones(3) for name in names}, tree)
    assert made == [["c", "d"], ["a", "b"]]


def test_a_row_that_ends_leaves_the_others_as_they_are(rng):
    tree = {name: rng.standard_normal(3) for name in "abcd"}
    optimizer, singly = optim.Adam(0.1), Singly(lambda: optim.Adam(0.1), tree)
    for names, put in [("ab", ""), ("abcd", ""), ("abcd", ""), ("abcd", "a"), ("abcd", "")] * 2:
        for name in put:
            tree[name] = rng.standard_normal(3)
            singly.values[name] = tree[name].copy()
        gradients = {name: rng.standard_normal(3) for name in names}
        tree |= optimizer.apply_gradients(gradients, tree)
        singly.update(gradients)
        assert {n: raw(v) for n, v in tree.items()} == {n: raw(v) for n, v in singly.values.items()}
    steps = {name: entry["step"] for name, entry in optimizer.state.items()}
    assert steps == {"a": 10, "b": 10, "c": 8, "d": 8}


def test_a_rule_put_on_the_instance_in_mid_run_finds_the_states(rng):
    tree = {name: rng.standard_normal(3) for name in "ab"}
    optimizer, seen = optim.Adam(0.1), []
    for _ in range(3):
        tree = optimizer.apply_gradients(tree, tree)
    optimizer.apply_single = lambda gradient, parameter, state: [
        seen.append((state["step"], np.array(state["m"]))), parameter
    ][1]  # fmt: skip
    optimizer.apply_gradients(tree, tree)
    assert [step for step, _ in seen] == [4, 4]
    assert np.array_equal(seen[0][1], optimizer.state["a"]["m"])
    assert np.any(seen[0][1])


def test_large_parameters_have_memory_of_their_own():
    tree = {"a": np.ones(_rows.SMALL + 1), "b": np.ones(3), "c": np.ones(3)}
    new = optim.Adam(0.1).apply_gradients(tree, tree)
    assert new["b"].base is new["c"].base is not None
    assert new["a"].base is not new["b"].base


def test_a_state_that_somebody_holds_goes_along_with_the_optimizer(model, step):
    optimizer = optim.Adam(0.1)
    step(optimizer)
    state = optimizer.state
    entry, m = state["layers.0.bias"], state["layers.0.bias"]["m"]
    kept = m.copy()
    for count in (2, 3):
        step(optimizer)
        assert state is optimizer.state
        assert state["layers.0.bias"]["step"] == count
        assert not np.array_equal(state["layers.0.bias"]["m"], kept)
    # An entry, once made, stays what it was.
    assert entry["step"] == 1
    assert entry["m"] is m
    assert np.array_equal(m, kept)


def test_a_user_who_copies_the_attributes_of_an_optimizer_gets_its_state(model, step):
    class Mine(optim.Adam):
        def __getstate__(self):
            return dict(self.__dict__)

    optimizer = Mine(0.1)
    for _ in range(3):
        step(optimizer)
    twin = copy.deepcopy(optimizer)
    assert repr(twin.state) == repr(optimizer.state)
    assert twin.state["layers.0.bias"]["step"] == 3


def test_a_thawed_parameter_of_a_row_is_the_array_that_was_frozen(model, step):
    optimizer = optim.SGD(0.1)
    step(optimizer)
    layer = model.layers[0]
    before = layer.weight
    layer.freeze()
    assert not layer.weight.flags.writeable
    assert layer.weight.base is before
    model.layers[2].extra = layer.weight  # a tied slot, which gets the read-only view
    layer.unfreeze()
    assert layer.weight is before
    assert before.flags.writeable


def test_parameters_without_entries_are_not_taken_for_tied_ones():
    class Empty(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = np.zeros((0, 3)), np.zeros((0, 3))
            self.c, self.d = np.zeros(3), np.zeros(3)

        def __call__(self, x):
            return x

    model = Empty()
    optim.Adam(0.1).update(model, {name: np.zeros_like(getattr(model, name)) for name in "abcd"})
    assert [path for path, _ in model.named_parameters()] == list("abcd")


def test_tied_parameters_stay_tied_in_a_row(rng):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model.layers[1].weight = model.layers[0].weight
    optimizer, x = optim.Adam(0.1), rng.standard_normal((4, 3), dtype=np.float32)
    for _ in range(3):
        _, gradients = nn.value_and_grad(model, lambda: (model(x) ** 2).mean())()
        optimizer.update(model, gradients)
        assert memory_key(model.layers[0].weight) == memory_key(model.layers[1].weight)
    assert set(optimizer.state) == {"layers.0.weight", "layers.0.bias", "layers.1.bias"}


def test_rows_are_of_one_precision_and_half_precision_stays_alone():
    kinds = {"a": "f4", "b": "f8", "c": "f4", "d": "f8", "e": "f2", "f": "f2"}
    tree = {name: np.ones(3, kind) for name, kind in kinds.items()}
    optimizer = optim.Adam(0.1)
    for _ in range(2):
        tree = optimizer.apply_gradients(tree, tree)
    assert {name: value.dtype.str[1:] for name, value in tree.items()} == kinds
    assert {row.layout.paths for row in optimizer._rows} == {("a", "c"), ("b", "d")}
    assert optimizer.state["e"]["m"].dtype == np.float32


def test_a_gradient_of_another_precision_ends_the_row_for_that_step(rng):
    tree = {name: rng.standard_normal(3).astype("f4") for name in "abc"}
    start, one, many = tree, optim.Adam(0.1), {name: optim.Adam(0.1) for name in "abc"}
    expected = dict(start)
    for kind in ("f4", "f8", "f4"):
        gradients = {name: rng.standard_normal(3).astype(kind) for name in "abc"}
        gradients["a"] = gradients["a"].astype("f4")
        tree = one.apply_gradients(gradients, tree)
        for name in "abc":
            expected |= many[name].apply_gradients({name: gradients[name]}, expected)
            assert raw(tree[name]) == raw(expected[name])


def test_momentum_that_is_switched_on_in_mid_run_starts_from_the_states(rng):
    tree = {name: rng.standard_normal(3) for name in "ab"}
    start, optimizer, alone = dict(tree), optim.SGD(0.1), optim.SGD(0.1)
    single = {"a": start["a"]}
    for momentum in (0.0, 0.0, 0.9, 0.9, 0.0):
        optimizer.momentum = alone.momentum = momentum
        gradients = {name: rng.standard_normal(3) for name in "ab"}
        tree = optimizer.apply_gradients(gradients, tree)
        single = alone.apply_gradients({"a": gradients["a"]}, single)
        assert raw(tree["a"]) == raw(single["a"])
    assert raw(optimizer.state["a"]["v"]) == raw(alone.state["a"]["v"])


def test_what_a_failed_update_of_several_optimizers_began_is_taken_back(rng):
    class Fragile(optim.SGD):
        broken = False

        def apply_single(self, gradient, parameter, state):
            if self.broken:
                raise RuntimeError("no")
            return super().apply_single(gradient, parameter, state)

    first, last = optim.Adam(0.1), Fragile(0.1)
    several = optim.MultiOptimizer([first, last], [lambda path, value: path != "z"])
    tree = {name: rng.standard_normal(3) for name in "abz"}
    twin = optim.Adam(0.1)
    expected = {name: tree[name] for name in "ab"}
    for step in range(5):
        gradients = {name: rng.standard_normal(3) for name in "abz"}
        last.broken = step in (1, 3)
        if last.broken:
            with pytest.raises(RuntimeError, match="no"):
                several.apply_gradients(gradients, tree)
            continue
        tree = several.apply_gradients(gradients, tree)
        expected = twin.apply_gradients({name: gradients[name] for name in "ab"}, expected)
        assert {name: raw(tree[name]) for name in "ab"} == {n: raw(v) for n, v in expected.items()}
    assert repr(first.state) == repr(twin.state)
    assert first.step == 3


def test_many_small_parameters_are_updated_in_rows_of_a_bounded_number(monkeypatch, rng):
    monkeypatch.setattr(_together, "_MOST", 4)
    tree = {f"p{i}": rng.standard_normal(3) for i in range(9)}
    optimizer = optim.Adam(0.1)
    new = optimizer.apply_gradients(tree, tree)
    assert [len(row.layout.paths) for row in optimizer._rows] == [4, 4]
    for name, value in tree.items():
        expected = optim.Adam(0.1).apply_gradients({name: value}, {name: value})
        assert raw(new[name]) == raw(expected[name])


def test_a_tree_that_is_one_array_and_names_of_any_kind_work():
    assert optim.SGD(0.5).apply_gradients(np.ones(2), np.ones(2)).tolist() == [0.5, 0.5]
    names = ["", "0", "weight", "a b", "ü", "f0"]
    tree = {name: np.full(2, i + 1.0) for i, name in enumerate(names)}
    new = optim.SGD(0.5).apply_gradients(tree, tree)
    assert [v.tolist() for _, v in tree_flatten(new)] == [[(i + 1) / 2] * 2 for i in range(6)]
