"""Locks: no action changes what is locked, the rest is done, and what was left is told."""

import contextlib
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import nn
from freezeviz.adapters import adapt
from freezeviz.errors import FreezevizWarning, LockedError, SelectorError
from freezeviz.explorer import explore
from tests.explorer.models import models


def controller_of(n=4):
    return explore(nn.Sequential(*[nn.Linear(1, 1) for _ in range(n)])).controller


def layers(controller):
    return sorted({path.rpartition(".")[0] for path in controller.adapter.frozen()})


def test_an_action_changes_the_rest_and_tells_what_it_left():
    controller = controller_of()
    controller.lock("layers.1")
    controller.lock("layers.2.bias")
    with pytest.warns(FreezevizWarning, match=r"'layers\.1', 'layers\.2\.bias': locked"):
        controller.freeze("")
    assert layers(controller) == ["layers.0", "layers.2", "layers.3"]
    assert controller.undoable == "freeze everything (2 locked left as they are)"
    controller.undo()
    assert layers(controller) == []


def test_what_is_locked_in_the_wanted_state_is_not_worth_a_word():
    controller = controller_of()
    controller.freeze("layers.1")
    controller.lock("layers.1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        controller.freeze("")
    assert controller.undoable == "freeze everything"


@pytest.mark.parametrize("path", ["layers.1", "layers.1.bias"])
def test_toggling_what_is_locked_is_an_error(path):
    controller = controller_of()
    controller.lock("layers.1")
    with pytest.raises(LockedError, match=rf"{path}: locked by 'layers\.1'; unlock\(\)"):
        controller.toggle(path)
    with pytest.raises(LockedError):
        controller.toggle_many([path, "layers.1"])
    assert controller.undoable is None


def test_toggling_more_than_what_is_locked_toggles_the_rest():
    controller = controller_of()
    controller.lock("layers.1")
    with pytest.warns(FreezevizWarning, match="locked"):
        controller.toggle("")
    assert layers(controller) == ["layers.0", "layers.2", "layers.3"]
    with pytest.warns(FreezevizWarning, match="locked"):
        controller.toggle("")
    assert layers(controller) == []


def test_an_action_on_nothing_but_locked_ones_does_nothing_and_says_so():
    controller = controller_of()
    controller.lock("layers.1")
    with pytest.warns(FreezevizWarning, match=r"'layers\.1': locked, and left as it was"):
        controller.freeze("layers.1")
    assert controller.undoable is None
    assert layers(controller) == []


def test_presets_hold_and_release_spare_what_is_locked():
    controller = controller_of()
    controller.hold("layers.1")
    controller.lock("layers.1")
    with pytest.warns(FreezevizWarning, match="locked"):
        controller.apply_preset("invert")
    assert "layers.1.weight" in controller.adapter.frozen()
    with pytest.warns(FreezevizWarning, match="locked"):
        controller.release("")
    assert controller.adapter.held() == {"layers.1"}
    with pytest.warns(FreezevizWarning, match="locked"):
        controller.unfreeze("")
    assert controller.adapter.held() == {"layers.1"}


def test_an_unlocked_node_can_be_changed_again():
    controller = controller_of()
    controller.lock("layers.1")
    assert controller.locked == ("layers.1",)
    controller.unlock("layers.1")
    controller.unlock("layers.1")
    assert controller.locked == ()
    controller.toggle("layers.1")
    assert layers(controller) == ["layers.1"]


def test_a_tied_parameter_is_locked_by_any_of_its_names():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model.layers[1].weight = model.layers[0].weight
    controller = explore(model).controller
    controller.lock("layers.1")
    with pytest.raises(LockedError):
        controller.toggle("layers.0.weight")
    with pytest.warns(FreezevizWarning, match="locked"):
        controller.toggle("layers.0")
    assert controller.adapter.frozen() == {"layers.0.bias"}


def test_code_may_change_what_is_locked():
    controller = controller_of()
    controller.lock("layers.1")
    fv.freeze(controller.adapter.model, "layers.1")
    controller.refresh()
    assert layers(controller) == ["layers.1"]


def test_locks_are_told_to_subscribers():
    controller = controller_of()
    changes = []
    controller.subscribe(changes.append)
    controller.lock("layers.1")
    controller.unlock("layers.1")
    assert [(c.kind, c.paths, c.label) for c in changes] == [
        ("locks", ("layers.1",), "lock layers.1"),
        ("locks", ("layers.1",), "unlock layers.1"),
    ]


def test_an_unknown_path_cannot_be_locked():
    with pytest.raises(SelectorError, match=r"no path 'layer\.1'"):
        controller_of().lock("layer.1")


def test_a_lock_outlives_a_module_that_is_replaced():
    controller = controller_of()
    controller.lock("layers.1")
    model = controller.adapter.model
    model.layers[1] = nn.ReLU()
    controller.refresh()
    assert controller.locked == ("layers.1",)
    model.layers[1] = nn.Linear(1, 1)
    with pytest.raises(LockedError):
        controller.toggle("layers.1")


@settings(max_examples=80)
@given(st.data())
def test_whatever_is_done_what_is_locked_stays_as_it_is(data):
    model = data.draw(models(), "model")
    controller = explore(model).controller
    adapter = adapt(model)
    rows = [row.path for row in controller.rows()]
    controller.freeze(data.draw(st.sampled_from(["", "**.weight", "**.*"])))
    locked = data.draw(st.sets(st.sampled_from(rows), min_size=1, max_size=3), "locked")
    for path in locked:
        controller.lock(path)
    mask = controller._locks.mask(controller._tree.model)
    spared = set(controller._tree.model.index.names(mask))
    before = adapter.frozen() & spared
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FreezevizWarning)
        for _ in range(data.draw(st.integers(1, 6))):
            what = data.draw(
                st.sampled_from(["freeze", "unfreeze", "hold", "release", "toggle_many", "undo"])
            )
            paths = data.draw(st.lists(st.sampled_from(rows), min_size=1, max_size=2))
            with contextlib.suppress(LockedError, SelectorError):
                getattr(controller, what)(*([] if what == "undo" else [paths]))
            assert adapter.frozen() & spared == before
