"""Initial values.

Each function returns an initialiser ``(shape, dtype=None, rng=None) -> array``. In place of a
shape it takes an array, too, and gives one of its shape, dtype and place:
``model.apply(nn.init.he_normal())`` draws a model anew. Numbers are drawn on the host, so that a
seed gives the same values on every device. Arguments and names follow ``mlx.nn.init``.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from freezeviz import backend, random
from freezeviz.backend import array_namespace, is_array
from freezeviz.errors import ShapeError

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "normal",
    "orthogonal",
    "sparse",
    "uniform",
]

Initialiser = Callable[..., Any]


def _drawn(draw: Callable[..., Any], dtype: Any, **options: Any) -> Initialiser:
    default, known = dtype, options

    def init(
        shape: Any, dtype: Any = None, rng: np.random.Generator | None = None, **options: Any
    ) -> Any:
        like = shape if is_array(shape) else None
        dtype = default if dtype is None else dtype
        if dtype is None:
            dtype = np.float32 if like is None else like.dtype
        if unknown := set(options) - set(known):
            raise TypeError(f"this initialiser takes {list(known)}, got {sorted(unknown)}")
        rng = random.default_rng() if rng is None else rng
        size = tuple(shape if like is None else like.shape)
        values = np.asarray(draw(rng, size, **(known | options)), dtype=dtype)
        if like is not None:
            return array_namespace(like).asarray(values)
        return backend.asarray(values, backend.device())

    return init


def constant(value: float, dtype: Any = None) -> Initialiser:
    """Return an initialiser that fills an array with `value`.

    Parameters
    ----------
    value : float
    dtype : dtype, optional
        float32 by default, or that of the array that is given.

    Notes
    -----
    Source: ``mlx.nn.init.constant``.

    Examples
    --------
    >>> from freezeviz import nn
    >>> nn.init.constant(0.5)((2,))
    array([0.5, 0.5], dtype=float32)
    """
    return _drawn(lambda rng, shape: np.full(shape, value), dtype)


def normal(mean: float = 0.0, std: float = 1.0, dtype: Any = None) -> Initialiser:
    """Return an initialiser that draws from a normal distribution.

    Parameters
    ----------
    mean, std : float
    dtype : dtype, optional
        float32 by default, or that of the array that is given.

    Notes
    -----
    Source: ``mlx.nn.init.normal``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.init.normal(std=0.1)((2, 3), rng=np.random.default_rng(0)).shape
    (2, 3)
    """
    return _drawn(lambda rng, shape: rng.normal(mean, std, shape), dtype)


def uniform(low: float = 0.0, high: float = 1.0, dtype: Any = None) -> Initialiser:
    """Return an initialiser that draws from the interval ``[low, high)``.

    Parameters
    ----------
    low, high : float
    dtype : dtype, optional
        float32 by default, or that of the array that is given.

    Notes
    -----
    Source: ``mlx.nn.init.uniform``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.init.uniform(-1.0, 1.0)((2, 3), rng=np.random.default_rng(0)).shape
    (2, 3)
    """
    return _drawn(lambda rng, shape: rng.uniform(low, high, shape), dtype)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) < 2:
        raise ValueError(f"fan-based initialisers need two or more dimensions, got shape {shape}")
    # Weights are (out, *kernel, in).
    receptive = math.prod(shape[1:-1])
    return shape[-1] * receptive, shape[0] * receptive


def glorot_normal(gain: float = 1.0, dtype: Any = None) -> Initialiser:
    """Return Glorot's normal initialiser: std ``gain * sqrt(2 / (fan_in + fan_out))``.

    The gain can be given to the initialiser instead, as in MLX.

    Parameters
    ----------
    gain : float
    dtype : dtype, optional
        float32 by default, or that of the array that is given.

    Raises
    ------
    ValueError
        By the initialiser, if the shape has less than two axes.

    Notes
    -----
    X. Glorot, Y. Bengio: Understanding the difficulty of training deep feedforward neural
    networks. AISTATS 2010. Source: ``mlx.nn.init.glorot_normal``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.init.glorot_normal()((2, 3), rng=np.random.default_rng(0)).shape
    (2, 3)
    """

    def draw(rng: np.random.Generator, shape: tuple[int, ...], gain: float) -> Any:
        return rng.normal(0.0, gain * math.sqrt(2.0 / sum(_fans(shape))), shape)

    return _drawn(draw, dtype, gain=gain)


def glorot_uniform(gain: float = 1.0, dtype: Any = None) -> Initialiser:
    """Return Glorot's uniform initialiser: limit ``gain * sqrt(6 / (fan_in + fan_out))``.

    The gain can be given to the initialiser instead, as in MLX.

    Parameters
    ----------
    gain : float
    dtype : dtype, optional
        float32 by default, or that of the array that is given.

    Raises
    ------
    ValueError
        By the initialiser, if the shape has less than two axes.

    Notes
    -----
    Source: ``mlx.nn.init.glorot_uniform``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.init.glorot_uniform()((2, 3), rng=np.random.default_rng(0)).shape
    (2, 3)
    """

    def draw(rng: np.random.Generator, shape: tuple[int, ...], gain: float) -> Any:
        limit = gain * math.sqrt(6.0 / sum(_fans(shape)))
        return rng.uniform(-limit, limit, shape)

    return _drawn(draw, dtype, gain=gain)


def _fan(shape: tuple[int, ...], mode: str) -> int:
    fan_in, fan_out = _fans(shape)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode is 'fan_in' or 'fan_out', got {mode!r}")
    return fan_in if mode == "fan_in" else fan_out


def he_normal(mode: str = "fan_in", gain: float = 1.0, dtype: Any = None) -> Initialiser:
    """Return He's normal initialiser: std ``gain / sqrt(fan)``.

    Mode and gain can be given to the initialiser instead, as in MLX.

    Parameters
    ----------
    mode : {'fan_in', 'fan_out'}
        What keeps its variance: the values, or the gradients.
    gain : float
    dtype : dtype, optional
        float32 by default, or that of the array that is given.

    Raises
    ------
    ValueError
        By the initialiser, if the shape has less than two axes, or `mode` is another.

    Notes
    -----
    K. He et al.: Delving Deep into Rectifiers. arXiv:1502.01852. Source:
    ``mlx.nn.init.he_normal``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.init.he_normal("fan_out")((2, 3), rng=np.random.default_rng(0)).shape
    (2, 3)
    """

    def draw(rng: np.random.Generator, shape: tuple[int, ...], mode: str, gain: float) -> Any:
        return rng.normal(0.0, gain / math.sqrt(_fan(shape, mode)), shape)

    return _drawn(draw, dtype, mode=mode, gain=gain)


def he_uniform(mode: str = "fan_in", gain: float = 1.0, dtype: Any = None) -> Initialiser:
    """Return He's uniform initialiser: limit ``gain * sqrt(3 / fan)``.

    Mode and gain can be given to the initialiser instead, as in MLX.

    Parameters
    ----------
    mode : {'fan_in', 'fan_out'}
        What keeps its variance: the values, or the gradients.
    gain : float
    dtype : dtype, optional
        float32 by default, or that of the array that is given.

    Raises
    ------
    ValueError
        By the initialiser, if the shape has less than two axes, or `mode` is another.

    Notes
    -----
    Source: ``mlx.nn.init.he_uniform``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.init.he_uniform()((2, 3), rng=np.random.default_rng(0)).shape
    (2, 3)
    """

    def draw(rng: np.random.Generator, shape: tuple[int, ...], mode: str, gain: float) -> Any:
        limit = gain * math.sqrt(3.0 / _fan(shape, mode))
        return rng.uniform(-limit, limit, shape)

    return _drawn(draw, dtype, mode=mode, gain=gain)


def _matrix(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2:
        raise ShapeError(f"init.{name} makes matrices, got the shape {shape}")
    return shape[0], shape[1]


def identity(dtype: Any = None) -> Initialiser:
    """Return an initialiser that makes identity matrices.

    Parameters
    ----------
    dtype : dtype, optional
        float32 by default, or that of the array that is given.

    Raises
    ------
    ShapeError
        By the initialiser, if the shape is not that of a square matrix.

    Notes
    -----
    Source: ``mlx.nn.init.identity``.

    Examples
    --------
    >>> from freezeviz import nn
    >>> nn.init.identity()((2, 2))
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        rows, columns = _matrix("identity", shape)
        if rows != columns:
            raise ShapeError(f"init.identity makes square matrices, got the shape {shape}")
        return np.eye(rows)

    return _drawn(draw, dtype)


def orthogonal(gain: float = 1.0, dtype: Any = None) -> Initialiser:
    """Return an initialiser that draws matrices with orthogonal rows or columns of norm `gain`.

    Parameters
    ----------
    gain : float
    dtype : dtype, optional
        float32 by default, or that of the array that is given.

    Raises
    ------
    ShapeError
        By the initialiser, if the shape is not that of a matrix.

    Notes
    -----
    A. Saxe, J. McClelland, S. Ganguli: Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks. arXiv:1312.6120. Source: ``mlx.nn.init.orthogonal``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> q = nn.init.orthogonal()((3, 3), rng=np.random.default_rng(0))
    >>> bool(np.allclose(q @ q.T, np.eye(3), atol=1e-6))
    True
    """

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        rows, columns = _matrix("orthogonal", shape)
        q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
        # Without the signs the distribution would not be uniform over the orthogonal matrices.
        q = q * np.sign(np.diagonal(r))
        return gain * (q if rows >= columns else q.T)

    return _drawn(draw, dtype)


def sparse(sparsity: float, mean: float = 0.0, std: float = 1.0, dtype: Any = None) -> Initialiser:
    """Return an initialiser that draws matrices with many zeros from a normal distribution.

    Parameters
    ----------
    sparsity : float
        Share of zeros in every row, rounded up, in ``[0, 1]``.
    mean, std : float
    dtype : dtype, optional
        float32 by default, or that of the array that is given.

    Raises
    ------
    ValueError
        If `sparsity` is out of range.
    ShapeError
        By the initialiser, if the shape is not that of a matrix.

    Notes
    -----
    J. Martens: Deep learning via Hessian-free optimization. ICML 2010. Source:
    ``mlx.nn.init.sparse``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> bool((nn.init.sparse(0.5)((2, 4), rng=np.random.default_rng(0)) == 0).sum() == 4)
    True
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"init.sparse: sparsity is in [0, 1], got {sparsity!r}")

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        rows, columns = _matrix("sparse", shape)
        values = rng.normal(mean, std, shape)
        order = np.argsort(rng.random(shape), axis=1)
        values[np.arange(rows)[:, None], order[:, : math.ceil(round(sparsity * columns, 9))]] = 0.0
        return values

    return _drawn(draw, dtype)
