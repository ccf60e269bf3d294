"""The numbers of a dashboard: means of what is known, for a trainer and for loops of one's own."""

import math

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.train import Logged, NonFiniteLoss, RunStarted, StepDone
from freezeviz.widgets._numbers import Numbers


@pytest.fixture
def trainer():
    fv.seed(0)
    x = np.random.default_rng(0).random((32, 4), dtype=np.float32)
    model = nn.Sequential(nn.Linear(4, 3))
    return fv.Trainer(model, optim.SGD(0.1), data=(x, np.arange(32) % 3), batch_size=8)


def step(n, loss, accuracy=None):
    return StepDone(n, 0, 0.0, loss, accuracy)


def test_a_trainer_before_its_first_step_has_no_numbers(trainer):
    trait = Numbers.of(trainer).as_trait(trainer)
    assert (trait["loss"], trait["accuracy"], trait["planned"]) == (None, None, 0)
    assert (trait["can_start"], trait["can_pause"], trait["can_stop"]) == (True, True, True)


def test_means_are_of_the_last_twenty_steps(trainer):
    numbers = Numbers.of(trainer)
    for i in range(30):
        numbers.take(step(i + 1, float(i), 0.5))
    trait = numbers.as_trait(trainer)
    assert trait["loss"] == pytest.approx(np.mean(range(10, 30)))
    assert trait["accuracy"] == 0.5


def test_steps_that_told_nothing_do_not_hide_those_that_did(trainer):
    numbers = Numbers.of(trainer)
    for i in range(10):
        numbers.take(step(i + 1, 2.0 if i % 5 == 0 else math.nan))
    numbers.take(Logged(10, 0, 0.0, {"loss": 5.0, "accuracy": 0.25}))
    trait = numbers.as_trait(trainer)
    assert (trait["loss"], trait["accuracy"]) == (3.0, 0.25)


def test_a_loss_that_is_not_finite_is_no_number_and_is_told(trainer):
    numbers = Numbers.of(trainer)
    trainer.fit(1, progress=False)
    for event in (step(trainer.step, math.nan), NonFiniteLoss(trainer.step, 0, 0.0, math.nan)):
        numbers.take(event)
        trainer.history.add(event)
    trait = numbers.as_trait(trainer)
    assert trait["loss"] is None
    assert "became nan" in trait["not_finite"]
    numbers.take(RunStarted(trainer.step, 1, 0.0, 1))
    assert numbers.as_trait(trainer)["not_finite"] is None


def test_what_happened_before_anybody_listened_is_known(trainer):
    trainer.fit(2, progress=False)
    trait = Numbers.of(trainer).as_trait(trainer)
    assert trait["loss"] == pytest.approx(trainer.history.steps["loss"].mean())
    assert (trait["step"], trait["planned"], trait["epochs"]) == (8, 8, 2)
