"""Finite differences: the oracle that knows no rule."""

from collections.abc import Callable
from typing import Any

import numpy as np

# Five-point central differences: the error is of order step**4, about 1e-11 for functions of
# order one, so that a wrong sixth digit of a derivative shows.
STEP = 1e-3


def directional(f: Callable[[np.ndarray], Any], x: np.ndarray, direction: np.ndarray) -> float:
    """Return the derivative of a scalar function at `x` along `direction`."""
    near = float(f(x + STEP * direction)) - float(f(x - STEP * direction))
    far = float(f(x + 2 * STEP * direction)) - float(f(x - 2 * STEP * direction))
    return (8 * near - far) / (12 * STEP)


def assert_gradient(
    gradient: Any,
    f: Callable[[np.ndarray], Any],
    x: np.ndarray,
    rng: np.random.Generator,
    *,
    relative: float = 1e-6,
    directions: int = 2,
) -> None:
    """Assert that `gradient` is that of the scalar function `f` at `x`, in float64."""
    gradient = np.asarray(gradient)
    assert gradient.shape == x.shape
    assert gradient.dtype == x.dtype == np.float64
    for _ in range(directions):
        direction = rng.standard_normal(x.shape)
        expected = directional(f, x, direction)
        got = float(np.sum(gradient * direction))
        # A direction that is nearly orthogonal to the gradient leaves only rounding.
        noise = 1e-9 * (1 + float(np.sqrt(np.sum(gradient**2) * np.sum(direction**2))))
        assert abs(got - expected) <= relative * abs(expected) + noise, (got, expected)


def frozen(x: Any) -> np.ndarray:
    """Return an array that nobody may write into."""
    x = np.asarray(x)
    x.flags.writeable = False
    return x
