"""Orders to a run: when they take effect, what they become."""

import re
import threading

import numpy as np
import pytest

from freezeviz import freezing, nn, optim
from freezeviz.errors import FreezevizError, ObserverWarning, RunError, SelectorError
from freezeviz.paths import KeyPath
from freezeviz.train._commands import Mailbox, Stop
from tests.train._setup import kinds, make_data, make_model, make_trainer, weights


def changes(trainer):
    found = [e for e in trainer.events if type(e).__name__ == "FreezeChanged"]
    return [(e.step, e.label) for e in found]


def frozen(trainer):
    return sorted(trainer.adapter.frozen())


# ---- when ---------------------------------------------------------------------------------


def test_without_a_run_an_order_takes_effect_at_once():
    trainer = make_trainer()
    trainer.freeze("layers.0")
    assert frozen(trainer) == ["layers.0.bias", "layers.0.weight"]
    trainer.fit(1, progress=False)
    trainer.unfreeze("layers.0")
    assert frozen(trainer) == []
    assert changes(trainer) == [(0, "freeze layers.0"), (4, "unfreeze layers.0")]


def test_during_a_run_an_order_waits_for_the_end_of_the_step():
    trainer = make_trainer()
    for event in trainer.steps(1):
        if event.step == 2:
            trainer.freeze("layers.0")
            assert frozen(trainer) == []
        if event.step == 3:
            assert frozen(trainer) == ["layers.0.bias", "layers.0.weight"]
    assert changes(trainer) == [(2, "freeze layers.0")]


def test_a_step_sees_one_freeze_state():
    """An order given in the middle of a step, by the loss itself, is for the next one."""
    seen = []

    def loss(outputs, targets):
        if len(seen) == 1:
            trainer.freeze("layers.0")
        seen.append(frozen(trainer))
        return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    trainer = make_trainer(loss=loss)
    after = {}
    trainer.subscribe(lambda e: after.setdefault(e.step, weights(trainer.model)))
    trainer.fit(1, progress=False)
    assert seen == [[], [], *[["layers.0.bias", "layers.0.weight"]] * 2]
    first = [after[step]["layers.0.weight"] for step in (1, 2, 3, 4)]
    assert first[0] != first[1] == first[2] == first[3]


def test_an_order_that_comes_during_the_last_step_is_not_lost():
    trainer = make_trainer()
    for event in trainer.steps(1):
        if event.step == 4:
            trainer.freeze("layers.0")
            trainer.set_learning_rate(0.5)
            trainer.stop()
    assert frozen(trainer) == ["layers.0.bias", "layers.0.weight"]
    assert trainer.optimizer.learning_rate == 0.5
    assert trainer.status == "finished"
    assert kinds(trainer)[-3:] == ["FreezeChanged", "LearningRateChanged", "Finished"]


def test_orders_are_carried_out_between_the_batches_of_a_validation():
    batches = []

    def loss(outputs, targets):
        if not trainer.model.training:
            batches.append(frozen(trainer))
            trainer.freeze("layers.0")
        return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    trainer = make_trainer(loss=loss, validation=make_data(30))
    trainer.fit(1, progress=False)
    assert batches == [[], ["layers.0.bias", "layers.0.weight"]]
    assert changes(trainer)[0] == (4, "freeze layers.0")


def test_frozen_parameters_stand_still_and_the_others_move():
    trainer = make_trainer(optimizer=optim.AdamW(0.1, weight_decay=0.5))
    trainer.freeze("layers.0")
    before = weights(trainer.model)
    trainer.fit(1, progress=False)
    after = weights(trainer.model)
    assert {p for p in before if before[p] != after[p]} == {"layers.2.weight", "layers.2.bias"}


def test_the_mailbox_closes_only_when_it_is_empty():
    """The last look for orders and the end of the run are two moments; one may come between."""
    mailbox = Mailbox()
    assert not mailbox.put(Stop())
    mailbox.open()
    assert mailbox.put(Stop())
    assert not mailbox.close()
    assert mailbox.is_open
    assert mailbox.take() == Stop()
    assert mailbox.take() is None
    assert mailbox.close()
    assert not mailbox.put(Stop())


# ---- toggle -------------------------------------------------------------------------------


def test_toggle_freezes_what_is_partly_trainable_and_unfreezes_what_is_all_frozen():
    trainer = make_trainer()
    trainer.model.layers[0].freeze(keys="bias")
    trainer.toggle("layers.0")
    assert frozen(trainer) == ["layers.0.bias", "layers.0.weight"]
    trainer.toggle("layers.0")
    assert frozen(trainer) == []


def test_two_toggles_between_two_steps_undo_one_another():
    trainer = make_trainer()
    for event in trainer.steps(1):
        if event.step == 1:
            trainer.toggle("layers.0")
            trainer.toggle("layers.0")
    assert changes(trainer) == [(1, "freeze layers.0"), (1, "unfreeze layers.0")]
    assert frozen(trainer) == []
    assert trainer.history.spans["layers.0.weight"] == ()


# ---- hold, state, rate ----------------------------------------------------------------------


def test_hold_keeps_statistics_still_until_the_layer_is_unfrozen():
    trainer = make_trainer(make_model(dropout=True))
    trainer.freeze("layers.3", hold=True)
    before = weights(trainer.model)
    trainer.fit(1, progress=False)
    after = weights(trainer.model)
    assert before["layers.3.running_mean"] == after["layers.3.running_mean"]
    assert (trainer.events[0].label, trainer.events[0].hold) == ("freeze layers.3", True)
    trainer.unfreeze("layers.3")
    assert trainer.events[-1].hold is False
    trainer.fit(1, progress=False)
    assert after["layers.3.running_mean"] != weights(trainer.model)["layers.3.running_mean"]


def test_what_is_unfrozen_may_stay_held():
    trainer = make_trainer(make_model(dropout=True))
    trainer.freeze("layers.3", hold=True)
    trainer.unfreeze("layers.3", let_go=False)
    assert trainer.adapter.frozen() == frozenset()
    assert trainer.adapter.held() == {"layers.3"}
    assert trainer.events[-1].hold is None


def test_without_hold_statistics_go_on_moving():
    trainer = make_trainer(make_model(dropout=True))
    trainer.freeze("layers.3")
    before = weights(trainer.model)
    trainer.fit(1, progress=False)
    after = weights(trainer.model)
    assert before["layers.3.weight"] == after["layers.3.weight"]
    assert before["layers.3.running_mean"] != after["layers.3.running_mean"]
    assert trainer.events[0].hold is None


def test_unfreezing_takes_up_the_optimizer_state_or_resets_it():
    trainer = make_trainer()
    trainer.fit(1, progress=False)
    trainer.freeze("layers.0")
    trainer.fit(1, progress=False)
    trainer.unfreeze("layers.0.weight")
    trainer.unfreeze("layers.0.bias", reset_state=True)
    trainer.fit(1, progress=False)
    state = trainer.optimizer.state
    assert state["layers.0.weight"]["step"] == 8
    assert state["layers.0.bias"]["step"] == 4
    assert [e.reset_state for e in trainer.events if type(e).__name__ == "FreezeChanged"] == [
        False,
        False,
        True,
    ]


def test_the_learning_rate_can_be_changed():
    trainer = make_trainer()
    for event in trainer.steps(1):
        if event.step == 2:
            trainer.set_learning_rate(0.5)
            assert trainer.optimizer.learning_rate == 0.01
    assert trainer.optimizer.learning_rate == 0.5
    assert (trainer.events[1].step, trainer.events[1].learning_rate) == (2, 0.5)
    for bad in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="learning_rate"):
            trainer.set_learning_rate(bad)
    assert trainer.optimizer.learning_rate == 0.5


# ---- what -----------------------------------------------------------------------------------


def test_every_kind_of_selector_gets_a_short_label():
    trainer = make_trainer()
    for what in (
        "layers.*.bias",
        "",
        re.compile("weight$"),
        nn.Linear,
        KeyPath("layers", "2"),
        lambda path, value: path == "layers.0.bias",
        freezing.select(trainer.model, "layers.2"),
        ["layers.0", "layers.2.bias"],
    ):
        trainer.freeze(what)
    assert [e.label for e in trainer.events] == [
        "freeze layers.*.bias",
        "freeze everything",
        "freeze /weight$/",
        "freeze Linear",
        "freeze layers.2",
        "freeze layers.0.bias",
        "freeze 2 parameters in layers.2",
        "freeze 3 parameters in layers",
    ]
    assert trainer.events[0].paths == ("layers.0.bias", "layers.2.bias")


def test_a_wrong_selector_raises_in_the_caller_and_the_run_goes_on():
    trainer = make_trainer()
    for event in trainer.steps(1):
        if event.step == 1:
            for order in (trainer.freeze, trainer.unfreeze, trainer.toggle):
                with pytest.raises(SelectorError, match=r"layers\.0"):
                    order("layer.0")
    assert trainer.status == "finished"
    assert changes(trainer) == []


def test_events_tell_who_asked_and_when():
    trainer = make_trainer()
    trainer.toggle("layers.0", origin="click")
    trainer.freeze("layers.2")
    click, code = trainer.events
    assert (click.origin, code.origin) == ("click", "code")
    assert click.requested <= click.time


def test_freezing_past_the_trainer_is_recorded_at_the_next_run():
    trainer = make_trainer()
    trainer.fit(1, progress=False)
    trainer.model.layers[0].freeze()
    trainer.fit(1, progress=False)
    trainer.model.unfreeze()
    trainer.model.layers[2].freeze()
    trainer.fit(1, progress=False)
    found = [e for e in trainer.events if type(e).__name__ == "FreezeChanged"]
    assert [(e.step, e.frozen, e.origin) for e in found] == [
        (4, True, "model"),
        (8, True, "model"),
        (8, False, "model"),
    ]
    assert found[0].label == "freeze 2 parameters in layers.0"
    assert trainer.history.frozen == trainer.adapter.frozen()


def test_a_frozen_layer_that_was_replaced_is_recorded_as_unfrozen():
    trainer = make_trainer()
    trainer.freeze("layers.0")
    trainer.fit(1, progress=False)
    trainer.model.layers[0] = nn.Linear(4, 8, bias=False)
    trainer.fit(1, progress=False)
    assert (trainer.events[-2].paths, trainer.events[-2].frozen) == (
        ("layers.0.weight", "layers.0.bias"),
        False,
    )
    assert trainer.history.frozen == frozenset()
    assert trainer.history.parameters == ("layers.0.weight", "layers.2.weight", "layers.2.bias")


# ---- pause and stop ---------------------------------------------------------------------------


def test_stop_ends_the_run_after_the_step_in_hand():
    trainer = make_trainer()
    for event in trainer.steps(3):
        if event.step == 5:
            trainer.stop()
    assert (trainer.step, trainer.status) == (5, "stopped")


def test_an_observer_may_stop_the_run():
    trainer = make_trainer()
    trainer.subscribe(lambda event: trainer.stop() if event.step == 3 else None)
    trainer.fit(2, progress=False)
    assert (trainer.step, trainer.status) == (3, "stopped")


def test_without_a_run_there_is_nothing_to_pause_or_resume():
    trainer = make_trainer()
    with pytest.raises(RunError, match="no run to pause: the trainer is idle"):
        trainer.pause()
    with pytest.raises(RunError, match=r"no run to resume: the trainer is idle.*start\(\)"):
        trainer.resume()
    trainer.stop()
    assert trainer.status == "idle"
    assert trainer.events == ()


def test_the_thread_that_drives_the_run_cannot_pause_it():
    trainer = make_trainer()
    for _ in trainer.steps(1):
        with pytest.raises(RunError, match="wait for ever"):
            trainer.pause()
    assert trainer.status == "finished"


def test_a_run_in_the_foreground_can_be_paused_from_another_thread():
    trainer = make_trainer()

    def pause_and_resume():
        trainer.pause()
        trainer.freeze("layers.0")
        trainer.resume()

    def at_step_2(event):
        if event.step == 2 and type(event).__name__ == "StepDone":
            other = threading.Thread(target=pause_and_resume)
            other.start()
            other.join()

    trainer.subscribe(at_step_2)
    trainer.fit(1, progress=False)
    assert kinds(trainer) == ["RunStarted", "Paused", "FreezeChanged", "Resumed", "Finished"]
    assert {e.step for e in trainer.events[1:4]} == {2}


# ---- observers --------------------------------------------------------------------------------


def test_an_observer_that_raises_is_reported_once_and_dropped():
    trainer, calls, others = make_trainer(), [], []

    def broken(event):
        calls.append(event)
        raise KeyError("my dashboard")

    trainer.subscribe(broken)
    trainer.subscribe(others.append)
    with pytest.warns(ObserverWarning, match=r"broken raised KeyError: 'my dashboard'") as caught:
        trainer.fit(1, progress=False)
    assert (len(caught), len(calls)) == (1, 1)
    assert len(others) == 6
    assert trainer.status == "finished"


def test_an_observer_never_ends_a_run_even_where_warnings_are_errors(caplog):
    trainer = make_trainer()
    trainer.subscribe(lambda event: 1 / 0)
    trainer.fit(1, progress=False)  # pytest makes warnings errors
    assert trainer.status == "finished"
    assert "ZeroDivisionError" in caplog.text


def test_the_same_function_can_observe_twice_and_leave_once():
    trainer, got = make_trainer(), []
    first, second = trainer.subscribe(got.append), trainer.subscribe(got.append)
    trainer.freeze("layers.0")
    first()
    first()
    trainer.freeze("layers.2")
    second()
    trainer.unfreeze("")
    assert len(got) == 3


def test_a_failing_order_at_the_end_of_a_run_does_not_hide_the_end(caplog):
    trainer = make_trainer()
    for event in trainer.steps(1):
        if event.step == 4:
            trainer.freeze("layers.2")
            trainer.model.layers[2] = nn.Tanh()
    assert trainer.status == "finished"
    assert "layers.2" in caplog.text


def test_a_failing_order_in_a_run_fails_the_run():
    trainer = make_trainer()
    steps = trainer.steps(1)
    next(steps)
    trainer.freeze("layers.2")
    trainer.model.layers[2] = nn.Tanh()
    with pytest.raises(FreezevizError, match=r"layers\.2"):
        next(steps)
    assert trainer.status == "failed"


def test_a_snapshot_taken_by_an_observer_never_changes():
    trainer, taken = make_trainer(), []
    trainer.subscribe(lambda e: taken.extend(v for _, v in trainer.model.named_parameters()))
    copies = []
    trainer.subscribe(lambda e: copies.extend(np.array(v) for v in taken[len(copies) :]))
    trainer.fit(2, progress=False)
    assert all(np.array_equal(a, b) for a, b in zip(taken, copies, strict=True))
