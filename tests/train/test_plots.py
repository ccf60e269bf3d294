"""Plots from code: metrics, axes, smoothing, costs and gradients; and what they are made of."""

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.train import FreezeChanged, History, Measured, StepDone, Validated
from freezeviz.train._axis import Axis, epoch_knots
from freezeviz.train._cost import Level, ceiling, cost_levels
from freezeviz.train._decimate import block_means, ema
from freezeviz.train._drawing_gradients import column_edges
from freezeviz.train._figure import gradients_figure
from freezeviz.train._heat import heat

PATHS = ["a.weight", "a.bias", "b.weight", "b.bias"]


def history_of(
    n=40, *, per_epoch=10, changes=(), seconds=lambda i: 0.01, metrics=None, memory=None
):
    history, pending = History(PATHS), sorted(changes)
    for i in range(n):
        while pending and pending[0][0] <= i:
            step, frozen, module = pending.pop(0)
            paths = tuple(p for p in PATHS if p.startswith(module))
            label = f"{'freeze' if frozen else 'unfreeze'} {module}"
            history.add(FreezeChanged(step, 0, 0.0, frozen, paths, label, None, "code", 0.0))
        epoch = i // per_epoch
        more = {name: f(i) for name, f in (metrics or {}).items()}
        history.add(StepDone(i + 1, epoch, 0.0, 2.0 - i / n, None, more, seconds(i)))
        if memory is not None and i % 5 == 0:
            kept = {"a": memory(i)}
            history.add(Measured(i + 1, epoch, 0.0, {}, {}, {}, kept, (), (), 10**9))
        if (i + 1) % per_epoch == 0:
            history.add(Validated(i + 1, epoch, 0.0, 1.5, None))
    return history


def drawn(figure):
    figure.savefig(io.BytesIO(), format="svg")
    return figure


def labels(figure):
    return [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]


def curve(axes, label="training"):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


# ---- curves -------------------------------------------------------------------------------------


def test_every_metric_has_a_panel_and_some_can_be_chosen():
    history = history_of(metrics={"f1": lambda i: i / 40, "$x_1$": lambda i: -i})
    assert labels(drawn(history.plot())) == ["loss", "f1", "$x_1$"]
    assert labels(drawn(history.plot(["f1"]))) == ["f1"]
    assert labels(drawn(history.plot("loss"))) == ["loss"]
    figure = history.plot(["f1", "loss"])
    assert labels(figure) == ["f1", "loss"]
    assert curve(figure.axes[0]).get_ydata().tolist() == [i / 40 for i in range(40)]


def test_a_line_goes_on_past_steps_that_have_no_value():
    history = history_of(metrics={"f1": lambda i: i / 40 if i % 10 == 0 else float("nan")})
    line = curve(drawn(history.plot("f1")).axes[0])
    assert line.get_xydata().tolist() == [[1, 0.0], [11, 0.25], [21, 0.5], [31, 0.75]]


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        ({"metrics": ["f1"]}, "no 'f1'"),
        ({"metrics": []}, "at least one"),
        ({"metrics": ["seconds"]}, "no 'seconds'"),
        ({"smooth": 1.0}, "below 1"),
        ({"smooth": -0.1}, "below 1"),
        ({"x": "steps"}, "expected 'step'"),
    ],
)
def test_what_cannot_be_plotted_is_refused(look, reason):
    with pytest.raises(ValueError, match=reason):
        history_of().plot(**look)


def test_smoothing_draws_the_mean_over_the_pale_curve():
    history = history_of()
    raw, mean = drawn(history.plot("loss", smooth=0.9)).axes[0].lines[:2]
    losses = history.steps["loss"]
    assert np.array_equal(raw.get_ydata(), losses)
    assert mean.get_ydata().tolist() == pytest.approx(ema(losses, 0.9).tolist())
    assert raw.get_linewidth() < mean.get_linewidth()
    assert len(history.plot("loss", smooth=0).axes[0].lines) == 2  # training, validation


@pytest.mark.parametrize(
    ("x", "last", "label"),
    [("step", 40, "step"), ("epoch", 4, "epoch"), ("time", 0.4, "seconds of training")],
)
def test_the_axis_is_steps_epochs_or_time_for_curves_marks_and_bars(x, last, label):
    figure = drawn(history_of(changes=[(20, True, "a"), (30, False, "a")]).plot(x=x))
    panel, strip = figure.axes
    assert panel.get_xlim() == pytest.approx((0, last))
    assert curve(panel).get_xdata()[-1] == pytest.approx(last)
    assert curve(panel, "validation").get_xdata().tolist() == pytest.approx(
        [last / 4, last / 2, 3 * last / 4, last]
    )
    (bar,) = strip.collections
    extent = bar.get_paths()[0].get_extents().intervalx
    assert extent.tolist() == pytest.approx([last / 2, 3 * last / 4])
    assert strip.get_xlabel() == label


def test_time_without_seconds_is_refused():
    with pytest.raises(ValueError, match="no seconds"):
        history_of(seconds=lambda i: float("nan")).plot(x="time")


def test_log_can_be_asked_for_and_leaves_accuracy_alone():
    history = History(PATHS)
    for i in range(5):
        history.add(StepDone(i + 1, 0, 0.0, 1.0 - i / 4, 0.5))  # the last one is 0
    scales = [axes.get_yscale() for axes in drawn(history.plot(log=True)).axes]
    assert scales == ["log", "linear"]
    assert [axes.get_yscale() for axes in history.plot(log=False).axes] == ["linear", "linear"]
    nothing_positive = history_of(3, metrics={"m": lambda i: -1.0}).plot("m", log=True)
    assert drawn(nothing_positive).axes[0].get_yscale() == "linear"


def from_to(high, low, n=50):
    history = History(PATHS)
    for i, loss in enumerate(np.geomspace(high, low, n)):
        history.add(StepDone(i + 1, 0, 0.0, float(loss), None))
    return history


def numbers_on(axes):
    low, high = axes.get_ylim()
    labels = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    return [label.get_text() for value, label in labels if low <= value <= high]


@pytest.mark.parametrize("size", [(8, 4.5), (6, 3)])
@pytest.mark.parametrize(
    ("high", "low", "numbers"),
    [
        (3.7, 1.2, ["1.5", "2", "2.5", "3", "3.5"]),
        (9.0, 1.3, ["2", "5"]),
        (3.0, 0.3, ["0.5", "1", "2"]),
        (3e-7, 1e-7, ["1e-07", "2e-07"]),
        (4.0, 0.02, ["0.1", "1"]),
        (9.0, 1e-3, ["0.001", "0.01", "0.1", "1", "10"]),
    ],
)
def test_a_logarithmic_axis_has_numbers_within_a_decade_too(high, low, numbers, size):
    width, height = size
    figure = drawn(from_to(high, low).plot(log=True, width=width, height=height))
    assert numbers_on(figure.axes[0]) == numbers


@given(st.floats(1e-6, 1e6), st.floats(1.0, 1e4), st.floats(1.2, 6))
@settings(max_examples=30, deadline=None)
def test_numbers_on_a_logarithmic_axis_do_not_touch(low, ratio, height):
    figure = drawn(from_to(low * ratio, low, 5).plot(log=True, width=5, height=height))
    axes = figure.axes[0]
    shown = [label for label in axes.get_yticklabels() if label.get_text() in numbers_on(axes)]
    boxes = sorted((box.y0, box.y1) for box in (label.get_window_extent() for label in shown))
    assert boxes
    assert all(lower[1] < upper[0] + 1 for lower, upper in pairwise(boxes))


def test_a_flat_loss_on_a_logarithmic_axis_has_numbers_that_fit():
    figure = drawn(from_to(0.69315, 0.69314).plot(log=True))
    assert numbers_on(figure.axes[0]) == ["0.5", "1"]


# ---- axes ---------------------------------------------------------------------------------------


def test_the_last_epoch_is_as_long_as_the_one_before():
    step, epoch = np.arange(1, 26.0), np.arange(25) // 10
    knots, done = epoch_knots(step, epoch)
    assert (knots.tolist(), done.tolist()) == ([0, 10, 20, 25], [0, 1, 2, 2.5])
    knots, done = epoch_knots(step[:4], epoch[:4])
    assert (knots.tolist(), done.tolist()) == ([0, 4], [0, 1])


def test_an_axis_of_an_empty_history_has_a_right_end():
    for name in ("step", "epoch"):
        assert Axis.of(History(PATHS), name).last(1) > 0


@given(
    st.lists(st.one_of(st.floats(-100, 100), st.just(float("nan"))), max_size=40),
    st.floats(0, 0.99),
)
def test_the_moving_mean_is_the_weighted_mean_of_what_came_before(values, factor):
    y = np.array(values)
    got = ema(y, factor)
    for i in range(len(y)):
        known = y[: i + 1][~np.isnan(y[: i + 1])]
        if np.isnan(y[i]):
            assert np.isnan(got[i])
        else:
            weights = factor ** np.arange(len(known) - 1, -1, -1.0)
            assert got[i] == pytest.approx((weights * known).sum() / weights.sum(), abs=1e-6)


def test_block_means_keep_the_mean_and_the_order():
    x, y = np.arange(10_000.0), np.random.default_rng(0).random(10_000)
    bx, by = block_means(x, y, 100)
    assert len(bx) <= 100
    assert (np.diff(bx) > 0).all()
    assert by.mean() == pytest.approx(y.mean())
    y[:200] = np.nan
    assert np.isnan(block_means(x, y, 100)[1][0])


# ---- costs --------------------------------------------------------------------------------------


def slow_then_fast(i):
    return 0.5 if i == 3 else 0.004 if i < 100 else 0.002


def test_a_typical_time_is_told_for_each_stretch_between_changes():
    history = history_of(200, changes=[(100, True, "a")], seconds=slow_then_fast)
    levels = cost_levels(history)
    assert [(level.start, level.end, level.seconds) for level in levels] == [
        (0, 100, 0.004),
        (100, 200, 0.002),
    ]
    figure = drawn(history.plot_cost())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"4 ms", "2 ms"} <= set(texts)
    assert figure.axes[0].get_ylabel() == "ms per step"
    assert figure.axes[0].get_ylim()[1] < 10  # one step of 500 ms does not flatten the rest


def test_stretches_that_are_over_are_not_looked_at_again():
    history = history_of(200, changes=[(100, True, "a")], seconds=slow_then_fast)
    known = cost_levels(history)
    history.add(StepDone(201, 0, 0.0, 1.0, None, {}, 9.0))
    again = cost_levels(history, known)
    assert again[0] is known[0]
    assert (again[1].end, again[1].seconds) == (201, 0.002)


def test_a_stretch_of_two_steps_has_no_typical_time():
    assert cost_levels(history_of(2)) == ()
    assert cost_levels(History(PATHS)) == ()


def test_what_the_tape_kept_and_the_process_held_have_panels_of_their_own():
    history = history_of(memory=lambda i: 2**21 if i < 20 else 2**20)
    figure = drawn(history.plot_cost())
    assert labels(figure) == ["ms per step", "kept (MiB)", "memory (MiB)"]
    kept = figure.axes[1].lines[0]
    assert kept.get_ydata().tolist() == [2, 2, 2, 2, 1, 1, 1, 1]
    assert kept.get_xdata().tolist() == [1, 6, 11, 16, 21, 26, 31, 36]


def test_a_run_whose_steps_were_not_timed_says_so():
    figure = drawn(history_of(seconds=lambda i: float("nan")).plot_cost())
    assert "no step was timed yet" in [text.get_text() for text in figure.axes[0].texts]


def test_the_ceiling_leaves_a_few_slow_steps_out():
    times = np.full(1000, 0.01)
    times[::97] = 1.0
    assert 0.01 < ceiling(times) < 0.02
    assert ceiling(np.array([np.nan])) == 1.0


def test_nor_do_many_slow_steps_raise_it_where_the_typical_ones_are_known():
    times = np.full(1000, 0.01)
    times[::9] = 1.0
    assert ceiling(times) > 1
    assert ceiling(times, (Level(0, 500, 0.01), Level(500, 1000, 0.004))) == pytest.approx(0.04)


# ---- gradients ----------------------------------------------------------------------------------


def test_few_parameters_have_a_row_each():
    norms = np.arange(8.0).reshape(4, 2)
    rows = heat(PATHS, np.array([1.0, 2.0]), norms)
    assert rows.labels == tuple(PATHS)
    assert np.array_equal(rows.norms, norms)


def test_many_parameters_share_the_rows_of_their_modules():
    norms = np.array([[3.0, np.nan], [4.0, np.nan], [6.0, 1.0], [8.0, np.nan]])
    rows = heat(PATHS, np.array([1.0, 2.0]), norms, most=3)
    assert rows.labels == ("a", "b")
    assert np.array_equal(rows.norms, [[5.0, np.nan], [10.0, 1.0]], equal_nan=True)


def test_a_hundred_layers_are_a_few_to_a_row_rather_than_all_in_one():
    paths = [f"layers.{i}.{name}" for i in range(100) for name in ("weight", "bias")] + ["head"]
    rows = heat(paths, np.zeros(0), np.zeros((201, 0)), most=40)
    assert 20 <= len(rows.labels) <= 40
    assert rows.labels[0] == "layers.0 to 2"
    assert rows.labels[-1] == "head"


def test_large_norms_have_room_when_squared():
    rows = heat(PATHS, np.array([1.0]), np.full((4, 1), 1e200), most=1)
    assert rows.labels == ("all",)
    assert rows.norms.tolist() == [[pytest.approx(2e200)]]


@pytest.mark.parametrize(
    ("norms", "limits"),
    [
        ([[1e-2, 1.0]], (1e-2, 1.0)),
        ([[1e-30, 1.0]], (1e-8, 1.0)),
        ([[0.5, 0.5]], (0.25, 1.0)),
        ([[np.nan, 0.0]], (1e-3, 1.0)),
    ],
)
def test_the_scale_of_colours_has_two_ends(norms, limits):
    assert heat(["w"], np.array([1.0, 2.0]), np.array(norms)).limits == pytest.approx(limits)


def test_columns_reach_halfway_to_their_neighbours():
    assert column_edges(np.array([2.0, 4.0, 8.0])).tolist() == [1, 3, 6, 10]
    assert column_edges(np.array([5.0])).tolist() == [0, 5]


def test_the_heat_map_has_a_cell_for_every_row_and_column_and_none_where_frozen():
    history = history_of(changes=[(20, True, "a")])
    steps = np.array([5.0, 15.0, 25.0, 35.0])
    norms = 10.0 ** -np.arange(16.0).reshape(4, 4)
    norms[:2, 2:] = np.nan
    figure = drawn(gradients_figure(history, heat(PATHS, steps, norms), 8, None, x="step"))
    (mesh,) = [c for c in figure.axes[0].collections if c.__class__.__name__ == "QuadMesh"]
    cells = mesh.get_array()
    assert cells.shape == (4, 4)
    assert cells.mask.tolist() == np.isnan(norms).tolist()
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == PATHS
    assert mesh.cmap.name == "cividis"
    assert "freeze a" in [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("columns", [0, 1, 2])
def test_odd_heat_maps_can_be_drawn(columns):
    steps = np.arange(1.0, columns + 1)
    for value in (0.0, 1.0, np.nan):
        rows = heat(PATHS, steps, np.full((4, columns), value))
        for x in ("step", "epoch"):
            drawn(gradients_figure(history_of(5), rows, 8, None, x=x))


def test_a_run_that_was_watched_has_gradients_to_plot():
    fv.seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    rng = np.random.default_rng(0)
    data = rng.random((64, 6), dtype=np.float32), rng.integers(0, 3, 64)
    trainer = fv.Trainer(model, optim.SGD(0.1), data=data, batch_size=16)
    empty = drawn(trainer.history.plot_gradients())
    assert "no gradient was measured yet" in [text.get_text() for text in empty.axes[0].texts]
    stop = trainer.watch_measures()
    trainer.fit(2)
    stop()
    paths, steps, norms = trainer.history.gradients
    assert paths == ("layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias")
    assert norms.shape == (4, len(steps))
    assert len(steps) >= 1
    assert (norms[:, 0] > 0).all()
    names = [
        t.get_text() for t in drawn(trainer.history.plot_gradients()).axes[0].get_yticklabels()
    ]
    assert names == list(paths)
