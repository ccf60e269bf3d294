"""The API page's block on the explicit face, as it stands there."""
# ruff: noqa: E501 - the page's lines are longer

import numpy as np
import pytest

import freezeviz as fv
from tests.explicit._models import keys, leaves, same

BLOCK = """
from freezeviz import explicit as lux
from freezeviz.explicit import KeyPath, Chain, Dense, Dropout, BatchNorm

model = Chain(Dense(3, 4), Chain(Dense(4, 4), Dropout(0.5), BatchNorm(4)), Dense(4, 1))
ps, st = lux.setup(rng, model)
x = rng.standard_normal((2, 3), dtype=np.float32)            # batch first
y, st2 = lux.apply(model, x, ps, st)

def freeze_dense(layer, ps, st, path):
    if isinstance(layer, Dense):
        return lux.freeze(layer, ps, st, ("weight", "bias"))
    return layer, ps, st

frozen, ps_f, st_f = lux.layer_map(freeze_dense, model, ps, st)
y, st2 = lux.apply(frozen, x, ps_f, st_f)
st_f["layer_1"]["frozen_params"].keys()                      # weight, bias

def freeze_by_name(layer, ps, st, path):
    return lux.freeze(layer, ps, st, ("weight",)) if path == KeyPath("layer_2", "layer_1") else (layer, ps, st)

part = Chain(model[0:2], lux.freeze(model[2:3]), Dense(1, 1))
loss, grads = lux.value_and_grad(lambda ps: np.mean(lux.apply(frozen, x, ps, st_f)[0] ** 2))(ps_f)   # ps, nothing else
layer, ps_u, st_u = lux.unfreeze(frozen[0], ps_f["layer_1"], st_f["layer_1"])
"""

ALSO = (
    "FrozenLayer share_parameters parameter_length state_length trainmode testmode update_state "
    "Parallel SkipConnection"
)


@pytest.fixture(scope="module")
def page():
    namespace = {"np": np, "fv": fv, "rng": np.random.default_rng(0), "__name__": "api_page"}
    exec(compile(BLOCK, "API.md", "exec"), namespace)
    return namespace


def test_frozen_parameters_are_in_the_state(page):
    assert list(page["st_f"]["layer_1"]["frozen_params"]) == ["weight", "bias"]


def test_outputs_and_running_statistics_do_not_depend_on_freezing(page):
    lux = page["lux"]
    y, st = lux.apply(page["model"], page["x"], page["ps"], page["st"])
    assert y.tobytes() == page["y"].tobytes()
    frozen_states = page["st2"]["layer_2"]
    assert same(frozen_states["layer_3"], st["layer_2"]["layer_3"])
    assert not same(st["layer_2"]["layer_3"], page["st"]["layer_2"]["layer_3"])


def test_gradients_are_those_of_ps_and_nothing_else(page):
    assert keys(page["grads"]) == keys(page["ps_f"])
    assert sorted(leaves(page["grads"])) == ["layer_2.layer_3.bias", "layer_2.layer_3.scale"]
    assert np.isfinite(page["loss"])


def test_unfreezing_gives_everything_back(page):
    assert page["layer"] is page["model"][0]
    assert same(page["ps_u"], page["ps"]["layer_1"])
    assert page["st_u"] == {}


def test_freezing_by_name(page):
    lux = page["lux"]
    trees = lux.layer_map(page["freeze_by_name"], page["model"], page["ps"], page["st"])[1:]
    assert keys(trees[0]["layer_2"]["layer_1"]) == ["bias"]
    assert keys(trees[1]["layer_2"]["layer_1"]) == [("frozen_params", ["weight"]), ("states", [])]


def test_part_of_a_chain_keeps_names_and_layers(page):
    lux, model, part = page["lux"], page["model"], page["part"]
    ps, st = lux.setup(0, part)
    assert keys(st["layer_2"]["frozen_params"]) == [("layer_3", ["weight", "bias"])]
    assert part[1].layer[0] is model[2]
    assert lux.apply(part, page["x"], ps, st)[0].shape == (2, 1)


def test_dense_is_linear_and_a_chain_is_a_sequential(page):
    assert page["Dense"] is fv.nn.Linear
    assert page["Dropout"] is fv.nn.Dropout
    assert issubclass(page["Chain"], fv.nn.Sequential)
    assert issubclass(page["BatchNorm"], fv.nn.BatchNorm)
    assert page["KeyPath"] is fv.KeyPath


@pytest.mark.parametrize("name", ALSO.split())
def test_other_names_of_the_page_are_there_and_documented(page, name):
    assert getattr(page["lux"], name).__doc__
