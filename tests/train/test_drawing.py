"""The picture of a run: what is on it, where its labels go, and that it stays cheap."""

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from freezeviz.errors import MissingExtraError
from freezeviz.train import (
    FreezeChanged,
    History,
    LearningRateChanged,
    Mark,
    NonFiniteLoss,
    StepDone,
    Validated,
    draw_history,
)
from freezeviz.train._decimate import decimate, is_noisy, smooth
from freezeviz.train._marks import place_labels

PARAMETERS = [f"layers.{i}.{name}" for i in (0, 2, 4) for name in ("weight", "bias")]


def history_of(losses, accuracies=None, validation=(), changes=()):
    """`changes`: (step, frozen, module)."""
    history, pending = History(PARAMETERS), sorted(changes)
    for i, loss in enumerate(losses):
        while pending and pending[0][0] <= i:
            step, frozen, module = pending.pop(0)
            paths = tuple(p for p in PARAMETERS if p.startswith(module))
            label = f"{'freeze' if frozen else 'unfreeze'} {module}"
            history.add(FreezeChanged(step, 0, 0.0, frozen, paths, label, None, "code", 0.0))
        accuracy = None if accuracies is None else accuracies[i]
        history.add(StepDone(i + 1, 0, 0.0, loss, accuracy))
        if not np.isfinite(loss) and (i == 0 or np.isfinite(losses[i - 1])):
            history.add(NonFiniteLoss(i + 1, 0, 0.0, loss))
    for step, loss in validation:
        history.add(Validated(step, 0, 0.0, loss, None if accuracies is None else 0.5))
    return history


def drawn(history, width=600, height=300):
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    draw_history(figure, history)
    figure.savefig(io.BytesIO(), format="png")
    return figure


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def curve(figure, label, panel=0):
    (line,) = [line for line in figure.axes[panel].lines if line.get_label() == label]
    return line


NOISY = np.exp(-np.linspace(0, 3, 400)) * (1 + 0.2 * np.random.default_rng(0).random(400))


# ---- what is on it ------------------------------------------------------------------------------


def test_training_and_validation_loss_are_curves():
    figure = drawn(history_of([4.0, 3.0, 2.0], validation=[(2, 3.5), (3, 2.5)]))
    assert curve(figure, "training").get_xydata().tolist() == [[1, 4], [2, 3], [3, 2]]
    assert curve(figure, "validation").get_xydata().tolist() == [[2, 3.5], [3, 2.5]]
    assert figure.axes[0].get_ylabel() == "loss"
    assert figure.axes[-1].get_xlabel() == "step"
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == [
        "training",
        "validation",
    ]


def test_accuracy_has_a_panel_if_there_is_any():
    with_classes = drawn(history_of([4.0, 3.0], accuracies=[0.25, 0.5], validation=[(2, 3.5)]))
    assert [axes.get_ylabel() for axes in with_classes.axes] == ["loss", "accuracy"]
    assert curve(with_classes, "training", 1).get_ydata().tolist() == [0.25, 0.5]
    assert [axes.get_ylabel() for axes in drawn(history_of([4.0, 3.0])).axes] == ["loss"]


def test_a_noisy_curve_is_thin_with_its_mean_on_top():
    figure = drawn(history_of(NOISY))
    raw, mean = figure.axes[0].lines[:2]
    assert raw.get_linewidth() < mean.get_linewidth()
    assert np.array_equal(raw.get_ydata(), NOISY)
    assert np.abs(np.diff(mean.get_ydata())).max() < np.abs(np.diff(NOISY)).max() / 5


def test_every_change_is_a_line_with_a_label():
    history = history_of(
        np.linspace(4, 1, 300),
        accuracies=np.linspace(0, 1, 300),
        changes=[(50, True, "layers.0"), (200, False, "layers.0")],
    )
    history.add(LearningRateChanged(250, 0, 0.0, 0.01))
    figure = drawn(history)
    assert {"freeze layers.0", "unfreeze layers.0", "rate 0.01"} <= set(texts(figure))
    for panel in figure.axes[:2]:
        lines = [c for c in panel.collections if isinstance(c, LineCollection)]
        steps = [segment[0][0] for c in lines for segment in c.get_segments() if len(segment) == 2]
        assert {50, 200, 250} <= set(steps)


def test_frozen_stretches_are_bars_and_shades():
    history = history_of(
        np.linspace(4, 1, 100),
        changes=[(20, True, "layers.0"), (40, True, "layers.2"), (60, False, "layers.0")],
    )
    figure = drawn(history)
    panel, strip = figure.axes
    bars = {}
    for text, bar in zip(strip.texts, strip.collections, strict=False):
        bars[text.get_text().strip()] = [
            p.get_extents().intervalx.tolist() for p in bar.get_paths()
        ]
    assert bars == {"layers.0": [[20, 60]], "layers.2": [[40, 100]]}
    (shade,) = [c for c in panel.collections if not isinstance(c, LineCollection)]
    assert [p.get_extents().intervalx.tolist() for p in shade.get_paths()] == [
        [20, 40],
        [40, 60],
        [60, 100],
    ]
    alphas = shade.get_facecolor()[:, 3]
    assert alphas[0] == alphas[2] < alphas[1]


def test_groups_that_do_not_fit_share_a_bar():
    paths = [f"layers.{i}.weight" for i in range(20)]
    history = History(paths)
    for i, path in enumerate(paths[:15]):
        history.add(FreezeChanged(i, 0, 0.0, True, (path,), f"freeze {path}", None, "code", 0.0))
        history.add(StepDone(i + 1, 0, 0.0, 1.0, None))
    labels = [text.strip() for text in texts(drawn(history))]
    assert "11 more" in labels


def test_bad_losses_are_marked_and_do_not_hide_the_rest():
    losses = np.linspace(4, 1, 100)
    losses[30:40], losses[70] = np.nan, np.inf
    figure = drawn(history_of(losses))
    assert "loss not finite" in texts(figure)
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert [line.get_xdata()[0] for line in crosses] == [31, 71]
    low, high = figure.axes[0].get_ylim()
    assert 0.5 < low < 1.1
    assert high < 5


def test_a_spread_of_magnitudes_gets_a_logarithmic_scale():
    falling = 10.0 ** -np.linspace(0, 4, 200)
    assert drawn(history_of(falling)).axes[0].get_yscale() == "log"
    assert drawn(history_of(np.linspace(2, 1, 200))).axes[0].get_yscale() == "linear"
    assert drawn(history_of(falling - 1e-3)).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    "history",
    [
        History(PARAMETERS),
        History(PARAMETERS, frozen=PARAMETERS),
        History([]),
        history_of([1.0]),
        history_of([1.0, 1.0, 1.0]),
        history_of([float("nan")] * 3),
        history_of([float("inf")] * 3, validation=[(3, float("inf"))]),
        history_of([1e30, -1e30, 0.0]),
        history_of([0.0] * 100, accuracies=[0.0] * 100),
        history_of([1.0], changes=[(0, True, "layers.0"), (0, False, "layers.0")]),
    ],
    ids=repr,
)
def test_odd_histories_can_be_drawn(history):
    for size in ((600, 300), (900, 500), (200, 120)):
        drawn(history, *size)


def test_without_steps_the_figure_says_so():
    assert "no steps yet" in texts(drawn(History(PARAMETERS)))
    assert "no steps yet" not in texts(drawn(history_of([1.0])))


def test_drawing_again_replaces_what_was_there():
    figure = Figure(figsize=(6, 3))
    for _ in range(3):
        draw_history(figure, history_of([2.0, 1.0], changes=[(1, True, "layers.0")]))
    assert len(figure.axes) == 2


def test_the_figure_does_not_depend_on_the_users_style():
    import matplotlib as mpl

    plain = drawn(history_of([4.0, 3.0, 2.0], changes=[(1, True, "layers.0")]))
    with mpl.rc_context({"text.color": "white", "axes.facecolor": "black", "xtick.color": "white"}):
        styled = drawn(history_of([4.0, 3.0, 2.0], changes=[(1, True, "layers.0")]))
    for figure in (plain, styled):
        assert figure.get_facecolor() == (1, 1, 1, 1)
        for axes in figure.axes:
            colors = [text.get_color() for text in axes.texts + axes.get_xticklabels()]
            assert set(colors) <= {"#222222", "#666666"}


def test_plot_returns_a_figure_that_notebooks_show():
    figure = history_of([2.0, 1.0]).plot(width=5, height=3)
    assert isinstance(figure, Figure)
    assert figure.get_size_inches().tolist() == [5, 3]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_pyplot_is_not_loaded():
    code = (
        "import sys, freezeviz.train as t; assert 'matplotlib' not in sys.modules\n"
        "h = t.History(['w']); h.add(t.StepDone(1, 0, 0.0, 1.0, None)); h.plot()._repr_png_()\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "freezeviz.train._figure", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"freezeviz\[notebook\]"):
        history_of([1.0]).plot()


def test_a_long_run_is_drawn_with_few_points():
    n = 100_000
    history = History(PARAMETERS)
    losses = np.exp(-np.linspace(0, 2, n)) + 0.1 * np.random.default_rng(0).random(n)
    for i, loss in enumerate(losses):
        history.add(StepDone(i + 1, 0, 0.0, loss, 0.5))
    figure = drawn(history)
    assert all(len(line.get_xdata()) <= 1300 for axes in figure.axes for line in axes.lines)


# ---- fewer points -------------------------------------------------------------------------------

floats = st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")))


@given(st.lists(floats, min_size=1, max_size=400), st.integers(4, 50))
def test_decimation_keeps_extremes_order_and_gaps(values, points):
    y = np.array(values)
    x = np.arange(len(y), dtype=float)
    dx, dy = decimate(x, y, points)
    assert len(dx) <= max(points, 4) + 2
    assert (np.diff(dx) >= 0).all()
    assert all(
        (y[int(a)] == b) or (np.isnan(y[int(a)]) and np.isnan(b))
        for a, b in zip(dx, dy, strict=True)
    )
    if not np.isnan(y).all():
        assert np.nanmax(dy) == np.nanmax(y)
        assert np.nanmin(dy) == np.nanmin(y)


@given(st.lists(floats, min_size=1, max_size=60), st.integers(1, 20))
def test_smoothing_is_the_mean_of_the_window_as_far_as_there_is_one(values, window):
    y = np.array(values)
    got, half = smooth(y, window), window // 2
    for i in range(len(y)):
        part = y[max(i - half, 0) : i + half + 1]
        part = part[~np.isnan(part)]
        if len(part):
            assert got[i] == pytest.approx(part.mean(), abs=1e-6, rel=1e-9)
        else:
            assert np.isnan(got[i])


def test_noise_is_told_from_a_course():
    t = np.linspace(0, 5, 300)
    assert not is_noisy(np.exp(-t))
    assert not is_noisy(np.ones(300))
    assert not is_noisy(np.full(300, np.nan))
    assert is_noisy(np.exp(-t) + 0.1 * np.random.default_rng(0).random(300))


# ---- labels -------------------------------------------------------------------------------------

kinds = st.sampled_from(["freeze", "unfreeze", "rate"])
names = st.sampled_from(["layers.0", "encoder.layers.11.attention.query_proj", "x", "whole"])


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 1000), kinds, names), max_size=60),
    st.integers(120, 1200),
    st.integers(1, 4),
)
def test_labels_never_cover_one_another_and_stay_within_reach(drawn_marks, pixels, rows):
    marks = [Mark(step, kind, f"{kind} {name}") for step, kind, name in sorted(drawn_marks)]
    labels = place_labels(marks, 1000, pixels, 9.0, rows)
    assert bool(labels) == bool(marks)
    assert len(labels) <= 12
    counted = sum(
        int(label.text.split()[0])
        if label.text.endswith("changes")
        else 1 + label.text.count(" · ")
        for label in labels
    )
    assert counted == len(marks)
    for i, one in enumerate(labels):
        assert 0 <= one.row < rows
        for other in labels[i + 1 :]:
            if one.row == other.row:
                assert one.right <= other.left or other.right <= one.left


def test_marks_close_together_share_a_label():
    marks = [Mark(50, "freeze", "freeze a"), Mark(51, "freeze", "freeze b")]
    (label,) = place_labels(marks, 1000, 500, 9.0)
    assert label.text == "freeze a · freeze b"
    (label,) = place_labels(marks * 2, 1000, 500, 9.0)
    assert label.text == "4 changes"


def test_a_long_path_keeps_its_end():
    (label,) = place_labels(
        [Mark(5, "unfreeze", "unfreeze encoder.layers.11.attention.query_proj")], 1000, 500, 9.0
    )
    assert label.text == "unfreeze …attention.query_proj"
