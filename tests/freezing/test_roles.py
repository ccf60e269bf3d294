"""What each layer does in the backward pass, against what the tape really did."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import autodiff, nn
from freezeviz.adapters import LayerInfo, ParameterInfo, adapt
from freezeviz.freezing import roles
from freezeviz.freezing._roles import FLOWS, IDLE, STOPS, TRAINS

DIMS, BATCH = 3, 2


def expected(model, order=None):
    adapter = adapt(model)
    return roles(adapter.snapshot(), order, adapter.frozen())


def step(model, x):
    """Return the probe and the counts of a step."""
    with autodiff.count() as counts, adapt(model).probe() as probe:
        nn.value_and_grad(model, lambda x: model(x).sum())(x)
    return probe, counts


def measured(model, x=None):
    adapter = adapt(model)
    probe, _ = step(model, np.ones((BATCH, DIMS), np.float32) if x is None else x)
    return roles(adapter.snapshot(), probe.order, adapter.frozen(), probe.needs_gradient)


def chain(n=4):
    return nn.Sequential(*(nn.Linear(DIMS, DIMS) for _ in range(n)))


def below(found):
    return {path.removeprefix("layers."): role for path, role in found.items() if path}


# ---------------------------------------------------------------- a chain


@pytest.mark.parametrize("roles_of", [expected, measured])
@pytest.mark.parametrize(
    ("frozen", "wanted"),
    [
        ([], [TRAINS, TRAINS, TRAINS, TRAINS]),
        ([0], [STOPS, TRAINS, TRAINS, TRAINS]),
        ([0, 1], [IDLE, STOPS, TRAINS, TRAINS]),
        ([0, 1, 2], [IDLE, IDLE, STOPS, TRAINS]),
        ([0, 2], [STOPS, TRAINS, FLOWS, TRAINS]),
        ([1, 2, 3], [TRAINS, FLOWS, FLOWS, FLOWS]),
        ([0, 1, 2, 3], [IDLE, IDLE, IDLE, IDLE]),
    ],
)
def test_layers_of_a_chain(roles_of, frozen, wanted):
    model = chain()
    for i in frozen:
        model.layers[i].freeze()
    assert below(roles_of(model)) == {str(i): role for i, role in enumerate(wanted)}


@pytest.mark.parametrize("roles_of", [expected, measured])
def test_a_layer_with_one_trainable_parameter_trains(roles_of):
    model = chain(3)
    model.layers[0].freeze()
    model.layers[1].freeze(keys="weight")
    assert below(roles_of(model)) == {"0": STOPS, "1": TRAINS, "2": TRAINS}


@pytest.mark.parametrize("roles_of", [expected, measured])
def test_layers_without_parameters_let_the_gradient_through_or_have_nothing_to_do(roles_of):
    model = nn.Sequential(nn.ReLU(), nn.Linear(DIMS, DIMS), nn.ReLU(), nn.Linear(DIMS, DIMS))
    assert below(roles_of(model)) == {"0": STOPS, "1": TRAINS, "2": FLOWS, "3": TRAINS}
    model.layers[1].freeze()
    assert below(roles_of(model)) == {"0": IDLE, "1": IDLE, "2": STOPS, "3": TRAINS}


@pytest.mark.parametrize("roles_of", [expected, measured])
def test_a_layer_with_others_in_it_has_the_first_role_of_theirs(roles_of):
    model = nn.Sequential(chain(2), chain(2), chain(1), chain(1))
    model.layers[0].freeze()
    model.layers[1].layers[0].freeze()
    model.layers[3].freeze()
    found = roles_of(model)
    assert found[""] == found["layers.1"] == found["layers.2"] == TRAINS
    assert found["layers.0"] == IDLE
    assert found["layers.1.layers.0"] == STOPS
    assert found["layers.3"] == FLOWS
    model.layers[1].freeze()
    found = roles_of(model)
    assert (found["layers.0"], found["layers.1"]) == (IDLE, STOPS)
    assert (found["layers.1.layers.0"], found["layers.1.layers.1"]) == (IDLE, STOPS)


# ---------------------------------------------------------------- other shapes


class Swapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Linear(DIMS, DIMS), nn.Linear(DIMS, DIMS)

    def __call__(self, x):
        return self.head(self.body(x))


def test_layers_called_out_of_the_order_of_definition():
    model = Swapped()
    model.body.freeze()
    assert measured(model) == {"": TRAINS, "head": TRAINS, "body": STOPS}
    assert expected(model, ("", "body", "head")) == {"": TRAINS, "head": TRAINS, "body": STOPS}
    # All that definition can tell is wrong here: why it is only expected.
    assert expected(model)["body"] == FLOWS


def test_each_call_of_the_whole_model_begins_anew():
    # Two batches in one step: gradients are accumulated.
    model = chain(3)
    one = ("", "layers.0", "layers.1", "layers.2")
    fv.freeze(model, ["layers.0", "layers.1"])
    assert below(expected(model, one * 2)) == {"0": IDLE, "1": STOPS, "2": TRAINS}
    model.unfreeze()
    model.layers[1].freeze()
    assert below(expected(model, one * 2)) == {"0": TRAINS, "1": FLOWS, "2": TRAINS}


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = chain(2), chain(2)

    def __call__(self, x):
        return self.a(x) + self.b(x)


def test_the_backward_pass_stops_in_each_of_two_branches():
    model = Towers()
    model.a.layers[0].freeze()
    model.b.layers[0].freeze()
    found = measured(model)
    assert found["a.layers.0"] == found["b.layers.0"] == STOPS
    assert found["a.layers.1"] == found["b.layers.1"] == TRAINS


def test_a_frozen_branch_beside_one_that_trains_has_nothing_to_do():
    model = Towers()
    model.b.freeze()
    found = measured(model)
    assert found["b"] == found["b.layers.0"] == found["b.layers.1"] == IDLE
    # The order alone takes it to depend on what was called before.
    assert expected(model, ("", "a", "a.layers.0", "a.layers.1", "b", "b.layers.0"))["b"] == FLOWS


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def __call__(self, x):
        return x + self.inner(x)


@pytest.mark.parametrize("roles_of", [expected, measured])
def test_a_skip_connection_around_a_frozen_layer(roles_of):
    model = nn.Sequential(
        nn.Linear(DIMS, DIMS), Residual(nn.Linear(DIMS, DIMS)), nn.Linear(DIMS, DIMS)
    )
    model.layers[1].freeze()
    assert below(roles_of(model)) == {"0": TRAINS, "1": FLOWS, "1.inner": FLOWS, "2": TRAINS}
    model.layers[0].freeze()
    assert below(roles_of(model)) == {"0": IDLE, "1": STOPS, "1.inner": STOPS, "2": TRAINS}


def test_a_shared_frozen_layer_that_is_called_again_lets_the_gradient_through():
    shared = nn.Linear(DIMS, DIMS)
    model = nn.Sequential(shared, nn.Linear(DIMS, DIMS), shared)
    shared.freeze()
    wanted = {"": TRAINS, "layers.0": FLOWS, "layers.1": TRAINS}
    assert measured(model) == wanted
    assert expected(model, ("", "layers.0", "layers.1", "layers.0")) == wanted


def test_before_a_shared_layer_that_trains_the_backward_pass_stops():
    shared = nn.Linear(DIMS, DIMS)
    model = nn.Sequential(nn.Linear(DIMS, DIMS), shared, shared)
    model.layers[0].freeze()
    wanted = {"": TRAINS, "layers.0": STOPS, "layers.1": TRAINS}
    assert measured(model) == wanted
    assert expected(model, ("", "layers.0", "layers.1", "layers.1")) == wanted


def test_a_tied_parameter_trains_in_both_of_its_layers():
    model = chain(3)
    model.layers[2].weight = model.layers[0].weight
    model.freeze()
    fv.unfreeze(model, "layers.0.weight")
    assert below(measured(model)) == {"0": TRAINS, "1": FLOWS, "2": TRAINS}


def test_a_layer_that_is_never_called_has_nothing_to_do_unless_its_parameters_are_trainable():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(DIMS, DIMS), nn.Linear(DIMS, DIMS)

        def __call__(self, x):
            return self.used(x)

    model = Model()
    model.spare.freeze()
    assert measured(model) == {"": TRAINS, "used": TRAINS, "spare": IDLE}
    model.spare.unfreeze()  # its parameters may be used without a call of it
    assert measured(model)["spare"] == TRAINS


def test_a_frozen_part_that_its_owner_uses_without_a_call_does_what_the_owner_does():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.projection = nn.Linear(DIMS, DIMS)
            self.gain = np.ones(DIMS, np.float32)

        def __call__(self, x):
            return autodiff.linear(x * self.gain, self.projection.weight, None)

    model = nn.Sequential(nn.Linear(DIMS, DIMS), Attention())
    model.layers[1].projection.freeze()
    assert measured(model)["layers.1.projection"] == FLOWS
    model.layers[0].freeze()
    assert measured(model)["layers.1.projection"] == FLOWS  # after the gain
    model.layers[1].freeze()
    model.layers[0].unfreeze()
    assert measured(model)["layers.1.projection"] == FLOWS
    model.layers[0].freeze()
    assert measured(model)["layers.1.projection"] == IDLE


def test_layers_of_whole_numbers_begin_the_backward_pass():
    model = nn.Sequential(nn.Embedding(5, DIMS), nn.Linear(DIMS, DIMS), nn.Linear(DIMS, DIMS))
    model.layers[1].freeze()
    numbers = np.zeros((BATCH,), np.int64)
    assert below(measured(model, numbers)) == {"0": TRAINS, "1": FLOWS, "2": TRAINS}
    model.layers[0].freeze()
    assert below(measured(model, numbers)) == {"0": IDLE, "1": STOPS, "2": TRAINS}


def test_layers_may_be_given_as_a_list_and_unknown_calls_are_passed_over():
    weight = ParameterInfo("a.weight", (1,), "float32", 1, 4)
    a = LayerInfo("a", "a", "Linear", "", (weight,), (), ())
    root = LayerInfo("", "Model", "Model", "", (), (), (a,))
    assert roles([root, a], ["", "gone", "a"], []) == {"": TRAINS, "a": TRAINS}
    assert roles(root, [], {"a.weight"}) == {"": IDLE, "a": IDLE}


def test_ten_thousand_layers_take_no_time_to_speak_of():
    import time

    parameters = [ParameterInfo(f"m{i}.w", (1,), "float32", 1, 4) for i in range(10_000)]
    layers = tuple(
        LayerInfo(f"m{i}", f"m{i}", "Linear", "", (p,), (), ()) for i, p in enumerate(parameters)
    )
    root = LayerInfo("", "Model", "Model", "", (), (), layers)
    frozen = {p.path for p in parameters[:5000]}
    began = time.process_time()
    found = roles(root, ["", *(layer.path for layer in layers)], frozen)
    assert time.process_time() - began < 1.0
    assert list(found.values()).count(TRAINS) == 5001


# ---------------------------------------------------------------- against the tape


class Wide(nn.Module):
    """One weight of a height of its own: matrix products tell whose they are by their shapes."""

    def __init__(self, height, rng):
        super().__init__()
        self.weight = rng.standard_normal((height, DIMS), dtype=np.float32)

    def __call__(self, x):
        return autodiff.linear(x, self.weight, None)[..., :DIMS]


class Cell(nn.Module):
    """Two layers with a skip connection, in either order of definition."""

    def __init__(self, first, second, swapped):
        super().__init__()
        for name in ("second", "first") if swapped else ("first", "second"):
            setattr(self, name, {"first": first, "second": second}[name])

    def __call__(self, x):
        return x + self.second(np.tanh(self.first(x)))


class Graph(nn.Module):
    """Layers, defined in one order and called in another, some of them twice, on any value so far.

    Everything that is computed goes into the result.
    """

    def __init__(self, layers, program):
        super().__init__()
        self.layers = layers
        self._program = program

    def __call__(self, x):
        values = [x]
        for layer, sources in self._program:
            inputs = values[sources[0]]
            for source in sources[1:]:
                inputs = inputs + values[source]
            values.append(self.layers[layer](inputs))
        return sum(values[1:], start=x)


def random_graph(rng):
    """Return a random model and the `Wide` layers in it by height."""
    heights = iter(range(DIMS + 1, 1000))
    wides = {}

    def wide():
        height = next(heights)
        wides[height] = Wide(height, rng)
        return wides[height]

    layers = []
    for _ in range(rng.integers(2, 7)):
        kind = rng.integers(4)
        if kind == 0:
            layers.append(Cell(wide(), wide(), bool(rng.integers(2))))
        elif kind == 1:
            layers.append(nn.Sequential(wide(), nn.ReLU(), wide()))
        elif kind == 2 and layers:
            layers.append(nn.Tanh())
        else:
            layers.append(wide())
    calls = [*rng.permutation(len(layers)), *rng.integers(len(layers), size=rng.integers(3))]
    program = []
    for n, layer in enumerate(calls):
        sources = rng.choice(n + 1, size=min(n + 1, rng.integers(1, 3)), replace=False)
        program.append((int(layer), [int(s) for s in sources]))
    return Graph(layers, program), wides


def freeze_some(model, wides, rng):
    for wide in wides.values():
        if rng.random() < rng.choice([0.2, 0.5, 0.9]):
            wide.freeze()


def works(counts, height):
    """Return whether derivatives in the weight, and in the input, of a `Wide` were computed."""
    dw = counts.gemms[(height, BATCH), (BATCH, DIMS)]
    dx = counts.gemms[(BATCH, height), (height, DIMS)]
    return dw > 0, dx > 0


@settings(max_examples=300)
@given(st.integers(0, 2**32 - 1))
def test_roles_are_what_the_tape_really_did(seed):
    rng = np.random.default_rng(seed)
    model, wides = random_graph(rng)
    freeze_some(model, wides, rng)
    adapter = adapt(model)
    probe, counts = step(model, np.ones((BATCH, DIMS), np.float32))
    found = roles(adapter.snapshot(), probe.order, adapter.frozen(), probe.needs_gradient)
    paths = {id(module): path for path, module in model.named_modules()}
    for height, wide in wides.items():
        path = paths[id(wide)]
        has_weight_gradient, has_input_gradient = works(counts, height)
        assert (found[path] == TRAINS) == has_weight_gradient, path
        assert (path in probe.needs_gradient) == has_input_gradient, path
        assert (found[path] == FLOWS) == (has_input_gradient and not has_weight_gradient), path
    did = {p for p, m in model.named_modules() if any(
        any(works(counts, height)) for height, wide in wides.items()
        if paths[id(wide)] == p or paths[id(wide)].startswith(p + ".") or p == ""
    )}  # fmt: skip
    for path, role in found.items():
        if path in did:
            assert role in (TRAINS, FLOWS), path
        else:
            # A layer without parameters keeps something for backward only where it computes.
            assert (role == FLOWS) == (path in probe.needs_gradient), path
            assert role == FLOWS or probe.saved_bytes.get(path, 0) == 0, path
    if counts.nodes.total() == 0:
        assert set(found.values()) == {IDLE}


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1))
def test_where_each_layer_depends_on_all_before_it_the_order_of_calls_is_enough(seed):
    rng = np.random.default_rng(seed)
    _, wides = random_graph(rng)
    parts = list(wides.values())
    layers = [Residual(p) if rng.integers(2) else nn.Sequential(p, nn.ReLU()) for p in parts]
    order = rng.permutation(len(layers))
    model = Graph(layers, [(int(layer), [n]) for n, layer in enumerate(order)])
    freeze_some(model, wides, rng)
    adapter = adapt(model)
    probe, counts = step(model, np.ones((BATCH, DIMS), np.float32))
    by_order = roles(adapter.snapshot(), probe.order, adapter.frozen())
    exact = roles(adapter.snapshot(), probe.order, adapter.frozen(), probe.needs_gradient)
    assert by_order == exact
    paths = {id(module): path for path, module in model.named_modules()}
    for height, wide in wides.items():
        has_weight_gradient, has_input_gradient = works(counts, height)
        role = by_order[paths[id(wide)]]
        assert (role in (TRAINS, FLOWS)) == (has_weight_gradient or has_input_gradient)
