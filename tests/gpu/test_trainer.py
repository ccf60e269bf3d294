"""A trainer on a GPU: what a run reads back, in the foreground and in the background."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import backend
from freezeviz.errors import DataError, NonFiniteLossWarning
from freezeviz.train._late import Late
from tests.standin_cupy import cupy_of, host_reads, on_device_only
from tests.train._setup import make_data, make_model, make_trainer


def on_gpu(dropout=True, **options):
    options = {"validation": None} | options
    return make_trainer(make_model(dropout=dropout).to("gpu"), **options)


def watched(trainer, monkeypatch):
    """Note what a trainer does: steps that are launched, and numbers that are waited for.

    Nothing may go between host and device within a step, but for the order of the samples in the
    first of an epoch (and what a dropout draws: the model must have none).
    """
    engine, seen = trainer._loop.engine, []
    step, wait = engine.step, Late.read

    def launched(number, skip_bad):
        seen.append(f"step {number}")
        with (
            host_reads() as reads,
            on_device_only() if number % len(engine.train) else nullcontext(),
        ):
            outcome = step(number, skip_bad)
        assert reads == []
        return outcome

    def waited(numbers):
        seen.append("wait")
        return wait(numbers)

    monkeypatch.setattr(engine, "step", launched)
    monkeypatch.setattr(Late, "read", waited)
    return seen


AHEAD = ["step 0", "step 1", "wait", "step 2", "wait", "step 3", "wait", "wait"]
# The first step is the one in which it is looked whether there are features to be cached.
LOOKING = ["step 0", "wait", "step 1", "step 2", "wait", "step 3", "wait", "wait"]
IN_TURN = ["step 0", "wait", "step 1", "wait", "step 2", "wait", "step 3", "wait"]


def spread(outputs, targets):
    return outputs.max() - outputs.min()


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_a_step_waits_for_nothing_and_is_launched_before_the_one_before_is_waited_for(
    background, cache, monkeypatch
):
    with cupy_of("stand-in"):
        trainer = on_gpu(dropout=False, metrics={"spread": spread}, feature_cache=cache)
        seen = watched(trainer, monkeypatch)
        with host_reads() as reads:
            if background:
                trainer.start(1)
                trainer.wait(60)
            else:
                trainer.fit(1, progress=False)
    assert seen == (LOOKING if cache else AHEAD)
    assert len(reads) == len(trainer.history) == trainer.step == 4


def test_who_looks_in_between_sees_the_step_that_was_made_last(monkeypatch):
    with cupy_of("stand-in"):
        trainer = on_gpu(dropout=False)
        seen = watched(trainer, monkeypatch)
        for number, done in enumerate(trainer.steps(1), 1):
            assert done.step == trainer.step == number
        assert seen == IN_TURN
        seen.clear()
        told = []
        leave = trainer.subscribe(lambda event: told.append((event.step, trainer.step)))
        trainer.fit(1, progress=False)
        leave()
    assert [kind[:4] for kind in seen] == [kind[:4] for kind in IN_TURN]
    assert all(a == b for a, b in told)


def test_a_step_without_classes_waits_once_for_its_loss():
    x, _ = make_data()
    with cupy_of("stand-in"):
        trainer = on_gpu(data=(x, x[:, :3]), loss="mse_loss")
        with host_reads() as reads:
            trainer.fit(2, progress=False)
    assert len(reads) == trainer.step == 8


# ---------------------------------------------------------------- as on the CPU


def outcome(trainer):
    """Return what a run came to: what was told, and when, and the weights."""
    seen = [(type(event).__name__, event.step, event.epoch) for event in trainer.events]
    steps = trainer.history.steps
    model = {path: fv.to_numpy(value) for path, value in trainer.model.named_parameters()}
    return seen, steps["loss"], steps["accuracy"], model


def check_alike(first, second):
    assert first[0] == second[0]
    for a, b in zip(first[1:3], second[1:3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)
    for path, value in first[3].items():
        np.testing.assert_allclose(value, second[3][path], rtol=1e-3, atol=1e-5, err_msg=path)


@pytest.mark.parametrize("stop", [False, True])
def test_a_loss_that_is_not_finite_is_told_of_the_step_that_had_it(stop, cupy):
    x, y = make_data()
    x[37] = np.nan
    seen = []
    for place in ("cpu", "gpu"):
        trainer = make_trainer(
            make_model().to(place), data=(x, y), shuffle=False, stop_on_nonfinite=stop
        )
        with pytest.warns(NonFiniteLossWarning, match="at step 3"), np.errstate(all="ignore"):
            trainer.fit(1, progress=False)
        seen.append(outcome(trainer))
        assert trainer.step == (3 if stop else 4)
    check_alike(*seen)


class Ordering:
    """A metric that gives orders, to see between which steps they are carried out."""

    def __init__(self):
        self.calls = 0
        self.trainer: Any = None

    def __call__(self, outputs, targets):
        self.calls += 1
        if self.calls == 2:
            self.trainer.freeze("layers.0.*")
        if self.calls == 3:
            self.trainer.unfreeze("layers.0.weight")
            self.trainer.set_learning_rate(0.5)
        if self.calls == 6:
            self.trainer.stop()
        return outputs.max()


def test_an_order_given_during_a_step_comes_between_the_same_two_as_on_the_cpu(cupy):
    seen = []
    for place in ("cpu", "gpu"):
        orders = Ordering()
        orders.trainer = make_trainer(make_model().to(place), metrics={"orders": orders})
        orders.trainer.fit(2, progress=False)
        assert orders.trainer.status == "stopped"
        seen.append(outcome(orders.trainer))
    check_alike(*seen)


def test_a_step_that_fails_leaves_the_ones_before_on_record(cupy):
    seen = []
    for place in ("cpu", "gpu"):
        calls = []

        def failing(outputs, targets, calls=calls):
            calls.append(None)
            if len(calls) == 3:
                raise RuntimeError("boom")
            return outputs.max()

        trainer = make_trainer(make_model().to(place), metrics={"failing": failing})
        with pytest.raises(RuntimeError, match="boom"):
            trainer.fit(2, progress=False)
        assert (trainer.status, trainer.step, len(trainer.history)) == ("failed", 2, 2)
        seen.append(outcome(trainer))
    check_alike(*seen)


def test_a_metric_of_the_gpu_that_is_no_number_fails_before_the_step_changes_the_model(cupy):
    model = make_model().to("gpu")
    before = {path: value.get().tobytes() for path, value in model.named_parameters()}
    trainer = make_trainer(model, metrics={"all": lambda outputs, targets: outputs})
    with pytest.raises(DataError, match="the metric 'all' must be a single number"):
        trainer.fit(1, progress=False)
    assert before == {path: value.get().tobytes() for path, value in model.named_parameters()}


def test_a_validation_waits_once_for_each_batch():
    with cupy_of("stand-in"):
        trainer = on_gpu(validation=make_data(40))
        with host_reads() as reads:
            trainer.fit(1, progress=False)
    assert len(reads) == trainer.step + 3


def test_a_batch_of_a_validation_is_launched_before_the_one_before_is_waited_for(monkeypatch):
    with cupy_of("stand-in"):
        trainer = on_gpu(validation=make_data(40))
        trainer.fit(1, progress=False)
        engine = trainer._loop.engine
        seen = watched(trainer, monkeypatch)
        compute = engine._objective

        def launched(x, y):
            seen.append("batch")
            return compute(x, y)

        monkeypatch.setattr(engine, "_objective", launched)
        trainer.evaluate()
    assert seen == ["batch", "batch", "wait", "batch", "wait", "wait"]


@pytest.mark.parametrize("background", [False, True])
def test_a_run_with_orders_between_its_steps_is_that_of_the_cpu(background, cupy):
    seen = []
    for place in ("cpu", "gpu"):
        model = make_model(dropout=True).to(place)
        fv.freeze(model, "layers.0.weight")
        trainer = make_trainer(model, validation=make_data(9))
        kept = fv.receipt(trainer)
        trainer.freeze("layers.4.*")
        if background:
            trainer.start(3)
            trainer.wait(60)
        else:
            trainer.fit(3, progress=False)
        assert trainer.status == "finished"
        assert kept.verify().ok
        trainer.unfreeze("layers.0.weight")
        trainer.fit(1, progress=False)
        assert not kept.verify().ok
        assert {type(v) for _, v in model.named_parameters()} == {
            np.ndarray if place == "cpu" else cupy.ndarray
        }
        seen.append(trainer.history)
    for column in ("loss", "accuracy"):
        np.testing.assert_allclose(
            seen[0].steps[column], seen[1].steps[column], rtol=1e-4, err_msg=column
        )
    np.testing.assert_allclose(seen[0].validation["loss"], seen[1].validation["loss"], rtol=1e-4)


def test_data_in_lists_go_where_the_model_is(cupy):
    x, y = make_data()
    trainer = on_gpu(data=(x.tolist(), y.tolist()))
    trainer.fit(1, progress=False)
    assert isinstance(trainer._loop.engine.train.x, cupy.ndarray)
    assert backend.device() == "cpu"
