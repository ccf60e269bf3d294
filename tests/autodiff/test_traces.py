"""Traces that nest, end, leak and run side by side."""

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
