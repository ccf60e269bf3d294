"""Commands while a trainer runs: they wait for the step in hand, none is lost, undo knows them."""

import gc
import threading
import time

import numpy as np
import pytest

from freezeviz import nn, optim
from freezeviz.errors import FreezevizWarning, LockedError, RunError, SelectorError
from freezeviz.explorer import explore
from freezeviz.train import FreezeChanged, StepDone, Trainer


class Gate(nn.Module):
    """Lets a step pass only when told, so that a test can act while one is under way."""

    def __init__(self):
        super().__init__()
        self._open = threading.Event()
        self._inside = threading.Event()
        self._open.set()

    def __call__(self, x):
        self._inside.set()
        assert self._open.wait(20)
        return x


def make(epochs_of=10):
    rng = np.random.default_rng(0)
    gate = Gate()
    model = nn.Sequential(gate, nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    x = rng.standard_normal((8 * epochs_of, 6), dtype=np.float32)
    trainer = Trainer(
        model, optim.SGD(0.01), data=(x, rng.integers(0, 3, len(x))), batch_size=8, seed=0
    )
    return trainer, gate


@pytest.fixture
def running():
    """A trainer in the background that stands in the middle of a step until its gate opens."""
    trainer, gate = make()
    gate._open.clear()
    trainer.start(epochs=1000)
    assert gate._inside.wait(20)
    yield trainer, gate
    gate._open.set()
    trainer.stop()
    trainer.wait(20)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def state(controller, path):
    return next(row.state for row in controller.rows() if row.path == path)


def test_a_toggle_is_pending_until_the_step_in_hand_is_done(running):
    trainer, gate = running
    controller = explore(trainer).controller
    changes = []
    controller.subscribe(changes.append)
    controller.toggle("layers.1")
    assert controller.pending == ("layers.1",)
    assert state(controller, "layers.1") == "trainable"
    assert [change.kind for change in changes] == ["pending"]
    gate._open.set()
    wait_for(lambda: not controller.pending)
    wait_for(lambda: state(controller, "layers.1") == "frozen")
    assert changes[-1].paths == ("layers.1.weight", "layers.1.bias")


def test_of_a_hundred_quick_toggles_none_is_lost(running):
    trainer, gate = running
    controller = explore(trainer).controller
    for i in range(100):
        controller.toggle("layers.1" if i % 2 else "layers.3")
    gate._open.set()
    wait_for(lambda: not controller.pending)
    events = [event for event in trainer.events if isinstance(event, FreezeChanged)]
    assert len(events) == 100
    assert {event.origin for event in events} == {"click"}
    assert state(controller, "") == "trainable"


def test_an_unknown_path_raises_at_once_and_leaves_nothing_pending(running):
    trainer, _ = running
    controller = explore(trainer).controller
    with pytest.raises(SelectorError, match=r"layers\.1"):
        controller.toggle("layer.1")
    with pytest.raises(SelectorError):
        controller.freeze("encoder.**")
    assert controller.pending == ()


def test_undo_knows_what_really_changed_not_what_was_asked_for(running):
    trainer, gate = running
    controller = explore(trainer).controller
    controller.freeze("layers.1.bias")
    controller.freeze("layers.1")
    gate._open.set()
    wait_for(lambda: not controller.pending)
    controller.undo()
    wait_for(lambda: state(controller, "layers.1.weight") == "trainable")
    assert state(controller, "layers.1.bias") == "frozen"
    assert controller.undoable == "freeze layers.1.bias"


def test_undo_waits_for_what_is_pending_and_is_a_command_itself(running):
    trainer, gate = running
    controller = explore(trainer).controller
    controller.toggle("layers.1")
    controller.undo()
    gate._open.set()
    wait_for(lambda: controller.redoable == "freeze layers.1")
    wait_for(lambda: not controller.pending)
    wait_for(lambda: state(controller, "layers.1") == "trainable")
    events = [event for event in trainer.events if isinstance(event, FreezeChanged)]
    assert [(event.frozen, event.origin) for event in events] == [(True, "click"), (False, "undo")]


def test_redo_while_running(running):
    trainer, gate = running
    controller = explore(trainer).controller
    gate._open.set()
    controller.toggle("layers.3")
    controller.undo()
    controller.redo()
    wait_for(lambda: controller.undoable == "freeze layers.3" and not controller.pending)
    wait_for(lambda: state(controller, "layers.3") == "frozen")


def test_what_code_asks_of_the_trainer_is_shown_and_can_be_undone(running):
    trainer, gate = running
    controller = explore(trainer).controller
    gate._open.set()
    trainer.freeze("layers.1")
    wait_for(lambda: state(controller, "layers.1") == "frozen")
    controller.undo()
    wait_for(lambda: state(controller, "layers.1") == "trainable")


def test_freezing_on_the_model_itself_is_noticed_after_the_next_step(running):
    trainer, gate = running
    controller = explore(trainer).controller
    trainer.model.layers[3].freeze()
    controller.refresh()
    assert state(controller, "layers.3") == "trainable"
    gate._open.set()
    wait_for(lambda: state(controller, "layers.3") == "frozen")


def test_a_paused_run_carries_out_clicks(running):
    trainer, gate = running
    controller = explore(trainer).controller
    trainer.pause()
    gate._open.set()
    wait_for(lambda: trainer.status == "paused")
    step = trainer.step
    controller.toggle("layers.1")
    wait_for(lambda: state(controller, "layers.1") == "frozen")
    assert trainer.step == step


def test_without_a_run_a_click_takes_effect_at_once():
    trainer, _ = make()
    controller = explore(trainer).controller
    controller.toggle("layers.1")
    assert controller.pending == ()
    assert state(controller, "layers.1") == "frozen"
    trainer.fit(1, progress=False)
    controller.toggle("layers.3")
    assert state(controller, "layers.3") == "frozen"
    assert [event.label for event in trainer.events if isinstance(event, FreezeChanged)] == [
        "freeze layers.1",
        "freeze layers.3",
    ]


def test_a_click_on_the_root_is_everything():
    trainer, _ = make()
    controller = explore(trainer).controller
    controller.toggle("")
    assert state(controller, "") == "frozen"
    controller.undo()
    assert state(controller, "") == "trainable"


def test_a_run_that_fails_leaves_nothing_pending():
    trainer, _ = make()
    controller = explore(trainer).controller
    failing = threading.Event()

    def observer(event):
        if isinstance(event, StepDone) and event.step == 2:
            controller.toggle("layers.1")
            failing.set()

    trainer.subscribe(observer)
    original = trainer.optimizer.update

    def update(*arguments):
        if failing.is_set():
            raise ValueError("boom")
        return original(*arguments)

    trainer.optimizer.update = update
    with pytest.raises(ValueError, match="boom"):
        trainer.fit(1, progress=False)
    assert controller.pending == ()
    assert state(controller, "layers.1") == "frozen"


def test_an_undo_that_waited_is_carried_out_even_if_the_run_is_over(running):
    trainer, gate = running
    controller = explore(trainer).controller
    controller.toggle("layers.1")
    controller.undo()
    trainer.stop()
    gate._open.set()
    trainer.wait(20)
    wait_for(lambda: state(controller, "layers.1") == "trainable" and not controller.pending)


def test_two_explorers_of_one_trainer_are_in_step(running):
    trainer, gate = running
    first, second = explore(trainer), explore(trainer)
    first.controller.toggle("layers.1")
    assert second.controller.pending == ("layers.1",)
    gate._open.set()
    wait_for(lambda: state(second.controller, "layers.1") == "frozen")
    second.controller.undo()
    wait_for(lambda: state(first.controller, "layers.1") == "trainable")


def test_commands_from_several_threads_are_all_carried_out(running):
    trainer, gate = running
    controller = explore(trainer).controller
    gate._open.set()

    def click(path):
        for _ in range(20):
            controller.toggle(path)

    threads = [
        threading.Thread(target=click, args=(path,))
        for path in ("layers.1", "layers.3", "layers.1.bias", "layers.3.weight")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    wait_for(lambda: not controller.pending)
    events = [event for event in trainer.events if isinstance(event, FreezeChanged)]
    assert len(events) == 80
    frozen = {row.path for row in controller.rows() if row.kind == "parameter"} & {
        row.path for row in controller.rows() if row.state == "frozen"
    }
    assert frozen == trainer.adapter.frozen()


def freezes(trainer):
    return [event for event in trainer.events if isinstance(event, FreezeChanged)]


def test_a_preset_takes_effect_between_the_same_two_steps_and_is_one_undo(running):
    trainer, gate = running
    controller = explore(trainer).controller
    controller.freeze("layers.3")
    told = []
    controller.subscribe(lambda change: change.kind == "state" and told.append(change.label))
    controller.apply_preset("head_only")
    assert controller.pending
    gate._open.set()
    wait_for(lambda: not controller.pending)
    thaw, freeze = freezes(trainer)[1:]
    assert (thaw.frozen, freeze.frozen) == (False, True)
    assert thaw.step == freeze.step
    assert controller.undoable == "only the head trains"
    assert (thaw.label, freeze.label) == ("only the head trains", "only the head trains")
    assert [mark.label for mark in trainer.history.marks] == [
        "freeze layers.3",
        "only the head trains",
    ]
    assert told[-2:] == ["only the head trains", "only the head trains"]
    assert state(controller, "layers.1") == "frozen"
    assert state(controller, "layers.3") == "trainable"
    controller.undo()
    wait_for(lambda: not controller.pending and state(controller, "layers.1") == "trainable")
    assert state(controller, "layers.3") == "frozen"
    assert controller.undoable == "freeze layers.3"
    controller.redo()
    wait_for(lambda: not controller.pending and controller.undoable == "only the head trains")
    wait_for(lambda: state(controller, "layers.1") == "frozen")
    assert state(controller, "layers.3") == "trainable"


def test_release_while_running_is_one_undo_and_thaws_nothing_for_a_step(running):
    trainer, gate = running
    controller = explore(trainer).controller
    seen = []
    trainer.subscribe(
        lambda event: seen.append(trainer.adapter.frozen()) if isinstance(event, StepDone) else None
    )
    controller.hold("layers.1")
    gate._open.set()
    wait_for(lambda: trainer.adapter.held() == {"layers.1"})
    wait_for(lambda: len(seen) > 2)
    controller.release("layers.1")
    wait_for(lambda: trainer.adapter.held() == frozenset() and not controller.pending)
    wait_for(lambda: controller.undoable == "release layers.1")
    n = len(seen)
    wait_for(lambda: len(seen) > n + 2)
    assert all("layers.1.weight" in frozen for frozen in seen[1:])
    controller.undo()
    wait_for(lambda: trainer.adapter.held() == {"layers.1"} and not controller.pending)
    assert controller.undoable == "freeze layers.1"


def test_what_is_locked_is_spared_while_running_and_the_event_says_so(running):
    trainer, gate = running
    controller = explore(trainer).controller
    controller.lock("layers.3")
    with pytest.warns(FreezevizWarning, match=r"'layers\.3': locked"):
        controller.toggle("")
    gate._open.set()
    wait_for(lambda: not controller.pending)
    assert trainer.adapter.frozen() == {"layers.1.weight", "layers.1.bias"}
    assert freezes(trainer)[0].label == "freeze everything (1 locked left as it is)"
    with pytest.raises(LockedError):
        controller.toggle("layers.3.bias")


def test_a_module_with_a_tied_parameter_is_not_pending_for_ever(running):
    trainer, gate = running
    gate._open.set()
    trainer.stop()
    trainer.wait(20)
    trainer.model.layers[1].extra = trainer.model.layers[3].bias
    trainer.start(epochs=1000)
    controller = explore(trainer).controller
    controller.toggle("layers.3")
    wait_for(lambda: not controller.pending)
    wait_for(lambda: state(controller, "layers.3") == "frozen")
    assert "layers.1.extra" in trainer.adapter.frozen()


def test_undo_waits_for_fifty_clicks_on_several_rows(running):
    trainer, gate = running
    controller = explore(trainer).controller
    for _ in range(50):
        controller.toggle_many(["layers.1", "layers.3.bias"])
    controller.undo()
    gate._open.set()
    wait_for(lambda: not controller.pending and controller.redoable == "unfreeze 2 rows")
    wait_for(lambda: state(controller, "layers.1") == "frozen")


def test_a_run_is_attached_to_a_model_that_was_explored_before():
    trainer, _ = make()
    controller = explore(trainer.model).controller
    controller.freeze("layers.3")
    controller.attach(trainer)
    controller.attach(trainer)
    assert controller.run is trainer
    controller.freeze("layers.1")
    assert [event.origin for event in freezes(trainer)] == ["click"]
    controller.undo()
    controller.undo()
    assert trainer.adapter.frozen() == frozenset()
    assert len(freezes(trainer)) == 3


def test_another_run_is_refused_while_one_is_under_way(running):
    trainer, _ = running
    controller = explore(trainer).controller
    other, _ = make()
    with pytest.raises(RunError, match="under way"):
        controller.attach(other)
    assert controller.run is trainer


def test_a_controller_that_nobody_has_any_more_hears_no_more_events():
    trainer, _ = make()
    controller = explore(trainer.model).controller
    controller.attach(trainer)
    n = len(trainer._loop.observers._all)
    del controller
    gc.collect()
    assert len(trainer._loop.observers._all) < n
