"""What all views of a model show alike, by name: unfolded rows, columns, plots, files of them."""

import csv

import numpy as np
import pytest

from freezeviz import nn, optim
from freezeviz.errors import DataError, RunError, SelectorError
from freezeviz.explorer import PlotLook, explore
from freezeviz.train import Trainer


def model():
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))


def heard(controller):
    changes = []
    controller.subscribe(lambda change: changes.append(change.kind))
    return changes


def trained():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 2), dtype=np.float32)
    trainer = Trainer(model(), optim.SGD(0.01), data=(x, rng.integers(0, 2, 32)), batch_size=8)
    trainer.fit(3, progress=False)
    return trainer


# ---- unfolded


def test_a_collapsed_row_is_printed_without_what_is_below_it():
    net = nn.Sequential(model(), model())
    explorer = explore(net)
    whole = repr(explorer)
    explorer.controller.collapse("layers.0")
    lines = repr(explorer).splitlines()
    assert len(lines) == len(whole.splitlines()) - 3
    assert [line.split()[1] for line in lines[2:4]] == ["layers.0", "layers.1"]
    assert lines[-1].startswith("24 parameters")
    explorer.controller.collapse()
    assert len(repr(explorer).splitlines()) == 3
    explorer.controller.expand("layers.0.layers.1")
    assert len(repr(explorer).splitlines()) == len(whole.splitlines())
    explorer.controller.collapse("layers.0")
    explorer.controller.expand()
    assert repr(explorer) == whole
    with pytest.raises(SelectorError):
        explorer.controller.collapse("layers.7")


def test_what_was_folded_is_read_by_path():
    controller = explore(nn.Sequential(model(), model())).controller
    changes = heard(controller)
    assert (controller.collapsed, controller.expanded) == (frozenset(), frozenset())
    controller.collapse("layers.0")
    controller.collapse("layers.0")
    controller.expand("layers.1.layers.0", deep=False)
    assert controller.collapsed == {"layers.0"}
    assert controller.expanded == {"", "layers.1", "layers.1.layers.0"}
    assert changes == ["look", "look"]
    controller.expand("layers.0", deep=False)
    assert controller.collapsed == frozenset()


def test_what_is_above_a_row_that_code_selects_is_unfolded_and_folded_again_by_order():
    controller = explore(nn.Sequential(model(), model())).controller
    controller.collapse_all()
    controller.select_rows(["layers.1.layers.0"])
    assert {"", "layers.1"} <= controller.expanded
    controller.collapse("layers.1")
    assert "layers.1" in controller.collapsed
    controller.next_found("bias")
    assert {"", "layers.1", "layers.1.layers.0"} <= controller.expanded
    controller.collapse_all()
    controller.select_rows(["layers.0.layers.0"], show=False)
    controller.select_all()
    assert "layers.0" in controller.collapsed


def test_one_row_is_unfolded_without_what_is_below_it():
    controller = explore(nn.Sequential(model(), model())).controller
    controller.collapse_all()
    assert len(controller.collapsed) == 6
    assert len(repr(explore(controller.adapter.model)).splitlines()) == 5
    controller.expand("layers.1", deep=False)
    assert "layers.1.layers.0" in controller.collapsed
    controller.expand("layers.1")
    assert "layers.1.layers.0" not in controller.collapsed
    assert "layers.0" in controller.collapsed


def test_rows_stay_folded_when_a_module_is_replaced():
    net = nn.Sequential(model(), model())
    controller = explore(net).controller
    controller.collapse("layers.1")
    net.layers[0] = nn.ReLU()
    controller.refresh()
    assert controller.collapsed == {"layers.1"}
    row = controller.structure.index["layers.1"]
    assert np.flatnonzero(controller.looks().folds).tolist() == [row]


# ---- columns


def test_columns_are_chosen_by_name_and_stand_in_their_order():
    controller = explore(model()).controller
    changes = heard(controller)
    assert controller.columns == ("type", "count", "state", "backward")
    assert controller.looks().columns is None
    controller.show_columns(["saved", "type"])
    controller.show_columns(["type", "saved", "state"])
    assert controller.columns == controller.looks().columns == ("type", "state", "saved")
    controller.show_columns("time")
    assert controller.columns == ("state", "time")
    assert changes == ["look", "look"]


def test_an_unknown_column_is_an_error_that_names_the_closest():
    controller = explore(model()).controller
    with pytest.raises(SelectorError, match=r"no column 'gradients'.*'gradient'.* Known: type, "):
        controller.show_columns(["type", "gradients"])
    for wrong in (5, [["type"]], [None]):
        with pytest.raises(SelectorError, match="column"):
            controller.show_columns(wrong)
    assert controller.looks().columns is None


# ---- plots


def test_plots_look_as_was_said_and_the_rest_stays():
    controller = explore(model()).controller
    changes = heard(controller)
    assert controller.plots == PlotLook()
    controller.show_plots(plot="cost", x="time")
    controller.show_plots(log=1, metrics=["loss"])
    controller.show_plots(log=True)
    assert controller.plots == PlotLook("cost", "time", log=True, metrics=("loss",))
    assert changes == ["look", "look"]
    controller.show_plots(metrics=(name for name in ("loss", "accuracy")))
    assert controller.plots.metrics == ("loss", "accuracy")


@pytest.mark.parametrize(
    ("look", "error"),
    [
        ({"plot": "pie"}, r"plot: expected one of 'curves', .* got 'pie'"),
        ({"x": "steps"}, r"x: expected one of 'step', "),
        ({"smooth": 1}, r"smooth: expected a number from 0 to below 1, got 1"),
        ({"smooth": float("nan")}, r"smooth: .* got nan"),
        ({"smooth": "0.5"}, r"smooth: .* got '0.5'"),
        ({"smooth": None}, r"smooth: .* got None"),
        ({"metrics": []}, r"metrics: expected a list of names, or None, got \[\]"),
        ({"metrics": [None, 3]}, r"metrics: .* got \[None, 3\]"),
        ({"metrics": 5}, r"metrics: .* got 5"),
        ({"metrics": "loss"}, r"metrics: .* got 'loss'"),
    ],
)
def test_a_look_that_cannot_be_is_an_error_and_changes_nothing(look, error):
    controller = explore(model()).controller
    with pytest.raises(DataError, match=error):
        controller.show_plots(**look)
    with pytest.raises(TypeError, match=r"expected some of plot, .* got 'colour'"):
        controller.show_plots(colour="red")
    assert controller.looks().plots is None


def test_what_pages_show_is_saved_and_a_picture_may_differ(tmp_path):
    pytest.importorskip("matplotlib")
    controller = explore(trained()).controller
    controller.show_plots(metrics=["loss"])
    controller.export(tmp_path / "a.SVG")
    controller.export(str(tmp_path / "b.svg"), metrics=["accuracy"], x="epoch")
    one, other = ((tmp_path / name).read_bytes() for name in ("a.SVG", "b.svg"))
    assert b"<!-- accuracy -->" not in one
    assert b"<!-- accuracy -->" in other
    assert controller.plots == PlotLook(metrics=("loss",))
    for plot in ("gradients", "cost"):
        controller.export(tmp_path / f"{plot}.png", plot=plot)
        assert (tmp_path / f"{plot}.png").read_bytes().startswith(b"\x89PNG")


def test_all_numbers_of_the_run_are_saved(tmp_path):
    trainer = trained()
    explore(trainer).controller.export(tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 13))


def test_what_cannot_be_saved_is_an_error_and_leaves_no_file(tmp_path):
    controller = explore(trained()).controller
    with pytest.raises(DataError, match=r"ends in \.png, \.svg or \.csv, got 'exe'"):
        controller.export(tmp_path / "run.exe")
    with pytest.raises(DataError, match="none"):
        controller.export(tmp_path / "run.png", metrics=["none"])
    with pytest.raises(RunError, match="there is no run to export from"):
        explore(model()).controller.export(tmp_path / "run.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_row_tells_where_else_its_array_is():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    net.layers[2].weight = net.layers[0].weight
    controller = explore(net).controller
    assert controller.tied("layers.0.weight") == ("layers.2.weight",)
    assert controller.tied("layers.2") == ("layers.0.weight",)
    assert controller.tied("layers.1") == ()
