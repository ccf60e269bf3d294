"""What Lux's manual page on freezing prints: nesting of the states, and the numbers."""

import numpy as np
import pytest

from freezeviz import explicit as lux
from freezeviz.explicit import BatchNorm, Chain, Dense, Dropout, FrozenLayer
from tests.explicit._models import keys, leaves

FROZEN_DENSE = [("frozen_params", ["weight", "bias"]), ("states", [])]
DROPOUT = ["rng", "training"]
BATCH_NORM = ["running_mean", "running_var", "training"]


def test_freezing_layers_of_a_kind(rng):
    model = Chain(Dense(3, 4), Chain(Dense(4, 4), Dropout(0.5), BatchNorm(4)), Dense(4, 1))

    def freeze_dense(layer, ps, st, path):
        if isinstance(layer, Dense):
            return lux.freeze(layer, ps, st, ("weight", "bias"))
        return layer, ps, st

    _, ps, st = lux.layer_map(freeze_dense, model, *lux.setup(rng, model))
    assert keys(st) == [
        ("layer_1", FROZEN_DENSE),
        ("layer_2", [("layer_1", FROZEN_DENSE), ("layer_2", DROPOUT), ("layer_3", BATCH_NORM)]),
        ("layer_3", FROZEN_DENSE),
    ]
    assert keys(ps) == [
        ("layer_1", []),
        ("layer_2", [("layer_1", []), ("layer_2", []), ("layer_3", ["scale", "bias"])]),
        ("layer_3", []),
    ]


def test_freezing_part_of_a_chain(rng):
    model = Chain(Dense(3, 4), Dense(4, 4), Dropout(0.5), BatchNorm(4), Dense(4, 1))
    frozen = Chain(model[0:2], lux.freeze(model[2:4]), model[4])
    ps, st = lux.setup(rng, frozen)
    assert keys(st["layer_2"]) == [
        ("frozen_params", [("layer_3", []), ("layer_4", ["scale", "bias"])]),
        ("states", [("layer_3", DROPOUT), ("layer_4", BATCH_NORM)]),
    ]
    assert keys(ps) == [
        ("layer_1", [("layer_1", ["weight", "bias"]), ("layer_2", ["weight", "bias"])]),
        ("layer_2", []),
        ("layer_3", ["weight", "bias"]),
    ]
    x = rng.standard_normal((2, 3), dtype=np.float32)
    assert lux.apply(frozen, x, ps, st)[0].shape == (2, 1)


@pytest.fixture
def printed():
    """Return the last two layers of the manual's model with the values it prints."""
    model = Chain(BatchNorm(4), Dense(4, 1))
    ps, st = lux.setup(0, model)
    weight = [[0.7794657, 0.8337032, 0.6323408, -0.18308182]]
    ps["layer_2"] = {
        "weight": np.array(weight, np.float32),
        "bias": np.array([-0.27373654], np.float32),
    }
    channels_first = np.array([[0.3931668, 0], [0, 0], [0, 0], [0, 0.31874816]], np.float32)
    return model, channels_first.T, ps, st


def test_numbers_of_the_batch_norm(printed):
    y, st = lux.apply(*printed)
    statistics = st["layer_1"]
    np.testing.assert_allclose(y[:, 0], [0.6886741, -1.2361472], rtol=1e-6)
    mean, var = [0.01965834, 0, 0, 0.015937408], [0.90772897, 0.9, 0.9, 0.90508]
    np.testing.assert_allclose(statistics["running_mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(statistics["running_var"], var, rtol=1e-6)


def test_numbers_of_the_batch_norm_do_not_depend_on_freezing(printed):
    model, x, ps, st = printed
    y, st_new = lux.apply(*printed)
    y_frozen, st_frozen = lux.apply(
        *lux.freeze(model, ps, st)[:1], x, *lux.freeze(model, ps, st)[1:]
    )
    assert y_frozen.tobytes() == y.tobytes()
    inner = st_frozen["states"]["layer_1"]
    assert inner["running_mean"].tobytes() == st_new["layer_1"]["running_mean"].tobytes()
    assert inner["running_var"].tobytes() == st_new["layer_1"]["running_var"].tobytes()


def test_display_of_a_frozen_layer():
    dense = Dense(2, 2)
    assert repr(lux.freeze(dense, ("weight",))) == (
        'FrozenLayer(Dense(2 => 2), ("weight",))  # 2 parameters, plus 4 non-trainable'
    )
    assert repr(FrozenLayer(dense, ("bias", "weight"))) == (
        'FrozenLayer(Dense(2 => 2), ("weight", "bias"))  # 0 parameters, plus 6 non-trainable'
    )
    assert repr(lux.freeze(dense)) == (
        "FrozenLayer(Dense(2 => 2))  # 0 parameters, plus 6 non-trainable"
    )


def test_display_of_activation_and_missing_bias():
    layer = Dense(3, 1, bias=False, activation=np.tanh)
    assert repr(lux.freeze(layer)) == (
        "FrozenLayer(Dense(3 => 1, tanh, bias=False))  # 0 parameters, plus 3 non-trainable"
    )


def test_display_of_a_chain_sums_up():
    model = Chain(Dense(3, 4), lux.freeze(Chain(Dense(40, 30), Dropout(0.5))), last=np.tanh)
    assert repr(model) == (
        "Chain(\n"
        "    layer_1 = Dense(3 => 4),  # 16 parameters\n"
        "    layer_2 = FrozenLayer(Chain(\n"
        "        layer_1 = Dense(40 => 30),  # 1_230 parameters\n"
        "        layer_2 = Dropout(p=0.5),\n"
        "    )),  # 0 parameters, plus 1_232 non-trainable\n"
        "    last = WrappedFunction(tanh),\n"
        ")  # Total: 16 parameters, plus 1_232 states"
    )


def test_lengths_count_what_is_trainable_and_what_is_not(rng):
    model = Chain(lux.freeze(Dense(2, 2), ("weight",)), lux.freeze(BatchNorm(4)), Dropout(0.5))
    assert lux.parameter_length(model) == 2
    assert lux.state_length(model) == 4 + (8 + 9) + 2
    ps, st = lux.setup(rng, model)
    assert lux.parameter_length(ps) == lux.parameter_length(model)
    assert lux.state_length(st) == lux.state_length(model)
    assert len(leaves(st)) == 1 + (2 + 3) + 2
    with pytest.raises(TypeError, match="got int"):
        lux.parameter_length(3)
