"""The record of a run: columns, spans, groups, and what it gives away."""

import csv
import json
import threading

import numpy as np
import pytest

from freezeviz.train import (
    FreezeChanged,
    History,
    LearningRateChanged,
    Mark,
    Paused,
    Span,
    StepDone,
    Validated,
)

PARAMETERS = [f"layers.{i}.{name}" for i in (0, 2, 4) for name in ("weight", "bias")]


def changed(step, frozen, *modules):
    paths = tuple(p for p in PARAMETERS if p.startswith(modules))
    label = f"{'freeze' if frozen else 'unfreeze'} {', '.join(modules)}"
    return FreezeChanged(step, 0, 0.0, frozen, paths, label, None, "code", 0.0)


def add_steps(history, first, last, loss=1.0, accuracy=None):
    for step in range(first, last + 1):
        history.add(StepDone(step, (step - 1) // 10, 0.0, loss, accuracy))


def test_steps_and_validations_are_columns():
    history = History(PARAMETERS)
    history.add(StepDone(1, 0, 0.0, 2.5, 0.25))
    history.add(StepDone(2, 1, 0.0, 1.5, None))
    history.add(Validated(2, 1, 0.0, 3.5, 0.5))
    assert history.steps["step"].tolist() == [1, 2]
    assert history.steps["epoch"].tolist() == [0, 1]
    assert history.steps["loss"].tolist() == [2.5, 1.5]
    assert history.validation["loss"].tolist() == [3.5]
    assert len(history) == 2
    with pytest.raises(ValueError, match="read-only"):
        history.steps["loss"][0] = 0


def test_columns_grow_without_end_and_old_views_stay():
    history = History(PARAMETERS)
    add_steps(history, 1, 64)
    early = history.steps["step"]
    add_steps(history, 65, 5000)
    assert early.tolist() == list(range(1, 65))
    assert history.steps["step"].tolist() == list(range(1, 5001))


def test_reading_from_another_thread_sees_whole_rows():
    history, wrong = History(PARAMETERS), []

    def read():
        while len(history) < 20_000:
            columns = history.steps
            if not (columns["loss"] == 2 * columns["step"]).all():
                wrong.append(columns)

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(1, 20_001):
        history.add(StepDone(step, 0, 0.0, 2.0 * step, None))
    reader.join()
    assert wrong == []


def test_spans_tell_when_each_parameter_was_frozen():
    history = History(PARAMETERS, frozen=["layers.4.weight"])
    history.add(changed(5, True, "layers.0"))
    history.add(changed(9, False, "layers.0", "layers.4"))
    history.add(changed(12, True, "layers.0.bias"))
    assert history.spans["layers.0.weight"] == (Span(5, 9),)
    assert history.spans["layers.0.bias"] == (Span(5, 9), Span(12, None))
    assert history.spans["layers.4.weight"] == (Span(0, 9),)
    assert "layers.4.bias" not in history.spans
    assert history.frozen == {"layers.0.bias"}


def test_freezing_again_and_undoing_at_once_leave_no_span():
    history = History(PARAMETERS)
    history.add(changed(5, True, "layers.0"))
    history.add(changed(7, True, "layers.0"))
    history.add(changed(8, True, "layers.2"))
    history.add(changed(8, False, "layers.2"))
    assert history.spans["layers.0.bias"] == (Span(5, None),)
    assert history.spans["layers.2.bias"] == ()
    assert len(history.marks) == 4


def test_marks_are_the_changes_in_order():
    history = History(PARAMETERS)
    history.add(changed(5, True, "layers.0"))
    history.add(LearningRateChanged(6, 0, 0.0, 0.001))
    history.add(Paused(7, 0, 0.0))
    history.add(changed(8, False, "layers.0"))
    assert history.marks == (
        Mark(5, "freeze", "freeze layers.0"),
        Mark(6, "rate", "rate 0.001"),
        Mark(8, "unfreeze", "unfreeze layers.0"),
    )


def groups(history):
    return [(group.label, group.size) for group in history.groups]


def test_a_group_is_the_largest_module_that_was_frozen_as_one():
    history = History(PARAMETERS)
    assert groups(history) == []
    history.add(changed(1, True, "layers.0"))
    assert groups(history) == [("layers.0", 2)]
    history.add(changed(3, True, "layers.2.bias"))
    assert groups(history) == [("layers.0", 2), ("layers.2.bias", 1)]
    history.add(changed(4, False, "layers"))
    history.add(changed(5, True, "layers"))
    assert groups(history) == [("layers.0", 2), ("layers.2.weight +1", 3), ("layers.2.bias", 1)]


def test_everything_frozen_is_one_group():
    history = History(PARAMETERS, frozen=PARAMETERS)
    assert groups(history) == [("whole model", 6)]


def test_modules_with_the_same_stretches_share_a_group():
    history = History(PARAMETERS)
    history.add(changed(1, True, "layers.0", "layers.4"))
    assert groups(history) == [("layers.0 +1", 4)]


def test_to_dict_is_plain_and_complete():
    history = History(PARAMETERS, frozen=["layers.4.weight"])
    add_steps(history, 1, 2, loss=0.5, accuracy=0.25)
    history.add(Validated(2, 0, 0.0, 0.75, None))
    history.add(changed(2, False, "layers.4"))
    table = history.to_dict()
    assert table == {
        "step": [1, 2],
        "epoch": [0, 0],
        "loss": [0.5, 0.5],
        "accuracy": [0.25, 0.25],
        "seconds": [None, None],
        "saved_bytes": [None, None],
        "memory": [None, None],
        "metrics": {},
        "validation_step": [2],
        "validation_epoch": [0],
        "validation_loss": [0.75],
        "validation_accuracy": [None],
        "validation_metrics": {},
        "changes": [{"step": 2, "kind": "unfreeze", "label": "unfreeze layers.4"}],
        "frozen": [{"path": "layers.4.weight", "start": 0, "end": 2}],
    }
    assert json.loads(json.dumps(table)) == table


def test_to_csv_has_a_row_per_step(tmp_path):
    history = History(PARAMETERS)
    history.add(changed(0, True, "layers.0"))
    add_steps(history, 1, 2, loss=0.5, accuracy=0.25)
    history.add(Validated(2, 0, 0.0, 0.75, 1.0))
    history.add(changed(2, True, "layers.2"))
    history.add(changed(2, True, "layers.4"))
    history.to_csv(tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["changes"] == "freeze layers.0"
    assert rows[1] == {
        "step": "1",
        "epoch": "0",
        "loss": "0.5",
        "accuracy": "0.25",
        "seconds": "",
        "saved_bytes": "",
        "memory": "",
        "validation_loss": "",
        "validation_accuracy": "",
        "changes": "",
    }
    assert rows[2]["validation_loss"] == "0.75"
    assert rows[2]["changes"] == "freeze layers.2; freeze layers.4"


def test_a_loss_survives_the_csv_exactly(tmp_path):
    history, loss = History(PARAMETERS), float(np.float32(0.1)) / 3
    add_steps(history, 1, 1, loss=loss)
    history.to_csv(str(tmp_path / "run.csv"))
    with open(tmp_path / "run.csv", newline="") as file:
        assert float(next(csv.DictReader(file))["loss"]) == loss


def test_repr_is_short_and_stable():
    history = History(PARAMETERS)
    add_steps(history, 1, 3)
    history.add(changed(3, True, "layers.0"))
    assert repr(history) == "History(3 steps, 0 validations, 1 changes)"
