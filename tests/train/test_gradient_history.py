import numpy as np
import pytest

from freezeviz.train import _gradient_history
from freezeviz.train._gradient_history import COLUMNS, GradientHistory


def row(*values):
    return np.array(values, float)


def test_samples_are_columns_in_order():
    history = GradientHistory(2)
    history.add(1, row(1, 2))
    history.add(5, row(3, np.nan))
    steps, norms = history.read()
    assert steps.tolist() == [1, 5]
    np.testing.assert_array_equal(norms, [[1, 3], [2, np.nan]])


def test_without_samples_there_are_no_columns():
    steps, norms = GradientHistory(3).read()
    assert (steps.shape, norms.shape) == ((0,), (3, 0))


def test_when_all_columns_are_taken_two_become_one():
    history = GradientHistory(1, columns=4)
    for step in range(1, 5):
        history.add(step, row(10 * step))
    steps, norms = history.read()
    assert steps.tolist() == [1.5, 3.5]
    assert norms.tolist() == [[15, 35]]
    history.add(5, row(50))  # half of a column: there already
    assert history.read()[0].tolist() == [1.5, 3.5, 5]
    history.add(6, row(60))
    history.add(7, row(70))
    assert history.read()[0].tolist() == [1.5, 3.5, 5.5, 7]
    history.add(8, row(80))
    steps, norms = history.read()
    assert steps.tolist() == [2.5, 6.5]
    assert norms.tolist() == [[25, 65]]


def test_what_is_not_known_counts_for_nothing_in_a_mean():
    history = GradientHistory(3, columns=2)
    history.add(1, row(1, np.nan, np.nan))
    history.add(2, row(3, 4, np.nan))
    assert history.read()[1][:, 0].tolist()[:2] == [2, 4]
    assert np.isnan(history.read()[1][2, 0])


def test_large_norms_have_a_mean():
    history = GradientHistory(2, columns=2)
    history.add(1, row(3e38, np.inf))
    history.add(2, row(3e38, 1))
    assert history.read()[1][:, 0] == pytest.approx([3e38, np.inf])


@pytest.mark.parametrize("samples", [1, 199, 200, 201, 5000, 12_345])
def test_there_are_never_more_columns_than_promised_and_time_never_runs_back(samples):
    history = GradientHistory(1)
    for step in range(samples):
        history.add(step, row(step))
    steps, norms = history.read()
    assert len(steps) <= COLUMNS
    assert len(steps) >= min(samples, COLUMNS / 2)
    assert (np.diff(steps) > 0).all()
    np.testing.assert_allclose(norms[0], steps, rtol=1e-6)  # means of the same samples


def test_memory_is_bounded_for_a_hundred_thousand_layers(monkeypatch):
    history = GradientHistory(200_000)
    assert history._norms.nbytes <= _gradient_history.MOST_BYTES
    monkeypatch.setattr(_gradient_history, "MOST_BYTES", 1)
    assert len(GradientHistory(5)._steps) == 8


def test_some_rows_can_be_read():
    history = GradientHistory(4)
    history.add(1, row(1, 2, 3, 4))
    assert history.read(slice(1, 3))[1].tolist() == [[2], [3]]


def test_what_was_read_does_not_change_any_more():
    history = GradientHistory(1, columns=4)
    for step in range(3):
        history.add(step, row(step))
    steps, norms = history.read()
    for step in range(3, 9):
        history.add(step, row(step))
    assert (steps.tolist(), norms.tolist()) == ([0, 1, 2], [[0, 1, 2]])


def test_rows_can_be_moved():
    history = GradientHistory(3, columns=4)
    for step in range(5):  # the last is half a column
        history.add(step, row(step, 10 * step, 100 * step))
    steps, norms = history.read()
    moved = history.moved(2, {2: 0})
    again, rows = moved.read()
    assert again.tolist() == steps.tolist()
    assert rows[0].tolist() == norms[2].tolist()
    assert np.isnan(rows[1]).all()
    moved.add(9, row(1, 2))
    assert len(moved.read()[0]) == len(steps)
