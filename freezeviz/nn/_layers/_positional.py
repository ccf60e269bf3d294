"""Positional encodings."""

import math
from typing import Any

import numpy as np

from freezeviz.autodiff import stop_gradient
from freezeviz.backend import array_namespace, asarray
from freezeviz.errors import ShapeError
from freezeviz.nn._layers._checks import where
from freezeviz.nn._module import Module

__all__ = ["RoPE", "SinusoidalPositionalEncoding"]


class RoPE(Module):
    """Rotary positional encoding: turns pairs of features by an angle that grows with the place.

    Parameters
    ----------
    dims : int
        Even. How many features are turned; those after them stay as they are.
    traditional : bool
        Pairs are neighbours ``(2i, 2i + 1)``, as in the paper. By default, they are
        ``(i, i + dims / 2)``.
    base : float
        The angle of pair ``i`` at place ``t`` is ``t * scale * base ** (-2 * i / dims)``.
    scale : float

    Raises
    ------
    ValueError
        If `dims` is no positive even number.

    Notes
    -----
    J. Su et al.: RoFormer: Enhanced Transformer with Rotary Position Embedding. arXiv:2104.09864.
    Arguments are those of ``mlx.nn.RoPE``. Angles are computed in double precision; those that
    MLX computes in single differ from them by 1e-4 at place 1,000.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.RoPE(8)(np.ones((2, 4, 16, 8), np.float32)).shape  # (batch, heads, length, features)
    (2, 4, 16, 8)
    """

    def __init__(
        self, dims: int, traditional: bool = False, base: float = 10000.0, scale: float = 1.0
    ):
        super().__init__()
        if dims < 2 or dims % 2:
            raise ValueError(f"RoPE turns pairs of features: dims is even and above 0, got {dims}")
        self.dims = dims
        self.traditional = traditional
        self.base = base
        self.scale = scale

    def __call__(self, x: Any, offset: int = 0) -> Any:
        """Return `x` with its features turned.

        Parameters
        ----------
        x : array of shape (..., length, features)
            With at least `dims` features.
        offset : int
            Place of the first entry, when a sequence comes in pieces.

        Returns
        -------
        array of the shape of `x`

        Raises
        ------
        ShapeError
            If `x` has less than two axes or too few features.
        """
        dims, half = self.dims, self.dims // 2
        if x.ndim < 2 or x.shape[-1] < dims:
            raise ShapeError(
                f"{where(self)} expects x of shape (..., length, features) with at least {dims} "
                f"features, got {tuple(x.shape)}"
            )
        cos, sin = self._turns(x, offset)
        rest = [x[..., dims:]] if x.shape[-1] > dims else []
        if not self.traditional:
            a, b = x[..., :half], x[..., half:dims]
            return np.concatenate([a * cos - b * sin, a * sin + b * cos, *rest], axis=-1)
        turned = x if not rest else x[..., :dims]
        pairs = turned.reshape(*x.shape[:-1], half, 2)
        a, b = pairs[..., 0], pairs[..., 1]
        turned = np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1)
        turned = turned.reshape(*x.shape[:-1], dims)
        return np.concatenate([turned, *rest], axis=-1) if rest else turned

    def _turns(self, x: Any, offset: int) -> tuple[Any, Any]:
        places = np.arange(offset, offset + x.shape[-2]) * self.scale
        angles = places[:, None] * self.base ** (np.arange(0, self.dims, 2) / -self.dims)
        xp = array_namespace(stop_gradient(x))
        return (
            xp.asarray(np.cos(angles).astype(x.dtype)),
            xp.asarray(np.sin(angles).astype(x.dtype)),
        )

    def _extra_repr(self) -> str:
        return f"{self.dims}, traditional={self.traditional}"


class SinusoidalPositionalEncoding(Module):
    """Sines and cosines of positions, at frequencies from `max_freq` down to `min_freq`.

    Parameters
    ----------
    dims : int
        Even. Half are sines, half cosines.
    min_freq, max_freq : float
        The frequencies between them are spaced geometrically.
    scale : float, optional
        A factor; ``sqrt(2 / dims)`` by default, which gives every position a norm of 1.
    cos_first : bool
        Cosines before sines.
    full_turns : bool
        Frequencies count turns: they are multiplied by ``2 * pi``.

    Raises
    ------
    ValueError
        If `dims` is no positive even number, or a frequency is not above zero.

    Notes
    -----
    A. Vaswani et al.: Attention Is All You Need. arXiv:1706.03762. Arguments are those of
    ``mlx.nn.SinusoidalPositionalEncoding``. The layer has no parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.SinusoidalPositionalEncoding(6)(np.arange(10)).shape
    (10, 6)
    """

    def __init__(
        self,
        dims: int,
        min_freq: float = 0.0001,
        max_freq: float = 1,
        scale: float | None = None,
        cos_first: bool = False,
        full_turns: bool = False,
    ):
        super().__init__()
        name = "SinusoidalPositionalEncoding"
        if dims < 2 or dims % 2:
            raise ValueError(f"{name}: dims is even and above zero, got {dims}")
        if min_freq <= 0 or max_freq <= 0:
            raise ValueError(f"{name}: frequencies are above zero, got {min_freq} and {max_freq}")
        self.dims = dims
        self.scale = math.sqrt(2.0 / dims) if scale is None else scale
        self.cos_first = cos_first
        low, high = math.log(min_freq), math.log(max_freq)
        share = np.linspace(1.0, 0.0, dims // 2)
        turn = 2.0 * math.pi if full_turns else 1.0
        # On the host and in double precision: a call casts it to what it computes in.
        self._frequencies = np.exp(share * (high - low) + low) * turn

    def __call__(self, x: Any) -> Any:
        """Return the encodings of positions.

        Parameters
        ----------
        x : array of any shape
            Positions: integers, or floating numbers, which can be differentiated in.

        Returns
        -------
        array of shape (*x.shape, dims)
            In the dtype of floating positions, else float32.
        """
        x = x if hasattr(x, "dtype") else asarray(x)
        xp = array_namespace(stop_gradient(x))
        if not xp.isdtype(x.dtype, "real floating"):
            x = x.astype(np.float32)
        y = x[..., None] * xp.asarray(self._frequencies.astype(x.dtype))
        waves = [np.sin(y), np.cos(y)]
        if self.cos_first:
            waves.reverse()
        return np.concatenate(waves, axis=-1) * self.scale

    def _extra_repr(self) -> str:
        return f"{self.dims}, scale={self.scale}, cos_first={self.cos_first}"
