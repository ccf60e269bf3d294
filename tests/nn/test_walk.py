"""A kept walk finds what a new one would, whatever is done to the model between two steps."""

import contextlib
import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeviz import nn, optim
from freezeviz.autodiff import grad
from freezeviz.errors import AutodiffError
from freezeviz.explicit import FrozenLayer
from freezeviz.nn import _members, _walk
from freezeviz.nn._members import Tree
from freezeviz.tree import tree_flatten


class Parts(nn.Module):
    """Has parts in every way that a module can have them."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.w = np.ones(3, np.float32)
        self.tied = self.first.weight
        self.listed = [np.zeros(2, np.float32), [nn.Linear(2, 2), {"deep": np.ones(1)}], 7]
        self.named = {"a": nn.BatchNorm(3), "b": np.ones(2)}
        self.counts = np.zeros(2, np.int64)
        self.shared = self.first
        self.register_buffer("mean", np.zeros(3))
        self._hidden = nn.Linear(1, 1)


def _array(data):
    return np.ones(data.draw(st.integers(0, 3)), data.draw(st.sampled_from(["f4", "f8", "i8"])))


def _part(data, model):
    """Return something that can be put somewhere, often something that is there already."""
    arrays = [entry.value for entry in Tree(model).parameters + Tree(model).buffers]
    makers = [
        lambda: _array(data),
        lambda: data.draw(st.sampled_from(arrays)) if arrays else _array(data),
        lambda: data.draw(st.sampled_from(arrays))[:] if arrays else _array(data),
        lambda: nn.Linear(1, 2),
        lambda: nn.BatchNorm(2),
        lambda: data.draw(st.sampled_from(model.modules()[1:] or [nn.ReLU()])),
        lambda: [np.ones(1, np.float32), nn.ReLU(), {}],
        lambda: {"x": np.ones(1), "y": [nn.Linear(1, 1)]},
        lambda: FrozenLayer(nn.Linear(1, 2)),
        lambda: None,
        lambda: 5,
    ]
    return data.draw(st.sampled_from(makers))()


def _module(data, model):
    return data.draw(st.sampled_from([m for m in model.modules() if type(m) is not FrozenLayer]))


def _containers(model):
    found = []

    def enter(value):
        if isinstance(value, dict | list):
            found.append(value)
            for part in value.values() if isinstance(value, dict) else value:
                enter(part)

    for module in model.modules():
        for value in module._members.values():
            enter(value)
    return found


def _assign(data, model):
    name = data.draw(st.sampled_from(["w", "tied", "listed", "named", "new", "weight", "mean"]))
    part = _part(data, model)
    if _leads_back(part, model):
        return
    with contextlib.suppress(TypeError, AttributeError):  # no place for such a thing
        setattr(_module(data, model), name, part)


def _leads_back(part, model):
    return isinstance(part, nn.Module) and any(m in model.modules() for m in part.modules())


def _delete(data, model):
    module = _module(data, model)
    if module._members:
        delattr(module, data.draw(st.sampled_from(sorted(module._members))))


def _mutate(data, model):
    containers = _containers(model)
    if not containers:
        return
    container = data.draw(st.sampled_from(containers))
    part = _part(data, model)
    if _leads_back(part, model):
        part = np.ones(2)
    if isinstance(container, dict):
        act = data.draw(st.sampled_from(["set", "pop", "rename", "clear", "order"]))
        keys = list(container)
        if act == "set":
            container[data.draw(st.sampled_from(["a", "b", "c"]))] = part
        elif keys and act == "pop":
            container.pop(data.draw(st.sampled_from(keys)))
        elif keys and act == "rename":
            container["z"] = container.pop(keys[-1])
        elif keys and act == "order":
            container[keys[0]] = container.pop(keys[0])
        elif act == "clear":
            container.clear()
        return
    act = data.draw(st.sampled_from(["append", "insert", "set", "pop", "reverse", "extend"]))
    if act == "append":
        container.append(part)
    elif act == "insert":
        container.insert(0, part)
    elif act == "extend":
        container.extend([nn.ReLU(), np.ones(1)])
    elif act == "reverse":
        container.reverse()
    elif container and act == "set":
        container[data.draw(st.integers(0, len(container) - 1))] = part
    elif container and act == "pop":
        container.pop(data.draw(st.integers(0, len(container) - 1)))


def _freeze(data, model):
    module = _module(data, model)
    data.draw(st.sampled_from([module.freeze, module.unfreeze]))(recurse=data.draw(st.booleans()))


def _freeze_one(data, model):
    entries = Tree(model).parameters
    if entries:
        slot = data.draw(st.sampled_from(data.draw(st.sampled_from(entries)).slots))
        act = data.draw(st.sampled_from([slot.owner.freeze, slot.owner.unfreeze]))
        act(keys=slot.name, recurse=False)


def _register(data, model):
    module = _module(data, model)
    names = [n for n, slot, _ in _members.own(module) if slot is not None and "." not in n]
    if names:
        name = data.draw(st.sampled_from(names))
        module.register_buffer(name, module._members[name])


def _new_values(data, model):
    model.apply(lambda array: array + 1)


def _train(data, model):
    """Make a step, with which the kept walk is not to lose its way."""
    walk = _walk.keeper(model).get()
    plan = walk.plan()
    values = [entry.value + 1 for entry in plan.entries]
    walk.put(plan.entries, values, apart=data.draw(st.booleans()))


def _copy(data, model):
    pickle.loads(pickle.dumps(model))
    copy.deepcopy(model)


ACTS = [
    _assign,
    _delete,
    _mutate,
    _mutate,
    _freeze,
    _freeze_one,
    _register,
    _new_values,
    _train,
    _train,
    _copy,
]


def _place(slot):
    return id(slot.owner), slot.name, id(slot.container), slot.key, id(slot.value)


def _said(tree):
    """Return all that a walk found, so that two can be compared."""
    kinds = {"parameters": tree.parameters, "buffers": tree.buffers}
    said = {
        kind: [
            (e.path, id(e.value), e.aliases, e.governed, e.frozen, [*map(_place, e.slots)])
            for e in entries
        ]
        for kind, entries in kinds.items()
    }
    modules = [(path, id(module)) for path, module in tree.modules]
    return said | {"modules": modules, "paths": tree.paths, "aliases": tree.module_aliases}


@settings(max_examples=300)
@given(st.data())
def test_a_kept_walk_says_what_a_new_one_says_after_any_change(data):
    model = Parts()
    keeper = _walk.keeper(model)
    for _ in range(data.draw(st.integers(1, 8))):
        keeper.get()
        for _ in range(data.draw(st.integers(1, 2))):
            data.draw(st.sampled_from(ACTS))(data, model)
        walk, new = keeper.get(), Tree(model)
        assert _said(walk.tree) == _said(new)
        assert _walk.walked(model) is walk
        plan = walk.plan()
        trainable = [entry for entry in new.parameters if not entry.frozen]
        assert plan.paths == [entry.path for entry in trainable]
        nested = plan.nest([entry.value for entry in trainable])
        expected = model.trainable_parameters() if trainable else {}
        assert repr(nested) == repr(expected)
        assert {p: id(a) for p, a in tree_flatten(nested) if isinstance(a, np.ndarray)} == {
            p: id(a) for p, a in tree_flatten(expected) if isinstance(a, np.ndarray)
        }
        flat = plan.flatten(nested)
        assert flat is not None
        assert [id(a) for a in flat] == [id(e.value) for e in trainable]


def test_a_walk_is_kept_from_step_to_step_and_is_another_one_after_a_change():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    fn = nn.value_and_grad(model, lambda x: model(x).sum())
    optimizer = optim.Adam(0.1)
    keeper = _walk.keeper(model)
    x = np.ones((4, 2), np.float32)

    def step():
        _, gradients = fn(x)
        optimizer.update(model, gradients)
        return keeper.walk

    walk = step()
    assert step() is walk
    assert step() is walk
    model.layers[0].freeze()
    other = step()
    assert other is not walk
    assert step() is other
    model.layers.append(nn.Linear(1, 1))
    assert step() is not other


def test_an_optimizer_that_a_user_wrote_may_tie_parameters():
    class Tying(optim.Optimizer):
        def __init__(self):
            super().__init__()
            self.zeros = np.zeros((2, 2), np.float32)

        def apply_single(self, gradient, parameter, state):
            return self.zeros

    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    fn = nn.value_and_grad(model, lambda x: model(x).sum())
    _, gradients = fn(np.ones((1, 2), np.float32))
    Tying().update(model, gradients)
    _, gradients = fn(np.ones((1, 2), np.float32))
    paths = [path for path, value in tree_flatten(gradients) if isinstance(value, np.ndarray)]
    assert paths == ["layers.0.weight"]


@pytest.mark.parametrize(
    "change",
    [
        lambda g: {"layers": [g["layers"][0]]},
        lambda g: {"layers": [*g["layers"], {}]},
        lambda g: {"layers": tuple(g["layers"])},
        lambda g: {"layers": [g["layers"][0], {}, {"weight": g["layers"][2]["weight"]}]},
        lambda g: {"layers": [g["layers"][0], None, g["layers"][2]]},
        lambda g: {"layers": [g["layers"][0], [], g["layers"][2]]},
        lambda g: {"layers": [g["layers"][0], np.ones(3), g["layers"][2]]},
        lambda g: {"layers": [{"weight": 1.0, "bias": 2.0}, {}, g["layers"][2]]},
        lambda g: {"layers": [{"weight": g["layers"], "w": None}, {}, g["layers"][2]]},
        lambda g: {"other": g["layers"]},
        lambda g: [g],
        lambda g: None,
    ],
)
def test_a_tree_that_is_nested_otherwise_is_not_taken_for_gradients(change):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    plan = _walk.walked(model).plan()
    gradients = model.trainable_parameters()
    assert plan.flatten(gradients) is not None
    assert plan.flatten(change(gradients)) is None


@pytest.mark.parametrize("apart", [True, False])
def test_a_traced_array_is_put_nowhere(apart):
    model = nn.Linear(2, 1)
    walk = _walk.keeper(model).get()

    def update(x):
        walk.put(walk.plan().entries, [x, x], apart)
        return x

    with pytest.raises(AutodiffError, match="traced array cannot be put"):
        grad(update)(np.float32(2.0))
    assert all(type(value) is np.ndarray for _, value in model.named_parameters())


def test_within_a_call_the_bound_values_are_walked_and_nothing_of_it_is_kept():
    model = nn.Linear(2, 1)
    keeper = _walk.keeper(model)
    kept = keeper.get()

    def loss():
        inner, gradients = nn.value_and_grad(model, lambda: (model.weight**2).sum())()
        assert keeper.walk is kept
        return inner + (gradients["weight"] ** 2).sum()

    value, gradients = nn.value_and_grad(model, loss)()
    weight = model.weight
    np.testing.assert_allclose(value, 5 * (weight**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(gradients["weight"], 10 * weight, rtol=1e-6)


def test_new_weights_let_go_of_the_old_ones():
    model = nn.Linear(2, 1)
    fn = nn.value_and_grad(model, lambda x: model(x).sum())
    fn(np.ones((1, 2), np.float32))
    old = weakref.ref(model.weight)
    model.load_weights([("weight", np.ones((1, 2), np.float32)), ("bias", np.ones(1, np.float32))])
    assert old() is None


def test_a_model_goes_with_its_step_function():
    model = nn.Linear(2, 1)
    fn = nn.value_and_grad(model, lambda: np.float32(0.0))
    fn()
    gone, before = weakref.ref(model.weight), len(_walk._keepers)
    del model, fn
    gc.collect()
    assert gone() is None
    assert len(_walk._keepers) < before
