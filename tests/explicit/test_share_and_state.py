"""`share_parameters`, modes and named entries: what is refused, what is left alone."""

import re

import numpy as np
import pytest

from freezeviz import explicit as lux
from freezeviz import nn
from freezeviz.errors import ParameterKeyError, ShapeError, TiedParameterError, WeightsError
from freezeviz.explicit import Chain, Dense, Dropout, KeyPath
from tests.explicit._models import keys, same


@pytest.fixture
def ps():
    model = Chain(
        a=Dense(2, 2), b=nn.Sequential(Dense(2, 2), Dense(2, 3)), c=Dense(2, 2, bias=False)
    )
    return lux.setup(0, model)[0]


def test_paths_may_be_key_paths_and_lead_through_lists(ps):
    new = lux.share_parameters(ps, [[KeyPath("b", "layers", "0"), "a"]])
    assert new["a"]["weight"] is ps["b"]["layers"][0]["weight"]
    assert new["b"]["layers"][1]["weight"] is ps["b"]["layers"][1]["weight"]
    assert new["b"]["layers"] is not ps["b"]["layers"]


def test_single_arrays_can_be_shared(ps):
    new = lux.share_parameters(ps, [("a.weight", "c.weight")])
    assert new["c"]["weight"] is ps["a"]["weight"]
    assert new["a"]["bias"] is ps["a"]["bias"]


WRONG = {
    "unknown": ([("a", "d")], KeyError, "no parameters at 'd'"),
    "unknown below": ([("a", "b.layer")], ParameterKeyError, "'b.layer'. Closest: 'layers'"),
    "no index": ([("a", "b.layers.7")], ParameterKeyError, "'b.layers.7'"),
    "shapes": (
        [("a", "b.layers.1")],
        ShapeError,
        "'b.layers.1.weight' has shape (3, 2), got (2, 2)",
    ),
    "names": (
        [("a", "c")],
        WeightsError,
        "'c' is a dict of 'weight', got a dict of 'weight', 'bias'",
    ),
    "kinds": ([("a", "b.layers")], WeightsError, "'b.layers' is a list of 2, got a dict of"),
    "array": ([("a", "c.weight")], WeightsError, "'c.weight' is an array, got a dict"),
    "within": ([("b", "b.layers.0")], TiedParameterError, "'b' and 'b.layers.0' overlap"),
    "twice": ([("a", "a")], TiedParameterError, "'a' and 'a' overlap"),
    "text": (["ab"], TypeError, "a group is several paths, got 'ab' alone"),
    "empty": ([()], WeightsError, "a group has no paths"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_groups_are_refused(ps, case):
    sharing, error, message = WRONG[case]
    with pytest.raises(error, match=re.escape(message)):
        lux.share_parameters(ps, sharing)


def test_only_dicts_are_shared_or_changed():
    with pytest.raises(TypeError, match="takes a dict of parameters, got Linear"):
        lux.share_parameters(Dense(1, 1), [])
    for call in (lux.trainmode, lux.testmode, lambda st: lux.update_state(st, "rng", None)):
        with pytest.raises(TypeError, match="takes the dict of states, got Linear"):
            call(Dense(1, 1))


def test_modes_of_a_model_without_any_stay_as_they_are():
    _, st = lux.setup(0, Chain(Dense(1, 1)))
    assert same(lux.testmode(st), st)


def test_modes_go_through_lists_and_leave_what_is_given():
    _, st = lux.setup(0, nn.Sequential(Dropout(0.5), Dense(1, 1)))
    tested = lux.testmode(st)
    assert tested["layers"][0]["training"] is False
    assert st["layers"][0]["training"] is True
    assert keys(tested["layers"][1]) == []


def test_generators_can_be_set_anew():
    model = Chain(Dropout(0.5), Chain(Dropout(0.5)))
    _, st = lux.setup(0, model)
    x = np.ones((20, 20), np.float32)
    st = lux.update_state(st, "rng", np.random.default_rng(3))
    y, st_2 = lux.apply(model[:1], x, {}, {"layer_1": st["layer_1"]})
    again, _ = lux.apply(model[1], x, {}, st["layer_2"])
    assert y.tobytes() == again.tobytes()
    assert not same(st_2["layer_1"], st["layer_1"])


def test_an_unknown_entry_is_refused():
    _, st = lux.setup(0, Chain(Dropout(0.5)))
    with pytest.raises(KeyError, match=r"no entry 'trainig'\. Closest: 'training'"):
        lux.update_state(st, "trainig", False)
