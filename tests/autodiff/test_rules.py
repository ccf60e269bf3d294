"""Every derivative rule against finite differences, on every kind of array."""

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from freezeviz import autodiff
from freezeviz.autodiff import FUSED, RULES
from freezeviz.autodiff._tracer import Tape
from freezeviz.backend import array_namespace
from freezeviz.errors import AutodiffError
from tests.autodiff._differences import assert_gradient
from tests.autodiff._table import ROWS, Row
from tests.standin_cupy import host_reads

_KNOWN = {**RULES, **FUSED}
_every_row = pytest.mark.parametrize("row", ROWS, ids=str)
_fused_row = pytest.mark.parametrize("row", [r for r in ROWS if r.rule in FUSED], ids=str)


def _call(row: Row, args: list[Any], options: dict[str, Any]) -> Any:
    out = _KNOWN[row.rule](*args, **options)
    return out[0] if isinstance(out, tuple) else out


def _scalar(row: Row, options: dict[str, Any]) -> Callable[..., Any]:
    """Return a scalar function of the arguments whose first two derivatives are not constant."""

    def f(*args: Any) -> Any:
        out = _call(row, list(args), options)
        plain, rng = autodiff.stop_gradient(out), np.random.default_rng(11)
        weighted = out * _like(rng, plain)
        # Linear where the rule jumps: differences of what is curved on one side are not exact.
        curved = weighted if row.second else weighted + out * out * _like(rng, plain)
        return RULES["sum"](curved)

    return f


def _like(rng: np.random.Generator, plain: Any) -> Any:
    values = rng.uniform(0.5, 1.5, tuple(plain.shape))
    return array_namespace(plain).asarray(values, dtype=plain.dtype)


def _with(args: list[Any], i: int, x: Any) -> list[Any]:
    return [*args[:i], x, *args[i + 1 :]]


def _gradients(f: Callable[..., Any], args: list[Any], traced: list[int]) -> list[Any]:
    def of(values: list[Any]) -> Any:
        filled = list(args)
        for i, value in zip(traced, values, strict=True):
            filled[i] = value
        return f(*filled)

    return autodiff.grad(of)([args[i] for i in traced])


def test_every_rule_has_rows() -> None:
    assert {r.rule for r in ROWS} == set(_KNOWN)


def test_every_differentiable_argument_has_a_rule_and_is_traced_in_some_row() -> None:
    for name, primitive in RULES.items():
        ruled = {i for i, rule in enumerate(primitive.rules) if rule is not None}
        traced = {i for r in ROWS if r.rule == name for i in r.traced()}
        assert traced >= ruled, name


@_every_row
def test_gradient_is_that_of_finite_differences(row: Row, rng: np.random.Generator) -> None:
    args, options = row.drawn()
    f, traced = _scalar(row, options), row.traced()
    for i, gradient in zip(traced, _gradients(f, args, traced), strict=True):
        assert_gradient(gradient, lambda x, i=i: f(*_with(args, i, x)), args[i], rng)


@pytest.mark.parametrize("row", [r for r in ROWS if r.second is None], ids=str)
def test_second_derivative_is_that_of_finite_differences(
    row: Row, rng: np.random.Generator
) -> None:
    args, options = row.drawn()
    f, traced = _scalar(row, options), row.traced()
    weights = [rng.uniform(0.5, 1.5, args[i].shape) for i in traced]

    def of_gradients(*values: Any) -> Any:
        gradients = _gradients(f, list(values), traced)
        return sum((g * w).sum() for g, w in zip(gradients, weights, strict=True))

    for i in traced:
        gradient = autodiff.grad(lambda x, i=i: of_gradients(*_with(args, i, x)))(args[i])
        of = lambda x, i=i: of_gradients(*_with(args, i, x))  # noqa: E731
        assert_gradient(gradient, of, args[i], rng, directions=1)


@_every_row
def test_traced_value_is_the_untraced_one_bit_for_bit(row: Row) -> None:
    args, options = row.drawn()
    plain = np.asarray(_call(row, args, options))
    tape = Tape(nested=False)
    leaves = [tape.leaf(a) if i in row.traced() else a for i, a in enumerate(args)]
    out = _call(row, leaves, options)
    assert isinstance(out, autodiff.Tracer)
    assert np.asarray(out.value).tobytes() == plain.tobytes()
    assert out.dtype == plain.dtype


def _pulled(row: Row, args: list[Any], options: dict[str, Any], cotangent: Any) -> list[Any]:
    """Return what the rules give for a cotangent (an array, or a function of the value)."""
    tape = Tape(nested=False)
    leaves = {i: tape.leaf(args[i]) for i in row.traced()}
    out = _call(row, [leaves.get(i, a) for i, a in enumerate(args)], options)
    assert isinstance(out, autodiff.Tracer)
    if callable(cotangent):
        cotangent = cotangent(out.value)
    tape.backward(out, cotangent)
    return [leaf.node.cotangent for leaf in leaves.values()]


@pytest.mark.parametrize(
    "dtypes",
    [(np.float32,), (np.float32, np.float64), (np.float64, np.float32), (np.float16,)],
    ids=["single", "single-double", "double-single", "half"],
)
@_every_row
def test_cotangent_has_shape_and_dtype_of_its_argument(row: Row, dtypes: tuple[Any, ...]) -> None:
    args, options = row.drawn(*dtypes)
    plain = np.asarray(_call(row, args, options))
    if not any(_is_wide(a) for a in [*args, *options.values()]):
        assert plain.dtype == np.result_type(*[args[i].dtype for i in row.traced()])
    got = _pulled(row, args, options, np.ones_like)
    for i, cotangent in zip(row.traced(), got, strict=True):
        assert cotangent.shape == args[i].shape
        assert cotangent.dtype == args[i].dtype


def _is_wide(x: Any) -> bool:
    """Return whether NumPy promotes to double for it."""
    if isinstance(x, np.ndarray):
        return x.dtype in (np.float64, np.int64)
    return isinstance(x, np.generic) or x is np.float64


@_every_row
def test_single_precision_gradient_is_the_double_one_rounded(row: Row) -> None:
    def cotangent(value: Any) -> np.ndarray:
        g = np.random.default_rng(3).uniform(0.5, 1.5, value.shape)
        return np.asarray(g, dtype=value.dtype)

    args, options = row.drawn()
    wide = _pulled(row, args, options, cotangent)
    args, options = row.drawn(np.float32)
    narrow = _pulled(row, args, options, cotangent)
    for g, g32 in zip(wide, narrow, strict=True):
        scale = np.max(np.abs(g), initial=1e-3)
        np.testing.assert_allclose(g32, g, rtol=0, atol=2e-4 * scale)


@_every_row
def test_rule_takes_a_cotangent_of_any_layout_and_leaves_it_alone(row: Row) -> None:
    args, options = row.drawn()
    value = np.asarray(_call(row, args, options))
    g = np.asarray(np.random.default_rng(3).standard_normal(value.shape))
    layouts = {
        "other order": g.T.copy().T,
        "strided": np.repeat(g[..., None], 2, -1)[..., 0],
        "broadcast": np.broadcast_to(np.float64(2.0), value.shape),
    }
    for layout in layouts.values():
        layout.flags.writeable = False
        expected = _pulled(row, args, options, np.array(layout, order="C"))
        for got, want in zip(_pulled(row, args, options, layout), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("row", [r for r in ROWS if r.strict is None], ids=str)
def test_rule_works_on_arrays_of_another_library(row: Row) -> None:
    xp = pytest.importorskip("array_api_strict")

    def moved(x: Any) -> Any:
        if type(x) is tuple:
            return tuple(map(moved, x))
        return xp.asarray(x.copy()) if isinstance(x, np.ndarray) else x

    _assert_same_elsewhere(row, moved, np.asarray)


@pytest.mark.parametrize("name", sorted(_KNOWN))
def test_rule_works_on_a_gpu(name: str, cupy: Any) -> None:
    def moved(x: Any) -> Any:
        if type(x) is tuple:
            return tuple(map(moved, x))
        return cupy.asarray(x) if isinstance(x, np.ndarray) else x

    for row in (r for r in ROWS if r.rule == name):
        with host_reads() as reads:
            _assert_same_elsewhere(row, moved, cupy.asnumpy)
        waits = [read for read in reads if "test_rules.py" not in read]
        assert not waits or _has_mask(row), "the host waited for the device"


def _has_mask(row: Row) -> bool:
    """Return whether an index is a mask: of how many entries, only the device knows."""
    index = row.drawn()[1].get("index")
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(i, np.ndarray) and i.dtype == bool for i in parts)


def _assert_same_elsewhere(
    row: Row, moved: Callable[[Any], Any], back: Callable[[Any], np.ndarray]
) -> None:
    args, options = row.drawn()
    traced = row.traced()
    value = _call(row, args, options)
    gradients = _gradients(_scalar(row, options), args, traced)
    there = [moved(a) for a in args]
    options = {name: moved(option) for name, option in options.items()}
    got = _call(row, there, options)
    kind = type(there[traced[0]])
    assert type(got) is kind
    np.testing.assert_allclose(back(got), value, rtol=1e-12, atol=1e-12)
    for g, expected in zip(
        _gradients(_scalar(row, options), there, traced), gradients, strict=True
    ):
        assert type(g) is kind
        np.testing.assert_allclose(back(g), expected, rtol=1e-10, atol=1e-10)


# ---------------------------------------------------------------- fused kernels


@_fused_row
def test_kernel_equals_its_reference(row: Row) -> None:
    args, options = row.drawn()
    fused = FUSED[row.rule]
    np.testing.assert_allclose(
        _call(row, args, options), _first(fused.reference(*args, **options)), rtol=0, atol=1e-13
    )
    g = np.random.default_rng(3).standard_normal(np.shape(_call(row, args, options)))
    tape = Tape(nested=False)
    leaves = {i: tape.leaf(args[i]) for i in row.traced()}
    out = _first(fused.reference(*[leaves.get(i, a) for i, a in enumerate(args)], **options))
    tape.backward(out, g)
    for leaf, got in zip(leaves.values(), _pulled(row, args, options, g), strict=True):
        np.testing.assert_allclose(got, leaf.node.cotangent, rtol=1e-10, atol=1e-12)


def _first(out: Any) -> Any:
    return out[0] if isinstance(out, tuple) else out


@_fused_row
def test_kernel_gives_a_part_of_its_cotangents_as_it_gives_all(row: Row) -> None:
    args, options = row.drawn()
    fused, traced = FUSED[row.rule], row.traced()
    every = tuple(i in traced for i in range(len(args)))
    value = _first(fused.forward(every, *args, **options)[0])
    g = np.random.default_rng(3).standard_normal(np.shape(value))
    full = fused.backward(g, every, fused.forward(every, *args, **options)[1])
    subsets = itertools.chain.from_iterable(
        itertools.combinations(traced, n) for n in range(1, len(traced) + 1)
    )
    for subset in subsets:
        needs = tuple(i in subset for i in range(len(args)))
        out, residual = fused.forward(needs, *args, **options)
        assert np.asarray(_first(out)).tobytes() == np.asarray(value).tobytes()
        cotangents = fused.backward(g, needs, residual)
        assert len(cotangents) == len(args)
        for need, got, expected in zip(needs, cotangents, full, strict=True):
            if need:
                np.testing.assert_array_equal(got, expected)
            else:
                assert got is None


def test_array_arguments_of_a_kernel_may_be_given_by_name(rng: np.random.Generator) -> None:
    x, weight, bias = rng.standard_normal((2, 3)), rng.standard_normal((4, 3)), rng.random(4)
    expected = autodiff.grad(lambda w: autodiff.linear(x, w, bias).sum())(weight)
    for call in (
        lambda w: autodiff.linear(x, w, bias=bias),
        lambda w: autodiff.linear(x, bias=bias, weight=w),
        lambda w: autodiff.linear(weight=w, x=x, bias=bias),
    ):
        np.testing.assert_array_equal(call(weight), autodiff.linear(x, weight, bias))
        got = autodiff.grad(lambda w, call=call: call(w).sum())(weight)
        np.testing.assert_array_equal(got, expected)
    by_bias = autodiff.grad(lambda b: autodiff.linear(x, weight, bias=b).sum())(bias)
    np.testing.assert_array_equal(by_bias, np.full(4, 2.0))
    with pytest.raises(TypeError, match="weight"):
        autodiff.linear(x, bias=bias)


def test_a_traced_option_of_a_kernel_has_a_derivative(rng: np.random.Generator) -> None:
    q, k, v = (rng.standard_normal((4, 3)) for _ in range(3))

    def f(mask: Any) -> Any:
        return (autodiff.attention(q, k, v, mask=mask) ** 2).sum()

    learned = rng.standard_normal((4, 4))
    assert_gradient(autodiff.grad(f)(learned), f, learned, rng)


# ---------------------------------------------------------------- kinks and conventions


def _grad_of(name: str, *args: Any, **options: Any) -> list[Any]:
    traced = [i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    f = lambda *values: RULES["sum"](_KNOWN[name](*values, **options))  # noqa: E731
    return _gradients(f, list(args), traced)


@pytest.mark.parametrize("name", ["relu", "abs"])
def test_derivative_is_zero_at_the_kink_at_zero(name: str) -> None:
    (g,) = _grad_of(name, np.array([0.0, -0.0]))
    np.testing.assert_array_equal(g, [0.0, 0.0])


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_a_tie_of_two_arrays_is_shared(name: str) -> None:
    for g in _grad_of(name, np.array([1.0]), np.array([1.0])):
        np.testing.assert_array_equal(g, [0.5])


@pytest.mark.parametrize("name", ["max", "min"])
def test_ties_of_a_reduction_are_shared_evenly(name: str) -> None:
    (g,) = _grad_of(name, np.full((2, 4), 3.0), axis=1)
    np.testing.assert_array_equal(g, np.full((2, 4), 0.25))


def test_the_first_of_equal_values_in_a_window_gets_the_gradient() -> None:
    (g,) = _grad_of("max_pool2d", np.ones((1, 2, 2, 1)), kernel_size=(2, 2), stride=(2, 2))
    np.testing.assert_array_equal(g[0, :, :, 0], [[1.0, 0.0], [0.0, 0.0]])


def test_the_root_of_a_sum_of_squares_is_flat_at_zero() -> None:
    (g,) = _grad_of("root", np.array([0.0, 4.0]))
    np.testing.assert_array_equal(g, [0.0, 0.25])


def test_masked_entries_get_zero_even_from_an_infinite_cotangent() -> None:
    tape = Tape(nested=False)
    leaf = tape.leaf(np.array([1.0, 2.0, 3.0]))
    out = RULES["masked"](leaf, mask=np.array([True, False, False]))
    tape.backward(out, np.array([5.0, np.inf, np.nan]))
    np.testing.assert_array_equal(leaf.node.cotangent, [5.0, 0.0, 0.0])


def test_where_keeps_the_slope_of_the_branch_not_taken_out() -> None:
    x = np.array([0.0, 4.0])
    g = autodiff.grad(lambda x: np.where(x > 0, np.sqrt(np.where(x > 0, x, 1.0)), 0.0).sum())(x)
    np.testing.assert_array_equal(g, [0.0, 0.25])


def test_nan_goes_through_value_and_gradient_without_a_crash() -> None:
    x = np.array([np.nan, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, g = autodiff.value_and_grad(lambda x: (autodiff.relu(x) * x).sum())(x)
    assert np.isnan(value)
    assert g[1] == 2.0
    for name in ("max", "min"):
        np.testing.assert_array_equal(_grad_of(name, x)[0], [0.0, 0.0])
    for name in ("maximum", "minimum"):
        np.testing.assert_array_equal(_grad_of(name, x, x[::-1].copy()), np.zeros((2, 2)))


def test_an_argument_without_a_rule_says_so() -> None:
    with pytest.raises(AutodiffError, match=r"where\(\) has no derivative.*'condition'"):
        autodiff.grad(lambda c: RULES["where"](c, 1.0, 2.0))(np.ones(2))
