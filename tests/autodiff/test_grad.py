"""`value_and_grad`, `grad`, `vjp` and `stop_gradient` as users call them."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from freezeviz import autodiff
from freezeviz.autodiff import grad, stop_gradient, value_and_grad, vjp
from freezeviz.errors import AutodiffError
from tests.autodiff._differences import assert_gradient

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
    # np.broadcast_to to the shape that an array has already.
    g = grad(lambda x: (np.sum(x, axis=1, keepdims=True) * X[:, None]).sum())(X[:, None])
    g *= 2.0
    np.testing.assert_array_equal(g, 2 * X[:, None])


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


# ---------------------------------------------------------------- nested derivatives


def test_derivatives_nest() -> None:
    f: Callable[[Any], Any] = lambda x: x**4  # noqa: E731
    for expected in (4 * 2.0**3, 12 * 2.0**2, 24 * 2.0, 24.0, 0.0):
        f = grad(f)
        assert f(np.array(2.0)) == expected


def test_an_inner_derivative_does_not_see_the_outer_one() -> None:
    # The classic confusion of perturbations: d/dx [x * d/dy (x + y)] is 1, not 2.
    g = grad(lambda x: x * grad(lambda y: x + y)(np.array(2.0)))
    assert g(np.array(1.0)) == 1.0


def test_an_inner_function_may_differentiate_in_a_reduced_value() -> None:
    # NumPy gives the sum as a scalar, which is no array, and must be traced all the same.
    g = grad(lambda x: grad(lambda s: s**3)(x.sum()))(X)
    np.testing.assert_array_equal(g, np.full(3, 36.0))


def test_an_inner_value_and_aux_keep_their_outer_derivative() -> None:
    def f(x: Any) -> Any:
        (value, aux), g = value_and_grad(lambda y: ((y * x).sum(), y * x))(x * 2)
        return value + aux.sum() + g.sum()

    # value = aux.sum() = sum(2x²), g = x
    np.testing.assert_allclose(grad(f)(X), 8 * X + 1)


@pytest.mark.parametrize("kernel", [autodiff.gelu, autodiff.softmax, lambda w: w.std() * w])
def test_an_inner_derivative_in_plain_arrays_may_depend_on_the_outer_ones(kernel: Any) -> None:
    # The inner function computes its kernel of plain arrays; the cotangent alone is traced.
    def inner(a: Any) -> Any:
        return (grad(lambda w: (kernel(w) * a).sum())(X) * X).sum()

    rows = [vjp(kernel, X)[1](unit)[0] @ X for unit in np.eye(3)]
    np.testing.assert_allclose(grad(inner)(np.ones(3)), rows, rtol=1e-12, atol=1e-14)


def test_vjp_nests() -> None:
    def f(x: Any) -> Any:
        _, pullback = vjp(lambda y: np.sin(y) * x, x)
        return pullback(x)[0].sum()  # x * x * cos(x)

    np.testing.assert_allclose(grad(f)(X), 2 * X * np.cos(X) - X**2 * np.sin(X))


def test_hessian_vector_product_of_a_network_of_kernels(rng: np.random.Generator) -> None:
    images, targets = rng.standard_normal((4, 6, 6, 1)), np.array([0, 1, 2, 1])
    tokens = rng.integers(0, 5, (4, 3))
    shapes = {
        "kernel": (2, 3, 3, 1), "b": (2,), "gain": (2,), "shift": (2,), "table": (5, 8),
        "w": (3, 8), "bias": (3,), "ln": (8,), "ln_b": (8,),
    }  # fmt: skip
    p = {name: rng.standard_normal(shape) * 0.5 for name, shape in shapes.items()}
    v = {name: rng.standard_normal(shape) for name, shape in shapes.items()}

    def loss(p: dict[str, Any]) -> Any:
        h = autodiff.conv2d(images, p["kernel"], p["b"])
        h = autodiff.batch_norm(h, p["gain"], p["shift"])[0]
        h = autodiff.max_pool2d(autodiff.gelu(h), kernel_size=(2, 2), stride=(2, 2))
        words = autodiff.embedding(p["table"], indices=tokens)
        h = autodiff.layer_norm(words + h.reshape(4, 1, 8), p["ln"], p["ln_b"])
        h = autodiff.attention(h, h, h).mean(axis=1)
        logits = autodiff.linear(h, p["w"], p["bias"])
        return autodiff.softmax_cross_entropy(logits, targets=targets).mean()

    def along(p: dict[str, Any]) -> Any:
        g = grad(loss)(p)
        return sum((g[name] * v[name]).sum() for name in g)

    product = grad(along)(p)
    for name in shapes:
        moved = lambda x, name=name: along(p | {name: x})  # noqa: E731
        assert_gradient(product[name], moved, p[name], rng, directions=1)


# ---------------------------------------------------------------- nothing stays behind


def test_an_error_leaves_no_trace_behind() -> None:
    def broken(x: Any) -> Any:
        y = x * 2
        grad(lambda z: (z * y).sum() / _raise())(x)

    for _ in range(3):
        with pytest.raises(KeyError, match="on the way"):
            grad(broken)(X)
    # Kernels run in the outermost trace only: the depth is what it was.
    with autodiff.count() as counts:
        np.testing.assert_array_equal(grad(_square)(X), 2 * X)
        grad(lambda x: autodiff.gelu(x).sum())(X)
    assert counts.nodes["gelu"] == 1


def _raise() -> float:
    raise KeyError("on the way")


def test_an_error_in_the_backward_pass_leaves_no_trace_behind() -> None:
    def f(x: Any) -> Any:
        return (np.sqrt(x) * 1.0).sum()

    with pytest.raises(FloatingPointError):
        grad(f)(np.zeros(2))
    np.testing.assert_array_equal(grad(f)(np.ones(2)), [0.5, 0.5])


def _leaked() -> tuple[Any, Any]:
    """Return a traced array and a traced scalar of a function that has returned."""
    kept: list[Any] = []

    def f(x: Any) -> Any:
        y = x * 2
        kept.extend([y, y.sum()])
        return kept[1]

    grad(f)(X)
    return kept[0], kept[1]


@pytest.mark.parametrize(
    "use",
    [
        lambda y, x: y * x,
        lambda y, x: x * y,
        lambda y, x: np.concatenate([x, y]),
        lambda y, x: y.sum(),
        lambda y, x: y[0],
        lambda y, x: autodiff.gelu(y) * x,
        lambda y, x: autodiff.linear(x, y[None], None),
        lambda y, x: autodiff.attention(x[None], y.reshape(1, 3), x[None]),
    ],
)
def test_a_traced_array_that_got_away_is_refused_wherever_it_is_used(
    use: Callable[[Any, Any], Any],
) -> None:
    y, _ = _leaked()
    with pytest.raises(AutodiffError, match="has returned already"):
        use(y, X)
    with pytest.raises(AutodiffError, match="has returned already"):
        grad(lambda x: use(y, x).sum())(X)
    with pytest.raises(AutodiffError, match="has returned already"):
        grad(lambda x: grad(lambda z: use(y, z).sum())(x).sum())(X)


def test_a_traced_scalar_that_got_away_is_refused_as_a_value() -> None:
    _, total = _leaked()
    with pytest.raises(AutodiffError, match="returned already"):
        grad(lambda x: total)(X)


def test_of_a_traced_array_that_got_away_the_plain_one_can_be_had() -> None:
    y, total = _leaked()
    np.testing.assert_array_equal(stop_gradient(y), 2 * X)
    assert bool((y == 2 * X).all())
    assert total > 0
    assert f"{total:.1f}" == "12.0"
    assert repr(y) == "Tracer(shape=(3,), dtype=float64)"


def test_a_generator_of_traced_arrays_is_refused_after_the_function() -> None:
    kept: list[Iterator[Any]] = []

    def f(x: Any) -> Any:
        kept.append(iter(x))
        kept.append(row * 2 for row in x)
        next(kept[1])
        return x.sum()

    grad(f)(X)
    for generator in kept:
        with pytest.raises(AutodiffError, match="has returned already"):
            next(generator)


def test_a_traced_array_of_an_inner_function_is_refused_in_the_outer_one() -> None:
    def f(x: Any) -> Any:
        kept: list[Any] = []
        grad(lambda y: (kept.append(y * x), y.sum())[1])(x)
        return (kept[0] * x).sum()

    with pytest.raises(AutodiffError, match="has returned already"):
        grad(f)(X)


def test_what_a_vjp_function_left_behind_is_refused_before_and_after_the_pullback() -> None:
    kept: list[Any] = []
    _, pullback = vjp(lambda x: (kept.append(x), x * 2)[1], X)
    with pytest.raises(AutodiffError, match="has returned already"):
        kept[0] * 1.0
    np.testing.assert_array_equal(pullback(np.ones(3))[0], np.full(3, 2.0))


# ---------------------------------------------------------------- threads


def _in_threads(functions: list[Callable[[], Any]], copied: bool = False) -> list[Any]:
    results: list[Any] = [None] * len(functions)

    def run(i: int) -> None:
        with np.errstate(all="raise", under="ignore"):
            try:
                results[i] = functions[i]()
            except Exception as error:
                results[i] = error

    threads = []
    for i in range(len(functions)):
        if copied:
            context = contextvars.copy_context()
            threads.append(threading.Thread(target=context.run, args=(run, i)))
        else:
            threads.append(threading.Thread(target=run, args=(i,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("copied", [False, True], ids=["bare", "copied context"])
def test_derivatives_in_parallel_threads_do_not_mix(copied: bool) -> None:
    n = 4
    barrier = threading.Barrier(n)

    def task(power: int) -> Callable[[], Any]:
        def f(x: Any) -> Any:
            barrier.wait(timeout=30)
            y = x
            for _ in range(power - 1):
                y = y * x
            barrier.wait(timeout=30)
            return grad(lambda z: (z * y).sum())(x).sum()

        return lambda: [grad(f)(X) for _ in range(10)][-1]

    for power, got in enumerate(_in_threads([task(i) for i in range(1, n + 1)], copied), start=1):
        np.testing.assert_allclose(got, power * X ** (power - 1))


@pytest.mark.parametrize("copied", [False, True], ids=["bare", "copied context"])
def test_a_thread_may_compute_with_its_parents_traced_arrays(copied: bool) -> None:
    def f(x: Any) -> Any:
        # As the outer array comes first or second: the thread's own trace is the inner one.
        products = [
            lambda: grad(lambda y: (x * y * y).sum())(X),
            lambda: grad(lambda y: (y * y * x).sum())(X),
            lambda: grad(lambda y: (autodiff.gelu(y) * 0.0 + x * y * y).sum())(X),
        ]
        results = _in_threads(products, copied)
        assert all(isinstance(r, autodiff.Tracer) for r in results), results
        return sum(r.sum() for r in results)

    np.testing.assert_array_equal(grad(f)(X), 6 * X)


def test_counting_in_one_thread_does_not_see_another() -> None:
    with autodiff.count() as counts:
        _in_threads([lambda: grad(_square)(X)])
        assert not counts.nodes
