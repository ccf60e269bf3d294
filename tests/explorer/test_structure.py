"""The rows of a tree and their states, worked out for all rows at once."""

import time

import numpy as np

from freezeviz import nn
from freezeviz.adapters import LayerInfo, ParameterInfo, adapt
from freezeviz.explorer import STATES
from freezeviz.explorer._structure import build_structure
from tests.explorer.fake_framework import FakeAdapter, encoder


def states_of(structure, frozen):
    mask = np.zeros(len(structure), bool)
    mask[[structure.index[path] for path in frozen]] = True
    return dict(zip(structure.paths, (STATES[s] for s in structure.states(mask)), strict=True))


def test_rows_are_in_the_order_of_the_tree_with_parameters_first():
    structure = build_structure(FakeAdapter(encoder(1)).snapshot())
    assert structure.paths == (
        "",
        "layers.0",
        "layers.0.gain",
        "layers.0.attention",
        "layers.0.attention.weight",
        "layers.0.attention.bias",
        "layers.0.dropout",
        "layers.0.norm",
        "layers.0.norm.weight",
        "head",
        "head.weight",
        "head.bias",
    )
    assert structure.level.tolist() == [0, 1, 2, 2, 3, 3, 2, 2, 3, 1, 2, 2]


def test_labels_are_paths_without_the_parents():
    structure = build_structure(FakeAdapter(encoder(1)).snapshot())
    assert structure.labels[:4] == ("Encoder", "layers.0", "gain", "attention")


def test_sizes_of_a_module_are_those_of_all_below_it():
    structure = build_structure(FakeAdapter(encoder(2)).snapshot())
    sizes = dict(zip(structure.paths, structure.n_parameters.tolist(), strict=True))
    assert sizes[""] == 6 * (2 * 4 + 2)
    assert sizes["layers.1"] == 24
    assert sizes["layers.1.dropout"] == 0
    n_bytes = dict(zip(structure.paths, structure.n_bytes.tolist(), strict=True))
    assert n_bytes["layers.1"] == 96


def test_only_modules_with_buffers_of_their_own_are_flagged():
    structure = build_structure(FakeAdapter(encoder(1)).snapshot())
    flagged = [p for p, f in zip(structure.paths, structure.has_buffers, strict=True) if f]
    assert flagged == ["layers.0.norm"]


def test_a_module_is_mixed_when_some_below_it_is_frozen_and_some_not():
    structure = build_structure(FakeAdapter(encoder(2)).snapshot())
    frozen = ["layers.0.attention.weight", "layers.0.attention.bias"]
    states = states_of(structure, frozen)
    assert states["layers.0.attention"] == "frozen"
    assert states["layers.0"] == "mixed"
    assert states[""] == "mixed"
    assert states["layers.1"] == "trainable"
    assert states["layers.0.dropout"] == "none"
    assert states["layers.0.attention.bias"] == "frozen"


def test_states_agree_with_counting_parameters_one_by_one(rng):
    adapter = FakeAdapter(encoder(7))
    structure = build_structure(adapter.snapshot())
    parameters = [info.path for info in adapter.snapshot().all_parameters()]
    for _ in range(20):
        frozen = {path for path in parameters if rng.random() < 0.4}
        states = states_of(structure, frozen)
        for layer in adapter.snapshot().walk():
            below = [info.path for info in layer.all_parameters()]
            still = sum(path in frozen for path in below)
            expected = (
                "none"
                if not below
                else "trainable"
                if not still
                else "frozen"
                if still == len(below)
                else "mixed"
            )
            assert states[layer.path] == expected


def test_paths_of_shared_modules_and_tied_arrays_lead_to_their_row():
    model = encoder(1)
    model.aliases = {"head": ("tail",), "head.weight": ("tail.weight", "layers.0.w")}
    structure = build_structure(FakeAdapter(model).snapshot())
    assert structure.index["tail"] == structure.index["head"]
    assert structure.index["layers.0.w"] == structure.index["head.weight"]


def test_a_model_nested_deeper_than_the_stack_is_no_problem():
    layer = None
    for depth in reversed(range(3000)):
        path = ".".join(["x"] * depth)
        weight = ParameterInfo(f"{path}.w".lstrip("."), (1,), "float32", 1, 4)
        children = (layer,) if layer is not None else ()
        layer = LayerInfo(path, "x", "Nest", "", (weight,), (), children)
    assert layer is not None
    structure = build_structure(layer)
    assert len(structure) == 6000
    assert structure.n_parameters[0] == 3000
    assert structure.level.max() == 3000


def test_the_states_of_ten_thousand_modules_take_milliseconds():
    structure = build_structure(FakeAdapter(encoder(2500)).snapshot())
    frozen = structure.is_parameter & (np.arange(len(structure)) % 3 == 0)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        structure.states(frozen)
        times.append(time.perf_counter() - began)
    assert len(structure) > 20_000
    assert min(times) < 0.02  # measured: 0.0004


def test_our_own_models_give_types_and_sizes():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    structure = build_structure(adapt(model).snapshot())
    assert structure.kinds == ("Sequential", "Linear", "parameter", "parameter", "ReLU")
    assert structure.details[1:4] == ("4 → 3", "3 × 4", "3")
