"""Search, filters, previews and selected rows: looking without changing anything."""

import re
import warnings

import pytest

from freezeviz import nn
from freezeviz.adapters import adapt
from freezeviz.errors import FreezevizWarning, SelectorError
from freezeviz.explorer import Preview, explore
from tests.explorer.fake_framework import encoder


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 2)
        self.layers = [nn.Linear(2, 2), nn.BatchNorm(2), nn.Dropout(0.1), nn.Linear(2, 2)]
        self.head = nn.Linear(2, 4)


def controller_of(model=None):
    return explore(model or Net()).controller


def test_search_looks_at_further_names_and_not_across_names():
    model = encoder(1)
    model.aliases = {"head.weight": ("tied.embedding",)}
    controller = controller_of(model)
    assert controller.search("EMBEDDING") == ["head.weight"]
    assert controller.search("weightparameter") == []
    assert controller.search("\0") == []
    assert len(controller.search("")) == len(controller.rows())


def test_kinds_are_counted_the_most_frequent_first():
    assert controller_of().kinds() == {
        "Linear": 3,
        "Net": 1,
        "Embedding": 1,
        "BatchNorm": 1,
        "Dropout": 1,
    }


def test_one_row_may_be_named_without_a_list():
    controller = controller_of()
    controller.select_rows("layers.0")
    assert controller.selected == ("layers.0",)
    controller.toggle_many("head")
    assert controller.filter(state="frozen", kind="Linear") == ["head"]


@pytest.mark.parametrize("wrong", [None, 3, ["head"]])
def test_what_names_no_row_is_said_plainly(wrong):
    controller = controller_of()
    for act in (controller.toggle, controller.lock, controller.details):
        with pytest.raises(
            TypeError, match=f"named by its path, a text, got {type(wrong).__name__}"
        ):
            act(wrong)


def test_toggling_without_any_row_says_so():
    with pytest.warns(FreezevizWarning, match="no row is named, and none is selected"):
        controller_of().toggle_many()


def test_filters_pass_rows_that_have_all_that_is_asked_for():
    controller = controller_of()
    controller.hold("layers.1")
    controller.freeze("layers.0.bias")
    controller.lock("head")
    assert controller.filter(kind="Linear", state="trainable") == ["layers.3", "head"]
    assert controller.filter(kind="Linear", state=["mixed", "none"]) == ["layers.0"]
    assert controller.filter(state="none") == ["layers.2"]
    assert controller.filter(state="held") == ["layers.1"]
    assert controller.filter(state="locked") == ["head", "head.weight", "head.bias"]
    assert controller.filter(state={"locked", "held"}, kind={"Linear", "BatchNorm"}) == [
        "layers.1",
        "head",
    ]
    assert controller.filter(statistics=True) == ["layers.1"]
    assert controller.filter(text="bias", state="frozen") == ["layers.0.bias", "layers.1.bias"]
    assert controller.filter(kind="parameter", text="head") == ["head.weight", "head.bias"]
    assert controller.filter(text="layers.3", statistics=False, kind="Linear") == ["layers.3"]
    assert len(controller.filter()) == len(controller.rows())


def test_an_unknown_state_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'trainable', 'frozen', .*'locked', got 'icy'"):
        controller_of().filter(state="icy")


def test_a_preview_tells_what_would_change_and_changes_nothing():
    controller = controller_of()
    controller.freeze("layers.0")
    controller.lock("head")
    seen = controller.preview("type:Linear & **.weight")
    assert seen == Preview(
        paths=("layers.0.weight", "layers.3.weight", "head.weight"),
        n_parameters=16,
        n_bytes=64,
        changes=("layers.3.weight",),
        locked=("head.weight",),
    )
    assert controller.preview("layers.0", "unfreeze").changes == (
        "layers.0.weight",
        "layers.0.bias",
    )
    assert controller.preview("layers.0", "toggle").changes == (
        "layers.0.weight",
        "layers.0.bias",
    )
    assert controller.preview("layers", "toggle").changes == (
        "layers.1.weight",
        "layers.1.bias",
        "layers.3.weight",
        "layers.3.bias",
    )
    assert controller.undoable == "freeze layers.0"
    assert controller.adapter.frozen() == {"layers.0.weight", "layers.0.bias"}


@pytest.mark.parametrize("action", ["freeze", "unfreeze"])
@pytest.mark.parametrize("what", ["", "embed", "**.bias", ["head", "layers.1"], nn.Linear])
def test_what_a_preview_says_is_what_happens(what, action):
    controller = controller_of()
    controller.freeze("layers.0 | head.bias | layers.3.bias")
    controller.lock("layers.3")
    before = controller.adapter.frozen()
    changes = controller.preview(what, action).changes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FreezevizWarning)  # of what is locked
        getattr(controller, action)(what)
    assert set(changes) == before ^ controller.adapter.frozen()


@pytest.mark.parametrize("path", ["", "embed", "layers.0", "layers.1", "head.bias"])
def test_what_a_preview_says_of_a_toggle_is_what_happens(path):
    controller = controller_of()
    controller.freeze("layers.0 | head.bias")
    before = controller.adapter.frozen()
    changes = controller.preview(path, "toggle").changes
    controller.toggle(path)
    assert set(changes) == before ^ controller.adapter.frozen()


@pytest.mark.parametrize("text", ["haed", "layers.[", "a |", "re:(", "type:Conv", "head & embed"])
def test_a_wrong_selector_is_told_in_the_preview(text):
    seen = controller_of().preview(text)
    assert seen.paths == seen.changes == ()
    assert seen.error


def test_what_is_no_selector_is_told_in_the_preview():
    assert "got int" in (controller_of().preview(3).error or "")


def test_an_unknown_action_is_an_error():
    with pytest.raises(ValueError, match="expected one of freeze, unfreeze, toggle, got 'melt'"):
        controller_of().preview("", "melt")


def test_rows_are_selected_in_the_order_of_the_tree_and_subscribers_hear_of_it():
    controller = controller_of()
    changes = []
    controller.subscribe(changes.append)
    controller.select_rows(["head", "embed", "head"])
    controller.select_rows(["embed", "head"])
    assert controller.selected == ("embed", "head")
    assert [(change.kind, change.paths) for change in changes] == [("selection", ("embed", "head"))]
    with pytest.raises(SelectorError, match="no path 'haed'"):
        controller.select_rows(["haed"])
    assert controller.selected == ("embed", "head")
    controller.select_rows([])
    assert controller.selected == ()


def test_a_selected_row_that_is_gone_is_selected_no_more():
    model = Net()
    controller = controller_of(model)
    controller.select_rows(["head", "layers.3"])
    model.layers.pop()
    controller.refresh()
    assert controller.selected == ("head",)


def test_toggle_many_is_one_freeze_of_the_selected_rows():
    controller = controller_of()
    controller.freeze("embed")
    controller.select_rows(["embed", "head", "layers.0.bias"])
    controller.toggle_many()
    assert controller.adapter.frozen() == {
        "embed.weight",
        "head.weight",
        "head.bias",
        "layers.0.bias",
    }
    assert controller.undoable == "freeze 3 rows"
    controller.toggle_many()
    assert controller.adapter.frozen() == frozenset()
    controller.undo()
    controller.undo()
    assert controller.adapter.frozen() == {"embed.weight"}


def test_rows_of_any_name_are_taken_as_they_stand():
    model = nn.Sequential(nn.Linear(1, 1))
    model.odd = {"*": nn.Linear(1, 1), "a | b": nn.Linear(1, 1), "c": nn.Linear(1, 1)}
    controller = controller_of(model)
    controller.toggle_many(["odd.*"])
    controller.freeze(["odd.a | b"])
    assert controller.adapter.frozen() == {
        "odd.*.weight",
        "odd.*.bias",
        "odd.a | b.weight",
        "odd.a | b.bias",
    }


def test_a_module_with_a_tied_parameter_shows_its_state_and_toggles_it():
    model = Net()
    model.head.weight = model.embed.weight
    controller = controller_of(model)
    controller.toggle("head")
    rows = {row.path: row.state for row in controller.rows()}
    assert rows["head"] == rows["embed"] == "frozen"
    controller.toggle("head.bias")
    assert {row.path: row.state for row in controller.rows()}["head"] == "mixed"
    controller.toggle("embed")
    assert {row.path: row.state for row in controller.rows()}["head"] == "trainable"


def test_looking_changes_nothing():
    model = Net()
    controller = controller_of(model)
    before = adapt(model).frozen(), adapt(model).held(), controller.undoable
    controller.search("x")
    controller.filter(state="frozen")
    controller.presets()
    controller.details("head")
    controller.code()
    controller.policy()
    assert (adapt(model).frozen(), adapt(model).held(), controller.undoable) == before
    assert re.match("#", controller.code())


def test_a_preview_looks_at_the_model_first():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    controller = explore(model).controller
    model.layers[0].freeze()
    assert controller.preview("").changes == ("layers.1.weight", "layers.1.bias")
    model.layers.append(nn.Linear(2, 1))
    assert len(controller.preview("").paths) == 6
