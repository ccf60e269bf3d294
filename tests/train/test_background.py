"""A run in a thread: steering it, waiting for it, and what reaches the user when it fails."""

import contextvars
import signal
import threading
import time
import warnings

import numpy as np
import pytest

from freezeviz import nn
from freezeviz.errors import NothingTrainableWarning, RunError
from tests.train._setup import eventually, kinds, make_data, make_model, make_trainer, weights

FOREVER = 1_000_000
may_freeze_all = pytest.mark.filterwarnings("ignore::freezeviz.errors.NothingTrainableWarning")


@pytest.fixture
def running():
    trainer = make_trainer()
    trainer.start(FOREVER)
    yield trainer
    trainer.stop()
    trainer.wait(20)


def slow_loss(outputs, targets):
    time.sleep(0.01)
    return nn.losses.cross_entropy(outputs, targets, reduction="mean")


def test_start_returns_at_once_and_the_run_goes_on_beside():
    trainer = make_trainer(loss=slow_loss)
    trainer.start(5)
    assert trainer.status == "running"
    assert trainer.step < trainer.planned_steps == 20
    assert trainer.wait() == "finished"
    assert trainer.step == 20


def test_the_thread_is_named_and_does_not_keep_the_program_alive(running):
    (thread,) = [t for t in threading.enumerate() if t.name == "freezeviz-run"]
    assert thread.daemon


def test_the_run_sees_the_context_that_started_it():
    variable = contextvars.ContextVar("variable", default="none")
    seen = []
    trainer = make_trainer()
    trainer.subscribe(lambda e: seen.append((variable.get(), np.geterr()["divide"])))
    variable.set("mine")
    with np.errstate(divide="call"):
        trainer.start(1)
    trainer.wait()
    assert set(seen) == {("mine", "call")}


def test_pause_resume_and_stop(running):
    eventually(lambda: running.step > 5)
    running.pause()
    eventually(lambda: running.status == "paused")
    step = running.step
    time.sleep(0.05)
    assert running.step == step
    running.pause()
    running.resume()
    eventually(lambda: running.step > step)
    assert running.status == "running"
    running.resume()
    running.stop()
    assert running.wait(20) == "stopped"
    assert kinds(running) == ["RunStarted", "Paused", "Resumed", "Stopped"]
    assert len({e.step for e in running.events[1:3]}) == 1


def test_orders_are_carried_out_while_paused(running):
    running.pause()
    eventually(lambda: running.status == "paused")
    before = weights(running.model)
    running.freeze("layers.0")
    running.set_learning_rate(0.5)
    eventually(lambda: len(running.events) == 4)
    assert running.status == "paused"
    assert running.adapter.frozen() == {"layers.0.weight", "layers.0.bias"}
    assert weights(running.model) == before
    running.stop()
    assert running.wait(20) == "stopped"


def test_waiting_may_end_before_the_run(running):
    assert running.wait(timeout=0.01) == "running"
    running.pause()
    eventually(lambda: running.wait(timeout=0.01) == "paused")


def test_starting_twice_is_refused(running):
    for again in (lambda: running.start(1), lambda: running.fit(1, progress=False)):
        with pytest.raises(RunError, match=r"under way already.*stop\(\) and wait\(\)"):
            again()
    with pytest.raises(RunError, match=r"stop\(\) and wait\(\)"):
        running.evaluate()


def test_after_a_stop_the_run_can_be_taken_up():
    trainer = make_trainer(validation=make_data(5))
    trainer.start(FOREVER)
    eventually(lambda: trainer.step > 10)
    trainer.stop()
    trainer.wait()
    rest = 40 - trainer.epoch
    trainer.start(rest)
    assert trainer.wait() == "finished"
    whole = make_trainer(validation=make_data(5))
    whole.fit(40, progress=False)
    assert trainer.step == whole.step == 160
    assert weights(trainer.model) == weights(whole.model)


def test_an_exception_is_kept_and_raised_by_wait(caplog):
    made = []

    def loss(outputs, targets):
        made.append(1)
        if len(made) == 6:
            raise ZeroDivisionError("my own mistake")
        return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    trainer = make_trainer(loss=loss)
    trainer.start(3)
    for _ in range(2):
        with pytest.raises(RunError, match="after step 5: ZeroDivisionError: my own") as caught:
            trainer.wait()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert caught.value.__cause__.__traceback__ is not None
    assert trainer.status == "failed"
    assert trainer.error is caught.value.__cause__
    assert trainer.events[-1].message == "ZeroDivisionError: my own mistake"
    assert len(trainer.history) == 5
    assert "trainer.wait() raises it" in caplog.text
    trainer.freeze("layers.0")
    trainer.start(1)
    assert trainer.wait() == "finished"


def test_interrupting_wait_ends_the_waiting_and_not_the_run(running, monkeypatch, capsys):
    def interrupted(timeout=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(running._background, "join", interrupted)
    assert running.wait() == "running"
    assert "The run goes on (step" in capsys.readouterr().out
    monkeypatch.undo()
    step = running.step
    eventually(lambda: running.step > step)


def test_waiting_goes_on_after_an_interrupt(running, capsys):
    threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT)).start()
    assert running.wait(20) == "running"
    assert "The run goes on" in capsys.readouterr().out
    threading.Timer(0.2, running.stop).start()
    assert running.wait(20) == "stopped"


def test_a_run_in_the_foreground_cannot_be_waited_for():
    trainer = make_trainer()
    for _ in trainer.steps(1):
        with pytest.raises(RunError, match="start"):
            trainer.wait()
    assert trainer.wait() == "finished"


@may_freeze_all
def test_a_hundred_quick_toggles_are_all_carried_out_in_order(running):
    for i in range(100):
        running.toggle("layers.0" if i % 2 else "layers.2", origin=str(i))
    eventually(lambda: len(running.events) == 101)
    assert [e.origin for e in running.events[1:]] == [str(i) for i in range(100)]
    assert running.adapter.frozen() == frozenset()


@may_freeze_all
def test_orders_from_many_threads_are_all_carried_out(running):
    def click(path):
        for _ in range(50):
            running.toggle(path)

    threads = [
        threading.Thread(target=click, args=(f"layers.{i}.{name}",))
        for i in (0, 2)
        for name in ("weight", "bias")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: len(running.events) == 201)
    assert running.adapter.frozen() == frozenset()


def test_no_order_is_lost_at_the_end_of_a_run():
    for _ in range(5):
        trainer = make_trainer()
        trainer.start(3)
        sent = 0
        while trainer.status == "running":
            trainer.toggle("layers.0")
            sent += 1
            time.sleep(0.0003)
        trainer.toggle("layers.0")
        trainer.wait()
        assert len([e for e in trainer.events if type(e).__name__ == "FreezeChanged"]) == sent + 1


def test_the_history_can_be_read_and_drawn_while_it_grows(running):
    for i in range(10):
        running.toggle("layers.0")
        columns = running.history.to_dict()
        assert len(columns["step"]) == len(columns["loss"]) == len(columns["accuracy"])
        assert columns["step"] == list(range(1, len(columns["step"]) + 1))
        if i % 5 == 0:
            running.history.plot()


def test_a_receipt_can_be_verified_while_it_trains(running):
    import freezeviz as fv

    running.freeze("layers.0")
    eventually(lambda: running.adapter.frozen())
    receipt = fv.receipt(running)
    step = running.step
    eventually(lambda: running.step > step + 20)
    assert receipt.verify().ok
    assert receipt.verify().checked == 2


def test_warnings_reach_the_main_thread():
    trainer = make_trainer()
    trainer.freeze("")
    with pytest.warns(NothingTrainableWarning):  # noqa: PT031 - the thread warns between the two
        trainer.start(1)
        trainer.wait()


def test_a_warning_that_is_an_error_fails_the_run_and_is_delivered():
    trainer = make_trainer(make_model())
    trainer.freeze("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.start(1)
        with pytest.raises(RunError, match="every parameter is frozen"):
            trainer.wait()
    assert trainer.step == 1


def test_a_thread_that_cannot_be_had_leaves_the_trainer_usable(monkeypatch):
    def none_left(self):
        raise RuntimeError("can't start new thread")

    trainer = make_trainer()
    monkeypatch.setattr(threading.Thread, "start", none_left)
    with pytest.raises(RuntimeError, match="new thread"):
        trainer.start(1)
    monkeypatch.undo()
    trainer.fit(1, progress=False)
    assert trainer.status == "finished"
