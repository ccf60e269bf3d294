"""Ctrl-C, and a notebook's interrupt button, during `fit`."""

import signal
import threading

import pytest

from freezeviz import nn
from tests.train._setup import eventually, kinds, make_trainer, weights


def interrupting_loss(*steps):
    """A loss in the middle of which the signal arrives: it is computed in the main thread."""
    made = []

    def loss(outputs, targets):
        made.append(1)
        if len(made) in steps:
            signal.raise_signal(signal.SIGINT)
        return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    return loss


def test_an_interrupt_ends_the_run_after_the_step_in_hand(capsys):
    trainer = make_trainer(loss=interrupting_loss(6))
    trainer.fit(10, progress=False)
    assert (trainer.status, trainer.step, len(trainer.history)) == ("stopped", 6, 6)
    assert kinds(trainer)[-1] == "Stopped"
    assert capsys.readouterr().out == (
        "Interrupted: the run stopped after step 6 of 40. "
        "Model and history are those of that step.\n"
    )
    whole = make_trainer()
    for event in whole.steps(2):
        if event.step == 6:
            break
    assert weights(whole.model) == weights(trainer.model)


def test_after_an_interrupt_the_run_can_be_taken_up():
    trainer = make_trainer(loss=interrupting_loss(6))
    trainer.fit(10, progress=False)
    trainer.fit(2, progress=False)
    whole = make_trainer()
    whole.fit(3, progress=False)
    assert weights(trainer.model) == weights(whole.model)


def test_a_second_interrupt_raises_at_once_and_leaves_the_model_as_it_was():
    made = []

    def loss(outputs, targets):
        made.append(1)
        if len(made) == 3:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    trainer = make_trainer(loss=loss)
    after = {}
    trainer.subscribe(lambda e: after.setdefault(e.step, weights(trainer.model)))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(10, progress=False)
    assert (trainer.status, trainer.step) == ("stopped", 2)
    assert weights(trainer.model) == after[2]


def test_ignored_interrupts_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trainer = make_trainer(loss=interrupting_loss(6))
    trainer.fit(2, progress=False)
    assert trainer.status == "finished"


def test_the_former_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    trainer = make_trainer(loss=interrupting_loss(2))
    inside = []
    trainer.subscribe(lambda e: inside.append(signal.getsignal(signal.SIGINT)))
    trainer.fit(1, progress=False)
    assert inside[0] is not before
    assert signal.getsignal(signal.SIGINT) is before

    def fails(outputs, targets):
        raise ValueError

    with pytest.raises(ValueError):
        make_trainer(loss=fails).fit(1, progress=False)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_ends_a_pause():
    trainer = make_trainer()

    def pause_from_elsewhere(event):
        if event.step == 2 and type(event).__name__ == "StepDone":
            other = threading.Thread(target=trainer.pause)
            other.start()
            other.join()

    def interrupt_when_paused():
        eventually(lambda: trainer.status == "paused")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    trainer.subscribe(pause_from_elsewhere)
    helper = threading.Thread(target=interrupt_when_paused)
    helper.start()
    trainer.fit(10, progress=False)
    helper.join()
    assert (trainer.status, trainer.step) == ("stopped", 2)


def test_in_another_thread_fit_leaves_the_handler_alone():
    before, trainer, inside = signal.getsignal(signal.SIGINT), make_trainer(), []
    trainer.subscribe(lambda e: inside.append(signal.getsignal(signal.SIGINT)))
    thread = threading.Thread(target=trainer.fit, args=(1,), kwargs={"progress": False})
    thread.start()
    thread.join()
    assert set(inside) == {before}
    assert trainer.status == "finished"


def test_an_interrupt_during_the_last_step_finds_the_run_finished(capsys):
    trainer = make_trainer(loss=interrupting_loss(4))
    trainer.fit(1, progress=False)
    assert trainer.status == "finished"
    assert capsys.readouterr().out == ""
