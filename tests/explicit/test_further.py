"""Where this project goes further than Lux: row by row of the table in `lux_cases.md`.

The row on tied layers is in `test_ties.py`.
"""

import numpy as np
import pytest

from freezeviz import autodiff, nn, optim
from freezeviz import explicit as lux
from freezeviz.errors import ParameterKeyError, UnmatchedKeyWarning
from freezeviz.explicit import BatchNorm, Chain, Dense, Dropout, FrozenLayer, KeyPath
from tests.explicit._models import equal, keys, leaves, same


@pytest.fixture
def dense(rng):
    layer = Dense(3, 2)
    return layer, *lux.setup(rng, layer)


# ------------------------------------------------------------ an unknown name


@pytest.mark.parametrize("form", ["layer", "values", "class"])
def test_unknown_name_raises_with_the_known_and_the_closest(dense, form):
    call = {
        "layer": lambda: lux.freeze(dense[0], ("wieght",)),
        "values": lambda: lux.freeze(*dense, ("wieght",)),
        "class": lambda: FrozenLayer(dense[0], "wieght"),
    }[form]
    with pytest.raises(KeyError) as error:
        call()
    message = str(error.value)
    for part in ("'wieght'", "Linear", "Known: 'weight', 'bias'", "Closest: 'weight'"):
        assert part in message


def test_name_of_a_buffer_is_told_apart():
    with pytest.raises(ParameterKeyError, match="'running_mean'; it is a buffer"):
        lux.freeze(BatchNorm(3), ("running_mean",))


def test_names_are_strings(dense):
    with pytest.raises(TypeError, match="names of parameters are strings, got 1"):
        lux.freeze(dense[0], (1,))
    with pytest.raises(TypeError, match="got int"):
        lux.freeze(dense[0], 1)


# ------------------------------------------------------------ freezing twice


def test_freezing_twice_unites_the_names(dense):
    once = lux.freeze(dense[0], ("bias",))
    twice = lux.freeze(once, ("weight",))
    assert twice.which == ("weight", "bias")
    assert twice.layer is dense[0]
    assert lux.freeze(twice, "bias") is twice
    assert lux.freeze(once).which is None
    assert lux.unfreeze(twice) is dense[0]


def test_freezing_twice_unites_the_values(dense):
    layer, ps, st = lux.freeze(*dense, ("bias",))
    layer, ps, st = lux.freeze(layer, ps, st, ("weight",))
    assert ps == {}
    assert list(st["frozen_params"]) == ["weight", "bias"]
    assert st["states"] == {}
    again = lux.freeze(layer, ps, st)
    assert again[0].which is None
    assert same(again[1:], (ps, st))
    assert same(lux.unfreeze(layer, ps, st)[1], dense[1])


def test_a_frozen_layer_of_a_frozen_layer_is_one():
    layer = Dense(3, 2)
    assert FrozenLayer(FrozenLayer(layer, "weight"), "bias").layer is layer


# ------------------------------------------------------------ unfreezing some


def test_some_can_be_thawed(dense):
    frozen, ps, st = lux.freeze(*dense)
    part, ps_w, st_w = lux.unfreeze(frozen, ps, st, ("weight",))
    assert part.which == ("bias",)
    assert part.layer is dense[0]
    assert list(ps_w) == ["weight"]
    assert keys(st_w) == [("frozen_params", ["bias"]), ("states", [])]
    assert (ps, list(st["frozen_params"])) == ({}, ["weight", "bias"])
    layer, ps_all, st_all = lux.unfreeze(part, ps_w, st_w, "bias")
    assert layer is dense[0]
    assert same((ps_all, st_all), dense[1:])
    assert list(ps_all) == ["weight", "bias"]


def test_some_can_be_thawed_without_values(dense):
    frozen = lux.freeze(dense[0])
    assert lux.unfreeze(frozen, ("bias",)).which == ("weight",)
    assert lux.unfreeze(frozen, ("bias", "weight")) is dense[0]
    part = lux.freeze(dense[0], "weight")
    assert lux.unfreeze(part, "bias") is part, "thawing what is not frozen changes nothing"


def test_thawing_goes_by_the_state_whatever_the_layer_was_told(dense):
    _, ps, st = lux.freeze(*dense)
    told = FrozenLayer(dense[0], ("weight",))
    layer, ps_all, st_all = lux.unfreeze(told, ps, st)
    assert layer is dense[0]
    assert same((ps_all, st_all), dense[1:])


def test_thawed_values_can_be_written_again(dense):
    frozen, ps, st = lux.freeze(*dense)
    value = lux.unfreeze(frozen, ps, st)[1]["weight"]
    assert value is dense[1]["weight"]
    value += 1


def test_thawing_a_layer_that_is_not_frozen_raises(dense):
    with pytest.raises(TypeError, match="takes a FrozenLayer, got Linear"):
        lux.unfreeze(*dense)


def test_thawing_an_unknown_name_raises(dense):
    with pytest.raises(ParameterKeyError, match="Closest: 'bias'"):
        lux.unfreeze(*lux.freeze(*dense), ("bais",))


# ------------------------------------------------------------ no names at all


def test_no_names_return_everything_unchanged(dense):
    with pytest.warns(UnmatchedKeyWarning, match="freezes nothing"):
        result = lux.freeze(*dense, ())
    assert all(new is old for new, old in zip(result, dense, strict=True))
    frozen = lux.freeze(*dense)
    with pytest.warns(UnmatchedKeyWarning, match="thaws nothing"):
        result = lux.unfreeze(*frozen, ())
    assert all(new is old for new, old in zip(result, frozen, strict=True))
    with pytest.warns(UnmatchedKeyWarning):
        assert lux.unfreeze(frozen[0], ()) is frozen[0]
    with pytest.raises(ValueError, match="use the layer as it is"):
        FrozenLayer(dense[0], ())


# ------------------------------------------------------------ containers by path


def test_containers_are_visited_before_what_is_in_them(rng):
    model = Chain(Chain(Dense(2, 2), Dropout(0.5)), last=Dense(2, 1))
    ps, st = lux.setup(rng, model)
    met = []

    def note(layer, ps, st, path):
        met.append((str(path), type(layer).__name__))
        return layer, ps, st

    assert lux.layer_map(note, model, ps, st, containers=True)[0] is model
    assert met == [
        ("", "Chain"),
        ("layer_1", "Chain"),
        ("layer_1.layer_1", "Linear"),
        ("layer_1.layer_2", "Dropout"),
        ("last", "Linear"),
    ]


def test_a_container_can_be_frozen_by_path(rng):
    model = Chain(Chain(Dense(2, 2), Dropout(0.5)), Dense(2, 1))

    def freeze_first(layer, ps, st, path):
        return lux.freeze(layer, ps, st) if path == KeyPath("layer_1") else (layer, ps, st)

    ps, st = lux.setup(rng, model)
    frozen, ps_f, st_f = lux.layer_map(freeze_first, model, ps, st, containers=True)
    assert frozen[0].layer is model[0]
    assert ps_f["layer_1"] == {}
    assert list(st_f["layer_1"]["frozen_params"]) == ["layer_1", "layer_2"]


# ------------------------------------------------------------ the same numbers


def test_setup_gives_the_same_numbers_frozen_or_not():
    def build(freeze):
        layers = [Dense(3, 4), Chain(Dense(4, 4), Dropout(0.5), BatchNorm(4)), Dense(4, 1)]
        if freeze:
            layers[0] = lux.freeze(layers[0])
            layers[1] = lux.freeze(layers[1], ("layer_1",))
        return Chain(*layers)

    ps, st = lux.setup(42, build(freeze=False))
    ps_f, st_f = lux.setup(42, build(freeze=True))
    assert same(st_f["layer_1"]["frozen_params"], ps["layer_1"])
    assert same(st_f["layer_2"]["frozen_params"], {"layer_1": ps["layer_2"]["layer_1"]})
    assert same(ps_f["layer_3"], ps["layer_3"])
    assert same(st_f["layer_2"]["states"], st["layer_2"]), "the generators, too"


# ------------------------------------------------------------ read-only


@pytest.mark.parametrize("way", ["freeze", "setup"])
def test_frozen_arrays_are_read_only(dense, way):
    if way == "freeze":
        _, _, st = lux.freeze(*dense)
    else:
        _, st = lux.setup(0, lux.freeze(dense[0]))
    for value in st["frozen_params"].values():
        with pytest.raises(ValueError, match="read-only"):
            value += 1


# ------------------------------------------------------------ never computed


def test_gradient_of_a_fully_frozen_layer_is_never_computed(rng):
    model = Chain(Dense(3, 5), Dense(5, 4), Dense(4, 2))
    ps, st = lux.setup(rng, model)
    x = rng.standard_normal((6, 3), dtype=np.float32)

    def counted(which):
        frozen, ps_f, st_f = lux.freeze(model, ps, st, which)
        with autodiff.count() as counts:
            lux.value_and_grad(lambda ps: lux.apply(frozen, x, ps, st_f)[0].sum())(ps_f)
        return counts.nodes["linear"], sum(counts.gemms.values())

    assert counted(("layer_1",)) == (2, 3 + 2 + 1), "a frozen prefix leaves no node"
    assert counted(("layer_2",)) == (3, 3 + 1 + 1 + 2), "in the middle, no weight gradient"
    assert counted(None) == (0, 3)


def test_unfreezing_in_mid_run_with_every_optimizer(rng):
    model = Chain(Dense(3, 4), Dense(4, 1))
    x = rng.standard_normal((8, 3), dtype=np.float32)
    for make in (optim.SGD, optim.Adam, optim.AdamW):
        whole = lux.setup(0, model)
        frozen, ps, st = lux.freeze(model, *whole, ("layer_1",))
        opt = make(0.01)

        def step(layer, ps, st, opt=opt):
            loss = lambda ps: (lux.apply(layer, x, ps, st)[0] ** 2).mean()  # noqa: E731
            return opt.apply_gradients(lux.value_and_grad(loss)(ps)[1], ps)

        ps = step(frozen, ps, st)
        layer, ps, st = lux.unfreeze(frozen, ps, st)
        assert same(ps["layer_1"], whole[0]["layer_1"])
        ps = step(layer, ps, st)
        assert not equal(ps["layer_1"]["weight"], whole[0]["layer_1"]["weight"])


# ------------------------------------------------------------ other wrappers and fusions


def test_layer_map_walks_every_container_and_wrapper(rng):
    class Twice(lux.WrapperLayer):
        wraps = "model"

        def __init__(self, model):
            super().__init__()
            self.model = model

        def __call__(self, x):
            return self.model(self.model(x))

    class Lists(nn.Module):
        def __init__(self):
            super().__init__()
            self.stack = [Dense(2, 2), [Dense(2, 2)]]
            self.table = {"a": Dense(2, 2)}

        def __call__(self, x):
            return self.table["a"](self.stack[1][0](self.stack[0](x)))

    model = Chain(
        skip=lux.SkipConnection(Chain(Dense(2, 2)), np.add),
        fused=lux.SkipConnection(Dense(2, 2), nn.Bilinear(2, 2, 2)),
        sides=lux.Parallel(nn.Bilinear(2, 2, 2), left=Dense(2, 2), right=Twice(Dense(2, 2))),
        sequential=nn.Sequential(Dense(2, 2), nn.Tanh()),
        lists=Lists(),
        partly=lux.freeze(Dense(2, 2), ("bias",)),
    )
    ps, st = lux.setup(rng, model)
    x = rng.standard_normal((3, 2), dtype=np.float32)
    y, _ = lux.apply(model, x, ps, st)
    met = []

    def freeze_weights(layer, ps, st, path):
        if not ps:
            return layer, ps, st
        met.append(str(path))
        return lux.freeze(layer, ps, st, ("weight",))

    frozen, ps_f, st_f = lux.layer_map(freeze_weights, model, ps, st)
    assert met == [
        "skip.layer_1",
        "fused.layers",
        "fused.connection",
        "sides.layers.left",
        "sides.layers.right",
        "sides.connection",
        "sequential.layers.0",
        "lists.stack.0",
        "lists.stack.1.0",
        "lists.table.a",
        "partly",
    ]
    assert equal(lux.apply(frozen, x, ps_f, st_f)[0], y)
    assert {path.rpartition(".")[2] for path in leaves(ps_f)} == {"bias"}
    assert frozen["partly"].which == ("weight", "bias")
    assert not any("weight" in path for path in leaves(frozen.trainable_parameters()))
    assert leaves(model.frozen_parameters()).keys() == {"partly.layer.bias"}
