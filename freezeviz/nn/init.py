"""Initial values.

Each function returns an initialiser ``(shape, dtype=np.float32, rng=None) -> array``. Numbers are
drawn on the host, so that a seed gives the same values on every device. Arguments and names
follow ``mlx.nn.init``.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from freezeviz import backend, random

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "normal",
    "uniform",
]

Initialiser = Callable[..., Any]


def _drawn(draw: Callable[[np.random.Generator, tuple[int, ...]], Any]) -> Initialiser:
    def init(
        shape: tuple[int, ...], dtype: Any = np.float32, rng: np.random.Generator | None = None
    ) -> Any:
        rng = random.default_rng() if rng is None else rng
        values = np.asarray(draw(rng, tuple(shape)), dtype=dtype)
        return backend.asarray(values, backend.device())

    return init


def constant(value: float) -> Initialiser:
    """Return an initialiser that fills an array with `value`."""
    return _drawn(lambda rng, shape: np.full(shape, value))


def normal(mean: float = 0.0, std: float = 1.0) -> Initialiser:
    """Return an initialiser that draws from a normal distribution."""
    return _drawn(lambda rng, shape: rng.normal(mean, std, shape))


def uniform(low: float = 0.0, high: float = 1.0) -> Initialiser:
    """Return an initialiser that draws from the interval ``[low, high)``."""
    return _drawn(lambda rng, shape: rng.uniform(low, high, shape))


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) < 2:
        raise ValueError(f"fan-based initialisers need two or more dimensions, got shape {shape}")
    # Weights are (out, *kernel, in).
    receptive = math.prod(shape[1:-1])
    return shape[-1] * receptive, shape[0] * receptive


def glorot_normal(gain: float = 1.0) -> Initialiser:
    """Return Glorot's normal initialiser: std ``gain * sqrt(2 / (fan_in + fan_out))``.

    Notes
    -----
    X. Glorot, Y. Bengio: Understanding the difficulty of training deep feedforward neural
    networks. AISTATS 2010.
    """
    return _drawn(lambda rng, s: rng.normal(0.0, gain * math.sqrt(2.0 / sum(_fans(s))), s))


def glorot_uniform(gain: float = 1.0) -> Initialiser:
    """Return Glorot's uniform initialiser: limit ``gain * sqrt(6 / (fan_in + fan_out))``."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        limit = gain * math.sqrt(6.0 / sum(_fans(shape)))
        return rng.uniform(-limit, limit, shape)

    return _drawn(draw)


def _fan(shape: tuple[int, ...], mode: str) -> int:
    fan_in, fan_out = _fans(shape)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode is 'fan_in' or 'fan_out', got {mode!r}")
    return fan_in if mode == "fan_in" else fan_out


def he_normal(mode: str = "fan_in", gain: float = 1.0) -> Initialiser:
    """Return He's normal initialiser: std ``gain / sqrt(fan)``.

    Notes
    -----
    K. He et al.: Delving Deep into Rectifiers. arXiv:1502.01852.
    """
    return _drawn(lambda rng, s: rng.normal(0.0, gain / math.sqrt(_fan(s, mode)), s))


def he_uniform(mode: str = "fan_in", gain: float = 1.0) -> Initialiser:
    """Return He's uniform initialiser: limit ``gain * sqrt(3 / fan)``."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        limit = gain * math.sqrt(3.0 / _fan(shape, mode))
        return rng.uniform(-limit, limit, shape)

    return _drawn(draw)
