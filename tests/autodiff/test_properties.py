"""Random programs of primitives: value and gradient hold for any of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from freezeviz import autodiff
from tests.autodiff._differences import assert_gradient

# Every operation maps arrays of this shape to one of this shape, so that any operation can follow
# any other. Constants are fixed; what varies is which operations meet, and on which operands.
SHAPE = (3, 4)
_RNG = np.random.default_rng(1)
_C, _D = _RNG.uniform(-1, 1, SHAPE), _RNG.uniform(-1, 1, SHAPE)
_SQUARE = _RNG.uniform(-0.5, 0.5, (4, 4))
_GAIN, _SHIFT = _RNG.uniform(0.5, 1.5, 4), _RNG.uniform(-1, 1, 4)
_ROWS = np.array([2, 0, 2])
_TARGETS = np.array([1, 3, 0])


def _image(x: Any) -> Any:
    return np.reshape(x, (1, 3, 4, 1))


_SMOOTH: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "subtract a row": lambda x, y: x - y[0],
    "multiply": lambda x, y: x * y * 0.5,
    "multiply by a column": lambda x, y: x * np.tanh(y[:, :1]),
    "divide": lambda x, y: x / (1.5 + np.sin(y)),
    "power": lambda x, y: (1.5 + np.tanh(x)) ** np.sin(y),
    "square": lambda x, y: x**2 * 0.25,
    "exp": lambda x, y: np.exp(-(x * x)),
    "log": lambda x, y: np.log(1.0 + y * y),
    "sin": lambda x, y: np.sin(x),
    "tanh": lambda x, y: np.tanh(x),
    "arctan": lambda x, y: np.arctan(x - _C),
    "sigmoid": lambda x, y: autodiff.sigmoid(x) * _D,
    "softplus": lambda x, y: autodiff.softplus(x),
    "erf": lambda x, y: autodiff.erf(x) - y * 0.1,
    "logaddexp": lambda x, y: np.logaddexp(x, y),
    "gelu": lambda x, y: autodiff.gelu(x),
    "sum": lambda x, y: x - np.sum(y, axis=0) * 0.2,
    "mean": lambda x, y: x - np.mean(x, axis=1, keepdims=True),
    "var": lambda x, y: x * np.var(y) * 0.5,
    "cumsum": lambda x, y: np.cumsum(x, axis=1) * 0.5,
    "softmax": lambda x, y: autodiff.softmax(x) * y,
    "logsumexp": lambda x, y: x - autodiff.logsumexp(x, axis=-1, keepdims=True),
    "transpose": lambda x, y: np.reshape(x.T, SHAPE),
    "flip": lambda x, y: np.flip(x, axis=1),
    "roll": lambda x, y: np.roll(x, 1, axis=0) + y,
    "concatenate": lambda x, y: np.concatenate([x[:1], y[1:]]),
    "getitem": lambda x, y: x[_ROWS],
    "take along": lambda x, y: np.take_along_axis(x, np.argsort(_C, axis=1), axis=1),
    "where": lambda x, y: np.where(_C > 0, x, y),
    "matmul": lambda x, y: x @ _SQUARE,
    "matmul of three": lambda x, y: (x @ y.T) @ _C * 0.3,
    "matmul in a batch": lambda x, y: (x[:, None] @ _SQUARE)[:, 0],
    "einsum": lambda x, y: np.einsum("ij,kj,kl->il", x, _D, y) * 0.3,
    "outer": lambda x, y: np.outer(x[:, 0], y[0]) * 0.5,
    "stop gradient": lambda x, y: x * autodiff.stop_gradient(_D),
    "linear": lambda x, y: autodiff.linear(x, _SQUARE, y[0]),
    "linear of both": lambda x, y: autodiff.linear(x, y, None) @ _D * 0.3,
    "layer norm": lambda x, y: autodiff.layer_norm(x + _C, _GAIN, y[0], eps=0.1),
    "batch norm": lambda x, y: autodiff.batch_norm(x + _D, y[0], _SHIFT, eps=0.1)[0],
    "attention": lambda x, y: autodiff.attention(x, y, x + y),
    "conv": lambda x, y: np.reshape(
        autodiff.conv2d(_image(x), np.reshape(_SQUARE[0], (1, 2, 2, 1)), None, padding=(1, 1))[
            :, :3, :4
        ],
        SHAPE,
    ),
    "embedding": lambda x, y: autodiff.embedding(x, indices=_ROWS) + y,
    "cross entropy": lambda x, y: y
    * autodiff.softmax_cross_entropy(x, targets=_TARGETS)[:, None]
    * 0.3,
}  # fmt: skip

# With kinks: used where the values at hand are far from them. What is compared to zero, or to the
# runner-up, is the second function.
_KINKED: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "relu": (lambda x, y: autodiff.relu(x) - y * 0.1, lambda x, y: x),
    "abs": (lambda x, y: abs(x), lambda x, y: x),
    "maximum": (lambda x, y: np.maximum(x, _C), lambda x, y: x - _C),
    "minimum": (lambda x, y: np.minimum(_D, y), lambda x, y: y - _D),
    "clip": (lambda x, y: np.clip(x, -0.5, 0.5), lambda x, y: abs(x) - 0.5),
    "max": (
        lambda x, y: x - np.max(x, axis=1, keepdims=True),
        lambda x, y: np.diff(np.sort(x, axis=1), axis=1),
    ),
    "max pool": (
        lambda x, y: (
            np.reshape(autodiff.max_pool2d(_image(x), kernel_size=(1, 4), stride=(1, 1)), (3, 1))
            * y
        ),
        lambda x, y: np.diff(np.sort(x, axis=1), axis=1),
    ),
}


@dataclass(frozen=True)
class Step:
    """An operation on the results of earlier steps; operands are counted from the last."""

    name: str
    left: int
    right: int


_STEPS = st.lists(
    st.builds(Step, st.sampled_from([*_SMOOTH, *_KINKED]), st.integers(0, 3), st.integers(0, 3)),
    min_size=1,
    max_size=7,
)


def _operands(step: Step, values: list[Any]) -> tuple[Any, Any]:
    return values[-1 - step.left % len(values)], values[-1 - step.right % len(values)]


def _run(steps: list[Step], leaves: list[Any]) -> list[Any]:
    values = list(leaves)
    for step in steps:
        operation = _SMOOTH.get(step.name) or _KINKED[step.name][0]
        values.append(operation(*_operands(step, values)))
    return values[len(leaves) :]


def _usable(steps: list[Step], leaves: list[Any]) -> bool:
    """Return whether the program stays away from kinks and from large numbers."""
    values = [*leaves, *_run(steps, leaves)]
    for n, step in enumerate(steps, start=len(leaves)):
        if step.name in _KINKED:
            distance = _KINKED[step.name][1](*_operands(step, values[:n]))
            if np.min(np.abs(distance)) < 0.02:
                return False
    return all(np.max(np.abs(v)) < 20 for v in values)


def _leaves(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    leaves = [rng.uniform(-1, 1, SHAPE) for _ in range(2)]
    for leaf in leaves:
        leaf.flags.writeable = False
    return leaves


def _loss(steps: list[Step]) -> Callable[[list[Any]], Any]:
    # The last value and, a little, all others: no step is without effect.
    return lambda leaves: sum((v * _C).sum() + 0.1 * (v * v).sum() for v in _run(steps, leaves))


@pytest.mark.parametrize("name", [*_SMOOTH, *_KINKED])
def test_every_operation_makes_a_usable_program(name: str) -> None:
    assert any(_usable([Step(name, 0, 1)], _leaves(seed)) for seed in range(20))


@settings(max_examples=300)
@given(_STEPS, st.integers(0, 999))
def test_gradient_of_a_random_program_is_that_of_finite_differences(
    steps: list[Step], seed: int
) -> None:
    leaves = _leaves(seed)
    assume(_usable(steps, leaves))
    loss = _loss(steps)
    gradients = autodiff.grad(loss)(leaves)
    rng = np.random.default_rng(seed)
    for i, gradient in enumerate(gradients):
        moved = lambda x, i=i: loss([*leaves[:i], x, *leaves[i + 1 :]])  # noqa: E731
        assert_gradient(gradient, moved, leaves[i], rng, directions=1)


@settings(max_examples=120)
@given(_STEPS, st.integers(0, 999))
def test_second_derivative_of_a_random_program_is_that_of_finite_differences(
    steps: list[Step], seed: int
) -> None:
    leaves = _leaves(seed)
    assume(_usable(steps, leaves))

    def along(leaves: list[Any]) -> Any:
        gradients = autodiff.grad(_loss(steps))(leaves)
        return (gradients[0] * _C).sum() + (gradients[1] * _D).sum()

    second = autodiff.grad(along)(leaves)
    rng = np.random.default_rng(seed)
    for i, gradient in enumerate(second):
        moved = lambda x, i=i: along([*leaves[:i], x, *leaves[i + 1 :]])  # noqa: E731
        assert_gradient(gradient, moved, leaves[i], rng, directions=1)


@settings(max_examples=300)
@given(
    _STEPS,
    st.integers(0, 999),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([(0,), (1,), (0, 1)]),
)
def test_tracing_changes_no_bit_of_any_value(
    steps: list[Step], seed: int, dtype: Any, traced: tuple[int, ...]
) -> None:
    leaves = [leaf.astype(dtype) for leaf in _leaves(seed)]
    assume(all(np.max(np.abs(v)) < 1e3 for v in _run(steps, leaves)))
    plain = _run(steps, leaves)

    def f(values: list[Any]) -> Any:
        filled = list(leaves)
        for i, value in zip(traced, values, strict=True):
            filled[i] = value
        got = _run(steps, filled)
        return got[-1].sum(), got

    (_, got), _ = autodiff.value_and_grad(f)([leaves[i] for i in traced])
    for value, expected in zip(got, plain, strict=True):
        assert value.dtype == expected.dtype
        assert value.tobytes() == expected.tobytes()


@settings(max_examples=200)
@given(_STEPS, st.integers(0, 999))
def test_tracing_less_changes_no_gradient_of_the_rest(steps: list[Step], seed: int) -> None:
    leaves = _leaves(seed)
    assume(all(np.max(np.abs(v)) < 1e3 for v in _run(steps, leaves)))
    loss = _loss(steps)
    both = autodiff.grad(loss)(leaves)
    for i in range(2):
        alone = autodiff.grad(lambda x, i=i: loss([*leaves[:i], x, *leaves[i + 1 :]]))(leaves[i])
        np.testing.assert_allclose(alone, both[i], rtol=1e-11, atol=1e-12)
