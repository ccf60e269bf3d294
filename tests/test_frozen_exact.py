"""Frozen means exact: any model, any optimizer, any sequence of freezing, in both faces.

The models are random (`tests.explicit._architectures`): containers within containers, layers in
several places, tied arrays, a user's layer with arrays in lists and dicts, running statistics of
several kinds, dropout.
"""

import copy

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import explicit as lux
from freezeviz import nn, optim, tree_flatten
from tests.explicit._architectures import DIMS, models

X = np.random.default_rng(3).standard_normal((5, DIMS), dtype=np.float32)


def is_bias(path, value):
    return path.endswith("bias")


def is_matrix(path, value):
    return value.ndim == 2


OPTIMIZERS = {
    "SGD": lambda: optim.SGD(0.01),
    "SGD with momentum and decay": lambda: optim.SGD(0.01, momentum=0.9, weight_decay=0.1),
    "SGD, Nesterov": lambda: optim.SGD(0.01, momentum=0.5, nesterov=True),
    "Adam": lambda: optim.Adam(0.01),
    "Adam, corrected": lambda: optim.Adam(0.01, bias_correction=True),
    "AdamW": lambda: optim.AdamW(0.01, weight_decay=0.5),
    "Adamax": lambda: optim.Adamax(0.01),
    "Adagrad": lambda: optim.Adagrad(0.01),
    "AdaDelta": lambda: optim.AdaDelta(0.5),
    "RMSprop": lambda: optim.RMSprop(0.001),
    "Lion": lambda: optim.Lion(0.001, weight_decay=0.5),
    "Adafactor": lambda: optim.Adafactor(),
    "Adafactor with momentum": lambda: optim.Adafactor(
        0.01, relative_step=False, beta_1=0.9, weight_decay=0.1
    ),
    "MultiOptimizer": lambda: optim.MultiOptimizer(
        [optim.AdamW(0.01, weight_decay=0.5), optim.SGD(0.01, momentum=0.9), optim.Lion(0.001)],
        [is_bias, is_matrix],
    ),
}
ALL = st.sampled_from(sorted(OPTIMIZERS))
many = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def test_every_optimizer_is_among_them():
    public = {getattr(optim, name) for name in optim.__all__}
    kinds = {c for c in public if isinstance(c, type) and issubclass(c, optim.Optimizer)}
    assert {type(make()) for make in OPTIMIZERS.values()} == kinds - {optim.Optimizer}


def raw(pairs):
    return {path: (str(value.dtype), value.shape, value.tobytes()) for path, value in pairs}


def frozen(model):
    return raw(tree_flatten(model.frozen_parameters()))


def trainable(model):
    return set(dict(tree_flatten(model.trainable_parameters())))


def buffers(model):
    return raw((path, value) for path, value in model.named_buffers() if value is not None)


# What a module computes in eval mode as well, as this counter of a user's layer, is not held.
COUNTER = "calls"


def held_buffers(model):
    modules = dict(model.named_modules())

    def owner(path):
        return modules[max((p for p in modules if not p or path.startswith(f"{p}.")), key=len)]

    held = {path: value for path, value in buffers(model).items() if owner(path).held}
    return {path: value for path, value in held.items() if not path.endswith(COUNTER)}


def loss_and_gradients(model, seed):
    """Return them as they are with a generator of that seed for dropout."""
    with fv.random.using(np.random.default_rng(seed)):
        loss, gradients = nn.value_and_grad(model, lambda: (model(X) ** 2).mean())()
    return np.asarray(loss).tobytes(), dict(tree_flatten(gradients))


class Commands:
    """Draws freezing, holding, thawing and modes, by every way that there is."""

    def __init__(self, data, model, hold=True):
        self.draw, self.model, self.hold = data.draw, model, hold
        self.paths = [path for path, _ in model.named_parameters()]

    def __call__(self):
        for _ in range(self.draw(st.integers(1, 3))):
            self.one()

    def one(self):
        kinds = ["module", "own", "key", "mode"] + ["paths", "kind", "select"] * bool(self.paths)
        kind, verb = self.draw(st.sampled_from(kinds)), self.draw(st.sampled_from(["", "un"]))
        verb += "freeze"
        module = self.draw(st.sampled_from(self.model.modules()))
        hold = self.hold and verb == "freeze" and self.draw(st.booleans())
        options = {"hold": True} if hold else {}
        if kind == "module":
            getattr(module, verb)(**options)
        elif kind == "own":
            getattr(module, verb)(recurse=False, **options)
        elif kind == "mode":
            module.train(self.draw(st.booleans()))
        elif kind == "key":
            names = {path.rpartition(".")[2] for path, _ in self.model.named_parameters()}
            keys = names & {"weight", "bias", "gain"}
            getattr(self.model, verb)(keys=sorted(keys), **options)
        elif kind == "paths":
            chosen = self.draw(st.lists(st.sampled_from(self.paths), min_size=1, unique=True))
            getattr(fv, verb)(self.model, chosen, **options)
        elif kind == "kind":
            owners = [m for m in self.model.modules() if fv.tree_flatten(m.parameters())]
            getattr(fv, verb)(self.model, type(self.draw(st.sampled_from(owners))), **options)
        else:
            first, second = (
                fv.select(self.model, self.draw(st.sampled_from(self.paths))) for _ in range(2)
            )
            getattr(~(first | second), verb)()


@many
@given(models(), ALL, st.data())
def test_what_is_frozen_never_moves_and_the_rest_moves_as_if_alone(model, name, data):
    """The reference is an optimizer of its own for each parameter, which gets its gradients."""
    command, optimizer, alone = Commands(data, model), OPTIMIZERS[name](), {}
    for phase in range(data.draw(st.integers(1, 4))):
        command()
        if (
            command.paths and data.draw(st.integers(0, 3)) == 0
        ):  # the option of unfreezing: state starts anew
            forgotten = data.draw(st.lists(st.sampled_from(command.paths), unique=True))
            optimizer.reset(forgotten)
            for path in forgotten:
                alone.pop(path, None)
        before, statistics = frozen(model), held_buffers(model)
        arrays = dict(tree_flatten(model.frozen_parameters()))
        for step in range(data.draw(st.integers(1, 3))):
            old = dict(model.named_parameters())
            _, gradients = loss_and_gradients(model, 10 * phase + step)
            assert set(gradients) == trainable(model)
            assert set(gradients) | set(before) == set(command.paths)
            assert not set(gradients) & set(before)
            optimizer.update(model, fv.tree_unflatten(list(gradients.items())) or {})
            assert frozen(model) == before
            assert held_buffers(model) == statistics
            new = dict(model.named_parameters())
            for path, gradient in gradients.items():
                one = alone.setdefault(path, OPTIMIZERS[name]())
                expected = one.apply_gradients({path: gradient}, {path: old[path]})
                assert raw([(path, new[path])]) == raw(expected.items())
        after = dict(tree_flatten(model.frozen_parameters()))
        assert all(after[path] is array for path, array in arrays.items())


@many
@given(models(), st.data())
def test_values_and_gradients_do_not_depend_on_what_is_frozen(model, data):
    command = Commands(data, model, hold=False)
    for seed in range(data.draw(st.integers(1, 3))):
        command()
        free = copy.deepcopy(model).unfreeze()
        loss, gradients = loss_and_gradients(model, seed)
        free_loss, free_gradients = loss_and_gradients(free, seed)
        assert loss == free_loss
        assert buffers(model) == buffers(free)
        assert set(free_gradients) == set(command.paths)
        for path, gradient in gradients.items():
            assert raw([(path, gradient)]) == raw([(path, free_gradients[path])])


@many
@given(models(), st.data())
def test_what_is_held_computes_as_in_eval_mode_whatever_train_says(model, data):
    free = copy.deepcopy(model)
    paths = [path for path, _ in model.named_modules()]
    for path in data.draw(st.lists(st.sampled_from(paths), unique=True)):
        dict(model.named_modules())[path].freeze(hold=True)
        dict(free.named_modules())[path].eval()
    for module in model.modules():
        module.train(data.draw(st.booleans()) or not module.held)
    before = held_buffers(model)
    for seed in range(2):
        loss, gradients = loss_and_gradients(model, seed)
        free_loss, free_gradients = loss_and_gradients(free, seed)
        assert loss == free_loss
        assert buffers(model) == buffers(free)
        assert held_buffers(model) == before
        assert all(np.array_equal(g, free_gradients[path]) for path, g in gradients.items())


@many
@given(models(), ALL, st.data())
def test_both_faces_make_the_same_run_and_keep_what_is_frozen(model, name, data):
    twin = copy.deepcopy(model)
    ps, state = lux.setup(None, model)
    generators = [v for v in fv.tree_flatten(state) if isinstance(v[1], np.random.Generator)]
    rng = copy.deepcopy(generators[0][1]) if generators else np.random.default_rng(0)
    optimizer, twins = OPTIMIZERS[name](), OPTIMIZERS[name]()
    # Wrappers are a level of the one face and not of the other; the order is the same.
    names = dict(zip(dict(tree_flatten(ps)), dict(twin.named_parameters()), strict=True))
    assume(names)
    for _ in range(data.draw(st.integers(1, 3))):
        chosen = data.draw(st.lists(st.sampled_from(sorted(names)), unique=True))
        layer, ps_f, st_f = model, ps, state
        twin.unfreeze()
        if chosen:
            layer, ps_f, st_f = lux.freeze(model, ps, state, chosen, tied="all")
            fv.freeze(twin, [names[path] for path in chosen])
        before = raw(tree_flatten(st_f["frozen_params"])) if chosen else {}
        assert set(before) == set(chosen)

        for _ in range(data.draw(st.integers(1, 2))):

            def loss(ps, layer=layer, st_f=st_f):
                y, new = lux.apply(layer, X, ps, st_f)
                return (y**2).mean(), new

            (_, st_f), gradients = lux.value_and_grad(loss)(ps_f)
            ps_f = optimizer.apply_gradients(gradients, ps_f)
            with fv.random.using(rng):
                _, gradients = nn.value_and_grad(twin, lambda: (twin(X) ** 2).mean())()
            twins.update(twin, gradients)
            if chosen:
                assert raw(tree_flatten(st_f["frozen_params"])) == before
        model, ps, state = lux.unfreeze(layer, ps_f, st_f) if chosen else (layer, ps_f, st_f)
        here, there = raw(tree_flatten(ps)), raw(twin.named_parameters())
        assert {names[path]: value for path, value in here.items()} == there


@many
@given(models(), ALL, st.data())
def test_a_held_layer_keeps_its_states_in_the_explicit_face(model, name, data):
    ps, state = lux.setup(0, model)
    names = sorted(dict(tree_flatten(ps)))
    assume(names)
    which = data.draw(st.lists(st.sampled_from(names), unique=True)) or None
    state = lux.trainmode(state)
    layer, ps, state = lux.freeze(model, ps, state, which, tied="all", hold=True)
    fixed = (raw(tree_flatten(state["frozen_params"])), statistics(state["states"]))
    optimizer = OPTIMIZERS[name]()
    for _ in range(2):

        def loss(ps, state=state):
            y, new = lux.apply(layer, X, ps, state)
            return (y**2).mean(), (y, new)

        (_, (y, state)), gradients = lux.value_and_grad(loss)(ps)
        assert np.array_equal(y, lux.apply(layer, X, ps, lux.testmode(state))[0])
        ps = optimizer.apply_gradients(gradients, ps)
        assert (raw(tree_flatten(state["frozen_params"])), statistics(state["states"])) == fixed


def statistics(state):
    """Return the arrays of a state and the positions of its generators."""
    return {
        path: str(value.bit_generator.state)
        if isinstance(value, np.random.Generator)
        else value
        if isinstance(value, bool) or value is None
        else (str(value.dtype), value.tobytes())
        for path, value in tree_flatten(state)
        if not path.endswith(COUNTER)
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_unfreezing_in_mid_run_goes_on_where_the_parameter_was(name):
    """Thawed, a parameter moves as if the steps in which it was frozen had not been."""
    model = nn.Sequential(nn.Linear(DIMS, 4), nn.Tanh(), nn.Linear(4, 2))
    gradient = {"weight": np.full((4, DIMS), 0.3, np.float32), "bias": np.full(4, 0.2, np.float32)}
    both = {"layers": [gradient]}
    never, optimizer, whole = copy.deepcopy(model), OPTIMIZERS[name](), OPTIMIZERS[name]()
    for frozen_now in (False, True, True, False):
        model.layers[0].freeze() if frozen_now else model.unfreeze()
        optimizer.update(model, both)
        if not frozen_now:
            whole.update(never, both)
        assert raw(model.named_parameters()) == raw(never.named_parameters())
