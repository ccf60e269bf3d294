"""Undo without limit: exact, one action at a time, in little memory."""

import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import nn
from freezeviz.adapters import adapt
from freezeviz.errors import FreezevizWarning, LockedError
from freezeviz.explorer import explore
from freezeviz.explorer._deeds import Deeds, Transition, _packed, _unpacked
from freezeviz.explorer._structure import build_structure
from tests.explorer.models import models, state


def wide(n=200):
    return nn.Sequential(*[nn.Linear(1, 1) for _ in range(n)])


@given(st.lists(st.booleans(), max_size=200))
def test_masks_come_out_as_they_went_in(values):
    mask = np.array(values, bool)
    assert np.array_equal(_unpacked(_packed(mask), len(mask)), mask)


def test_runs_and_scattered_rows_are_both_small():
    n = 30_000
    run = np.zeros(n, bool)
    run[100:20_000] = True
    assert len(_packed(run)) < 16
    assert len(_packed(np.arange(n) % 2 == 0)) <= n // 8 + 2


def test_a_million_toggles_of_one_module_fit_in_memory():
    structure = build_structure(adapt(wide()).snapshot())
    none = np.zeros(len(structure), bool)
    all_of_it = structure.is_parameter
    freeze = Transition(structure, all_of_it, none, none, none)
    thaw = Transition(structure, none, all_of_it, none, none)
    deeds = Deeds()
    tracemalloc.start()
    deeds.add("freeze", freeze)
    deeds.add("unfreeze", thaw)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(10_000):
        deeds.add("freeze", freeze)
        deeds.add("unfreeze", thaw)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000 * 16  # a reference each, and room to grow: 16 MB for a million


def test_there_is_no_limit_to_undo():
    model = wide(2)
    controller = explore(model).controller
    controller.is_watched = True  # or it would look at the model 5,000 times more
    for _ in range(2501):
        controller.toggle("layers.1")
    n = 0
    while controller.undoable is not None:
        controller.undo()
        n += 1
    assert n == 2501
    assert adapt(model).frozen() == frozenset()
    while controller.redoable is not None:
        controller.redo()
    assert adapt(model).frozen() == {"layers.1.weight", "layers.1.bias"}


def test_undo_brings_back_what_was_changed_and_no_more():
    model = wide(3)
    controller = explore(model).controller
    controller.freeze("layers.0")
    model.layers[0].unfreeze()
    model.layers[1].freeze()
    controller.undo()
    assert adapt(model).frozen() == {"layers.1.weight", "layers.1.bias"}


ACTIONS = [
    "toggle",
    "toggle_many",
    "freeze",
    "unfreeze",
    "hold",
    "release",
    "preset",
    "undo",
    "redo",
]
PRESETS = ["head_only", "all_but_head", "biases_only", "norms_only", "up_to", "after", "invert"]


@settings(max_examples=120)
@given(st.data())
def test_every_action_is_one_undo_and_one_redo(data):
    model = data.draw(models(), "model")
    controller = explore(model).controller
    adapter = adapt(model)
    rows = [row.path for row in controller.rows()]
    states, undone = [state(adapter)], []
    for _ in range(data.draw(st.integers(1, 7), "actions")):
        what = data.draw(st.sampled_from(ACTIONS), "what")
        paths = data.draw(st.lists(st.sampled_from(rows), min_size=1, max_size=3), "rows")
        before = controller.undoable, state(adapter)
        n_done = len(controller._dispatcher.deeds._done)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FreezevizWarning)
            try:
                if what in ("undo", "redo"):
                    getattr(controller, what)()
                elif what == "preset":
                    name = data.draw(st.sampled_from(PRESETS), "preset")
                    controller.apply_preset(name, paths[0], data.draw(st.booleans(), "hold"))
                elif what == "toggle":
                    controller.toggle(paths[0], data.draw(st.booleans(), "hold"))
                else:
                    getattr(controller, what)(paths)
            except fv.SelectorError:
                assert (controller.undoable, state(adapter)) == before
        now = state(adapter)
        if what == "undo":
            if len(states) > 1:
                undone.append(states.pop())
            assert now == states[-1]
        elif what == "redo":
            if undone:
                states.append(undone.pop())
            assert now == states[-1]
        else:
            done = len(controller._dispatcher.deeds._done) - n_done
            assert done == (now != before[1])
            if done:
                states.append(now)
                undone.clear()
    while len(states) > 1:
        controller.undo()
        states.pop()
        assert state(adapter) == states[-1]
    assert controller.undoable is None


def test_undo_leaves_alone_what_is_locked_since():
    model = wide(3)
    controller = explore(model).controller
    controller.freeze("")
    controller.lock("layers.1")
    controller.undo()
    assert adapt(model).frozen() == {"layers.1.weight", "layers.1.bias"}
    with pytest.raises(LockedError):
        controller.toggle("layers.1")
