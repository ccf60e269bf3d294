"""Layers and arrays with several names: frozen under all of them, or not at all."""

import numpy as np
import pytest

from freezeviz import explicit as lux
from freezeviz.errors import TiedParameterError
from freezeviz.explicit import Chain, Dense, FrozenLayer, KeyPath
from tests.explicit._models import equal, keys, leaves, same


def test_freezing_one_of_two_tied_layers_is_refused():
    first, second = Dense(2, 2), Dense(2, 2)
    second.weight = first.weight
    model = Chain(first, second)
    with pytest.raises(TiedParameterError) as error:
        lux.freeze(model, ("layer_1",))
    assert "'layer_1.weight'" in str(error.value)
    assert "'layer_2.weight'" in str(error.value)
    assert 'tied="all"' in str(error.value)


def test_tied_all_freezes_every_name(rng):
    first, second = Dense(2, 2), Dense(2, 2)
    second.weight = first.weight
    model = Chain(first, second)
    ps, st = lux.setup(rng, model)
    assert keys(ps) == [("layer_1", ["weight", "bias"]), ("layer_2", ["bias"])]
    frozen, ps_f, st_f = lux.freeze(model, ps, st, ("layer_2",), tied="all")
    assert frozen.which == ("layer_1.weight", "layer_2")
    assert keys(ps_f) == [("layer_1", ["bias"])]
    x = rng.standard_normal((3, 2), dtype=np.float32)
    assert equal(lux.apply(frozen, x, ps_f, st_f)[0], lux.apply(model, x, ps, st)[0])
    assert same(lux.unfreeze(frozen, ps_f, st_f)[1], ps)


def freeze_at(*paths, **options):
    def f(layer, ps, st, path):
        return lux.freeze(layer, ps, st, **options) if path in paths else (layer, ps, st)

    return f


@pytest.mark.parametrize("kind", ["layer", "array", "ps"])
def test_layer_map_sees_ties_over_the_whole_model(rng, kind):
    first, second = Dense(2, 2), Dense(2, 2)
    if kind == "array":
        second.weight, second.bias = first.weight, first.bias
    model = Chain(first, Chain(first if kind == "layer" else second))
    ps, st = lux.setup(rng, model)
    if kind == "ps":
        ps = lux.share_parameters(ps, [("layer_1", "layer_2.layer_1")])
    one, other = KeyPath("layer_1"), KeyPath("layer_2", "layer_1")
    x = rng.standard_normal((3, 2), dtype=np.float32)
    y, _ = lux.apply(model, x, ps, st)

    for path in (one, other):
        with pytest.raises(TiedParameterError) as error:
            lux.layer_map(freeze_at(path), model, ps, st)
        assert "'layer_1." in str(error.value)
        assert "'layer_2.layer_1." in str(error.value)

    for paths, options in (
        ((one, other), {}),
        ((one,), {"tied": "all"}),
        ((other,), {"tied": "all"}),
    ):
        frozen, ps_f, st_f = lux.layer_map(freeze_at(*paths, **options), model, ps, st)
        assert isinstance(frozen[0], FrozenLayer)
        assert isinstance(frozen[1][0], FrozenLayer)
        assert leaves(ps_f) == {}
        assert equal(lux.apply(frozen, x, ps_f, st_f)[0], y)


def test_a_layer_frozen_in_one_of_two_places_is_refused_at_setup():
    layer = Dense(2, 2)
    with pytest.raises(TiedParameterError, match=r"'layer_2\.\w+' would be frozen, but 'layer_1"):
        lux.setup(0, Chain(layer, lux.freeze(layer)))
    both = lux.freeze(layer)
    ps, st = lux.setup(0, Chain(both, both))
    assert leaves(ps) == {}
    assert keys(st) == [
        ("layer_1", [("frozen_params", ["weight", "bias"]), ("states", [])]),
        ("layer_2", []),
    ]


def test_a_shared_container_is_frozen_inside_in_all_places_or_none(rng):
    shared = Chain(Dense(2, 2))
    model = Chain(shared, shared)

    def freeze_inside(layer, ps, st, path):
        if path == KeyPath("layer_2") and isinstance(layer, Chain):
            return lux.layer_map(lambda *args: lux.freeze(*args[:3]), layer, ps, st)
        return layer, ps, st

    with pytest.raises(
        TiedParameterError, match=r"'layer_2\.layer_1\.\w+' would be frozen, but 'layer_1"
    ):
        lux.layer_map(freeze_inside, model, *lux.setup(rng, model), containers=True)


def test_a_layer_that_comes_twice_is_frozen_in_both_places(rng):
    shared = Dense(2, 2)
    model = Chain(shared, shared)
    ps, st = lux.setup(rng, model)
    for which in (("layer_1",), ("layer_2",)):
        with pytest.raises(TiedParameterError, match=r"'layer_\d\.weight'"):
            lux.freeze(model, ps, st, which)
        frozen, ps_f, st_f = lux.freeze(model, ps, st, which, tied="all")
        assert leaves(ps_f) == {}
        assert keys(st_f["frozen_params"])[0] == ("layer_1", ["weight", "bias"])
        assert leaves(frozen.trainable_parameters()) == {}
        assert same(
            lux.setup(0, frozen), lux.freeze(model, *lux.setup(0, model), which, tied="all")[1:]
        )
