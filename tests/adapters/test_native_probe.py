"""What a probe of one of our own models measures, and that it changes nothing."""

import contextvars
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from freezeviz import autodiff, nn, optim
from freezeviz.adapters import NativeAdapter, Probe, _native_probe, adapt
from freezeviz.autodiff import _tracer, _watch
from freezeviz.nn import _calls

BATCH, DIMS = 5, 4
CALLS = {cls: cls.__call__ for cls in (nn.Linear, nn.ReLU, nn.Sequential, nn.BatchNorm)}


def data(seed=0):
    return np.random.default_rng(seed).standard_normal((BATCH, DIMS), dtype=np.float32)


def chain(*layers):
    return nn.Sequential(*(layers or (nn.Linear(DIMS, 6), nn.ReLU(), nn.Linear(6, 3))))


def loss_of(model):
    return nn.value_and_grad(model, lambda x: (model(x) ** 2).mean())


def measured(model, x=None, optimizer=None):
    """Return the probe of one step."""
    with adapt(model).probe() as probe:
        _, gradients = loss_of(model)(data() if x is None else x)
        (optimizer or optim.SGD(0.1)).update(model, gradients)
    return probe


def assert_nothing_is_left():
    assert _calls.current.get() is None
    assert _watch.current.get() is None
    assert _calls._ears == {}
    assert {cls: cls.__call__ for cls in CALLS} == CALLS


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    assert_nothing_is_left()


# ---------------------------------------------------------------- time


class Clock:
    """Time that passes when a test says so."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_native_probe, "perf_counter", clock)
    return clock


class Takes(nn.Module):
    """Takes so many seconds forward, and so many backward."""

    def __init__(self, clock, forward, backward, inner=None):
        super().__init__()
        self._clock, self._forward, self._inner = clock, forward, inner
        if inner is not None:
            self.inner = inner

        def work(x):
            clock.now += forward
            return x * 1.0

        def back(g):
            clock.now += backward
            return g

        self._work = _tracer.Primitive(work, "work")  # of its own: not in the table of rules
        self._work.rules = [(back, ())]

    def __call__(self, x):
        x = self._work(x)
        return x if self._inner is None else self.inner(x)


def test_seconds_are_forward_and_backward_of_a_module_without_those_in_it(clock):
    model = chain(nn.Linear(DIMS, 3), Takes(clock, 1, 10, Takes(clock, 2, 20)), Takes(clock, 3, 30))
    seconds = measured(model).seconds
    assert seconds == {
        "": 0,
        "layers.0": 0,
        "layers.1": 11,
        "layers.1.inner": 22,
        "layers.2": 33,
    }


def test_what_is_computed_outside_of_the_model_is_nobodys_time(clock):
    model = chain(nn.Linear(DIMS, 3))
    outside = Takes(clock, 1, 10)
    run = nn.value_and_grad(model, lambda x: outside(model(x)).mean())
    with adapt(model).probe() as probe:
        run(data())
        clock.now += 1000
    assert probe.seconds == {"": 0, "layers.0": 0}


def test_a_frozen_part_takes_forward_seconds_only(clock):
    model = chain(Takes(clock, 1, 10), nn.Linear(DIMS, 3), Takes(clock, 2, 20))
    assert measured(model).seconds["layers.0"] == 1
    assert measured(model).seconds["layers.2"] == 22


def test_a_shared_module_has_the_seconds_of_all_its_calls(clock):
    shared = Takes(clock, 1, 10)
    seconds = measured(chain(nn.Linear(DIMS, DIMS), shared, nn.Linear(DIMS, DIMS), shared)).seconds
    assert seconds["layers.1"] == 22
    assert "layers.3" not in seconds


def test_real_seconds_add_up_to_less_than_the_step_took():
    model = chain()
    began = time.perf_counter()
    probe = measured(model)
    took = time.perf_counter() - began
    assert 0 < sum(probe.seconds.values()) < took
    assert all(seconds > 0 for seconds in probe.seconds.values())


def test_a_model_that_differentiates_inside_of_its_forward_pass_keeps_its_time(clock):
    inside = Takes(clock, 1, 10)

    class Inner(nn.Module):
        def __call__(self, x):
            slope = autodiff.grad(lambda z: inside(z).sum())(autodiff.stop_gradient(x))
            clock.now += 100
            return x * slope

    model = chain(nn.Linear(DIMS, 3), Inner())
    assert measured(model).seconds == {"": 0, "layers.0": 0, "layers.1": 111}
    with adapt(model).probe() as probe:  # nothing traced around it
        model(data())
    assert probe.seconds["layers.1"] == 111


# ---------------------------------------------------------------- bytes


def test_saved_bytes_are_what_the_tape_keeps():
    saved = measured(chain()).saved_bytes
    assert saved == {
        "": 0,
        "layers.0": BATCH * DIMS * 4,  # its input, for the weight
        "layers.1": BATCH * 6 * 4,  # its output, which is the input of the next, too
        "layers.2": 0,
    }


def test_a_frozen_prefix_keeps_nothing():
    model = chain()
    model.layers[0].freeze()
    assert measured(model).saved_bytes == {"": 0, "layers.0": 0, "layers.1": 0, "layers.2": 120}


def test_a_frozen_layer_in_the_middle_keeps_no_input_and_no_weight_counts():
    model = chain(nn.Linear(DIMS, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    model.layers[1].freeze()
    assert measured(model).saved_bytes["layers.1"] == 0


class Keeps(nn.Module):
    """Multiplies by what a function makes of the input: that is kept."""

    def __init__(self, make):
        super().__init__()
        self._make = make

    def __call__(self, x):
        return x * self._make(autodiff.stop_gradient(x))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda x: x + 1, BATCH * DIMS * 4),
        (lambda x: np.zeros((1000, DIMS), np.float32)[:BATCH], BATCH * DIMS * 4),
        (lambda x: np.broadcast_to(np.float32([2.0]), (BATCH, DIMS)), 4),
        (lambda x: np.float32(3.0), 0),
        (lambda x: np.ones((BATCH, DIMS), bool), BATCH * DIMS),
    ],
    ids=["array", "slice", "broadcast", "scalar", "booleans"],
)
def test_saved_bytes_are_those_of_the_memory_that_is_kept(make, expected):
    model = chain(nn.Linear(DIMS, DIMS), Keeps(make))
    assert measured(model).saved_bytes["layers.1"] == expected


def test_memory_that_several_keep_counts_once():
    kept = np.ones((BATCH, DIMS), np.float32)
    model = chain(
        nn.Linear(DIMS, DIMS), Keeps(lambda x: kept[:2].T[:, 0]), Keeps(lambda x: kept), Keeps(
            lambda x: kept.reshape(BATCH, DIMS)
        )
    )  # fmt: skip
    saved = measured(model).saved_bytes
    assert saved["layers.1"] + saved["layers.2"] == kept.nbytes
    assert saved["layers.3"] == 0


def test_buffers_do_not_count():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", np.ones((BATCH, DIMS), np.float32))

        def __call__(self, x):
            return x * self.scale

    assert measured(chain(nn.Linear(DIMS, DIMS), Scaled())).saved_bytes["layers.1"] == 0


# ---------------------------------------------------------------- order and gradients


class Swapped(nn.Module):
    """Calls its layers out of the order of definition, and one of them twice."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(DIMS, DIMS)
        self.shared = nn.Linear(DIMS, DIMS)
        self.first = nn.Linear(DIMS, DIMS)
        self.unused = nn.Linear(DIMS, DIMS)

    def __call__(self, x):
        return self.last(self.shared(x + self.shared(self.first(x))))


def test_order_is_that_of_calls_with_the_first_and_the_last_of_each_module():
    assert measured(Swapped()).order == ("", "first", "shared", "shared", "last")


def test_a_module_called_many_times_stands_in_the_order_twice():
    layer = nn.Linear(DIMS, DIMS)
    assert measured(chain(*[layer] * 9)).order == ("", "layers.0", "layers.0")


def test_needs_gradient_names_modules_with_a_traced_input():
    model = Swapped()
    assert measured(model).needs_gradient == {"shared", "last"}
    model.first.freeze()
    assert measured(model).needs_gradient == {"shared", "last"}  # by its second call
    model.shared.freeze()
    assert measured(model).needs_gradient == set()
    model.freeze()
    assert measured(model).needs_gradient == set()


def test_inputs_in_containers_and_options_carry_gradients_too():
    class Sums(nn.Module):
        def __call__(self, parts, *, more):
            return parts[0]["x"] + more[0]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.nested, self.optional = nn.Linear(DIMS, 3), Sums(), Sums()
            self.plain = Sums()

        def __call__(self, x):
            y = self.linear(x)
            constant = np.ones(3, np.float32)
            z = self.nested([{"x": y}], more=(constant,))
            z = z + self.plain([{"x": constant}], more=[constant])
            return z + self.optional([{"x": constant}], more=(y,))

    assert measured(Model()).needs_gradient == {"nested", "optional"}


def test_norms_are_those_of_gradient_change_and_weight():
    model = chain()
    model.layers[0].freeze(keys="bias")
    before = {path: value.copy() for path, value in model.named_parameters()}
    with adapt(model).probe() as probe:
        _, gradients = loss_of(model)(data())
        optim.SGD(0.1).update(model, gradients)
    after = dict(model.named_parameters())
    names = {"layers.0.weight", "layers.2.weight", "layers.2.bias"}
    assert probe.gradient_norm.keys() == probe.update_norm.keys() == probe.weight_norm.keys()
    assert probe.gradient_norm.keys() == names
    flat = {
        "layers.0.weight": gradients["layers"][0]["weight"],
        "layers.2.weight": gradients["layers"][2]["weight"],
        "layers.2.bias": gradients["layers"][2]["bias"],
    }
    for path in names:
        expected = [flat[path], after[path] - before[path], before[path]]
        found = [
            table[path] for table in (probe.gradient_norm, probe.update_norm, probe.weight_norm)
        ]
        assert found == pytest.approx([np.linalg.norm(a) for a in expected], rel=1e-5)


def test_gradients_of_a_part_go_by_the_paths_of_the_whole():
    model = chain()
    head = model.layers[2]
    with adapt(model).probe() as probe:
        nn.value_and_grad(head, lambda x: head(x).mean())(np.ones((2, 6), np.float32))
    assert probe.gradient_norm.keys() == {"layers.2.weight", "layers.2.bias"}


def test_without_an_update_nothing_has_changed():
    model = chain()
    with adapt(model).probe() as probe:
        loss_of(model)(data())
    assert set(probe.update_norm.values()) == {0.0}


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.float32([3, 4]), 5.0),
        (np.float32([3e-30, 4e-30]), 5e-30),
        (np.float32([3e30, 4e30]), 5e30),
        (np.float16([6e4, 6e4]), 6e4 * 2**0.5),
        (np.array(-2.0), 2.0),
        (np.zeros((0, 3), np.float32), 0.0),
        (np.zeros(3, np.float32), 0.0),
        (np.array([3j, 4]), 5.0),
        (np.float32([np.nan, 1]), np.inf),
        (np.float32([-np.inf, 1]), np.inf),
    ],
    ids=str,
)
def test_norms_of_odd_arrays(array, expected):
    with np.errstate(all="ignore"):
        assert _native_probe.norm(array) == pytest.approx(expected, rel=1e-3)


def test_norms_of_another_library():
    xp = pytest.importorskip("array_api_strict")
    assert _native_probe.norm(xp.asarray([3.0, 4.0])) == 5.0


def test_a_gradient_that_is_no_number_does_not_disturb():
    model = chain()
    with np.errstate(all="ignore"), adapt(model).probe() as probe:
        _, gradients = loss_of(model)(data() * np.float32(np.inf))
        optim.SGD(0.1).update(model, gradients)
    assert probe.gradient_norm["layers.2.weight"] == np.inf


def test_memory_is_what_the_process_holds():
    memory = measured(chain()).memory
    if memory is None:
        assert not hasattr(__import__("os"), "sysconf")  # Windows
    else:
        assert 10**7 < memory < 10**11


def test_memory_is_known_where_everything_is_frozen():
    model = chain().freeze()
    probe = measured(model)
    assert probe.memory is not None
    assert probe.gradient_norm == probe.weight_norm == {}
    assert set(probe.saved_bytes.values()) == {0}


# ---------------------------------------------------------------- nothing else changes


def trained(probing, steps=6):
    model = chain(nn.Linear(DIMS, 6), nn.BatchNorm(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3))
    for path, value in model.named_parameters():
        rng = np.random.default_rng(len(path))
        model.update(nested(model, path, rng.standard_normal(value.shape, dtype=np.float32)))
    optimizer, losses = optim.Adam(0.01), []
    from freezeviz import random

    for step in range(steps):
        if step == 3:
            model.layers[0].freeze()
        with random.using(np.random.default_rng(step)):
            if probing:
                with adapt(model).probe():
                    loss, gradients = loss_of(model)(data(step))
                    optimizer.update(model, gradients)
            else:
                loss, gradients = loss_of(model)(data(step))
                optimizer.update(model, gradients)
        losses.append(float(loss))
    arrays = model.named_parameters() + model.named_buffers()
    return losses, {path: value.tobytes() for path, value in arrays}


def nested(model, path, value):
    _, index, name = path.split(".")
    parts = [{} for _ in model.layers]
    parts[int(index)] = {name: value}
    return {"layers": parts}


def test_training_is_the_same_bit_for_bit_with_and_without_a_probe():
    assert trained(probing=True) == trained(probing=False)


@pytest.mark.parametrize("where", ["forward", "loss", "block"])
def test_an_exception_leaves_nothing_behind(where):
    class Fails(nn.Module):
        def __call__(self, x):
            if where == "forward":
                raise KeyError(where)
            return x

    model = chain(nn.Linear(DIMS, 3), Fails())

    def loss(x):
        y = model(x)
        if where == "loss":
            raise KeyError(where)
        return y.mean()

    probes = []

    def block():
        with adapt(model).probe() as probe:
            probes.append(probe)
            nn.value_and_grad(model, loss)(data())
            raise KeyError(where)

    with pytest.raises(KeyError, match=where):
        block()
    assert_nothing_is_left()
    assert probes[0].gradient_norm == {}
    assert measured(model if where != "forward" else chain()).order


def test_what_is_differentiated_after_the_block_is_not_measured(clock):
    model = chain(nn.Linear(DIMS, 3), Takes(clock, 1, 10))
    with adapt(model).probe() as probe:
        value, pullback = autodiff.vjp(lambda x: model(x).sum(), data())
    assert probe.seconds["layers.1"] == 1
    pullback(np.ones_like(value))
    assert probe.seconds["layers.1"] == 1


def test_other_models_of_the_same_classes_are_not_measured():
    model, other = chain(), chain()
    with adapt(model).probe() as probe:
        loss_of(other)(data())
        other(data())
    assert probe.seconds == {}
    assert probe.gradient_norm == {}


def test_a_probe_within_another_hears_of_its_own_model():
    outer, inner = chain(), chain()
    with adapt(outer).probe() as first:
        loss_of(outer)(data())
        with adapt(inner).probe() as second:
            loss_of(inner)(data())
        loss_of(outer)(data())
    assert len(first.order) == 2 * 4  # first and last call of each
    assert len(second.order) == 4


def test_a_call_of_the_base_class_is_part_of_the_modules_own():
    class Twice(nn.Linear):
        def __call__(self, x):
            return super().__call__(x) * 2.0

    model = chain(Twice(DIMS, 3), nn.Linear(3, 3))
    probe = measured(model)
    assert probe.order == ("", "layers.0", "layers.1")
    assert "layers.0" not in probe.needs_gradient


def test_another_thread_is_not_measured_even_in_a_copied_context():
    model = chain()
    with adapt(model).probe() as probe:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(loss_of(model), data()))
        thread.start()
        thread.join()
    assert probe.order == ()
    assert set(probe.seconds.values()) == set()


def test_probes_in_several_threads_do_not_meet():
    models = [chain(*(nn.Linear(DIMS, DIMS) for _ in range(n + 1))) for n in range(4)]
    barrier = threading.Barrier(len(models))
    found: list[set] = [set() for _ in models]
    errors = []

    def work(n):
        try:
            barrier.wait()
            for _ in range(20):
                probe = measured(models[n])
                found[n].add((len(probe.order), len(probe.needs_gradient), len(probe.update_norm)))
        except BaseException as error:  # an assertion in a thread is not seen otherwise
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert found == [{(n + 2, n, 2 * (n + 1))} for n in range(4)]


# ---------------------------------------------------------------- hearing of calls


def test_classes_are_as_they_were_written_unless_somebody_listens():
    model = chain()
    assert nn.Linear.__call__ is CALLS[nn.Linear]
    with adapt(model).probe():
        assert nn.Linear.__call__ is not CALLS[nn.Linear]
        assert nn.Linear.__call__.__wrapped__ is CALLS[nn.Linear]
    assert nn.Linear.__call__ is CALLS[nn.Linear]


def test_while_somebody_listens_probes_change_no_class():
    model = chain()
    adapter = NativeAdapter(model)
    with adapter.listen():
        heard = nn.Linear.__call__
        measured(model)
        with adapter.listen():
            assert nn.Linear.__call__ is heard
        assert nn.Linear.__call__ is heard
        assert measured(model).order == ("", "layers.0", "layers.1", "layers.2")


def test_a_class_that_gets_another_call_meanwhile_keeps_it():
    class Layer(nn.Linear):
        def __call__(self, x):
            return super().__call__(x)

    def other(self, x):
        return x * 3.0

    model = chain(Layer(DIMS, DIMS))
    with adapt(model).listen():
        Layer.__call__ = other
        assert measured(model).order == ("", "layers.0")
        assert Layer.__call__ is not other
    assert Layer.__call__ is other
    with adapt(model).listen():
        Layer.__call__ = CALLS[nn.Linear]
    assert Layer.__call__ is CALLS[nn.Linear]


def test_a_call_that_is_no_plain_function_counts_for_the_caller():
    class Odd(nn.Module):
        __call__ = staticmethod(lambda x: x * 2.0)

    model = chain(nn.Linear(DIMS, 3), Odd())
    assert measured(model).order == ("", "layers.0")


def test_a_probe_is_a_probe():
    with adapt(chain()).probe() as probe:
        pass
    assert probe == Probe(memory=probe.memory, weight_norm=probe.weight_norm,
                          update_norm=probe.update_norm)  # fmt: skip


def test_on_a_gpu_the_clock_waits_for_what_was_launched(monkeypatch):
    waits = []
    stream = SimpleNamespace(synchronize=lambda: waits.append(1))
    cuda = SimpleNamespace(get_current_stream=lambda: stream)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    compat = SimpleNamespace(is_cupy_array=lambda array: True)
    monkeypatch.setattr(_native_probe, "array_api_compat", compat)
    measured(chain(nn.Linear(DIMS, 3)))
    assert len(waits) > 2 * 2  # begin and end of the two calls; and backward
