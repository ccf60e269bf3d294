"""Metrics of the user's beside the loss: in training, in validation, in the record."""

import csv

import numpy as np
import pytest

from freezeviz.errors import DataError
from freezeviz.train import History, Logged, StepDone, Validated
from tests.train._setup import make_data, make_trainer, weights


def wrong(outputs, targets):
    return float((outputs.argmax(axis=-1) != targets).mean())


def test_a_trainers_metrics_are_columns_of_training_and_validation():
    trainer = make_trainer(metrics={"wrong": wrong}, validation=make_data(seed=1))
    steps = list(trainer.steps(2))
    history = trainer.history
    assert [e.metrics["wrong"] for e in steps] == history.steps["wrong"].tolist()
    np.testing.assert_allclose(history.steps["wrong"], 1 - history.steps["accuracy"])
    np.testing.assert_allclose(history.validation["wrong"], 1 - history.validation["accuracy"])
    assert len(history.validation["wrong"]) == 2


def test_measuring_changes_no_number_of_the_training():
    plain, measured = make_trainer(), make_trainer(metrics={"wrong": wrong})
    for trainer in (plain, measured):
        trainer.fit(2, progress=False)
    assert weights(plain.model) == weights(measured.model)
    assert plain.history.to_dict()["loss"] == measured.history.to_dict()["loss"]


@pytest.mark.parametrize("name", ["loss", "step", "validation_wrong", "", 3])
def test_names_that_are_taken_are_refused(name):
    with pytest.raises(DataError, match="metric"):
        make_trainer(metrics={name: wrong})


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="the metric 'wrong' is a function"):
        make_trainer(metrics={"wrong": 3})
    with pytest.raises(TypeError, match="functions by name"):
        make_trainer(metrics=[wrong])


def test_a_metric_that_is_no_number_fails_the_run_and_names_itself():
    trainer = make_trainer(metrics={"outputs": lambda outputs, targets: outputs})
    with pytest.raises(DataError, match=r"the metric 'outputs' must be a single number.*\(16, 3\)"):
        trainer.fit(1, progress=False)
    assert trainer.status == "failed"


def test_seconds_are_what_each_step_took():
    trainer = make_trainer()
    trainer.fit(2, progress=False)
    seconds = trainer.history.steps["seconds"]
    assert len(seconds) == 8
    assert (seconds > 0).all()


def test_a_metric_that_comes_later_is_a_gap_before():
    history = History([])
    history.add(StepDone(1, 0, 0.0, 1.0, None))
    early = history.steps["loss"]
    for step in range(2, 200):
        history.add(StepDone(step, 0, 0.0, 1.0, None, {f"m{step % 3}": float(step)}))
    history.add(Logged(199, 0, 0.0, {"m0": -1.0, "late": 7.0, "loss": 0.5}))
    assert early.tolist() == [1.0]
    steps = history.steps
    assert list(steps)[-4:] == ["m2", "m0", "m1", "late"]
    assert np.flatnonzero(np.isfinite(steps["m2"])).tolist() == [
        i for i in range(199) if i % 3 == 1
    ]
    assert steps["m0"][-1] == -1.0
    assert np.isnan(steps["late"][:-1]).all()
    assert (steps["late"][-1], steps["loss"][-1]) == (7.0, 0.5)


def test_numbers_logged_before_the_first_step_are_of_no_step():
    history = History([])
    history.add(Logged(0, 0, 0.0, {"lr": 0.1}))
    assert len(history) == 0


def test_metrics_are_given_away_with_the_rest(tmp_path):
    history = History([])
    history.add(StepDone(1, 0, 0.0, 1.0, 0.5, {"f1": 0.25}, 0.125))
    history.add(StepDone(2, 0, 0.0, 1.0, 0.5))
    history.add(Validated(2, 0, 0.0, 2.0, None, {"f1": 0.75}))
    table = history.to_dict()
    assert table["metrics"] == {"f1": [0.25, None]}
    assert table["validation_metrics"] == {"f1": [0.75]}
    assert table["seconds"] == [0.125, None]
    history.to_csv(tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["f1"] for row in rows] == ["0.25", ""]
    assert [row["validation_f1"] for row in rows] == ["", "0.75"]
