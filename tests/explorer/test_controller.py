"""Commands on a model that nobody trains: applied at once."""

import re
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeviz import nn
from freezeviz.errors import FreezevizWarning, ObserverWarning, SelectorError
from freezeviz.explorer import Change, explore
from tests.explorer.fake_framework import encoder


def mlp():
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


def state(controller, path):
    return next(row.state for row in controller.rows() if row.path == path)


def test_rows_tell_all_that_a_tree_shows():
    model = mlp()
    model.layers[0].freeze(keys="bias")
    rows = explore(model).controller.rows()
    row = rows[1]
    assert (row.path, row.name, row.kind, row.detail) == ("layers.0", "layers.0", "Linear", "6 → 5")
    assert (row.level, row.n_parameters, row.n_bytes) == (1, 35, 140)
    assert (row.state, row.held, row.has_buffers, row.aliases) == ("mixed", False, False, ())
    assert [(r.name, r.kind, r.level, r.state) for r in rows[2:4]] == [
        ("weight", "parameter", 2, "trainable"),
        ("bias", "parameter", 2, "frozen"),
    ]


def test_toggle_freezes_a_module_and_all_below_it_in_the_model_itself():
    model = mlp()
    controller = explore(model).controller
    controller.toggle("layers.0")
    assert state(controller, "layers.0") == "frozen"
    assert state(controller, "layers.0.bias") == "frozen"
    assert state(controller, "") == "mixed"
    assert "weight" not in model.layers[0].trainable_parameters()
    controller.toggle("layers.0")
    assert state(controller, "") == "trainable"


def test_toggle_of_a_mixed_module_freezes_the_rest():
    controller = explore(mlp()).controller
    controller.toggle("layers.0.bias")
    controller.toggle("layers.0")
    assert state(controller, "layers.0") == "frozen"


def test_toggle_of_the_root_is_everything():
    controller = explore(mlp()).controller
    controller.toggle("")
    assert state(controller, "") == "frozen"


def test_any_framework_with_an_adapter_will_do():
    model = encoder()
    controller = explore(model).controller
    controller.toggle("layers.1")
    assert model.frozen == {
        "layers.1.gain",
        "layers.1.attention.weight",
        "layers.1.attention.bias",
        "layers.1.norm.weight",
    }


def test_a_module_without_parameters_is_left_alone_and_that_is_said():
    controller = explore(mlp()).controller
    with pytest.warns(FreezevizWarning, match=re.escape("layers.1 (ReLU) has no parameters")):
        controller.toggle("layers.1")
    assert controller.undoable is None


def test_an_unknown_path_raises_with_the_closest_names():
    with pytest.raises(SelectorError, match=r"no path 'layer.0' in Sequential.*'layers\.0'"):
        explore(mlp()).controller.toggle("layer.0")


def test_a_selector_without_a_match_raises_and_changes_nothing():
    controller = explore(mlp()).controller
    with pytest.raises(SelectorError, match="encodr"):
        controller.freeze("encodr.*")
    assert state(controller, "") == "trainable"
    assert controller.undoable is None


def test_freeze_and_unfreeze_take_any_selector():
    controller = explore(mlp()).controller
    controller.freeze("**.bias")
    assert state(controller, "layers.2") == "mixed"
    controller.freeze(nn.Linear)
    assert state(controller, "") == "frozen"
    controller.unfreeze(re.compile("^layers.4"))
    assert state(controller, "layers.4") == "trainable"


def test_hold_is_shown_on_the_row():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm(4))
    controller = explore(model).controller
    controller.freeze("layers.1", hold=True)
    row = next(row for row in controller.rows() if row.path == "layers.1")
    assert (row.state, row.held, row.has_buffers) == ("frozen", True, True)
    assert model.layers[1].held


def test_undo_and_redo_go_back_and_forth():
    controller = explore(mlp()).controller
    controller.toggle("layers.0")
    controller.toggle("layers.2")
    assert controller.undoable == "freeze layers.2"
    controller.undo()
    assert (controller.undoable, controller.redoable) == ("freeze layers.0", "freeze layers.2")
    controller.undo()
    assert state(controller, "") == "trainable"
    controller.redo()
    controller.redo()
    assert state(controller, "layers.2") == "frozen"
    assert controller.redoable is None


def test_undo_leaves_alone_what_was_frozen_before():
    controller = explore(mlp()).controller
    controller.toggle("layers.0.bias")
    controller.toggle("layers.0")
    controller.undo()
    assert state(controller, "layers.0.bias") == "frozen"
    assert state(controller, "layers.0.weight") == "trainable"


def test_something_new_ends_what_can_be_redone():
    controller = explore(mlp()).controller
    controller.toggle("layers.0")
    controller.undo()
    controller.toggle("layers.4")
    assert controller.redoable is None


def test_undo_without_anything_to_undo_does_nothing():
    controller = explore(mlp()).controller
    controller.undo()
    controller.redo()
    assert state(controller, "") == "trainable"


def test_freezing_what_is_frozen_is_no_deed():
    controller = explore(mlp()).controller
    controller.freeze("layers.0")
    controller.freeze("layers.0")
    controller.undo()
    assert state(controller, "layers.0") == "trainable"


def test_undo_lets_go_what_a_freeze_held():
    model = encoder(1)
    controller = explore(model).controller
    controller.freeze("layers.0.norm")
    controller.freeze("layers.0", hold=True)
    assert model.held == {
        "layers.0",
        "layers.0.attention",
        "layers.0.dropout",
        "layers.0.norm",
    }
    controller.undo()
    assert model.held == set()
    assert model.frozen == {"layers.0.norm.weight"}


def test_undo_holds_again_what_an_unfreeze_let_go():
    model = encoder(1)
    controller = explore(model).controller
    controller.freeze("layers.0.norm", hold=True)
    controller.freeze("head")
    controller.unfreeze("**")
    assert model.held == set()
    controller.undo()
    assert model.held == {"layers.0.norm"}
    assert model.frozen == {"layers.0.norm.weight", "head.weight", "head.bias"}


PATHS = ["", "layers.0", "layers.0.norm", "layers.1.attention", "layers.1.attention.bias", "head"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["toggle", "freeze", "hold", "unfreeze"]), st.sampled_from(PATHS)
        ),
        max_size=12,
    )
)
def test_undoing_everything_brings_back_the_beginning_and_redoing_the_end(commands):
    model = encoder(2)
    model.frozen = {"layers.0.gain"}
    controller = explore(model).controller
    beginning = (set(model.frozen), set(model.held))
    for what, path in commands:
        if what == "toggle":
            controller.toggle(path)
        elif what == "unfreeze":
            controller.unfreeze(path)
        else:
            controller.freeze(path, hold=what == "hold")
    end = (set(model.frozen), set(model.held))
    while controller.undoable is not None:
        controller.undo()
    assert (model.frozen, model.held) == beginning
    while controller.redoable is not None:
        controller.redo()
    assert (model.frozen, model.held) == end


def test_search_finds_paths_types_and_further_names():
    model = encoder(2)
    model.aliases = {"head": ("decoder.output",)}
    controller = explore(model).controller
    assert controller.search("NORM") == [
        "layers.0.norm",
        "layers.0.norm.weight",
        "layers.1.norm",
        "layers.1.norm.weight",
    ]
    assert controller.search("dropout") == ["layers.0.dropout", "layers.1.dropout"]
    assert controller.search("output") == ["head"]
    assert controller.search("nothing of the kind") == []


def test_a_shared_module_answers_to_all_its_names():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    controller = explore(model).controller
    controller.toggle("layers.2")
    assert state(controller, "layers.0") == "frozen"
    assert next(row for row in controller.rows() if row.path == "layers.0").aliases == ("layers.2",)


def test_a_replaced_module_is_noticed_at_the_next_command():
    model = mlp()
    controller = explore(model).controller
    controller.toggle("layers.0")
    model.layers[2] = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 4))
    controller.toggle("layers.2.layers.1")
    assert state(controller, "layers.2.layers.1") == "frozen"
    assert state(controller, "layers.0") == "frozen"


def test_one_that_is_watched_looks_only_for_paths_that_it_does_not_know():
    model = mlp()
    controller = explore(model).controller
    controller.is_watched = True
    model.layers[0].freeze()
    controller.toggle("layers.4")
    assert state(controller, "layers.0") == "trainable"
    model.layers[1] = nn.Sequential(nn.Linear(5, 5))
    controller.toggle("layers.1.layers.0")
    assert state(controller, "layers.1") == "frozen"
    assert state(controller, "layers.0") == "frozen"


def test_undo_of_very_many_single_parameters_is_quick():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(1500)])
    controller = explore(model).controller
    controller.toggle("layers.7.bias")
    controller.toggle("")
    began = time.perf_counter()
    controller.undo()
    assert time.perf_counter() - began < 2.0  # measured: 0.1
    assert [row.path for row in controller.rows() if row.state == "frozen"] == ["layers.7.bias"]


def test_refresh_tells_subscribers_of_a_new_structure():
    model = mlp()
    controller = explore(model).controller
    changes = []
    controller.subscribe(changes.append)
    assert controller.refresh() is False
    model.layers[2] = nn.Linear(5, 4, bias=False)
    assert controller.refresh() is True
    assert [change.kind for change in changes] == ["structure"]
    assert "layers.2.bias" not in [row.path for row in controller.rows()]


def test_undo_survives_a_module_that_is_gone():
    model = mlp()
    controller = explore(model).controller
    controller.toggle("layers.2")
    controller.toggle("layers.0")
    model.layers[2] = nn.ReLU()
    controller.undo()
    controller.undo()
    assert state(controller, "") == "trainable"


def test_what_was_frozen_on_the_model_itself_is_noticed():
    model = mlp()
    controller = explore(model).controller
    changes = []
    controller.subscribe(changes.append)
    model.layers[0].freeze()
    assert controller.refresh() is True
    assert state(controller, "layers.0") == "frozen"
    assert changes == [
        Change("state", ("layers.0.weight", "layers.0.bias"), "changed on the model itself")
    ]


def test_subscribers_hear_of_changes_until_they_leave():
    controller = explore(mlp()).controller
    changes = []
    leave = controller.subscribe(changes.append)
    controller.toggle("layers.0")
    leave()
    controller.toggle("layers.0")
    assert changes == [Change("state", ("layers.0.weight", "layers.0.bias"), "freeze layers.0")]


def test_a_subscriber_that_raises_is_reported_once_and_dropped():
    controller = explore(mlp()).controller
    calls = []

    def bad(change):
        calls.append(change)
        raise ValueError("boom")

    controller.subscribe(bad)
    with pytest.warns(ObserverWarning, match="ValueError: boom"):
        controller.toggle("layers.0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        controller.toggle("layers.0")
    assert len(calls) == 1


def test_a_subscriber_that_raises_ends_no_command_where_warnings_are_errors():
    controller = explore(mlp()).controller
    heard = []
    controller.subscribe(lambda change: 1 / 0)
    controller.subscribe(heard.append)
    controller.toggle("layers.0")
    assert state(controller, "layers.0") == "frozen"
    assert len(heard) == 1


def test_what_is_prepared_is_what_the_first_change_would_have_made():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm(3), nn.Linear(3, 2))
    controller = explore(model).controller
    controller.prepare()
    made = controller._tree.model.rule, controller.adapter._tree().entries
    controller.freeze("layers.0")
    assert (controller._tree.model.rule, controller.adapter._tree().entries) == made
    assert controller.adapter.frozen() == {"layers.0.weight", "layers.0.bias"}
    controller.undo()
    assert not controller.adapter.frozen()
