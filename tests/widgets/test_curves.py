"""What the page draws curves from, and what it saves."""

import csv
import io

import numpy as np
import pytest

from freezeviz.errors import DataError
from freezeviz.explorer import PlotLook
from freezeviz.explorer._export import export
from freezeviz.train import (
    FreezeChanged,
    History,
    LearningRateChanged,
    NonFiniteLoss,
    StepDone,
    Validated,
)
from freezeviz.train._heat import heat
from freezeviz.widgets._buckets import Buckets
from freezeviz.widgets._curves import Curves, heat_trait, part, summary

PATHS = ["a.weight", "a.bias", "b.weight"]


def history_of(n, loss=lambda i: 1.0 / (i + 1), per_epoch=10, **columns):
    history = History(PATHS)
    for i in range(n):
        more = {name: f(i) for name, f in columns.items()}
        history.add(StepDone(i + 1, i // per_epoch, 0.0, loss(i), 0.5, more, 0.01))
        if (i + 1) % per_epoch == 0:
            history.add(Validated(i + 1, i // per_epoch, 0.0, 0.9, 0.25))
    return history


def freeze(history, step, frozen=True, paths=PATHS[:2], label="freeze a"):
    history.add(FreezeChanged(step, 0, 0.0, frozen, tuple(paths), label, None, "click", 0.0))


def floats(data):
    return np.frombuffer(data, "<f4")


def ints(data):
    return np.frombuffer(data, "<i4")


def test_curves_have_every_metric_and_the_seconds_of_steps():
    curves = Curves(history_of(20, f1=lambda i: i / 20)).as_trait()
    assert {"loss", "accuracy", "f1", "seconds"} <= set(curves["steps"]["y"])
    assert "epoch" not in curves["steps"]["y"]
    assert floats(curves["steps"]["y"]["f1"]).tolist() == pytest.approx([i / 20 for i in range(20)])
    assert ints(curves["validation"]["x"]).tolist() == [10, 20]
    assert floats(curves["validation"]["y"]["accuracy"]).tolist() == [0.25, 0.25]


def test_epochs_pass_evenly_between_their_knots():
    curves = Curves(history_of(25)).as_trait()
    assert ints(curves["knots"]["x"]).tolist() == [0, 10, 20, 25]
    assert floats(curves["knots"]["y"]).tolist() == [0, 1, 2, 2.5]


def test_very_many_epochs_have_few_knots():
    knots = Curves(history_of(3000, per_epoch=1)).as_trait()["knots"]
    assert len(ints(knots["x"])) == 512
    assert (ints(knots["x"])[-1], floats(knots["y"])[-1]) == (3000, 3000)


def test_losses_that_are_not_finite_are_told_as_stretches_and_those_not_told_are_none():
    bad = {3, 4, 5, 9}
    history = History(PATHS)
    for i in range(1, 13):
        loss = float("inf") if i in bad else 1.0 if i != 7 else float("nan")
        history.add(StepDone(i, 0, 0.0, loss, None))
        if i in bad and i - 1 not in bad:
            history.add(NonFiniteLoss(i, 0, 0.0, loss))
    assert history.bad_losses == ((3, 5), (9, 9))
    assert Curves(history).as_trait()["bad"] == [[3, 5], [9, 9]]


def test_very_many_bad_stretches_are_cut_off():
    history = History(PATHS)
    for i in range(1, 400, 2):
        history.add(StepDone(i, 0, 0.0, float("nan"), None))
        history.add(NonFiniteLoss(i, 0, 0.0, float("nan")))
        history.add(StepDone(i + 1, 0, 0.0, 1.0, None))
    assert len(history.bad_losses) == 200
    assert len(Curves(history).as_trait()["bad"]) == 50


def test_marks_tell_what_was_changed_and_groups_what_was_frozen():
    history = history_of(5)
    freeze(history, 5)
    history.add(LearningRateChanged(5, 0, 0.0, 0.1))
    marks = Curves(history).marks()
    assert marks["marks"] == [[5, "freeze", "freeze a"], [5, "rate", "rate 0.1"]]
    assert marks["groups"] == [{"label": "a", "size": 2, "spans": [[5, None]]}]
    assert marks["parameters"] == 3


def test_typical_times_come_between_two_changes():
    history = History(PATHS)
    for i in range(100):
        if i == 50:
            freeze(history, 50)
        history.add(
            StepDone(i + 1, 0, 0.0, 1.0, None, {}, 0.5 if i == 7 else 0.004 - 0.002 * (i >= 50))
        )
    assert Curves(history).as_trait()["levels"] == [[0, 50, 0.004], [50, 100, 0.002]]


def test_a_part_of_a_long_run_is_finer():
    history = history_of(5000, loss=lambda i: float(i))
    whole, some = Curves(history).as_trait()["steps"], part(history, 1000, 1400)["steps"]
    assert (whole["width"], some["width"]) == (8, 1)
    assert ints(some["x"]).tolist() == list(range(1000, 1401))
    assert floats(some["y"]["loss"]).tolist() == list(range(999, 1400))


def test_the_same_history_gives_the_same_trait_bit_by_bit():
    history = history_of(300)
    curves = Curves(history)
    assert curves.as_trait() == curves.as_trait() == Curves(history).as_trait()


def test_a_heat_map_goes_row_by_row():
    norms = np.array([[1.0, 2.0], [np.nan, 4.0], [0.0, 1e-3]])
    trait = heat_trait(heat(PATHS, np.array([5.0, 10.0]), norms))
    assert trait["labels"] == PATHS
    assert ints(trait["steps"]).tolist() == [5, 10]
    got = floats(trait["norms"]).reshape(3, 2)
    assert np.array_equal(got, norms.astype(np.float32), equal_nan=True)
    assert (trait["low"], trait["high"]) == (1e-3, 4.0)


def test_the_words_tell_the_newest_numbers_and_changes():
    history = history_of(1200)
    freeze(history, 1200)
    text = summary(history)
    assert "1,200 steps" in text
    assert "validation loss 0.9, accuracy 25.0 %" in text
    assert "1 change, the last: freeze a after step 1,200" in text
    assert summary(History(PATHS)) == "Loss plot: no steps yet."


# ---- what is saved ------------------------------------------------------------------------------


@pytest.mark.parametrize("plot", ["curves", "gradients", "cost"])
@pytest.mark.parametrize(
    ("format", "mime", "begins"),
    [("png", "image/png", b"\x89PNG"), ("svg", "image/svg+xml", b"<?xml")],
)
def test_plots_are_saved_as_pictures(plot, format, mime, begins):
    name, kind, data = export(history_of(30), format, PlotLook(plot))
    assert (name, kind) == (f"{plot}.{format}", mime)
    assert data.startswith(begins)


def test_a_saved_plot_looks_as_it_was_asked_for():
    _, _, plain = export(history_of(60), "svg", PlotLook())
    _, _, other = export(history_of(60), "svg", PlotLook("curves", "epoch", metrics=("loss",)))
    assert b"<!-- accuracy -->" in plain
    assert b"<!-- accuracy -->" not in other
    assert b"<!-- epoch -->" in other


def test_csv_has_every_number_of_the_run():
    history = history_of(30, f1=lambda i: i / 2)
    name, mime, data = export(history, "csv", PlotLook())
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    assert (name, mime, len(rows)) == ("run.csv", "text/csv", 30)
    assert rows[4]["f1"] == "2.0"
    assert float(rows[4]["seconds"]) == 0.01
    assert rows[9]["validation_loss"] == "0.9"


@pytest.mark.parametrize(
    "look",
    [{"plot": "pie"}, {"metrics": ["none"]}, {"metrics": "loss"}, {"smooth": 1.0}, {"x": "y"}],
)
def test_what_is_not_there_is_refused_with_a_reason(look):
    with pytest.raises(DataError):
        export(history_of(3), "png", PlotLook(**look).checked())
    with pytest.raises(DataError):
        export(history_of(3), "exe", PlotLook())


def test_buckets_of_the_steps_cover_all_of_them():
    history = history_of(4100)
    trait = Curves(history).as_trait()["steps"]
    assert trait["rows"] == 4100
    assert -(-trait["rows"] // trait["width"]) <= Buckets().most
