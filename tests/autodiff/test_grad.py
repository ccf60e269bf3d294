"""`value_and_grad`, `grad`, `vjp` and `stop_gradient` as users call them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from freezeviz import autodiff
from freezeviz.autodiff import grad, stop_gradient, value_and_grad, vjp
from freezeviz.errors import AutodiffError

X = np.array([1.0, 2.0, 3.0])
X.flags.writeable = False


def _square(x: Any) -> Any:
    return (x**2).sum()


# ---------------------------------------------------------------- trees


def test_gradient_has_the_structure_of_the_tree() -> None:
    tree = {"layers": [{"w": X}, {"w": 2 * X, "b": np.array(1.0)}], "pair": (X, X)}

    def f(t: Any) -> Any:
        first, second = t["layers"]
        return (first["w"] * second["w"]).sum() * second["b"] + t["pair"][0].sum()

    value, g = value_and_grad(f)(tree)
    assert value == 2 * 14 + 6
    np.testing.assert_array_equal(g["layers"][0]["w"], 2 * X)
    np.testing.assert_array_equal(g["layers"][1]["w"], X)
    np.testing.assert_array_equal(g["layers"][1]["b"], 28.0)
    np.testing.assert_array_equal(g["pair"], [np.ones(3), np.zeros(3)])
    assert type(g["pair"]) is tuple
    assert g["layers"][1]["b"].shape == ()


def test_what_is_no_floating_array_is_a_constant_without_gradient() -> None:
    indices, flags = np.array([2, 0]), np.array([True, False, True])
    tree = {"x": X, "none": None, "n": 3, "rate": 0.5, "i": indices, "m": flags, "s": "text"}

    def f(t: Any) -> Any:
        assert t["none"] is None
        assert t["i"] is indices
        return (t["x"][t["i"]] * t["n"]).sum() * t["rate"] + t["x"][t["m"]].sum()

    g = grad(f)(tree)
    np.testing.assert_array_equal(g.pop("x"), [2.5, 0.0, 2.5])
    assert g == {"none": None, "n": None, "rate": None, "i": None, "m": None, "s": None}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [({}, {}), ([], []), (None, None), ({"a": None}, {"a": None}), ([np.arange(3)], [None])],
)
def test_nothing_to_differentiate_gives_the_value(tree: Any, expected: Any) -> None:
    assert value_and_grad(lambda t: np.float64(4.0))(tree) == (4.0, expected)


@pytest.mark.parametrize("x", [3.0, 3, np.int64(3), np.arange(3), True])
def test_the_gradient_in_a_number_is_refused(x: Any) -> None:
    with pytest.raises(AutodiffError, match="floating arrays"):
        grad(lambda x: x * 2.0)(x)


def test_numpys_scalars_are_arrays_without_axes() -> None:
    x = X.sum()
    assert type(x) is np.float64
    g = grad(lambda t: t["x"] ** 2)({"x": x})["x"]
    assert type(g) is np.ndarray
    assert g == 12.0


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_arrays_are_refused(dtype: Any) -> None:
    with pytest.raises(AutodiffError, match=f"only real arrays.*{np.dtype(dtype)}"):
        grad(lambda x: abs(x).sum())(X.astype(dtype))
    with pytest.raises(AutodiffError, match="only real arrays"):
        vjp(lambda x: x, X.astype(dtype))


def test_what_the_value_does_not_depend_on_gets_zeros() -> None:
    y = np.ones((2, 2), dtype=np.float32)
    g = grad(lambda p: _square(p["x"]))({"x": X, "y": y})["y"]
    np.testing.assert_array_equal(g, np.zeros((2, 2)))
    assert g.dtype == np.float32


@pytest.mark.parametrize("value", [5.0, 5, np.float64(5.0), np.array(5.0), True])
def test_a_constant_value_has_zero_gradient(value: Any) -> None:
    got, g = value_and_grad(lambda x: value)(X)
    assert got is value
    np.testing.assert_array_equal(g, np.zeros(3))


def test_only_the_first_argument_is_differentiated() -> None:
    g = grad(lambda x, y, *, scale: (x * y).sum() * scale)(X, X, scale=2.0)
    np.testing.assert_array_equal(g, 2 * X)


def test_the_same_array_in_two_places_has_two_gradients() -> None:
    g = grad(lambda t: (t[0] * 2 + t[1] * 3).sum())([X, X])
    np.testing.assert_array_equal(g, [np.full(3, 2.0), np.full(3, 3.0)])


def test_the_argument_itself_can_be_the_value() -> None:
    value, g = value_and_grad(lambda x: x)(np.array(3.0))
    assert value == 3.0
    assert g == 1.0


# ---------------------------------------------------------------- values


def test_what_comes_after_the_value_is_handed_on_as_plain_arrays() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        return y.sum(), {"y": y, "x": x, "many": [y, (x, "text", None)]}, 7

    (value, aux, seven), g = value_and_grad(f)(X)
    assert (value, seven) == (12.0, 7)
    assert aux["many"][1][1:] == ("text", None)
    for array, expected in ((aux["y"], 2 * X), (aux["x"], X), (aux["many"][0], 2 * X)):
        assert type(array) is np.ndarray
        np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(g, np.full(3, 2.0))


@pytest.mark.parametrize(
    ("f", "got"),
    [
        (lambda x: x, r"shape \(3,\)"),
        (lambda x: x.sum(keepdims=True), r"shape \(1,\)"),
        (lambda x: np.ones(2), r"shape \(2,\)"),
        (lambda x: None, "NoneType"),
        (lambda x: [x.sum()], "list"),
        (lambda x: "text", "str"),
        (lambda x: (x, x.sum()), r"shape \(3,\)"),
    ],
)
def test_a_value_that_is_no_scalar_is_refused(f: Callable[[Any], Any], got: str) -> None:
    with pytest.raises(AutodiffError, match=f"returns a scalar, got {got}"):
        grad(f)(X)


def test_a_complex_value_is_refused() -> None:
    with pytest.raises(AutodiffError, match="real and floating scalar, got complex128"):
        grad(lambda x: (x * 1j).sum())(X)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradient_has_the_dtype_of_its_array(dtype: Any) -> None:
    value, g = value_and_grad(lambda x: (x * np.ones(3)).sum())(X.astype(dtype))
    assert g.dtype == dtype
    assert value.dtype == np.float64


def test_arguments_are_never_written_into() -> None:
    # X is read-only: an attempt would raise.
    grad(lambda x: autodiff.softmax(autodiff.gelu(x)).sum() + autodiff.relu(x).sum())(X)


@pytest.mark.parametrize(
    "f",
    [
        lambda p: p["a"].sum() + p["b"].sum(),
        lambda p: (p["a"] + p["b"]).sum(),
        lambda p: (p["a"] + p["b"]) @ np.ones(3),
        lambda p: (p["a"] - p["b"].reshape(3, 1)[:, 0]).mean(),
        lambda p: np.concatenate([p["a"], p["b"]]) @ np.ones(6),
        lambda p: np.sum(p["a"][:, None], axis=1, keepdims=True).sum() + p["b"].sum(),
    ],
)
def test_gradients_can_be_written_into_and_share_no_memory(f: Callable[[Any], Any]) -> None:
    g = grad(f)({"a": X, "b": X})
    b = g["b"].copy()
    g["a"] *= 100.0  # as someone does who clips gradients
    np.testing.assert_array_equal(g["b"], b)
    g["b"] *= 100.0
    assert not np.shares_memory(g["a"], g["b"])


def test_a_gradient_that_is_a_read_only_view_is_copied() -> None:
    # What np.broadcast_to gives for the shape that an array has already.
    g = grad(lambda x: (np.sum(x, axis=()) * X).sum())(X)
    g *= 2.0
    np.testing.assert_array_equal(g, 2 * X)


# ---------------------------------------------------------------- vjp


def test_vjp_gives_value_and_one_cotangent_per_primal() -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    value, pullback = vjp(lambda x, y: x @ y, a, b)
    np.testing.assert_array_equal(value, a @ b)
    g = np.arange(8.0).reshape(2, 4)
    da, db = pullback(g)
    np.testing.assert_array_equal(da, g @ b.T)
    np.testing.assert_array_equal(db, a.T @ g)


def test_vjp_of_a_constant_gives_zeros_and_of_integers_none() -> None:
    value, pullback = vjp(lambda x, i: np.ones(2), X, np.arange(3))
    np.testing.assert_array_equal(value, np.ones(2))
    dx, di = pullback(np.ones(2))
    np.testing.assert_array_equal(dx, np.zeros(3))
    assert di is None


def test_a_pullback_can_be_called_once() -> None:
    for f in (lambda x: x * 2, lambda x: x, lambda x: np.ones(3)):
        _, pullback = vjp(f, X)
        pullback(np.ones(3))
        with pytest.raises(AutodiffError, match="can be called once"):
            pullback(np.ones(3))


def test_a_pullback_refuses_a_cotangent_of_another_shape_and_can_be_called_again() -> None:
    _, pullback = vjp(lambda x: x * 2, X)
    with pytest.raises(AutodiffError, match=r"shape \(3,\), got \(2,\)"):
        pullback(np.ones(2))
    np.testing.assert_array_equal(pullback([1, 2, 3])[0], [2.0, 4.0, 6.0])


def test_a_cotangent_is_cast_to_the_values_dtype() -> None:
    _, pullback = vjp(lambda x: np.exp(x) * 2, X.astype(np.float32))
    (g,) = pullback(np.ones(3))
    assert g.dtype == np.float32


def test_a_pullback_gives_no_alias_of_its_cotangent() -> None:
    g = np.ones(3)
    _, pullback = vjp(lambda x: x.reshape(3), X)
    (got,) = pullback(g)
    got *= 5.0
    np.testing.assert_array_equal(g, np.ones(3))


def test_a_pullback_can_be_differentiated_in_its_cotangent() -> None:
    _, pullback = vjp(lambda x: np.sin(x), X)
    g = grad(lambda c: (pullback(c)[0] ** 2).sum())(np.ones(3))
    np.testing.assert_allclose(g, 2 * np.cos(X) ** 2)


def test_the_pullback_of_a_kernel_cannot_and_says_so() -> None:
    _, pullback = vjp(autodiff.gelu, X)
    with pytest.raises(AutodiffError, match=r"call vjp\(\) within the function"):
        grad(lambda c: pullback(c)[0].sum())(np.ones(3))


# ---------------------------------------------------------------- stop_gradient


def test_stop_gradient_makes_constants() -> None:
    np.testing.assert_array_equal(grad(lambda x: (stop_gradient(x) * x).sum())(X), X)


def test_stop_gradient_leaves_plain_arrays_and_anything_else_alone() -> None:
    tree = {"a": X, "b": [1, None, "text"]}
    got = stop_gradient(tree)
    assert got == tree
    assert got["a"] is X


def test_stop_gradient_stops_all_levels() -> None:
    def inner(x: Any) -> Any:
        return grad(lambda y: (stop_gradient(y) * y * x).sum())(x).sum()

    # d/dy of c * y * x is c * x, with c = x stopped: its derivative in x is c, not 2x.
    np.testing.assert_array_equal(grad(inner)(X), X)
