"""One core: both faces compute the same bits, whatever the model."""

import copy
import warnings

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import explicit as lux
from freezeviz import nn
from freezeviz.backend import is_array
from freezeviz.errors import TiedParameterError
from tests.explicit._architectures import DIMS, models
from tests.explicit._models import equal, frozen_copy, leaves, same

X = np.random.default_rng(3).standard_normal((4, DIMS), dtype=np.float32)


def states(tree):
    """Return the arrays of a state, without modes, generators and frozen parameters."""
    if not isinstance(tree, dict | list):
        return [] if isinstance(tree, bool | np.random.Generator) else [tree]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [leaf for key, sub in items if key != "frozen_params" for leaf in states(sub)]


def generators(tree):
    return [leaf for leaf in leaves(tree).values() if isinstance(leaf, np.random.Generator)]


def all_equal(a, b):
    a, b = list(a), list(b)
    return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))


def contents(values):
    """Return what is in arrays, in no order."""
    return sorted("None" if v is None else f"{v.dtype} {v.tobytes().hex()}" for v in values)


def stateful_buffers(model):
    """Return the buffers, with None for those without a value."""
    return [
        value
        for module in model.modules()
        for name, value in module._members.items()
        for value in (value if isinstance(value, list) else [value])
        if name in module._buffer_names or (is_array(value) and value.dtype == int)
    ]


def check_both_faces(model, training):
    model.train(training)
    ps, state = lux.setup(None, model)
    kept = copy.deepcopy((ps, state))
    before = frozen_copy(model.state)

    def explicit_loss(ps):
        y, new = lux.apply(model, X, ps, state)
        return (y**2).sum(), y, new

    (_, y, new_state), gradients = lux.value_and_grad(explicit_loss)(ps)
    assert same((ps, state), kept), "apply changes nothing that it is given"
    assert same(model.state, before), "and nothing in the model"

    def stateful_loss():
        y = model(X)
        return (y**2).sum(), y

    rng = copy.deepcopy((generators(state) or [None])[0])
    with fv.random.using(np.random.default_rng(0) if rng is None else rng):
        (_, y_stateful), stateful = nn.value_and_grad(model, stateful_loss)()
    assert equal(y, y_stateful)
    # Wrappers are a level of the one and not of the other; the order is the same.
    assert all_equal(leaves(gradients).values(), leaves(stateful).values())
    for one, other in zip(leaves(gradients), leaves(stateful), strict=True):
        assert set(one.split(".")) <= set(other.split("."))
    assert contents(states(new_state)) == contents(stateful_buffers(model))
    if rng is not None:
        assert equal(generators(new_state)[0], rng)


@settings(max_examples=150)
@given(models(), st.booleans())
def test_faces_agree_bit_for_bit(model, training):
    check_both_faces(model, training)


@settings(max_examples=150)
@given(models(frozen=True), st.booleans())
def test_faces_agree_bit_for_bit_with_frozen_layers(model, training):
    try:
        lux.setup(None, model)
    except TiedParameterError:
        reject()  # one of two places of a layer is frozen
    check_both_faces(model, training)


@settings(max_examples=60)
@given(models())
def test_parameters_are_nested_as_the_models(model):
    ps, _ = lux.setup(None, model)
    assert [v.tobytes() for v in leaves(ps).values()] == [
        v.tobytes() for v in leaves(model.parameters()).values()
    ]
    if not any(isinstance(m, lux.WrapperLayer) for m in model.modules()):
        assert same(ps, model.parameters())


@settings(max_examples=60)
@given(models())
def test_the_same_seed_gives_the_same_numbers(model):
    assert same(lux.setup(5, model), lux.setup(5, model))


@settings(max_examples=60)
@given(models(), st.data())
def test_freezing_keeps_values_outputs_and_remaining_gradients(model, data):
    ps, state = lux.setup(None, model)
    names = list(ps)
    which = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen, ps_f, st_f = lux.freeze(model, ps, state, which, tied="all")
    y, new = lux.apply(model, X, ps, state)
    y_frozen, new_frozen = lux.apply(frozen, X, ps_f, st_f)
    assert equal(y, y_frozen)
    if frozen is model:
        return
    assert same(new_frozen["states"], new)
    thawed, ps_u, st_u = lux.unfreeze(frozen, ps_f, st_f)
    assert thawed is model
    assert same((ps_u, st_u), (ps, state))

    grads = lux.value_and_grad(lambda ps: (lux.apply(model, X, ps, state)[0] ** 2).sum())(ps)[1]
    some = lux.value_and_grad(lambda ps: (lux.apply(frozen, X, ps, st_f)[0] ** 2).sum())(ps_f)[1]
    for path, gradient in leaves(some).items():
        assert equal(gradient, leaves(grads)[path])


def test_a_transformer_with_masks_works_in_both_faces(rng):
    model = nn.Transformer(
        dims=8, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, mlp_dims=16
    )
    ps, state = lux.setup(None, model)
    src, tgt = (rng.standard_normal((2, n, 8), dtype=np.float32) for n in (5, 3))
    mask = nn.MultiHeadAttention.create_additive_causal_mask(3)
    y, _ = lux.apply(model, src, ps, state, tgt, tgt_mask=mask)
    assert equal(y, model(src, tgt, tgt_mask=mask))


def test_explicit_calls_work_within_stateful_ones(rng):
    outer, inner = nn.Linear(DIMS, DIMS), nn.Linear(DIMS, 1)
    ps, state = lux.setup(rng, inner)

    def loss():
        return (lux.apply(inner, outer(X), ps, state)[0] ** 2).sum()

    gradient = nn.value_and_grad(outer, loss)()[1]
    held = inner.parameters()
    inner.update(ps)
    expected = nn.value_and_grad(outer, lambda: (inner(outer(X)) ** 2).sum())()[1]
    assert same(gradient, expected)
    assert not same(held, ps)


@pytest.mark.parametrize("training", [True, False])
def test_several_dropouts_draw_from_generators_of_their_own(rng, training):
    model = lux.Chain(nn.Dropout(0.5), nn.Dropout(0.5))
    model.train(training)
    _, state = lux.setup(rng, model)
    assert not equal(state["layer_1"]["rng"], state["layer_2"]["rng"])
    _, new = lux.apply(model, X, {}, state)
    moved = [not equal(new[name]["rng"], state[name]["rng"]) for name in ("layer_1", "layer_2")]
    assert moved == [training, training]
    assert same(lux.apply(model, X, {}, state), lux.apply(model, X, {}, state))


@settings(max_examples=100)
@given(models(), st.data())
def test_freezing_layers_by_path_keeps_outputs_and_can_be_undone(model, data):
    ps, state = lux.setup(None, model)
    paths = []
    lux.layer_map(lambda *args: paths.append(args[3]) or args[:3], model, ps, state)
    chosen = data.draw(st.lists(st.sampled_from(paths), unique=True))

    def freeze(layer, ps, state, path):
        return lux.freeze(layer, ps, state, tied="all") if path in chosen else (layer, ps, state)

    def thaw(layer, ps, state, path):
        if isinstance(layer, lux.FrozenLayer):
            return lux.unfreeze(layer, ps, state)
        return layer, ps, state

    frozen, ps_f, st_f = lux.layer_map(freeze, model, ps, state)
    assert [path for path, _ in fv.tree_flatten(lux.setup(None, frozen))] == [
        path for path, _ in fv.tree_flatten((ps_f, st_f))
    ]
    assert equal(lux.apply(frozen, X, ps_f, st_f)[0], lux.apply(model, X, ps, state)[0])
    _, ps_u, st_u = lux.layer_map(thaw, frozen, ps_f, st_f, containers=True)
    assert same((ps_u, st_u), (ps, state))
