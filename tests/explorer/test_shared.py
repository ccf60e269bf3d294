"""Several explorers of one model: of itself, and of what trains it."""

import copy
import gc
import threading
import weakref

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.errors import FreezevizWarning, LockedError, RunError
from freezeviz.explorer import explore, steps
from freezeviz.train import FreezeChanged, OwnRun, Trainer
from tests.explorer.test_controller_training import make, state, wait_for
from tests.explorer.test_controller_training import running as running  # a fixture


def freezes(run):
    return [event for event in run.events if isinstance(event, FreezeChanged)]


def trainer_of(model):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 6), dtype=np.float32)
    return Trainer(model, optim.SGD(0.01), data=(x, rng.integers(0, 3, 16)), batch_size=8)


ORDERS = pytest.mark.parametrize("first", ["model", "trainer"])


def both(trainer, first):
    targets = {"model": trainer.model, "trainer": trainer}
    rest = {
        name: explore(targets[name]) for name in sorted(targets, key=lambda name: name != first)
    }
    return rest["model"], rest["trainer"]


@ORDERS
def test_what_is_done_in_one_view_is_seen_in_the_other(first):
    of_model, of_trainer = both(make()[0], first)
    seen = []
    of_trainer.controller.subscribe(seen.append)
    of_model.controller.toggle("layers.1")
    assert [change.kind for change in seen][-1] == "state"
    assert state(of_trainer.controller, "layers.1") == "frozen"
    assert of_trainer.controller.undoable == "freeze layers.1"
    of_trainer.controller.toggle("layers.1")
    assert state(of_model.controller, "layers.1") == "trainable"
    of_model.controller.undo()
    assert state(of_trainer.controller, "layers.1") == "frozen"


@ORDERS
def test_a_click_in_the_models_view_goes_through_the_trainer(running, first):
    trainer, gate = running
    of_model, of_trainer = both(trainer, first)
    of_model.controller.toggle("layers.1")
    assert trainer.adapter.frozen() == frozenset()  # the step in hand is not done
    assert of_trainer.controller.pending == ("layers.1",)
    gate._open.set()
    wait_for(lambda: state(of_model.controller, "layers.1") == "frozen")
    assert [(event.label, event.origin) for event in freezes(trainer)] == [
        ("freeze layers.1", "click")
    ]
    assert [mark.label for mark in trainer.history.marks] == ["freeze layers.1"]
    wait_for(lambda: of_trainer.controller.undoable)
    of_trainer.controller.undo()
    wait_for(lambda: state(of_model.controller, "layers.1") == "trainable")


@ORDERS
def test_locks_are_the_models(first):
    of_model, of_trainer = both(make()[0], first)
    of_model.controller.lock("layers.1")
    with pytest.raises(LockedError):
        of_trainer.controller.toggle("layers.1")
    with pytest.warns(FreezevizWarning, match="locked"):
        of_trainer.controller.freeze("")
    assert state(of_model.controller, "layers.1") == "trainable"
    of_trainer.controller.unlock("layers.1")
    assert of_model.controller.locked == ()


def test_a_trainer_that_nobody_explored_is_found_when_it_runs():
    trainer, gate = make()
    controller = explore(trainer.model).controller
    gate._open.clear()
    trainer.start(epochs=1000)
    assert gate._inside.wait(20)
    try:
        controller.toggle("layers.1")
        assert controller.run is trainer
        assert trainer.adapter.frozen() == frozenset()
        gate._open.set()
        wait_for(lambda: state(controller, "layers.1") == "frozen")
        assert [event.label for event in freezes(trainer)] == ["freeze layers.1"]
    finally:
        gate._open.set()
        trainer.stop()
        trainer.wait(20)


def test_what_a_trainer_froze_before_it_was_found_is_seen(running):
    trainer, gate = running
    controller = explore(nn.Linear(2, 2)).controller  # another model's
    of_model = explore(trainer.model).controller
    assert of_model.run is trainer
    assert controller.run is None
    trainer.freeze("layers.3")
    gate._open.set()
    wait_for(lambda: state(of_model, "layers.3") == "frozen")


def test_clicks_go_through_the_trainer_that_runs_whichever_was_explored_last():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    first, second = trainer_of(model), trainer_of(model)
    views = explore(first), explore(second)
    assert views[0].controller.run is second
    for _ in first.steps(epochs=1):
        assert views[1].controller.run is first
        views[1].controller.toggle("layers.0")
        break
    assert [len(freezes(run)) for run in (first, second)] == [1, 0]
    assert state(views[1].controller, "layers.0") == "frozen"
    second.fit(1, progress=False)
    views[0].controller.toggle("layers.2")
    assert [event.label for event in freezes(second)][-1] == "freeze layers.2"


def test_a_trainer_that_ended_and_is_explored_again_takes_the_orders():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    first, second = trainer_of(model), trainer_of(model)
    view, _ = explore(first), explore(second)
    explore(first)
    view.controller.toggle("layers.0")
    assert [len(freezes(run)) for run in (first, second)] == [1, 0]


def test_a_trainer_may_be_explored_while_another_of_its_model_runs(running):
    trainer, gate = running
    other = Trainer(
        trainer.model, optim.SGD(0.1), data=(np.zeros((8, 6), np.float32), np.zeros(8, int))
    )
    controller = explore(other).controller
    assert controller.run is trainer
    gate._open.set()
    trainer.stop()
    trainer.wait(20)
    controller.toggle("layers.1")
    assert len(freezes(trainer)) == 1


def test_a_loop_of_the_users_own_takes_the_clicks_of_a_trainers_view():
    trainer = trainer_of(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    of_trainer = explore(trainer)
    of_model = explore(trainer.model)
    for step, _ in steps([0, 1], of_model):
        if step == 0:
            of_trainer.controller.toggle("layers.0")
            assert of_trainer.controller.pending == ("layers.0",)
    assert [event.label for event in freezes(of_model.run_view)] == ["freeze layers.0"]
    assert freezes(trainer) == []
    assert state(of_trainer.controller, "layers.0") == "frozen"


def test_a_trainer_within_a_run_of_the_users_own_takes_the_clicks_while_it_trains():
    trainer = trainer_of(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    explorer, controller = explore(trainer.model), explore(trainer).controller

    def train():
        for done in trainer.steps(epochs=1):
            if done.step == 1:
                controller.toggle("layers.0")
        assert controller.run is explorer.run_view
        controller.toggle("layers.2")
        assert controller.pending == ("layers.2",)

    assert explorer.run(train).wait(20) == "finished"
    assert [event.label for event in freezes(trainer)] == ["freeze layers.0"]
    assert [event.label for event in freezes(explorer.run_view)] == ["freeze layers.2"]
    assert state(controller, "") == "frozen"


def test_a_loop_of_ones_own_is_refused_while_a_trainer_trains_the_model(running):
    trainer, gate = running
    with pytest.raises(RunError, match="under way"):
        steps([0, 1], trainer.model)
    gate._open.set()
    trainer.stop()
    trainer.wait(20)
    assert [step for step, _ in steps([0, 1], trainer.model)] == [0, 1]


def test_a_run_that_somebody_drives_by_hand_is_found():
    model = nn.Sequential(nn.Linear(2, 2))
    run = OwnRun(fv.adapters.adapt(model))
    controller = explore(model).controller
    run.begin()
    controller.toggle("layers.0")
    assert controller.adapter.frozen() == frozenset()
    assert controller.pending == ("layers.0",)
    run.attend()
    run.end("finished")
    assert [event.label for event in freezes(run)] == ["freeze layers.0"]


def test_copies_of_a_model_are_apart():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    controller = explore(model).controller
    controller.lock("layers.0")
    other = explore(copy.deepcopy(model)).controller
    assert other is not controller
    other.toggle("layers.0")
    assert state(controller, "layers.0") == "trainable"


def test_pytorch_models_share_too():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    first = explore(model).controller
    run = explore(model).own_run()
    second = explore(model).controller
    assert second is first
    assert second.run is run


def test_a_controller_is_enough_to_keep_locks_and_undo():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    controller = explore(model).controller
    controller.freeze("layers.0")
    controller.lock("layers.1")
    gc.collect()
    again = explore(model).controller
    assert again is controller
    assert again.locked == ("layers.1",)
    assert again.undoable == "freeze layers.0"


def test_a_controller_is_enough_to_keep_a_run_and_what_is_watched():
    model = nn.Sequential(nn.Linear(2, 2))
    explorer = explore(model, optim.SGD(0.1))
    explorer.log(loss=1.0)
    optimizer, controller, run = explorer.optimizer, explorer.controller, explorer.run_view
    del explorer
    gc.collect()
    again = explore(model)
    assert (again.optimizer, again.controller, again.run_view) == (optimizer, controller, run)
    again.log(loss=0.5)
    assert again.run_view.step == 2


def test_a_controller_alone_keeps_its_trainer():
    controller = explore(trainer_of(nn.Sequential(nn.Linear(6, 3)))).controller
    gc.collect()
    controller.start(epochs=1)
    controller.run.wait(20)
    assert controller.run.step == 2


def test_trainers_that_nobody_has_are_not_kept_by_a_view_of_the_model():
    model = nn.Sequential(nn.Linear(6, 3))
    explorer = explore(model)
    trainers = []
    for _ in range(3):
        trainer = trainer_of(model)
        explore(trainer)
        trainers.append(weakref.ref(trainer))
    del trainer
    gc.collect()
    # The last is the one that orders go through.
    assert [trainer() is None for trainer in trainers] == [True, True, False]
    assert explorer.controller.run is trainers[-1]()


def test_a_model_that_nobody_has_is_gone_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        model = nn.Sequential(nn.Linear(2, 2))
        explorer = explore(model)
        explorer.controller.toggle("")
        gone = weakref.ref(explorer.controller)
        del explorer
        assert gone() is None
    finally:
        gc.enable()


def test_threads_that_explore_a_model_at_once_get_one_explorer():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(300)])
    barrier, found = threading.Barrier(8), []

    def look():
        barrier.wait()
        found.append(explore(model))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(map(id, found))) == 1
