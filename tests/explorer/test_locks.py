"""Locks: no action changes what is locked, the rest is done, and what was left is told."""

import contextlib
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.adapters import adapt
from freezeviz.errors import FreezevizWarning, LockedError, SelectorError
from freezeviz.explorer import explore
from freezeviz.train import Trainer
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


def with_dropout():
    block = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 2))
    return explore(
        nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), block, nn.BatchNorm(2, affine=False))
    ).controller


LINEARS = {"layers.0", "layers.2.layers.0", "layers.2.layers.2"}


def test_a_locked_layer_without_parameters_is_left_out_when_all_are_held():
    controller = with_dropout()
    controller.lock("layers.1")
    with pytest.warns(FreezevizWarning, match=r"'layers\.1': locked.*either.*: 'layers\.3'"):
        controller.hold("")
    held = controller.adapter.held()
    assert held == LINEARS | {"layers.2", "layers.2.layers.1"}
    assert len(controller.adapter.frozen()) == 6
    assert controller.undoable == "freeze everything (1 locked left as it is)"
    controller.undo()
    assert (controller.adapter.held(), controller.adapter.frozen()) == (frozenset(), frozenset())
    controller.redo()
    assert controller.adapter.held() == held


@pytest.mark.parametrize(
    "hold",
    [
        lambda c: c.toggle("", hold=True),
        lambda c: c.hold("**.*"),
        lambda c: c.hold(["layers.0", "layers.2"]),
        lambda c: c.apply_preset("up_to", at="layers.2", hold=True),
    ],
)
def test_every_way_to_hold_leaves_out_what_is_locked(hold):
    controller = with_dropout()
    for path in ("layers.2.layers.1", "layers.3"):
        controller.lock(path)
    with pytest.warns(FreezevizWarning, match=r"'layers\.2\.layers\.1', 'layers\.3': locked"):
        hold(controller)
    assert controller.adapter.held() == LINEARS
    assert len(controller.adapter.frozen()) == 6
    assert controller.undoable.endswith("(2 locked left as they are)")
    controller.undo()
    assert controller.undoable is None


def test_what_is_held_already_stays_so_under_a_lock():
    controller = with_dropout()
    controller.hold("")
    controller.lock("layers.1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        controller.hold("")
    assert "layers.1" in controller.adapter.held()


def test_a_hold_that_was_taken_back_is_not_made_again_where_it_is_locked_since():
    controller = with_dropout()
    controller.hold("")
    controller.undo()
    controller.lock("layers.1")
    with pytest.warns(FreezevizWarning, match=r"redo freeze everything: 'layers\.1': locked"):
        controller.redo()
    assert controller.adapter.held() >= LINEARS
    assert "layers.1" not in controller.adapter.held()


def test_a_hold_goes_round_a_lock_while_training_too():
    x = np.zeros((8, 2), np.float32)
    model = nn.Sequential(with_dropout().adapter.model, nn.Linear(2, 2))
    trainer = Trainer(model, optim.SGD(0.01), data=(x, np.zeros(8, int)), batch_size=4)
    controller = explore(trainer).controller
    controller.lock("layers.0.layers.1")
    for done in trainer.steps(epochs=2):
        if done.step == 1:
            with pytest.warns(FreezevizWarning, match="locked"):
                controller.hold("layers.0")
    assert "layers.0.layers.2.layers.1" in trainer.adapter.held()
    assert "layers.0.layers.1" not in trainer.adapter.held()
    assert [mark.label for mark in trainer.history.marks] == [
        "freeze layers.0 (1 locked left as it is)"
    ]


@pytest.fixture
def thousand():
    """A model of a thousand blocks with dropout, ten of which is locked."""
    parts = [nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5), nn.Linear(1, 1)) for _ in range(1000)]
    controller = explore(nn.Sequential(*parts)).controller
    controller.is_watched = True
    controller.prepare()
    controller.hold("layers.0")
    controller.hold("")
    controller.undo()
    for i in range(5, 1000, 100):
        controller.lock(f"layers.{i}.layers.1")
    return controller


HELD_ROUND_LOCKS = 990 * 4 + 10 * 2


@pytest.mark.parametrize("way", ["hold", "redo"])
def test_holding_round_locks_is_quick(thousand, way):
    began = time.process_time()
    with pytest.warns(FreezevizWarning, match="locked"):
        thousand.hold("") if way == "hold" else thousand.redo()
    assert time.process_time() - began < 0.5
    assert len(thousand.adapter.frozen()) == 4000
    assert len(thousand.adapter.held()) == HELD_ROUND_LOCKS


def test_letting_go_round_locks_is_quick(thousand):
    for i in range(5, 1000, 100):
        thousand.unlock(f"layers.{i}.layers.1")
    thousand.hold("")
    for i in range(5, 1000, 100):
        thousand.lock(f"layers.{i}.layers.1")
    began = time.process_time()
    with pytest.warns(FreezevizWarning, match="locked"):
        thousand.unfreeze("")
    assert time.process_time() - began < 0.5
    assert thousand.adapter.frozen() == frozenset()
    # With a block's dropout the block itself, and the model.
    assert len(thousand.adapter.held()) == 2 * 10 + 1


@pytest.mark.parametrize(
    "let_go",
    [
        lambda c: c.unfreeze(""),
        lambda c: c.toggle(""),
        lambda c: c.unfreeze(["layers.0", "layers.2"]),
        lambda c: c.apply_preset("invert"),
        lambda c: c.undo(),
    ],
)
def test_every_way_to_let_go_leaves_a_locked_layer_held(let_go):
    controller = with_dropout()
    controller.hold("")
    controller.lock("layers.2.layers.1")
    before = controller.adapter.held()
    with pytest.warns(FreezevizWarning, match=r"'layers\.2\.layers\.1': locked"):
        let_go(controller)
    assert controller.adapter.frozen() == frozenset()
    # The model and its other layers without parameters are held and let go with it alone.
    assert controller.adapter.held() == before - LINEARS
    if controller.undoable is not None:
        assert controller.undoable.endswith("(1 locked left as it is)")
        controller.undo()
        assert controller.adapter.held() == before
        assert len(controller.adapter.frozen()) == 6
        controller.redo()
        assert controller.adapter.frozen() == frozenset()
        assert controller.adapter.held() == before - LINEARS
    controller.unlock("layers.2.layers.1")
    controller.freeze("")
    controller.release("")
    assert controller.adapter.held() == frozenset()


def test_releasing_leaves_a_locked_layer_held_and_all_frozen():
    controller = with_dropout()
    controller.hold("")
    controller.lock("layers.1")
    before = controller.adapter.held()
    with pytest.warns(FreezevizWarning, match=r"'layers\.1': locked.*either.*: 'layers\.3'"):
        controller.release("")
    assert len(controller.adapter.frozen()) == 6
    assert controller.adapter.held() == {"", "layers.1", "layers.3"}
    controller.undo()
    assert controller.adapter.held() == before


def test_the_last_part_of_a_block_is_let_go_beside_a_locked_layer():
    controller = with_dropout()
    controller.hold("layers.2")
    controller.lock("layers.2.layers.1")
    controller.unfreeze("layers.2.layers.0")
    with pytest.warns(FreezevizWarning, match="locked"):
        controller.unfreeze("layers.2.layers.2")
    assert controller.adapter.frozen() == frozenset()
    assert controller.adapter.held() == {"layers.2", "layers.2.layers.1"}


def test_a_locked_layer_stays_held_while_training_too():
    x = np.zeros((8, 2), np.float32)
    model = nn.Sequential(with_dropout().adapter.model, nn.Linear(2, 2))
    trainer = Trainer(model, optim.SGD(0.01), data=(x, np.zeros(8, int)), batch_size=4)
    controller = explore(trainer).controller
    controller.hold("layers.0")
    controller.lock("layers.0.layers.1")
    for done in trainer.steps(epochs=2):
        if done.step == 1:
            with pytest.warns(FreezevizWarning, match="locked"):
                controller.unfreeze("layers.0")
    assert trainer.adapter.frozen() == frozenset()
    assert "layers.0.layers.1" in trainer.adapter.held()
    assert "layers.0.layers.0" not in trainer.adapter.held()
    assert [mark.label for mark in trainer.history.marks] == [
        "freeze layers.0",
        "unfreeze layers.0 (1 locked left as it is)",
    ]
    assert set(trainer.history.frozen) == set()


@pytest.mark.parametrize("what", ["undo", "redo"])
def test_what_is_locked_since_is_told_and_stays_to_be_taken_back(what):
    controller = controller_of()
    controller.freeze("layers.1")
    if what == "redo":
        controller.undo()
    before = controller.adapter.frozen()
    controller.lock("layers.1")
    notes = []
    controller.subscribe(lambda change: change.kind == "note" and notes.append(change))
    with pytest.warns(FreezevizWarning, match=rf"{what} freeze layers\.1: 'layers\.1': locked"):
        getattr(controller, what)()
    assert [note.paths for note in notes] == [("layers.1",)]
    assert controller.adapter.frozen() == before
    assert getattr(controller, f"{what}able") == "freeze layers.1"
    controller.unlock("layers.1")
    getattr(controller, what)()
    assert controller.adapter.frozen() != before


def test_undo_takes_back_what_is_not_locked_and_tells_the_rest():
    controller = controller_of()
    controller.freeze("")
    controller.lock("layers.1")
    with pytest.warns(FreezevizWarning, match=r"'layers\.1': locked"):
        controller.undo()
    assert layers(controller) == ["layers.1"]
    assert controller.undoable is None


@settings(max_examples=80)
@given(st.data())
def test_whatever_is_done_what_is_locked_stays_as_it_is(data):
    model = data.draw(models(), "model")
    controller = explore(model).controller
    adapter = adapt(model)
    rows = [row.path for row in controller.rows()]
    with contextlib.suppress(SelectorError):
        controller.freeze(
            data.draw(st.sampled_from(["", "**.weight", "**.*"])), hold=data.draw(st.booleans())
        )
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
            held = adapter.held()
            kept = controller._locks.layers(controller._tree.model)
            names = np.array(controller.structure.paths)[controller._tree.model.layer_rows]
            with contextlib.suppress(LockedError, SelectorError):
                getattr(controller, what)(*([] if what == "undo" else [paths]))
            assert adapter.frozen() & spared == before
            assert not (adapter.held() ^ held) & set(names[kept].tolist())


@pytest.mark.parametrize(
    ("net", "locked", "other"),
    [
        (lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(2, 2, bias=False)), 0, 1),
        (lambda: nn.Sequential(nn.Embedding(5, 4), nn.Dropout(0.1)), 1, 0),
    ],
)
def test_a_toggle_holds_no_locked_layer_that_can_only_go_with_it(net, locked, other):
    controller = explore(net()).controller
    controller.lock(f"layers.{locked}")
    with pytest.warns(FreezevizWarning, match=f"'layers.{locked}': locked, and left as it was"):
        controller.toggle(f"layers.{other}", hold=True)
    assert layers(controller) == [f"layers.{other}"]
    assert controller.adapter.held() == frozenset()
    controller.undo()
    assert layers(controller) == []
