"""Presets: what trains, what is frozen, and that each is one action."""

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.errors import SelectorError
from freezeviz.explorer import explore
from freezeviz.train import Trainer


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 2)
        self.encoder = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2))
        self.classifier = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 3))
        self.scale_bias = fv.nn.Linear(1, 1).bias


def trains(controller):
    frozen = controller.adapter.frozen()
    every = [info.path for info in controller.adapter.snapshot().all_parameters()]
    return [path for path in every if path not in frozen]


def controller_of(model=None):
    return explore(model or Net()).controller


HEAD = [f"classifier.layers.{i}.{name}" for i in (0, 2) for name in ("weight", "bias")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("head_only", HEAD),
        (
            "biases_only",
            [
                "scale_bias",
                "encoder.layers.0.bias",
                "encoder.layers.1.bias",
                "encoder.layers.2.bias",
                "classifier.layers.0.bias",
                "classifier.layers.2.bias",
            ],
        ),
        ("norms_only", ["encoder.layers.1.weight", "encoder.layers.1.bias"]),
    ],
)
@pytest.mark.parametrize("before", ["", "encoder", "**.bias"])
def test_only_means_that_this_trains_and_all_else_is_frozen(name, expected, before):
    controller = controller_of()
    controller.freeze(before)
    earlier = trains(controller)
    controller.apply_preset(name)
    assert sorted(trains(controller)) == sorted(expected)
    controller.undo()
    assert trains(controller) == earlier
    controller.redo()
    assert sorted(trains(controller)) == sorted(expected)


def test_all_but_the_head_is_the_opposite_of_only_the_head():
    controller = controller_of()
    everything = set(trains(controller))
    controller.apply_preset("all_but_head")
    assert set(trains(controller)) == everything - set(HEAD)


def test_invert_turns_everything_round_and_back():
    controller = controller_of()
    everything = set(trains(controller))
    controller.freeze("encoder")
    before = set(trains(controller))
    controller.apply_preset("invert")
    assert set(trains(controller)) == everything - before
    controller.apply_preset("invert")
    assert set(trains(controller)) == before


def test_up_to_and_after_part_the_model_at_a_place():
    controller = controller_of()
    everything = trains(controller)
    controller.apply_preset("up_to", at="encoder.layers.1")
    rest = trains(controller)
    assert rest == ["encoder.layers.2.weight", "encoder.layers.2.bias", *HEAD]
    controller.undo()
    controller.apply_preset("after", at="encoder.layers.1")
    assert trains(controller) == [path for path in everything if path not in rest]
    assert controller.undoable == "freeze everything after encoder.layers.1"


def test_up_to_takes_what_is_frozen_already_and_thaws_nothing():
    controller = controller_of()
    controller.freeze("classifier")
    controller.apply_preset("up_to", at="embed")
    assert "classifier.layers.0.weight" not in trains(controller)
    assert "encoder.layers.0.weight" in trains(controller)


def test_the_place_is_the_selected_row_by_default():
    controller = controller_of()
    controller.select_rows(["encoder"])
    controller.apply_preset("up_to")
    assert trains(controller) == HEAD
    controller.undo()
    controller.select_rows(["encoder", "embed"])
    with pytest.raises(SelectorError, match="up_to: expected a path in at="):
        controller.apply_preset("up_to")


class Backwards(nn.Module):
    """Defined in another order than it is called."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(2, 2)
        self.first = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        self.never = nn.Linear(2, 2)

    def __call__(self, x):
        return self.last(self.first(x))


def test_the_order_of_execution_goes_before_that_of_definition():
    x = np.zeros((8, 2), np.float32)
    trainer = Trainer(Backwards(), optim.SGD(0.1), data=(x, np.zeros(8, np.int64)), batch_size=4)
    controller = explore(trainer).controller
    controller.apply_preset("up_to", at="first.layers.0")
    assert "last.weight" in controller.adapter.frozen()
    controller.undo()
    stop = trainer.watch_measures()
    trainer.fit(1, progress=False)
    stop()
    controller.apply_preset("up_to", at="first.layers.0")
    assert controller.adapter.frozen() == {"first.layers.0.weight", "first.layers.0.bias"}
    controller.undo()
    controller.apply_preset("after", at="first")
    assert {"last.weight", "last.bias"} <= controller.adapter.frozen()
    assert "first.layers.1.weight" not in controller.adapter.frozen()


@pytest.mark.parametrize(
    "name", ["head_only", "all_but_head", "biases_only", "norms_only", "after"]
)
def test_nothing_of_what_it_is_about_is_an_error_and_changes_nothing(name):
    controller = controller_of(nn.Linear(2, 2, bias=False))
    with pytest.raises(SelectorError, match=name):
        controller.apply_preset(name, at="")
    assert controller.undoable is None


def test_what_is_no_name_of_a_preset_is_an_error_that_names_them():
    with pytest.raises(SelectorError, match=r"no preset None\..*Known: head_only"):
        explore(nn.Linear(2, 2)).controller.apply_preset(None)


def test_an_unknown_preset_is_an_error_that_names_the_closest():
    with pytest.raises(SelectorError, match=r"no preset 'heads_only'.*'head_only'"):
        controller_of().apply_preset("heads_only")


def test_presets_are_listed_in_words_that_name_the_head():
    presets = controller_of().presets()
    assert list(presets) == [
        "head_only",
        "all_but_head",
        "biases_only",
        "norms_only",
        "up_to",
        "after",
        "invert",
    ]
    assert presets["head_only"] == "Only the head trains (classifier)"


def test_a_preset_can_hold_what_it_freezes():
    controller = controller_of()
    controller.apply_preset("head_only", hold=True)
    assert "encoder" in controller.adapter.held()
    assert "classifier" not in controller.adapter.held()
    controller.undo()
    assert controller.adapter.held() == frozenset()


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(3, 2)
        self.block = nn.Linear(2, 2)
        self.lm_head = nn.Linear(2, 3, bias=False)
        self.lm_head.weight = self.wte.weight


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Softmax()), "layers.2"),
        (Wrapped(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))), "inner.layers.1"),
        (Wrapped(Net()), "inner.classifier"),
        (Tied(), "lm_head"),
    ],
    ids=["last", "wrapped", "named", "tied"],
)
def test_the_head_is_what_one_would_call_so(model, head):
    assert f"({head})" in controller_of(model).presets()["head_only"]


def test_a_head_that_is_tied_to_the_embedding_trains_with_it():
    controller = controller_of(Tied())
    controller.apply_preset("head_only")
    assert trains(controller) == ["wte.weight"]


@pytest.mark.parametrize("name", ["up_to", "after"])
@pytest.mark.parametrize("by_selection", [False, True])
def test_the_model_itself_is_no_place_for_a_preset(name, by_selection):
    controller = explore(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))).controller
    if by_selection:
        controller.select_rows([""])
    with pytest.raises(SelectorError, match=rf"{name}: expected .* below the model .*freeze\(''\)"):
        controller.apply_preset(name, at=None if by_selection else "")
    assert controller.undoable is None
