"""Containers with named layers."""

import operator
import pickle

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import explicit as lux
from freezeviz import nn
from freezeviz.errors import ShapeError
from freezeviz.explicit import Chain, Dense, Dropout, Parallel, SkipConnection
from tests.explicit._models import equal, keys

X = np.random.default_rng(1).standard_normal((4, 3), dtype=np.float32)


# ------------------------------------------------------------ Chain


def test_a_chain_calls_its_layers_in_order():
    first, second = Dense(3, 2), Dense(2, 1)
    assert equal(Chain(first, np.tanh, last=second)(X), second(np.tanh(first(X))))
    assert Chain()(X) is X


def test_names_are_positions_or_keywords():
    chain = Chain(Dense(3, 2), np.tanh, head=Dense(2, 1))
    assert [path for path, _ in chain.named_parameters()] == [
        "layer_1.weight",
        "layer_1.bias",
        "head.weight",
        "head.bias",
    ]
    assert chain.head is chain["head"] is chain[2] is chain[-1] is chain.layers[2]
    assert list(chain) == chain.layers
    assert len(chain) == 3


def test_slices_keep_names_and_layers():
    chain = Chain(*(Dense(3, 3) for _ in range(5)))
    part = chain[2:4]
    assert type(part) is Chain
    assert list(part.children()) == ["layer_3", "layer_4"]
    assert part[0] is chain[2]
    assert list(chain[::-2].children()) == ["layer_5", "layer_3", "layer_1"]
    assert len(chain[9:]) == 0


def test_an_index_out_of_range_or_an_unknown_name_raises():
    chain = Chain(Dense(3, 3))
    with pytest.raises(IndexError, match="Chain has 1 layers, numbered from 0; got 1"):
        chain[1]
    with pytest.raises(KeyError) as error:
        chain["layer_2"]
    assert str(error.value) == "Chain has no layer 'layer_2'. Known: 'layer_1'. Closest: 'layer_1'."


def test_a_function_is_a_layer_without_parameters():
    chain = Chain(np.tanh, nn.relu)
    assert lux.setup(0, chain) == ({"layer_1": {}, "layer_2": {}}, {"layer_1": {}, "layer_2": {}})
    assert isinstance(chain[0], lux.WrappedFunction)
    assert repr(chain[1]) == "WrappedFunction(relu)"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Chain(Dense), TypeError, "the class Linear; make a layer of it"),
        (lambda: Chain(3), TypeError, "takes layers and functions, got 3"),
        (lambda: Chain(Dense(1, 1), layer_1=Dense(1, 1)), ValueError, "'layer_1' is the name of"),
        (lambda: Chain(freeze=Dense(1, 1)), ValueError, "cannot be named 'freeze'"),
        (lambda: Chain(**{"a.b": Dense(1, 1)}), ValueError, "cannot be named 'a.b'"),
        (lambda: Chain(_hidden=Dense(1, 1)), ValueError, "cannot be named '_hidden'"),
        (lambda: Parallel(3, Dense(1, 1)), TypeError, "got 3"),
        (lambda: SkipConnection(Dense(1, 1), 3), TypeError, "got 3"),
        (lambda: SkipConnection(None, np.add), TypeError, "got None"),
    ],
)
def test_what_is_no_layer_or_no_name_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ------------------------------------------------------------ Parallel


def test_parallel_gives_the_same_input_to_all_or_each_its_own():
    a, b = Dense(3, 2), Dense(3, 2)
    assert equal(Parallel(np.add, a, b)(X), a(X) + b(X))
    assert equal(Parallel(operator.sub, a, b)((X, 2 * X)), a(X) - b(2 * X))
    outputs = Parallel(None, one=a, two=b)(X)
    assert isinstance(outputs, tuple)
    assert equal(outputs[1], b(X))


def test_parallel_combines_many_with_a_ufunc():
    layers = [Dense(3, 2) for _ in range(3)]
    y = [layer(X) for layer in layers]
    assert equal(Parallel(np.add, *layers)(X), y[0] + y[1] + y[2])
    assert equal(Parallel(np.add, layers[0])(X), y[0])


def test_parallel_with_a_layer_as_connection_nests_both():
    model = Parallel(nn.Bilinear(2, 2, 1), left=Dense(3, 2), right=Dense(3, 2))
    ps, st = lux.setup(0, model)
    assert keys(ps) == [
        ("layers", [("left", ["weight", "bias"]), ("right", ["weight", "bias"])]),
        ("connection", ["weight", "bias"]),
    ]
    assert keys(st) == [("layers", [("left", []), ("right", [])]), ("connection", [])]
    y, _ = lux.apply(model, X, *lux.setup(None, model))
    assert equal(y, model.connection(model.layers["left"](X), model.layers["right"](X)))


def test_parallel_needs_an_input_for_each_layer():
    with pytest.raises(ShapeError, match=r"has 2 layers .*, got a tuple of 3 inputs"):
        Parallel(np.add, Dense(3, 2), Dense(3, 2))((X, X, X))


# ------------------------------------------------------------ SkipConnection


def test_skip_connection_adds_no_level():
    inner = Chain(Dense(3, 3), Dropout(0.5))
    model = SkipConnection(inner, np.add)
    ps, st = lux.setup(0, model)
    assert keys(ps) == [("layer_1", ["weight", "bias"]), ("layer_2", [])]
    assert keys(st) == [("layer_1", []), ("layer_2", ["rng", "training"])]
    assert equal(SkipConnection(Dense(3, 3), np.add).eval()(X).dtype, X.dtype)
    met = []
    lux.layer_map(lambda *args: met.append(str(args[3])) or args[:3], model, ps, st)
    assert met == ["layer_1", "layer_2"]


def test_skip_connection_with_a_layer_nests_both():
    model = SkipConnection(np.tanh, nn.Bilinear(3, 3, 1))
    assert keys(lux.setup(0, model)[0]) == [("layers", []), ("connection", ["weight", "bias"])]
    assert equal(model(X), model.connection(np.tanh(X), X))


def test_displays():
    block = SkipConnection(Chain(Dense(3, 3)), np.add)
    assert repr(block) == (
        "SkipConnection(\n"
        "    add,\n"
        "    layers = Chain(\n"
        "        layer_1 = Dense(3 => 3),  # 12 parameters\n"
        "    ),\n"
        ")  # Total: 12 parameters"
    )
    assert repr(Parallel(None, np.tanh)) == (
        "Parallel(\n    None,\n    layer_1 = WrappedFunction(tanh),\n)  # Total: 0 parameters"
    )
    assert repr(Chain()) == "Chain()"
    bilinear = repr(Parallel(nn.Bilinear(1, 1, 1), np.tanh))
    assert bilinear.startswith("Parallel(\n    Bilinear(")


# ------------------------------------------------------------ wrappers


def test_a_wrapper_wraps_one_layer_and_has_nothing_else():
    class Wrapper(lux.WrapperLayer):
        wraps = "model"

    wrapper = Wrapper()
    with pytest.raises(TypeError, match=r"wraps 'model' and so has this one layer .*, got \[\]"):
        lux.setup(0, wrapper)
    wrapper.model = Dense(3, 2)
    assert equal(wrapper(X), wrapper.model(X))
    wrapper.gain = np.ones(3)
    with pytest.raises(TypeError, match=r"got \['model', 'gain'\]"):
        lux.setup(0, wrapper)
    with pytest.raises(NotImplementedError, match="does not say what it computes"):
        lux.WrapperLayer()(X)


# ------------------------------------------------------------ in the stateful face


def test_containers_train_and_are_saved_as_any_model(tmp_path):
    def make():
        return Chain(
            SkipConnection(Dense(3, 3), np.add), Parallel(np.add, Dense(3, 1), Dense(3, 1))
        )

    model, other = make(), make()
    loss, gradients = nn.value_and_grad(model, lambda: (model(X) ** 2).mean())()
    assert set(gradients) == {"layer_1", "layer_2"}
    fv.optim.SGD(1e-3).update(model, gradients)
    assert (model(X) ** 2).mean() < loss
    model.save_weights(tmp_path / "model.safetensors")
    other.load_weights(tmp_path / "model.safetensors")
    assert equal(other(X), model(X))
    assert equal(pickle.loads(pickle.dumps(model))(X), model(X))
