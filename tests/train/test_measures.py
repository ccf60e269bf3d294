"""Measures of a run: which steps are measured, what is kept of them, and that nothing changes."""

import gc
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from freezeviz import nn, optim
from freezeviz.adapters import LayerInfo, ParameterInfo, Probe, adapt
from freezeviz.errors import ObserverWarning
from freezeviz.nn import _calls
from freezeviz.train import Measured, Measures, OwnRun, StepDone, _meter
from tests.explorer.fake_framework import FakeAdapter, FakeModel
from tests.train._setup import eventually, make_data, make_model, make_trainer, weights


@pytest.fixture
def every_step(monkeypatch):
    """Measure each step, whatever it costs."""
    monkeypatch.setattr(_meter, "SHARE", 1e9)
    monkeypatch.setattr(_meter, "SHORTEST", 0.0)


@pytest.fixture
def no_step(monkeypatch):
    """Measure no step for its own sake."""
    monkeypatch.setattr(_meter, "SHORTEST", 1e9)


def watched(trainer):
    """Return the list that gets what is measured, and the function that ends it."""
    found = []
    trainer.subscribe(lambda event: found.append(event) if type(event) is Measured else None)
    return found, trainer.watch_measures()


# ---------------------------------------------------------------- when


def test_nothing_is_measured_unless_somebody_watches(every_step):
    trainer = make_trainer()
    trainer.fit(1, progress=False)
    assert trainer.measures.taken == 0
    assert trainer.measures.step is None
    assert np.isnan(trainer.history.steps["saved_bytes"]).all()


def test_measuring_ends_when_all_who_watched_are_gone(every_step):
    trainer = make_trainer()
    first, second = trainer.watch_measures(), trainer.watch_measures()
    counts = []
    for done in trainer.steps(1):
        counts.append(trainer.measures.taken)
        if done.step == 1:
            first()
            first()  # twice is once
        if done.step == 2:
            second()
    assert counts == [1, 2, 2, 2]
    assert _calls._ears == {}


def test_the_first_step_is_measured_and_the_first_after_each_freeze(no_step):
    trainer = make_trainer()
    found, stop = watched(trainer)
    for done in trainer.steps(3):
        if done.step == 4:
            trainer.freeze("layers.0")
        if done.step == 7:
            trainer.unfreeze("layers.0")
            trainer.freeze("layers.0.bias")
    stop()
    assert [event.step for event in found] == [1, 5, 8]
    assert found[1].gradient_norm.keys() == {"layers.2.weight", "layers.2.bias"}
    assert "layers.0.weight" in found[2].gradient_norm
    assert "layers.0.bias" not in found[2].gradient_norm


def test_a_freeze_before_the_run_counts_too(no_step):
    trainer = make_trainer()
    found, stop = watched(trainer)
    trainer.freeze("layers.0")
    next(trainer.steps(1))
    stop()
    assert [event.step for event in found] == [1]
    assert "layers.0.weight" not in found[0].gradient_norm


class Costly:
    """An adapter whose probes take a while."""

    def __init__(self, adapter, seconds):
        self.adapter, self.seconds, self.spent = adapter, seconds, []

    def __getattr__(self, name):
        return getattr(self.adapter, name)

    def probe(self):
        return self._probe()

    @contextmanager
    def _probe(self):
        began = time.perf_counter()
        time.sleep(self.seconds)
        self.spent.append(time.perf_counter() - began)
        with self.adapter.probe() as probe:
            yield probe


def test_measuring_takes_its_share_of_time_and_no_more(monkeypatch):
    monkeypatch.setattr(_meter, "SHORTEST", 0.0)
    monkeypatch.setattr(_meter, "SHARE", 0.05)
    trainer = make_trainer()
    trainer._loop.meter._adapter = costly = Costly(trainer.adapter, 0.005)
    found, stop = watched(trainer)
    began = time.perf_counter()
    trainer.start(1_000_000)
    eventually(lambda: len(found) >= 8)
    trainer.stop()
    trainer.wait()
    took = time.perf_counter() - began
    stop()
    # What is measured first is paid for afterwards, and so is the last.
    assert sum(costly.spent[1:-1]) < 0.05 * took
    assert len(found) == len(costly.spent) < trainer.step / 4


def test_the_orders_of_a_paused_run_are_measured_when_it_goes_on(no_step):
    trainer = make_trainer()
    found, stop = watched(trainer)
    trainer.start(100_000)
    eventually(lambda: trainer.step > 3)
    trainer.pause()
    eventually(lambda: trainer.status == "paused")
    at = trainer.step
    trainer.freeze("layers.0")
    eventually(lambda: trainer.adapter.frozen())
    time.sleep(0.05)
    assert [event.step for event in found] == [1]
    trainer.resume()
    eventually(lambda: len(found) == 2)
    trainer.stop()
    trainer.wait()
    stop()
    assert found[1].step == at + 1


# ---------------------------------------------------------------- what


def test_the_event_has_plain_values_by_path(every_step):
    trainer = make_trainer()
    found, stop = watched(trainer)
    next(trainer.steps(1))
    stop()
    event = found[0]
    parameters = {path for path, _ in trainer.model.named_parameters()}
    modules = {path for path, _ in trainer.model.named_modules()}
    assert (event.step, event.epoch) == (1, 0)
    assert event.gradient_norm.keys() == event.update_ratio.keys() == parameters
    assert event.seconds.keys() == event.saved_bytes.keys() == modules
    assert event.order == ("", "layers.0", "layers.1", "layers.2")
    assert event.needs_gradient == ("layers.1", "layers.2")
    assert event.memory is None or event.memory > 0
    numbers = [event.gradient_norm, event.update_ratio, event.seconds, event.saved_bytes]
    assert {type(v) for table in numbers for v in table.values()} == {float, int}


def test_measured_steps_are_told_after_the_step_and_kept_by_nobody(every_step):
    trainer = make_trainer()
    told = []
    trainer.subscribe(lambda event: told.append(type(event)))
    stop = trainer.watch_measures()
    trainer.fit(1, progress=False)
    stop()
    steps = [kind for kind in told if kind in (StepDone, Measured)]
    assert steps == [StepDone, Measured] * 4
    assert not any(type(event) is Measured for event in trainer.events)


def test_the_newest_values_are_arrays_in_the_order_of_the_model(every_step):
    trainer = make_trainer()
    found, stop = watched(trainer)
    trainer.fit(1, progress=False)
    stop()
    measures, event = trainer.measures, found[-1]
    assert measures.parameters == tuple(p for p, _ in trainer.model.named_parameters())
    assert measures.modules == ("", "layers.0", "layers.1", "layers.2")
    assert measures.step == event.step == 4
    assert (measures.order, measures.memory) == (event.order, event.memory)
    assert measures.gradient_norm.tolist() == list(event.gradient_norm.values())
    assert measures.update_ratio == pytest.approx(list(event.update_ratio.values()))
    assert measures.seconds.tolist() == list(event.seconds.values())
    assert measures.saved_bytes.tolist() == list(event.saved_bytes.values())


def test_numbers_are_right(every_step):
    model = make_model()
    trainer = make_trainer(model, optim.SGD(0.5), shuffle=False)
    before = {path: value.copy() for path, value in model.named_parameters()}
    x, y = (part[:16] for part in make_data())
    loss = nn.value_and_grad(
        model, lambda x: nn.losses.cross_entropy(model(x), y, reduction="mean")
    )
    _, gradients = loss(x)
    stop = trainer.watch_measures()
    next(trainer.steps(1))
    stop()
    row = trainer.measures.parameters.index("layers.0.weight")
    gradient = np.linalg.norm(gradients["layers"][0]["weight"])
    assert trainer.measures.gradient_norm[row] == pytest.approx(gradient, rel=1e-4)
    ratio = 0.5 * gradient / np.linalg.norm(before["layers.0.weight"])
    assert trainer.measures.update_ratio[row] == pytest.approx(ratio, rel=1e-3)
    assert trainer.measures.saved_bytes[1] == 16 * 4 * 4


def test_a_module_has_the_sum_of_what_is_in_it(every_step):
    trainer = make_trainer()
    trainer.freeze("layers.0")
    stop = trainer.watch_measures()
    next(trainer.steps(1))
    stop()
    measures = trainer.measures
    whole = measures.by_module
    last = np.sqrt(np.sum(measures.gradient_norm[2:] ** 2))
    assert whole.gradient_norm == pytest.approx([last, np.nan, np.nan, last], nan_ok=True)
    assert whole.saved_bytes[0] == measures.saved_bytes.sum() > 0
    seconds = trainer.history.steps["seconds"][0]
    assert whole.time_share * seconds == pytest.approx(
        [measures.seconds.sum(), *measures.seconds[1:]]
    )
    assert 0 < whole.time_share[0] < 1
    assert np.isnan(whole.update_ratio[1])
    assert whole.update_ratio[0] == whole.update_ratio[3] > 0


def test_small_norms_do_not_drown_beside_large_ones():
    parameters = tuple(ParameterInfo(f"{p}.w", (1,), "float32", 1, 4) for p in "abc")
    layers = tuple(LayerInfo(p.path[0], "", "", "", (p,), (), ()) for p in parameters)
    measures = Measures(LayerInfo("", "", "", "", (), (), layers))
    norms = {"a.w": 1e8, "b.w": 1e-8, "c.w": 2e-8}
    measures.take(Probe(gradient_norm=norms), 1, 1.0, frozenset())
    assert measures.by_module.gradient_norm == pytest.approx([1e8, 1e8, 1e-8, 2e-8])


def test_rows_are_asked_for_by_path(every_step):
    trainer = make_trainer()
    trainer.freeze("layers.0.bias")
    stop = trainer.watch_measures()
    assert np.isnan(trainer.measures.rows(["", "layers.0"])).all()
    next(trainer.steps(1))
    stop()
    measures = trainer.measures
    rows = measures.rows(["layers.0", "layers.0.weight", "layers.0.bias", "gone", ""])
    assert (rows.shape, rows.dtype) == ((5, 4), np.float32)
    assert rows[0] == pytest.approx([column[1] for column in measures.by_module])
    assert rows[1][:2] == pytest.approx([measures.gradient_norm[0], measures.update_ratio[0]])
    assert np.isnan(rows[1][2:]).all()
    assert np.isnan(rows[2:4]).all()
    assert rows[4] == pytest.approx([column[0] for column in measures.by_module])


def test_a_shared_layer_and_a_tied_parameter_go_by_any_of_their_names(every_step):
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, shared, nn.Linear(4, 4))
    model.layers[2].weight = shared.weight
    trainer = make_trainer(model)
    stop = trainer.watch_measures()
    next(trainer.steps(1))
    stop()
    rows = trainer.measures.rows(["layers.0", "layers.1", "layers.0.weight", "layers.2.weight"])
    assert np.isfinite(rows[0]).all()
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[2], rows[3])


def test_a_parameter_of_zeros_has_no_ratio(every_step):
    model = make_model()
    model.layers[2].bias = np.zeros(3, np.float32)
    trainer = make_trainer(model)
    found, stop = watched(trainer)
    next(trainer.steps(1))
    stop()
    assert "layers.2.bias" not in found[0].update_ratio
    assert np.isnan(trainer.measures.rows(["layers.2.bias"])[0, 1])
    assert np.isfinite(trainer.measures.by_module.update_ratio[3])


# ---------------------------------------------------------------- over time


def test_gradients_over_time_have_a_row_per_parameter(every_step):
    trainer = make_trainer()
    found, stop = watched(trainer)
    for done in trainer.steps(2):
        if done.step == 4:
            trainer.freeze("layers.0")
    stop()
    steps, norms = trainer.measures.gradients
    assert steps.tolist() == list(range(1, 9))
    assert norms.shape == (4, 8)
    assert np.isnan(norms[:2, 4:]).all()
    assert norms[2].tolist() == [np.float32(e.gradient_norm["layers.2.weight"]) for e in found]


def test_a_trend_is_that_of_a_parameter_or_of_a_module(every_step):
    trainer = make_trainer()
    stop = trainer.watch_measures()
    for done in trainer.steps(2):
        if done.step == 4:
            trainer.freeze("layers.0")
    stop()
    steps, norms = trainer.measures.gradients
    found, of_weight = trainer.measures.trend("layers.0.weight")
    assert found.tolist() == steps.tolist()
    np.testing.assert_array_equal(of_weight, norms[0].astype(float))
    _, of_layer = trainer.measures.trend("layers.0")
    np.testing.assert_allclose(of_layer[:4], np.hypot(norms[0, :4], norms[1, :4]), rtol=1e-6)
    assert np.isnan(of_layer[4:]).all()
    _, of_all = trainer.measures.trend("")
    np.testing.assert_allclose(of_all[4:], np.hypot(norms[2, 4:], norms[3, 4:]), rtol=1e-6)
    with pytest.raises(KeyError, match="gone"):
        trainer.measures.trend("gone")


def test_the_history_has_the_bytes_of_measured_steps(no_step, tmp_path):
    trainer = make_trainer()
    stop = trainer.watch_measures()
    for done in trainer.steps(1):
        if done.step == 2:
            trainer.freeze("layers.0")
    stop()
    columns = trainer.history.steps
    assert (columns["seconds"] > 0).all()
    saved = columns["saved_bytes"]
    assert np.isnan(saved).tolist() == [False, True, False, True]
    # Of 16 samples in float32: the input, for the first weight; what the ReLU gave, always.
    assert saved[0] == 16 * (4 + 8) * 4
    assert saved[2] == 16 * 8 * 4
    assert trainer.history.to_dict()["saved_bytes"] == [saved[0], None, saved[2], None]
    if trainer.measures.memory is not None:
        assert columns["memory"][2] == trainer.measures.memory
    trainer.history.to_csv(tmp_path / "run.csv")
    header, first, *_ = (tmp_path / "run.csv").read_text().splitlines()
    assert str(saved[0]) == first.split(",")[header.split(",").index("saved_bytes")]


# ---------------------------------------------------------------- roles


def test_roles_are_expected_until_a_step_was_measured_under_the_freeze_state(every_step):
    trainer = make_trainer()
    trainer.freeze("layers.0")
    frozen = trainer.adapter.frozen()
    wanted = {"": "trains", "layers.0": "idle", "layers.1": "stops", "layers.2": "trains"}
    assert trainer.measures.roles(frozen) == (wanted, True)
    stop = trainer.watch_measures()
    next(trainer.steps(1))
    assert trainer.measures.roles(frozen) == (wanted, False)
    all_but_head = dict.fromkeys(wanted, "trains") | {"layers.1": "flows", "layers.2": "flows"}
    head = frozenset({"layers.2.weight", "layers.2.bias"})
    assert trainer.measures.roles(head) == (all_but_head, True)
    stop()


# ---------------------------------------------------------------- nothing else changes


def record(trainer):
    table = trainer.history.to_dict()
    return weights(trainer.model), table["loss"], table["validation_loss"], table["changes"]


def trained(watching, background=False):
    trainer = make_trainer(make_model(dropout=True), validation=make_data(9))
    stop = trainer.watch_measures() if watching else None
    if background:
        trainer.start(3)
        trainer.wait()
    else:
        for done in trainer.steps(3):
            if done.step == 5:
                trainer.freeze("layers.0", hold=True)
            if done.step == 9:
                trainer.unfreeze("layers.0")
    if stop is not None:
        assert trainer.measures.taken == 12
        stop()
    return record(trainer)


@pytest.mark.parametrize("background", [False, True])
def test_a_run_is_the_same_bit_for_bit_with_and_without_measures(every_step, background):
    assert trained(True, background) == trained(False, background)


def test_trainers_in_several_threads_are_measured_each_for_itself(every_step):
    trainers = [make_trainer(make_model(seed=n), seed=n) for n in range(4)]
    alone = [make_trainer(make_model(seed=n), seed=n) for n in range(4)]
    stops = [trainer.watch_measures() for trainer in trainers]
    for trainer in trainers:
        trainer.start(10)
    for trainer in trainers:
        trainer.wait()
    for trainer in alone:
        trainer.fit(10, progress=False)
    for stop in stops:
        stop()
    for trainer, other in zip(trainers, alone, strict=True):
        assert trainer.measures.taken == 40
        assert trainer.measures.order == ("", "layers.0", "layers.1", "layers.2")
        assert record(trainer) == record(other)
    assert _calls._ears == {}


def test_measures_can_be_read_while_they_grow(every_step):
    trainer = make_trainer()
    stop = trainer.watch_measures()
    trainer.start(1_000_000)
    errors = []

    def read():
        try:
            for _ in range(200):
                measures = trainer.measures
                steps, norms = measures.gradients
                assert norms.shape == (4, len(steps))
                assert (np.diff(steps) > 0).all()
                assert measures.rows(["", "layers.0"]).shape == (2, 4)
                measures.trend("layers.0")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trainer.stop()
    trainer.wait()
    stop()
    assert errors == []
    assert trainer.measures.taken == trainer.step


def test_a_step_that_fails_leaves_nothing_behind(every_step):
    class Fails(nn.Linear):
        fails = False

        def __call__(self, x):
            if self.fails:
                raise ArithmeticError("on purpose")
            return super().__call__(x)

    trainer = make_trainer(nn.Sequential(Fails(4, 3)))
    stop = trainer.watch_measures()
    forget = trainer.subscribe(
        lambda event: setattr(trainer.model.layers[0], "fails", event.step == 3)
    )
    with pytest.raises(ArithmeticError):
        trainer.fit(2, progress=False)
    assert trainer.measures.taken == trainer.step == 3
    assert _calls.current.get() is None
    forget()
    trainer.model.layers[0].fails = False
    next(trainer.steps(1))
    assert trainer.measures.taken == trainer.step == 4
    stop()
    assert _calls._ears == {}


def test_who_forgets_to_stop_watching_leaves_nothing_behind_when_the_run_is_gone():
    trainer = make_trainer()
    trainer.watch_measures()
    next(trainer.steps(1))
    assert nn.Linear in _calls._ears
    del trainer
    gc.collect()
    assert _calls._ears == {}


class Broken(FakeAdapter):
    def __init__(self, adapter, where):
        self.adapter, self.where = adapter, where

    def __getattr__(self, name):
        return getattr(self.adapter, name)

    def frozen(self):
        return self.adapter.frozen()

    def snapshot(self):
        return self.adapter.snapshot()

    def listen(self):
        if self.where == "listen":
            raise OSError("broken")
        return self.adapter.listen()

    def probe(self):
        return self._probe()

    @contextmanager
    def _probe(self):
        if self.where == "enter":
            raise OSError("broken")
        with self.adapter.probe() as probe:
            yield probe
        if self.where == "leave":
            raise OSError("broken")


@pytest.mark.parametrize("where", ["listen", "enter", "leave"])
def test_a_probe_that_fails_is_reported_once_and_the_run_goes_on(every_step, where):
    trainer = make_trainer()
    trainer._loop.meter._adapter = Broken(trainer.adapter, where)

    def run():
        stop = trainer.watch_measures()
        trainer.fit(2, progress=False)
        stop()

    with pytest.warns(ObserverWarning, match="broken") as warned:
        run()
    assert len(warned) == 1
    assert trainer.status == "finished"
    assert trainer.measures.taken == 0


def test_a_layer_that_was_replaced_is_measured_and_the_others_keep_their_record(every_step):
    trainer = make_trainer()
    stop = trainer.watch_measures()
    trainer.fit(1, progress=False)
    _, before = trainer.measures.trend("layers.0")
    trainer.model.update_modules({"layers": [{}, {}, nn.Sequential(nn.Linear(8, 3))]})
    trainer.fit(1, progress=False)
    stop()
    measures = trainer.measures
    assert measures.modules[-1] == "layers.2.layers.0"
    assert np.isfinite(measures.rows(["layers.2.layers.0.weight"])[0, 0])
    _, after = measures.trend("layers.0")
    assert after[:4].tolist() == before.tolist()
    assert np.isnan(measures.trend("layers.2.layers.0")[1]).tolist() == [True] * 4 + [False] * 4


# ---------------------------------------------------------------- loops of one's own


def own_loop(run, model, steps, optimizer):
    x, y = (part[:16] for part in make_data())
    step = nn.value_and_grad(
        model, lambda x: nn.losses.cross_entropy(model(x), y, reduction="mean")
    )
    for _ in range(steps):
        run.attend()
        run.step_begins()
        loss, gradients = step(x)
        optimizer.update(model, gradients)
        run.log({"loss": float(loss)})
        run.step_done()


def test_a_loop_of_ones_own_is_measured(every_step):
    model = make_model()
    run = OwnRun(adapt(model))
    found, stop = watched(run)
    run.begin()
    own_loop(run, model, 3, optim.SGD(0.1))
    run.end("finished")
    stop()
    assert [event.step for event in found] == [1, 2, 3]
    assert found[0].gradient_norm.keys() == {path for path, _ in model.named_parameters()}
    assert all(0 < ratio < 1 for ratio in found[0].update_ratio.values())
    assert np.isfinite(run.history.steps["saved_bytes"]).all()


def test_a_loop_that_only_logs_is_measured(every_step):
    model = make_model()
    run = OwnRun(adapt(model))
    found, stop = watched(run)
    optimizer = optim.SGD(0.1)
    step = nn.value_and_grad(model, lambda x: (model(x) ** 2).mean())
    for _ in range(4):
        loss, gradients = step(make_data()[0])
        optimizer.update(model, gradients)
        run.log({"loss": float(loss)})
    run.end("finished")
    stop()
    assert [event.step for event in found] == [2, 3, 4]  # of the first, nobody knew that it began
    assert found[0].order == ("", "layers.0", "layers.1", "layers.2")
    assert _calls.current.get() is None


def test_a_loop_that_was_left_in_a_step_leaves_nothing_behind(every_step):
    model = make_model()
    run = OwnRun(adapt(model))
    stop = run.watch_measures()
    run.begin()
    run.step_begins()
    model(make_data()[0])
    run.end("stopped")
    assert _calls.current.get() is None
    assert run.measures.taken == 0
    stop()
    assert _calls._ears == {}


def test_a_model_whose_adapter_cannot_measure_is_not_measured(every_step):
    run = OwnRun(FakeAdapter(FakeModel([("", "Net", ["w"], [])])))
    found, stop = watched(run)
    run.begin()
    run.step_begins()
    run.step_done()
    run.end("finished")
    stop()
    assert found == []
    assert run.measures.parameters == ("w",)
    assert run.measures.taken == 0


def test_a_pytorch_model_in_a_loop_of_ones_own_is_measured(every_step):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    run = OwnRun(adapt(model))
    found, stop = watched(run)
    run.begin()
    for _ in range(2):
        run.attend()
        run.step_begins()
        optimizer.zero_grad()
        loss = model(torch.ones(16, 4)).square().mean()
        loss.backward()
        optimizer.step()
        run.step_done()
        run.freeze("0")
    run.end("finished")
    stop()
    assert len(found) == 2
    assert found[0].gradient_norm.keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert found[1].gradient_norm.keys() == found[1].update_ratio.keys() == {"2.weight", "2.bias"}
    saved = run.history.steps["saved_bytes"]
    assert saved[0] > saved[1] > 0
    roles, expected = run.measures.roles(run.adapter.frozen())
    assert roles == {"": "trains", "0": "idle", "1": "stops", "2": "trains"}
    assert not expected
