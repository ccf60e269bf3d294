"""`steps`, `log` and `run`: loops that users write, for models of any framework."""

import asyncio
import functools
import gc
import itertools
import threading
import time

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.errors import DataError, NonFiniteLossWarning, RunError
from freezeviz.explorer import explore
from freezeviz.train import FreezeChanged, RunStarted, StopRun
from tests.explorer.fake_framework import encoder

BATCHES = ["a", "b", "c"]


@pytest.fixture
def explorer():
    return explore(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)))


def kinds(explorer):
    return [type(event).__name__ for event in explorer.run_view.events]


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# ---- a loop in the foreground ------------------------------------------------------------------


def test_steps_and_batches_come_in_order_epoch_after_epoch(explorer):
    assert list(fv.steps(BATCHES, explorer, epochs=2)) == list(enumerate(BATCHES * 2))
    run = explorer.run_view
    assert (run.status, run.step, run.epoch, run.planned_steps) == ("finished", 6, 2, 6)
    assert kinds(explorer) == ["RunStarted", "Finished"]
    assert run.history.steps["epoch"].tolist() == [0, 0, 0, 1, 1, 1]
    assert [step for step, _ in fv.steps(BATCHES, explorer)] == [6, 7, 8]
    assert run.epoch == 3


def test_a_loop_may_be_given_the_model_alone(explorer):
    model = explorer.target
    for step, _ in fv.steps(BATCHES, model):
        explorer.log(loss=step)
    assert explorer.run_view.history.steps["loss"].tolist() == [0, 1, 2]


def test_nothing_begins_before_the_first_step(explorer):
    loop = fv.steps(BATCHES, explorer)
    assert explorer.run_view.status == "idle"
    next(loop)
    assert explorer.run_view.status == "running"
    loop.close()
    assert explorer.run_view.status == "stopped"
    assert list(loop) == []


def test_what_is_asked_for_in_a_step_takes_effect_after_it(explorer):
    seen = []
    for step, _ in fv.steps(BATCHES, explorer):
        seen.append(explorer.controller.adapter.frozen())
        if step == 0:
            explorer.controller.toggle("layers.0")
            assert explorer.controller.pending == ("layers.0",)
            assert explorer.controller.adapter.frozen() == frozenset()
    assert seen == [frozenset(), *[frozenset({"layers.0.weight", "layers.0.bias"})] * 2]
    (event,) = [e for e in explorer.run_view.events if isinstance(e, FreezeChanged)]
    assert (event.step, event.origin) == (1, "click")
    assert [(m.step, m.label) for m in explorer.run_view.history.marks] == [(1, "freeze layers.0")]


def test_what_is_asked_for_in_the_last_step_is_not_lost(explorer):
    for step, _ in fv.steps(BATCHES, explorer):
        if step == 2:
            explorer.controller.freeze("layers.2")
    assert explorer.controller.adapter.frozen() == {"layers.2.weight", "layers.2.bias"}
    assert explorer.controller.pending == ()


def test_what_was_frozen_on_the_model_between_two_loops_is_told(explorer):
    list(fv.steps(BATCHES, explorer))
    explorer.target.layers[0].freeze()
    list(fv.steps(BATCHES, explorer))
    (event,) = [e for e in explorer.run_view.events if isinstance(e, FreezeChanged)]
    assert (event.step, event.origin) == (3, "model")


def test_leaving_the_loop_ends_the_run_at_once(explorer):
    for step, _ in fv.steps(BATCHES, explorer):
        explorer.log(loss=step)
        if step == 1:
            break
    assert explorer.run_view.status == "stopped"
    assert explorer.run_view.step == 2  # what had logged was done
    for _ in fv.steps(BATCHES, explorer):
        break
    assert explorer.run_view.step == 2  # what had not may not have been


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_in_the_body_ends_the_run_and_comes_out(explorer, error):
    def loop():
        for _ in fv.steps(BATCHES, explorer):
            raise error

    with pytest.raises(error):
        loop()
    assert explorer.run_view.status == "stopped"
    explorer.controller.toggle("layers.0")
    assert explorer.controller.pending == ()


def test_a_loader_that_fails_fails_the_run(explorer):
    def loader():
        yield "a"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        list(fv.steps(loader(), explorer))
    run = explorer.run_view
    assert (run.status, run.step) == ("failed", 1)
    assert run.events[-1].message == "OSError: the disk is gone"
    assert isinstance(run.error, OSError)


def test_a_loader_without_a_length_has_no_planned_steps(explorer):
    for step, number in fv.steps(itertools.count(), explorer):
        assert step == number
        assert explorer.run_view.planned_steps is None
        if step == 4:
            break
    list(fv.steps(iter("ab"), explorer))
    assert explorer.run_view.planned_steps == explorer.run_view.step == 6


def test_an_empty_loader_is_a_loop_of_no_steps(explorer):
    assert list(fv.steps([], explorer)) == []
    assert explorer.run_view.status == "finished"


def test_batches_may_be_anything(explorer):
    batches = [{"x": np.ones(3)}, None, "wait", ("x", "y")]
    assert [batch for _, batch in fv.steps(batches, explorer)] == batches


def test_two_loops_of_one_explorer_at_a_time_are_refused_in_words(explorer):
    def nested():
        for _ in fv.steps(BATCHES, explorer):
            list(fv.steps(BATCHES, explorer))

    with pytest.raises(RunError, match=r"another loop over steps\(\).*close\(\)"):
        nested()
    assert explorer.run_view.status == "stopped"
    assert len(list(fv.steps(BATCHES, explorer))) == 3


def test_loops_of_two_explorers_may_be_nested_or_side_by_side(explorer):
    other = explore(encoder())
    for _ in fv.steps(BATCHES, explorer):
        for step, _ in fv.steps(BATCHES, other):
            other.log(loss=step)
        explorer.log(loss=9.0)
    assert (explorer.run_view.step, other.run_view.step) == (3, 9)
    for (a, _), (b, _) in zip(fv.steps(BATCHES, explorer), fv.steps(BATCHES, other), strict=True):
        assert (a, b) == (explorer.run_view.step, other.run_view.step)
    assert explorer.run_view.status == other.run_view.status == "finished"


def test_a_model_of_another_framework_works_the_same():
    explorer = explore(encoder())
    for step, _ in fv.steps(BATCHES, explorer):
        if step == 0:
            explorer.controller.freeze("layers.1.attention")
    assert explorer.target.frozen == {"layers.1.attention.weight", "layers.1.attention.bias"}


def test_a_trainer_keeps_its_own_loop():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 6), dtype=np.float32), rng.integers(0, 4, 16)
    trainer = fv.Trainer(nn.Sequential(nn.Linear(6, 4)), optim.SGD(0.1), data=(x, y))
    explorer = explore(trainer)
    for act in (
        lambda: fv.steps(BATCHES, trainer),
        lambda: explorer.log(loss=1),
        lambda: explorer.run(print),
    ):
        with pytest.raises(RunError, match=r"trainer\.steps\(\)"):
            act()


@pytest.mark.parametrize(
    ("loader", "epochs", "message"),
    [
        (3, 1, "iterable of batches, got int"),
        (BATCHES, 0, "epochs is a whole number of at least 1, got 0"),
        (BATCHES, 1.5, "got 1.5"),
        (iter(BATCHES), 2, "used up after one epoch"),
    ],
)
def test_what_cannot_be_a_loop_is_refused_at_once(explorer, loader, epochs, message):
    with pytest.raises(DataError, match=message):
        fv.steps(loader, explorer, epochs=epochs)


def test_a_step_lasts_as_long_as_its_body(explorer):
    def slow():
        for _ in range(2):
            time.sleep(0.05)
            yield "batch"

    for _ in fv.steps(slow(), explorer):
        time.sleep(0.01)
    seconds = explorer.run_view.history.steps["seconds"]
    assert (seconds >= 0.01).all()
    assert (seconds < 0.05).all()


def test_an_explorer_is_gone_when_its_loop_and_its_user_are():
    model = nn.Sequential(nn.Linear(2, 2))
    list(fv.steps(BATCHES, model))
    gc.collect()
    assert explore(model).run_view is None


# ---- log ---------------------------------------------------------------------------------------


def test_numbers_of_a_step_become_its_row(explorer):
    for step, _ in fv.steps(BATCHES, explorer):
        explorer.log(loss=1.0 - step, accuracy=0.5)
        if step == 1:
            explorer.log(gradient=2.5, loss=7.0)
    table = explorer.run_view.history.to_dict()
    assert table["loss"] == [1.0, 7.0, -1.0]
    assert table["accuracy"] == [0.5] * 3
    assert table["metrics"] == {"gradient": [None, 2.5, None]}


def test_numbers_logged_after_the_loop_belong_to_its_last_step(explorer):
    for _ in range(2):
        list(fv.steps(BATCHES, explorer))
        explorer.log(f1=0.25, validation_loss=0.5, validation_f1=0.75)
    history = explorer.run_view.history
    assert np.flatnonzero(np.isfinite(history.steps["f1"])).tolist() == [2, 5]
    assert history.validation["step"].tolist() == [3, 6]
    assert history.validation["epoch"].tolist() == [0, 1]
    assert history.validation["loss"].tolist() == [0.5, 0.5]
    assert history.validation["f1"].tolist() == [0.75, 0.75]


def test_a_loop_of_another_kind_counts_its_logs(explorer):
    frozen = []
    for i in range(3):
        explorer.log(loss=i)
        explorer.controller.toggle("layers.0")  # of its own thread: at once
        frozen.append(bool(explorer.controller.adapter.frozen()))
    run = explorer.run_view
    assert frozen == [True, False, True]
    assert (run.status, run.step, run.planned_steps) == ("running", 3, None)
    run.cell_ended(None)
    assert run.status == "finished"
    explorer.log(loss=3)
    assert (run.status, run.step) == ("running", 4)
    list(fv.steps(BATCHES, explorer))
    assert [type(e) for e in run.events].count(RunStarted) == 3


def test_orders_of_other_threads_wait_for_the_next_log_or_for_the_end_of_its_thread(explorer):
    go_on, logged = threading.Event(), threading.Event()

    def loop():
        explorer.log(loss=0)
        logged.set()
        assert go_on.wait(20)
        explorer.log(loss=1)

    thread = threading.Thread(target=loop)
    thread.start()
    assert logged.wait(20)
    explorer.controller.toggle("layers.0")
    assert explorer.controller.pending == ("layers.0",)
    go_on.set()
    thread.join(20)
    assert explorer.controller.pending == ()
    explorer.controller.toggle("layers.2")  # nobody is going to log any more
    assert explorer.controller.pending == ()
    assert len(explorer.controller.adapter.frozen()) == 4


def test_a_stop_ends_a_loop_of_another_kind_in_its_next_log(explorer):
    explorer.log(loss=0)
    explorer.run_view.stop()
    with pytest.raises(StopRun):
        explorer.log(loss=1)
    assert (explorer.run_view.status, explorer.run_view.step) == ("stopped", 2)
    assert not issubclass(StopRun, Exception)


def test_numbers_may_be_arrays_tensors_and_whatever_has_one_element(explorer):
    torch = pytest.importorskip("torch")
    weight = torch.ones(3, requires_grad=True)
    values = [3, np.float32(3), np.array([[3.0]]), weight.sum(), torch.tensor([3]), True]
    for _, value in fv.steps(values, explorer):
        explorer.log(loss=value)
    assert explorer.run_view.history.steps["loss"].tolist() == [3, 3, 3, 3, 3, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": np.ones(3)}, r"log\(loss=...\) must be a single number, got ndarray of shape"),
        ({"loss": "low"}, "must be a single number, got 'low'"),
        ({"loss": 1j}, "single number"),
        ({"loss": 10**400}, "fits in a float"),
        ({"step": 3}, "cannot be called 'step'"),
        ({"validation_step": 3}, "cannot be called 'step'"),
        ({"changes": 3}, "cannot be called 'changes'"),
        ({"": 3}, "name of a metric"),
    ],
)
def test_what_cannot_be_logged_is_refused_and_nothing_is_kept(explorer, values, message):
    for _ in fv.steps(["only"], explorer):
        with pytest.raises(DataError, match=message):
            explorer.log(fine=1, **values)
    assert "fine" not in explorer.run_view.history.steps


def test_names_that_are_anything_but_identifiers_are_fine(explorer):
    names = {"self": 1, "name": 2, "a/b": 3, "<img src=x>": 4, "🙂": 5}
    for _ in fv.steps(["only"], explorer):
        explorer.log(**names, nothing=None)
    metrics = explorer.run_view.history.to_dict()["metrics"]
    assert metrics == {name: [value] for name, value in names.items()}


def test_a_loss_that_is_not_finite_is_told_once(explorer):
    def loop():
        for _, loss in fv.steps([1.0, float("nan"), float("inf"), 1.0, float("nan")], explorer):
            explorer.log(loss=loss)

    with pytest.warns(NonFiniteLossWarning, match="at step 2") as caught:
        loop()
    assert len(caught) == 1
    assert kinds(explorer).count("NonFiniteLoss") == 2


def test_a_step_that_logs_nothing_has_no_loss_and_that_is_no_trouble(explorer):
    list(fv.steps(BATCHES, explorer))
    assert np.isnan(explorer.run_view.history.steps["loss"]).all()


# ---- in the background -------------------------------------------------------------------------


def endless(explorer, seen=lambda step: None):
    for step, _ in fv.steps(itertools.count(), explorer):
        explorer.log(loss=1.0)
        seen(step)


def test_a_function_runs_beside_and_its_result_is_kept(explorer):
    def train(n, *, scale):
        for step, _ in fv.steps(range(n), explorer, epochs=2):
            explorer.log(loss=scale * step)
        return "done"

    background = explorer.run(train, 3, scale=2.0)
    assert background.wait() == "finished"
    assert background.done
    assert (background.result, background.error) == ("done", None)
    assert explorer.run_view.history.steps["loss"].tolist() == [0, 2, 4, 6, 8, 10]
    assert kinds(explorer) == ["RunStarted", "Finished"]
    assert repr(background).endswith("train, finished, step 6)")


def test_it_pauses_takes_orders_resumes_and_stops(explorer):
    background = explorer.run(endless, explorer)
    run = explorer.run_view
    assert run.status == background.status == "running"
    assert not background.done
    wait_for(lambda: run.step > 5)
    run.pause()
    wait_for(lambda: run.status == "paused")
    step = run.step
    explorer.controller.freeze("layers.0")
    wait_for(lambda: not explorer.controller.pending)
    assert (run.step, background.wait(timeout=0.02)) == (step, "paused")
    run.resume()
    wait_for(lambda: run.step > step)
    run.stop()
    assert background.wait(20) == "stopped"
    assert kinds(explorer) == ["RunStarted", "Paused", "FreezeChanged", "Resumed", "Stopped"]


def test_it_stops_while_it_pauses(explorer):
    background = explorer.run(endless, explorer)
    explorer.run_view.pause()
    wait_for(lambda: explorer.run_view.status == "paused")
    explorer.run_view.stop()
    assert background.wait(20) == "stopped"


def test_after_a_stop_the_function_goes_on_but_no_other_loop_begins(explorer):
    told = []

    def train():
        for epoch in itertools.count():
            told.append(epoch)
            for _ in fv.steps(itertools.count(), explorer):
                pass
            explorer.log(validation_loss=1.0)

    background = explorer.run(train)
    wait_for(lambda: explorer.run_view.step > 2)
    explorer.run_view.stop()
    assert background.wait(20) == "stopped"
    assert told == [0, 1]
    assert background.error is None
    assert len(explorer.run_view.history.validation["loss"]) == 1


def test_a_function_without_steps_stops_in_a_log(explorer):
    def train():
        while True:
            explorer.log(loss=1.0)

    background = explorer.run(train)
    wait_for(lambda: explorer.run_view.step > 2)
    explorer.controller.freeze("layers.0")
    wait_for(lambda: not explorer.controller.pending)
    explorer.run_view.stop()
    assert background.wait(20) == "stopped"


def test_an_exception_is_kept_shown_and_raised_by_wait(explorer, caplog):
    def train():
        for step, _ in fv.steps(BATCHES, explorer):
            explorer.log(loss=step)
            if step == 1:
                raise ZeroDivisionError("my own mistake")

    background = explorer.run(train)
    with pytest.raises(RunError, match=r"train failed after step 2: ZeroDivisionError: my own"):
        background.wait()
    assert isinstance(background.error, ZeroDivisionError)
    assert explorer.run_view.status == background.status == "failed"
    assert explorer.run_view.events[-1].message == "ZeroDivisionError: my own mistake"
    assert "wait()" in caplog.text
    explorer.controller.toggle("layers.0")
    assert explorer.controller.pending == ()


def test_what_begins_while_it_runs_is_refused(explorer):
    background = explorer.run(endless, explorer)
    with pytest.raises(RunError, match="under way already"):
        explorer.run(endless, explorer)
    with pytest.raises(RunError, match="under way already"):
        next(fv.steps(BATCHES, explorer))
    explorer.run_view.stop()
    assert background.wait(20) == "stopped"
    assert explorer.run_view.error is None
    with pytest.raises(TypeError, match="takes a function"):
        explorer.run("train")


async def trains_async(explorer):
    async for _ in fv.steps(BATCHES, explorer):
        pass


def trains_when_asked(explorer):
    for step, _ in fv.steps(BATCHES, explorer):
        yield step


@pytest.mark.parametrize(
    "function", [trains_async, trains_when_asked, functools.partial(trains_async)]
)
def test_a_function_that_would_do_nothing_when_called_is_refused(explorer, function):
    with pytest.raises(TypeError, match="is async or a generator, and would do nothing"):
        explorer.run(function, explorer)
    assert explorer.run_view is None or explorer.run_view.status == "idle"
    assert explorer.run(lambda: 3).wait() == "finished"


def test_another_thread_may_log_numbers_of_the_step_in_hand(explorer):
    inside, go_on = threading.Event(), threading.Event()

    def train():
        for _ in fv.steps(["only"], explorer):
            inside.set()
            assert go_on.wait(20)
            explorer.log(loss=1.0)

    background = explorer.run(train)
    assert inside.wait(20)
    explorer.log(speed=3.0, validation_loss=0.5)
    go_on.set()
    background.wait(20)
    history = explorer.run_view.history
    assert history.steps["speed"].tolist() == [3.0]
    assert history.validation["loss"].tolist() == [0.5]


def test_it_sees_the_context_that_started_it(explorer):
    with np.errstate(divide="call"):
        background = explorer.run(lambda: np.geterr()["divide"])
    background.wait()
    assert background.result == "call"


def test_a_thread_that_cannot_be_had_leaves_the_explorer_usable(explorer, monkeypatch):
    def none_left(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with pytest.raises(RuntimeError, match="new thread"):
        explorer.run(print)
    monkeypatch.undo()
    assert len(list(fv.steps(BATCHES, explorer))) == 3


# ---- async -------------------------------------------------------------------------------------


def test_an_async_loop_leaves_the_event_loop_free(explorer):
    async def main():
        seen = []

        async def beside():
            while True:
                seen.append(explorer.run_view.step)
                await asyncio.sleep(0)

        task = asyncio.create_task(beside())
        async for step, _ in fv.steps(range(5), explorer):
            explorer.log(loss=step)
        task.cancel()
        return seen

    assert set(asyncio.run(main())) >= {1, 2, 3, 4}
    assert explorer.run_view.status == "finished"
    assert explorer.run_view.step == 5


def test_an_async_loop_pauses_without_blocking_and_stops(explorer):
    async def main():
        async def train():
            async for _ in fv.steps(itertools.count(), explorer):
                explorer.log(loss=1.0)

        async def until(status):
            for _ in range(2000):
                if explorer.run_view.status == status:
                    return
                await asyncio.sleep(0.005)
            raise AssertionError(f"never {status}")

        explorer.own_run()
        task = asyncio.create_task(train())
        await until("running")
        explorer.run_view.pause()
        await until("paused")
        step = explorer.run_view.step
        explorer.controller.toggle("layers.0")
        while explorer.controller.pending:
            await asyncio.sleep(0.005)
        assert explorer.run_view.step == step
        explorer.run_view.resume()
        await until("running")
        explorer.run_view.stop()
        await task

    asyncio.run(main())
    assert kinds(explorer)[-1] == "Stopped"
    assert len(explorer.controller.adapter.frozen()) == 2


@pytest.mark.parametrize("how", ["break", "raise", "cancel"])
def test_an_async_loop_that_is_left_ends_its_run(explorer, how):
    async def main():
        async for step, _ in fv.steps(itertools.count(), explorer):
            explorer.log(loss=step)
            if step == 2 and how == "break":
                break
            if step == 2 and how == "raise":
                raise ZeroDivisionError
            if step == 2:
                asyncio.current_task().cancel()

    expected = {"raise": ZeroDivisionError, "cancel": asyncio.CancelledError}.get(how)
    if expected is None:
        asyncio.run(main())
    else:
        with pytest.raises(expected):
            asyncio.run(main())
    assert explorer.run_view.status == "stopped"
    assert explorer.run_view.step == 3


# ---- the end of a cell -------------------------------------------------------------------------


def test_a_loop_that_is_kept_is_ended_by_the_failure_of_its_cell(explorer):
    loop = fv.steps(BATCHES, explorer)
    next(loop)
    explorer.log(loss=1.0)
    explorer.run_view.cell_ended(ValueError("bad batch"))
    run = explorer.run_view
    assert (run.status, run.step) == ("failed", 1)
    assert run.events[-1].message == "ValueError: bad batch"
    assert list(loop) == []
    assert len(list(fv.steps(BATCHES, explorer))) == 3


def test_a_loop_that_is_taken_step_by_step_in_many_cells_goes_on(explorer):
    loop = fv.steps(BATCHES, explorer)
    next(loop)
    explorer.run_view.cell_ended(None)
    explorer.run_view.cell_ended(ValueError("of a cell that had nothing to do with it"))
    assert next(loop) == (1, "b")
    explorer.run_view.cell_ended(KeyboardInterrupt())
    assert explorer.run_view.status == "stopped"


def test_cells_that_end_leave_a_run_in_the_background_alone(explorer):
    background = explorer.run(endless, explorer)
    explorer.run_view.cell_ended(ValueError("of another cell"))
    assert explorer.run_view.status == "running"
    explorer.run_view.stop()
    assert background.wait(20) == "stopped"


# ---- doors -------------------------------------------------------------------------------------


def test_a_door_brings_orders_into_a_loop_that_blocks_its_thread(explorer):
    from contextlib import contextmanager

    waiting = []
    opened = []

    @contextmanager
    def door(blocking):
        opened.append(blocking)
        yield lambda: [waiting.pop(0)() for _ in range(len(waiting))]
        opened.append(False)

    run = explorer.own_run()
    remove = run.add_door(door)
    for step, _ in fv.steps(BATCHES, explorer):
        if step == 0:
            # What the page asks for comes in this very thread, which is not deaf meanwhile.
            waiting.append(lambda: explorer.controller.toggle("layers.0"))
            waiting.append(run.pause)
            threading.Timer(0.1, lambda: waiting.append(run.resume)).start()
    assert opened == [True, False]
    assert kinds(explorer) == ["RunStarted", "FreezeChanged", "Paused", "Resumed", "Finished"]
    remove()
    list(fv.steps(BATCHES, explorer))
    assert opened == [True, False]


def test_without_a_door_a_loop_cannot_pause_itself(explorer):
    for _ in fv.steps(BATCHES, explorer):
        with pytest.raises(RunError, match=r"explorer\.run\(function\)"):
            explorer.run_view.pause()


# ---- who hears of a run ------------------------------------------------------------------------


def test_whoever_waits_for_a_run_is_called_once_when_there_is_one(explorer):
    runs, others = [], []
    assert explorer.run_view is None
    explorer.when_run(runs.append)
    explorer.when_run(others.append)()  # waits no more
    explorer.log(loss=1.0)
    explorer.log(loss=0.5)
    explorer.when_run(runs.append)
    assert runs == [explorer.run_view] * 2
    assert others == []
    assert explorer.controller.run is explorer.run_view
