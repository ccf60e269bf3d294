"""What a computation costs, counted: nodes, matrix products, and arrays kept alive."""

import gc
import itertools
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from freezeviz import autodiff
from freezeviz.autodiff import FUSED, RULES, Primitive
from freezeviz.autodiff._tracer import Tape
from tests.autodiff._table import ROWS, Row

_KNOWN = {**RULES, **FUSED}


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


# ---------------------------------------------------------------- nodes


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_call_with_plain_arrays_leaves_no_node(row: Row) -> None:
    args, options = row.drawn()
    with autodiff.count() as counts:
        _KNOWN[row.rule](*args, **options)
    assert not counts.nodes


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_call_with_a_traced_array_leaves_one_node(row: Row) -> None:
    args, options = row.drawn()
    tape = Tape(nested=False)
    leaves = [tape.leaf(a) if i in row.traced() else a for i, a in enumerate(args)]
    with autodiff.count() as counts:
        _KNOWN[row.rule](*leaves, **options)
    assert counts.nodes == {row.rule: 1}


def _network(p: dict[str, Any], x: Any, targets: Any) -> Any:
    h = autodiff.relu(autodiff.linear(x, p["w1"], p["b1"]))
    h = autodiff.gelu(autodiff.linear(h, p["w2"], p["b2"]))
    h = autodiff.layer_norm(h, p["gain"], p["shift"])
    logits = autodiff.linear(h, p["w3"], p["b3"])
    return autodiff.softmax_cross_entropy(logits, targets=targets).mean()


_PARAMETERS = {
    "w1": _normal(5, 4), "b1": _normal(5), "w2": _normal(6, 5), "b2": _normal(6),
    "gain": _normal(6), "shift": _normal(6), "w3": _normal(3, 6), "b3": _normal(3),
}  # fmt: skip
_X, _TARGETS = _normal(8, 4), np.arange(8) % 3


def _counts(*traced: str) -> autodiff.Counts:
    frozen = {k: v for k, v in _PARAMETERS.items() if k not in traced}

    def loss(p: dict[str, Any]) -> Any:
        return _network(frozen | p, _X, _TARGETS)

    with autodiff.count() as counts:
        autodiff.grad(loss)({k: _PARAMETERS[k] for k in traced})
    return counts


def test_a_fully_frozen_network_leaves_no_node_and_multiplies_forward_only() -> None:
    counts = _counts()
    assert not counts.nodes
    assert counts.gemms == {((8, 4), (4, 5)): 1, ((8, 5), (5, 6)): 1, ((8, 6), (6, 3)): 1}


def test_a_frozen_prefix_leaves_no_node() -> None:
    assert _counts("w3", "b3").nodes == {"linear": 1, "softmax_cross_entropy": 1} | _MEAN
    everything = {"linear": 3, "relu": 1, "gelu": 1, "layer_norm": 1, "softmax_cross_entropy": 1}
    assert _counts(*_PARAMETERS).nodes == everything | _MEAN


_MEAN = {"sum": 1, "divide": 1}


def test_a_frozen_layer_in_the_middle_costs_no_weight_product() -> None:
    everything, frozen = _counts(*_PARAMETERS).gemms, _counts("w1", "b1", "w3", "b3").gemms
    assert everything - frozen == {((6, 8), (8, 5)): 1}
    assert frozen - everything == Counter()


def test_a_frozen_suffix_costs_no_weight_products() -> None:
    frozen = _counts("w1", "b1").gemms
    weight_products = {key: n for key, n in frozen.items() if key[0][1] == key[1][0] == 8}
    assert weight_products == {((5, 8), (8, 4)): 1}
    assert frozen[((8, 3), (3, 6))] == 1  # the gradient flows through


def test_training_biases_only_costs_no_weight_product() -> None:
    frozen = _counts("b1", "b2", "b3").gemms
    assert not [key for key in frozen if key[0][1] == 8]


def test_a_plain_input_costs_no_input_product() -> None:
    gemms = _counts("w1").gemms
    assert ((8, 5), (5, 4)) not in gemms
    assert ((5, 8), (8, 4)) in gemms


@pytest.mark.parametrize(
    ("traced", "expected"),
    [
        ("x", {((2, 7, 3), (3, 4)): 1, ((14, 4), (4, 3)): 1}),
        ("w", {((2, 7, 3), (3, 4)): 1, ((3, 14), (14, 4)): 1}),
        ("xw", {((2, 7, 3), (3, 4)): 1, ((14, 4), (4, 3)): 1, ((3, 14), (14, 4)): 1}),
    ],
)
def test_matmul_costs_one_large_product_per_traced_side(traced: str, expected: Any) -> None:
    values = {"x": _normal(2, 7, 3), "w": _normal(3, 4)}
    plain = {k: v for k, v in values.items() if k not in traced}

    def f(p: dict[str, Any]) -> Any:
        both = plain | p
        return (both["x"] @ both["w"]).sum()

    with autodiff.count() as counts:
        autodiff.grad(f)({k: values[k] for k in traced})
    assert counts.gemms == expected


@pytest.mark.parametrize(
    ("needs", "products"),
    [((0,), 2), ((1,), 2), ((2,), 1), ((0, 1), 3), ((1, 2), 2), ((0, 1, 2), 3)],
)
def test_convolution_multiplies_once_per_derivative(needs: tuple[int, ...], products: int) -> None:
    args = [_normal(2, 5, 5, 2), _normal(3, 2, 2, 2), _normal(3)]
    assert _products(lambda *a: autodiff.conv2d(*a), args, needs) == products


@pytest.mark.parametrize(
    ("needs", "products"), [((0,), 4), ((1,), 4), ((2,), 3), ((0, 1), 5), ((0, 1, 2), 6)]
)
def test_attention_multiplies_for_what_is_wanted(needs: tuple[int, ...], products: int) -> None:
    args = [_normal(4, 3), _normal(5, 3), _normal(5, 2)]
    assert _products(lambda *a: autodiff.attention(*a), args, needs) == products


def _products(f: Callable[..., Any], args: list[Any], needs: tuple[int, ...]) -> int:
    def scalar(values: list[Any]) -> Any:
        filled = list(args)
        for i, value in zip(needs, values, strict=True):
            filled[i] = value
        return f(*filled).sum()

    with autodiff.count() as counts:
        autodiff.grad(scalar)([args[i] for i in needs])
    return sum(counts.gemms.values())


def test_counting_is_for_the_block_only() -> None:
    def product() -> None:
        autodiff.grad(lambda w: autodiff.linear(_X, w, None).sum())(_PARAMETERS["w1"])

    with autodiff.count() as outer:
        product()
        with autodiff.count() as inner:
            product()
    product()
    once = autodiff.Counts(
        Counter({"linear": 1, "sum": 1}),
        Counter({((8, 4), (4, 5)): 1, ((5, 8), (8, 4)): 1}),
    )
    assert outer == inner == once


@pytest.mark.parametrize(("power", "rule"), [(2, "square"), (0.5, "sqrt"), (-1, "reciprocal")])
def test_simple_powers_are_computed_as_numpy_computes_them(power: float, rule: str) -> None:
    with autodiff.count() as counts:
        autodiff.grad(lambda x: (x**power).sum())(np.ones(2))
    assert counts.nodes == {rule: 1, "sum": 1}


# ---------------------------------------------------------------- memory after the forward pass


def _owner(x: Any) -> np.ndarray:
    x = autodiff.stop_gradient(x)
    return x if x.base is None else x.base


def _kept(f: Callable[..., Any], traced: tuple[int, ...], *values: np.ndarray) -> set[int | str]:
    """Return which arguments' arrays, and whether the value's, are alive after a forward pass.

    The traced arguments are values of an addition, which keeps nothing.
    """
    alive: set[int | str] = set()

    def g(leaves: list[Any]) -> Any:
        args: list[Any] = [
            leaves[i] + 1.0 if i in traced else v + 1.0 for i, v in enumerate(values)
        ]
        references: dict[int | str, Any] = {i: weakref.ref(_owner(a)) for i, a in enumerate(args)}
        out = f(*args)
        references["out"] = weakref.ref(_owner(out))
        total = out.sum()
        del args, out
        alive.update(k for k, reference in references.items() if reference() is not None)
        return total

    autodiff.grad(g)(list(values))
    return alive


_A, _B = _normal(3, 4), _normal(3, 4)


@pytest.mark.parametrize(
    ("name", "f", "traced", "kept"),
    [
        ("add", lambda x, y: x + y, (0, 1), set()),
        ("subtract", lambda x, y: x - y, (0, 1), set()),
        ("multiply", lambda x, y: x * y, (0,), {1}),
        ("multiply", lambda x, y: x * y, (1,), {0}),
        ("multiply", lambda x, y: x * y, (0, 1), {0, 1}),
        ("divide", lambda x, y: x / y, (0,), {1}),
        ("divide", lambda x, y: x / y, (1,), {1, "out"}),
        ("exp", lambda x, y: np.exp(x), (0,), {"out"}),
        ("log", lambda x, y: np.log(np.abs(x)), (0,), {0}),
        ("tanh", lambda x, y: np.tanh(x), (0,), {"out"}),
        ("relu", lambda x, y: autodiff.relu(x), (0,), {"out"}),
        ("negative", lambda x, y: -x, (0,), set()),
        ("sum", lambda x, y: np.sum(x, axis=0), (0,), set()),
        ("mean", lambda x, y: np.mean(x, axis=0), (0,), set()),
        ("max", lambda x, y: np.max(x, axis=0), (0,), {0, "out"}),
        ("softmax", lambda x, y: autodiff.softmax(x), (0,), {"out"}),
        ("reshape", lambda x, y: np.reshape(x, -1) + 1.0, (0,), set()),
        ("getitem", lambda x, y: x[1] + 1.0, (0,), set()),
        ("concatenate", lambda x, y: np.concatenate([x, y]), (0, 1), set()),
        ("where", lambda x, y: np.where(_A > 0, x, y), (0, 1), set()),
        ("matmul", lambda x, y: x @ y.T, (0,), {1}),
        ("matmul", lambda x, y: x @ y.T, (1,), {0}),
        ("einsum", lambda x, y: np.einsum("ij,kj->ik", x, y), (0,), {1}),
        ("einsum", lambda x, y: np.einsum("ij,kj->ik", x, y), (0, 1), {0, 1}),
        ("gelu", lambda x, y: autodiff.gelu(x), (0,), set()),
        ("linear", lambda x, y: autodiff.linear(x, y, None), (0,), {1}),
        ("linear", lambda x, y: autodiff.linear(x, y, None), (1,), {0}),
        ("linear", lambda x, y: autodiff.linear(x[None], y, None), (0,), {1}),
        ("linear", lambda x, y: autodiff.linear(x[None], y, None), (1,), {0}),
        ("linear", lambda x, y: autodiff.linear(x, _B, y[:, 0]), (1,), set()),
        ("layer_norm", lambda x, y: autodiff.layer_norm(x, y[0], y[1]), (0,), {1}),
        ("layer_norm", lambda x, y: autodiff.layer_norm(x, y[0], y[1]), (1,), set()),
        ("batch_norm", lambda x, y: autodiff.batch_norm(x, y[0], y[1])[0], (1,), set()),
        ("attention", lambda x, y: autodiff.attention(x, y, y), (0,), {1}),
        ("attention", lambda x, y: autodiff.attention(x, _B, y), (1,), set()),
        ("attention", lambda x, y: autodiff.attention(x, y, _B), (1,), {0}),
        ("max_pool", lambda x, y: autodiff.max_pool2d(
            x[None, :, :, None], kernel_size=(2, 2), stride=(1, 1)), (0,), set()),
        ("embedding", lambda x, y: autodiff.embedding(x, indices=np.array([0, 2])), (0,), set()),
        ("cross_entropy", lambda x, y: autodiff.softmax_cross_entropy(
            x, targets=np.array([0, 1, 2])), (0,), set()),
    ],
)  # fmt: skip
def test_only_what_the_derivative_needs_is_kept(
    name: str, f: Callable[..., Any], traced: tuple[int, ...], kept: set[Any]
) -> None:
    assert _kept(f, traced, _A, _B) == kept


@pytest.mark.parametrize(("traced", "kept"), [((0,), {1}), ((1,), {0}), ((2,), set())])
def test_convolution_keeps_only_what_the_derivative_needs(
    traced: tuple[int, ...], kept: set[Any]
) -> None:
    arrays = _normal(2, 4, 4, 2), _normal(3, 2, 2, 2), _normal(3)
    assert _kept(autodiff.conv2d, traced, *arrays) == kept


@pytest.mark.parametrize("row", [r for r in ROWS if r.rule in FUSED], ids=str)
def test_a_kernel_keeps_no_more_than_its_arguments_and_two_arrays_of_their_size(row: Row) -> None:
    # Of attention: the probabilities; of the others at most one array like the input.
    args, options = row.drawn()
    fused = FUSED[row.rule]
    value = _KNOWN[row.rule](*args, **options)
    value = value[0] if isinstance(value, tuple) else value
    for needs in itertools.product((False, True), repeat=len(args)):
        if any(need and i not in row.traced() for i, need in enumerate(needs)):
            continue
        residual = fused.forward(needs, *args, **options)[1]
        kept = {id(_owner(a)): a.nbytes for a in _arrays(residual)}
        own = [nbytes for key, nbytes in kept.items() if key not in _ids(args, options)]
        if not any(needs):
            assert not kept
        probabilities = 8 * args[0].size * (args[1].size if row.rule == "attention" else 1)
        assert sum(own) <= max(probabilities, 2 * args[0].nbytes, 2 * value.nbytes)


def _ids(args: list[Any], options: dict[str, Any]) -> set[int]:
    return {id(_owner(a)) for a in (*args, *options.values()) if isinstance(a, np.ndarray)}


def _arrays(residual: Any) -> list[np.ndarray]:
    if isinstance(residual, tuple | list):
        return [a for part in residual for a in _arrays(part)]
    return [residual] if isinstance(residual, np.ndarray) else []


def test_nothing_of_a_frozen_network_is_alive_after_its_loss() -> None:
    references: list[Any] = []

    def probe(x: Any) -> Any:
        references.append(weakref.ref(_owner(x)))
        return x

    frozen, x = {k: v + 0.0 for k, v in _PARAMETERS.items()}, _X + 0.0

    def loss(p: dict[str, Any]) -> Any:
        h = probe(autodiff.relu(autodiff.linear(x, frozen["w1"], frozen["b1"])))
        h = probe(autodiff.gelu(autodiff.linear(h, frozen["w2"], frozen["b2"])))
        h = probe(autodiff.layer_norm(h, frozen["gain"], frozen["shift"]))
        value = autodiff.linear(h, frozen["w3"], p["b3"]).mean()
        del h
        assert [r() is None for r in references] == [True, True, True]
        return value

    autodiff.grad(loss)({"b3": frozen.pop("b3")})
    assert len(references) == 3


# ---------------------------------------------------------------- memory in the backward pass


def test_memory_is_released_during_the_backward_pass() -> None:
    outs: list[Any] = []
    seen: list[list[bool]] = []

    def rule(g: Any) -> Any:
        seen.append([out() is not None for out in outs])
        return g

    probe = Primitive(lambda x: x + 0.0, "probe")
    probe.rules = [(rule, ())]

    def f(x: Any) -> Any:
        for _ in range(3):
            y = np.tanh(x)  # whose rule keeps its value
            outs.append(weakref.ref(_owner(y)))
            x = probe(y)
            del y
        return x.sum()

    autodiff.grad(f)(_normal(4))
    # The rule of the n-th probe runs before that of the n-th tanh and after all later ones.
    assert seen == [[True, True, True], [True, True, False], [True, False, False]]


def test_a_gradient_leaves_no_cycle_behind() -> None:
    # A cycle would keep a step's arrays until Python looks for it, long after.
    gc.collect()
    gc.disable()
    try:
        autodiff.grad(lambda p: _network(p, _X, _TARGETS))(_PARAMETERS)
        autodiff.vjp(lambda x: np.exp(x) @ x, _normal(3))[1](1.0)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_an_error_in_the_function_frees_its_arrays() -> None:
    references: list[Any] = []

    def f(x: Any) -> Any:
        y = np.exp(x)
        references.append(weakref.ref(_owner(y)))
        raise ValueError("on the way")

    def call() -> None:
        with pytest.raises(ValueError, match="on the way"):
            autodiff.grad(f)(_normal(3))

    call()
    gc.collect()
    assert references[0]() is None
