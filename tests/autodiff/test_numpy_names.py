"""NumPy's names on traced arrays: the right derivative, a plain array, or a clear error."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

from freezeviz import autodiff
from freezeviz.autodiff import _operators as operators
from freezeviz.errors import AutodiffError
from tests.autodiff._differences import assert_gradient
from tests.autodiff._names import CASES, ELSEWHERE, MASK, ROWS, Case, X, Y, Z

_every_case = pytest.mark.parametrize("case", CASES, ids=str)


def _value(x: Any) -> np.ndarray:
    return np.asarray(autodiff.stop_gradient(x))


def test_every_name_in_the_tables_has_a_case() -> None:
    tested = {c.name for c in CASES if callable(c.name)}
    assert tested == {*operators._UFUNCS, *operators._FUNCTIONS}


@_every_case
def test_gradient_is_that_of_finite_differences(case: Case, rng: np.random.Generator) -> None:
    weights = rng.uniform(0.5, 1.5, np.shape(case.call(case.at)))

    def f(x: Any) -> Any:
        return autodiff.RULES["sum"](case.call(x) * weights)

    value, gradient = autodiff.value_and_grad(f)(case.at)
    assert np.isclose(value, f(case.at), rtol=1e-13)
    assert_gradient(gradient, f, case.at, rng)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@_every_case
def test_value_and_dtype_are_those_of_numpy(case: Case, dtype: Any) -> None:
    if dtype is np.float16 and not case.half:
        dtype = np.float32
    at = case.at.astype(dtype)
    expected = np.asarray(case.call(at))
    traced: list[Any] = []

    def f(x: Any) -> Any:
        traced.append(case.call(x))
        return autodiff.RULES["sum"](traced[0])

    autodiff.grad(f)(at)
    assert type(traced[0]) is autodiff.Tracer
    got = _value(traced[0])
    assert got.dtype == expected.dtype
    if case.exact:
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_allclose(got, expected, rtol=8 * float(np.finfo(expected.dtype).eps))


# ---------------------------------------------------------------- dtypes


def _dtype_of(f: Callable[[Any], Any], x: np.ndarray) -> tuple[Any, Any]:
    """Return the dtypes of a traced value and of the gradient."""
    seen: list[Any] = []

    def scalar(x: Any) -> Any:
        seen.append(f(x))
        return np.sum(seen[0])

    gradient = autodiff.grad(scalar)(x)
    return seen[0].dtype, gradient.dtype


SINGLE = X.astype(np.float32)


@pytest.mark.parametrize(
    ("f", "dtype"),
    [
        (lambda x: x * 2.5, np.float32),
        (lambda x: 2.5 * x, np.float32),
        (lambda x: x + 1, np.float32),
        (lambda x: x**2.5, np.float32),
        (lambda x: 2**x, np.float32),
        (lambda x: np.maximum(x, 0.5), np.float32),
        (lambda x: np.where(x > 0.5, x, 0.0), np.float32),
        (lambda x: np.where(x > 0.5, 1, x), np.float32),
        (lambda x: np.clip(x, 0.4, 0.6), np.float32),
        (lambda x: x * np.float32(2.5), np.float32),
        (lambda x: np.float32(2.5) * x, np.float32),
        (lambda x: x.mean() * x, np.float32),
        (lambda x: x.std() + x, np.float32),
        (lambda x: np.pad(x, 1, constant_values=np.float64(2.0)), np.float32),
        (lambda x: x * np.float64(2.5), np.float64),
        (lambda x: np.float64(2.5) * x, np.float64),
        (lambda x: x ** np.float64(2.0), np.float64),
        (lambda x: np.where(x > 0.5, x, np.float64(0.0)), np.float64),
        (lambda x: x * Y, np.float64),
        (lambda x: Y @ x.T, np.float64),
        (lambda x: x * np.arange(4), np.float64),
        (lambda x: np.concatenate([x, Y]), np.float64),
        (lambda x: np.sum(x, dtype=np.float64), np.float64),
        (lambda x: x.astype(np.float64), np.float64),
        (lambda x: np.float_power(x, 2), np.float64),
    ],
)
def test_dtype_follows_numpys_promotion_and_the_gradient_the_argument(
    f: Callable[[Any], Any], dtype: Any
) -> None:
    assert np.asarray(f(SINGLE)).dtype == dtype
    assert _dtype_of(f, SINGLE) == (dtype, np.float32)


def test_a_sum_in_double_precision_is_accumulated_in_it() -> None:
    x = np.full(100_000, 0.1, dtype=np.float32)
    value = autodiff.value_and_grad(lambda x: np.sum(x, dtype=np.float64))(x)[0]
    assert value == np.sum(x, dtype=np.float64)


# ---------------------------------------------------------------- plain results


def _inside(f: Callable[[Any], Any], x: np.ndarray = X) -> Any:
    """Return what `f` gives for a traced array."""
    seen: list[Any] = []

    def scalar(x: Any) -> Any:
        seen.append(f(x))
        return np.sum(x)

    autodiff.grad(scalar)(x)
    return seen[0]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x > 0.5,
        lambda x: x < Y,
        lambda x: x >= [0.1, 0.5, 0.6, 0.7],
        lambda x: np.float64(0.5) < x,
        lambda x: x == x,
        lambda x: x != 0,
        lambda x: np.greater(x, 0.5),
        lambda x: np.isfinite(x),
        lambda x: np.isnan(x),
        lambda x: np.logical_and(x, Y),
        lambda x: np.sign(x),
        lambda x: np.floor(x),
        lambda x: x // 0.25,
        lambda x: 1.0 // x,
        lambda x: np.round(x, 1),
        lambda x: np.argmax(x, axis=1),
        lambda x: x.argmin(),
        lambda x: np.argsort(x, axis=0),
        lambda x: x.argsort(axis=0),
        lambda x: np.nonzero(x > 0.5)[0],
        lambda x: np.where(x > 0.5)[0],
        lambda x: np.where(x)[0],
        lambda x: np.zeros_like(x),
        lambda x: np.ones_like(x, dtype=np.float32),
        lambda x: np.zeros_like(x, shape=(2,)),
        lambda x: np.full_like(x, 3.0),
        lambda x: np.any(x > 0.5, axis=0),
        lambda x: np.all(x),
        lambda x: np.isclose(x, Y),
        lambda x: np.allclose(x, [x, x][0]),
        lambda x: np.array_equal(x, X),
        lambda x: np.searchsorted(x[0], 0.5),
        lambda x: np.count_nonzero(x),
        lambda x: np.shape(x),
        lambda x: np.size(x, 0),
        lambda x: np.ndim(x),
        lambda x: [*x.shape, x.ndim, x.size, len(x)],
        lambda x: x.dtype,
        lambda x: np.result_type(x, np.float32),
        lambda x: x.astype(np.int64),
        lambda x: np.astype(x, bool),
        lambda x: np.array_repr(x),
        lambda x: bool(x[0, 0] > 0),
        lambda x: bool(x[0, 0]),
        lambda x: f"{x[0, 0]:.3f}",
        lambda x: max(x[0, 0], -1.0) is not None,
        lambda x: autodiff.stop_gradient({"a": [x, 1.0]})["a"][0],
    ],
)
def test_what_is_piecewise_constant_is_plain_and_what_numpy_gives(f: Callable[[Any], Any]) -> None:
    got, expected = _inside(f), f(X)
    assert not isinstance(got, autodiff.Tracer)
    assert type(got) is type(expected)
    np.testing.assert_array_equal(got, expected)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda x: np.sort(x), r"np\.sort has no derivative rule"),
        (lambda x: np.median(x), r"np\.median"),
        (lambda x: np.unique(x), r"np\.unique"),
        (lambda x: np.bincount([0, 1, 1, 2], weights=x[0]), r"np\.bincount"),
        (lambda x: np.linalg.svd(x), r"np\.linalg\.svd"),
        (lambda x: np.linalg.inv(x[:, :3]), r"np\.linalg\.inv"),
        (lambda x: np.fft.fft(x), r"np\.fft\.fft"),
        (lambda x: np.cumprod(x), r"np\.cumprod"),
        (lambda x: np.interp(x, [0, 1], [0, 1]), r"np\.interp"),
        (lambda x: np.hypot(x, Y), r"np\.hypot has no derivative rule"),
        (lambda x: np.arctan2(x, Y), r"np\.arctan2"),
        (lambda x: np.cbrt(x), r"np\.cbrt"),
        (lambda x: np.modf(x), r"np\.modf"),
        (lambda x: np.remainder(x, 0.5), r"np\.remainder"),
        (lambda x: x % 0.5, r"np\.remainder"),
        (lambda x: 0.5 % x, r"np\.remainder"),
        (lambda x: divmod(x, 0.5), r"np\.divmod"),
        (lambda x: np.add(x, Y, out=np.empty_like(Y)), r"np\.add would write"),
        (lambda x: np.add(Y, Y, out=x), r"np\.add would write"),
        (lambda x: np.add(x, Y, where=MASK), r"np\.add with where="),
        (lambda x: np.add(x, Y, dtype=np.float32), r"np\.add with dtype="),
        (lambda x: np.add.accumulate(x), r"np\.add\.accumulate"),
        (lambda x: np.multiply.outer(x, Y), r"np\.multiply\.outer"),
        (lambda x: np.add.at(np.zeros(4), [0], x[0]), r"np\.add\.at"),
        (lambda x: np.add.reduce(x, initial=1.0), r"np\.add\.reduce with initial="),
        (lambda x: np.sum(x, out=np.empty(())), r"out= writes into an array"),
        (lambda x: np.sum(x, where=MASK), r"np\.sum with where="),
        (lambda x: np.max(x, initial=0.0), r"np\.max with initial="),
        (lambda x: np.var(x, mean=0.5), r"np\.var with mean="),
        (lambda x: np.sum(x, dtype=int), "sum in int"),
        (lambda x: np.reshape(x, -1, order="F"), "order='F'"),
        (lambda x: np.pad(x, 1, mode="edge"), "mode='edge'"),
        (lambda x: np.pad(x, 1, constant_values=(1, 2)), "several constant_values"),
        (lambda x: np.take(x, ROWS, axis=0, mode="wrap"), "mode='wrap'"),
        (lambda x: np.einsum("ii", x[:, :3]), "np.diagonal"),
        (lambda x: np.einsum(x, [0, 1]), "subscripts as a string"),
        (lambda x: np.linalg.norm(x, 1), "ord=1"),
        (lambda x: np.linalg.norm(x, 2), "ord=2 over 2 axes"),
        (lambda x: np.linalg.norm(x, 2, axis=(0, 1)), "ord=2 over 2 axes"),
        (lambda x: np.linalg.norm(x, "nuc"), "ord='nuc'"),
        (lambda x: np.average(x, returned=True), "returned=True"),
        (lambda x: np.asarray(x), "turned into a plain one"),
        (lambda x: np.array([x[0, 0], x[1, 1]]), "np.stack"),
        (lambda x: np.zeros(3) + np.asarray([x[0, 0]] * 3), "turned into a plain one"),
        (lambda x: scipy.special.softmax(x), "turned into a plain one"),
        (lambda x: scipy.special.gammaln(x), r"gammaln has no derivative rule"),
        (lambda x: float(x[0, 0]), r"float\(\) of a traced array"),
        (lambda x: int(x[0, 0]), r"int\(\)"),
        (lambda x: complex(x[0, 0]), r"complex\(\)"),
        (lambda x: math.exp(x[0, 0]), r"float\(\)"),
        (lambda x: x[0, 0].item(), r"float\(\)"),
        (lambda x: x.tolist(), r"list\(\)"),
        (lambda x: range(3)[x[0, 0]], r"index\(\)"),
        (lambda x: x.astype(complex), "complex128"),
        (lambda x: x.__setitem__(0, 1.0), "cannot be written into"),
        (lambda x: pickle.dumps(x), "cannot be pickled"),
    ],
)
def test_what_has_no_derivative_says_so_by_name(f: Callable[[Any], Any], name: str) -> None:
    with pytest.raises(AutodiffError, match=name):
        _inside(f)


def test_adding_a_traced_array_into_a_plain_one_says_what_to_write() -> None:
    def f(x: Any) -> Any:
        total = np.zeros((3, 4))
        total += x
        return total

    with pytest.raises(AutodiffError, match=r"write a = a \+ b instead of a \+= b"):
        _inside(f)


def test_writing_a_traced_array_into_a_plain_one_is_refused() -> None:
    def f(x: Any) -> Any:
        rows = np.zeros((3, 4))
        rows[0] = x[0]
        return rows

    with pytest.raises(AutodiffError, match="turned into a plain one"):
        _inside(f)


def test_complex_numbers_are_refused_on_the_way_back() -> None:
    with pytest.raises(AutodiffError, match="complex"):
        autodiff.grad(lambda x: np.sum(np.abs(x * 1j)))(X)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.expand_dims(x, 5),
        lambda x: np.transpose(x, (0, 2)),
        lambda x: np.moveaxis(x, 0, 2),
        lambda x: np.squeeze(x, 0),
        lambda x: np.split(x, 3, axis=1),
        lambda x: np.stack([x, x], axis=4),
        lambda x: np.cumsum(x, axis=2),
        lambda x: np.take(x, ROWS, axis=2),
        lambda x: np.take_along_axis(x, ROWS, axis=1),
        lambda x: np.average(x, axis=0, weights=np.ones(4)),
        lambda x: np.tensordot(x, Z, axes=([0], [0])),
        lambda x: np.roll(x, 1, axis=2),
        lambda x: x @ Y,
        lambda x: x + np.ones(3),
        lambda x: x.reshape(5, -1),
    ],
)
def test_what_numpy_refuses_is_refused(f: Callable[[Any], Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        f(X)
    with pytest.raises(ValueError):
        _inside(f)


def test_mean_over_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="mean over nothing"):
        _inside(lambda x: np.mean(x[:0], axis=0))


# ---------------------------------------------------------------- kinks of composed functions


def test_the_gradient_of_a_norm_at_zero_is_zero() -> None:
    np.testing.assert_array_equal(autodiff.grad(np.linalg.norm)(np.zeros(3)), np.zeros(3))


def test_the_gradient_of_a_deviation_of_equal_values_is_zero() -> None:
    np.testing.assert_array_equal(autodiff.grad(np.std)(np.ones(3)), np.zeros(3))


def test_clip_has_slope_one_on_its_bounds() -> None:
    g = autodiff.grad(lambda x: np.sum(np.clip(x, 0.0, 1.0)))(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]))
    np.testing.assert_array_equal(g, [0.0, 1.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize("f", [np.fmax, np.fmin])
def test_fmax_and_fmin_pass_the_number_beside_a_nan(f: Any) -> None:
    x, y = np.array([np.nan, 1.0, 2.0]), np.array([3.0, np.nan, 2.0])
    value, (gx, gy) = autodiff.value_and_grad(lambda p: np.sum(f(*p)))([x, y])
    assert value == np.sum(f(x, y))
    np.testing.assert_array_equal(gx, [0.0, 1.0, 0.5])
    np.testing.assert_array_equal(gy, [1.0, 0.0, 0.5])


def test_a_product_with_a_zero_has_the_others_product_as_its_gradient() -> None:
    np.testing.assert_array_equal(autodiff.grad(np.prod)(np.array([0.0, 2.0, 3.0])), [6.0, 0, 0])


# ---------------------------------------------------------------- being an object


def test_copies_of_a_traced_array_are_traced() -> None:
    for copied in (copy.copy, copy.deepcopy):
        g = autodiff.grad(lambda x, c=copied: np.sum(c(x) * x))(X)
        np.testing.assert_array_equal(g, 2 * X)


def test_repr_shows_shape_and_dtype() -> None:
    assert _inside(repr) == "Tracer(shape=(3, 4), dtype=float64)"
    assert _inside(lambda x: f"{x}") == "Tracer(shape=(3, 4), dtype=float64)"


def test_a_traced_array_can_be_a_key() -> None:
    assert _inside(lambda x: {x: 1}[x]) == 1


# ---------------------------------------------------------------- another library's arrays


@pytest.mark.parametrize("case", ELSEWHERE, ids=str)
def test_numpys_names_work_on_traced_arrays_of_another_library(case: Case) -> None:
    xp = pytest.importorskip("array_api_strict")
    _assert_same_elsewhere(case, xp.asarray(case.at.copy()), np.asarray)


def test_numpys_names_work_on_traced_arrays_of_a_gpu(cupy: Any) -> None:
    for case in ELSEWHERE:
        _assert_same_elsewhere(case, cupy.asarray(case.at), cupy.asnumpy)


def _assert_same_elsewhere(case: Case, at: Any, back: Callable[[Any], np.ndarray]) -> None:
    def scalar(x: Any) -> Any:
        return np.sum(np.square(case.call(x)))

    expected, slope = autodiff.value_and_grad(scalar)(case.at)
    value, gradient = autodiff.value_and_grad(scalar)(at)
    assert type(value) is type(gradient) is type(at)
    np.testing.assert_allclose(back(value), expected, rtol=1e-12)
    np.testing.assert_allclose(back(gradient), slope, rtol=1e-10, atol=1e-12)


def test_an_array_of_a_gpu_may_stand_on_either_side_of_a_traced_one(cupy: Any) -> None:
    x, y = cupy.asarray(X), cupy.asarray(Y)
    for f in (
        lambda a, b: a + b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: a**b,
        lambda a, b: a @ b.T,
        lambda a, b: np.maximum(a, b),
        lambda a, b: a - b * 2.0 + np.float32(1.0),
    ):
        for swapped in (False, True):

            def scalar(t: Any, other: Any, f: Any = f, swapped: bool = swapped) -> Any:
                return np.sum(f(other, t) if swapped else f(t, other))

            got = autodiff.grad(lambda t, s=scalar: s(t, y))(x)
            expected = autodiff.grad(lambda t, s=scalar: s(t, Y))(X)
            np.testing.assert_allclose(cupy.asnumpy(got), expected, rtol=1e-12)
