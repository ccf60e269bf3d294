"""Recurrent layers.

Names, arguments, the layout of the weights and what comes back are those of ``mlx.nn``: the
states after every step, and no stack of layers. A state that is not given is left out of the
first step, which is the same as zeros.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.autodiff import sigmoid
from freezeviz.errors import ShapeError
from freezeviz.nn import init
from freezeviz.nn._layers._activations import tanh
from freezeviz.nn._layers._checks import last_axis, sizes, where
from freezeviz.nn._module import Module

__all__ = ["GRU", "LSTM", "RNN"]


class RNN(Module):
    """Elman's recurrent layer: ``h = tanh(Wxh @ x + Whh @ h + bias)`` at every step.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    nonlinearity : callable, optional
        Instead of `tanh`.
    rng : numpy.random.Generator, optional
        Draws the initial values.

    Attributes
    ----------
    Wxh : array of shape (hidden_size, input_size)
    Whh : array of shape (hidden_size, hidden_size)
    bias : array of shape (hidden_size,)
        All uniform in ``±1/sqrt(hidden_size)`` at first.

    Raises
    ------
    ValueError
        If `nonlinearity` cannot be called.

    Notes
    -----
    J. L. Elman: Finding Structure in Time. Cognitive Science 14 (1990). Source: ``mlx.nn.RNN``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.RNN(3, 5)(np.ones((2, 7, 3), np.float32)).shape
    (2, 7, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Callable[[Any], Any] | None = None,
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        sizes(self, 0, input_size=input_size)
        sizes(self, 1, hidden_size=hidden_size)
        self.nonlinearity = tanh if nonlinearity is None else nonlinearity
        if not callable(self.nonlinearity):
            raise ValueError(f"RNN: nonlinearity is a function of an array, got {nonlinearity!r}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self._has_bias = bool(bias)
        self._initialise(rng)

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return new first values."""
        size, draw = self.hidden_size, _uniform(self.hidden_size, rng)
        values = {"Wxh": draw(size, self.input_size), "Whh": draw(size, size)}
        return values | {"bias": draw(size)} if self._has_bias else values

    def __call__(self, x: Any, hidden: Any = None) -> Any:
        """Return the state after each step.

        Parameters
        ----------
        x : array of shape (..., length, input_size)
        hidden : array of shape (..., hidden_size), optional
            The state before the first step.

        Returns
        -------
        array of shape (..., length, hidden_size)

        Raises
        ------
        ShapeError
            If a shape does not fit, or the sequence is empty.
        """
        _check(self, x, hidden=hidden)
        recurrent = self.Whh
        states = []
        for step in _steps(autodiff.linear(x, self.Wxh, _optional(self, "bias"))):
            if hidden is not None:
                step = step + autodiff.linear(hidden, recurrent, None)
            hidden = self.nonlinearity(step)
            states.append(hidden)
        return np.stack(states, axis=-2)

    def _extra_repr(self) -> str:
        name = getattr(self.nonlinearity, "__name__", repr(self.nonlinearity))
        return (
            f"input_dims={self.input_size}, hidden_size={self.hidden_size}, "
            f"nonlinearity={name}, bias={'bias' in self}"
        )


class GRU(Module):
    """A layer of gated recurrent units.

    At every step, with the rows of `Wx`, `Wh` and `b` in three parts, of ``r``, ``z`` and ``n``::

        r = sigmoid(Wxr @ x + Whr @ h + br)
        z = sigmoid(Wxz @ x + Whz @ h + bz)
        n = tanh(Wxn @ x + bn + r * (Whn @ h + bhn))
        h = (1 - z) * n + z * h

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    rng : numpy.random.Generator, optional
        Draws the initial values.

    Attributes
    ----------
    Wx : array of shape (3 * hidden_size, input_size)
    Wh : array of shape (3 * hidden_size, hidden_size)
    b : array of shape (3 * hidden_size,)
    bhn : array of shape (hidden_size,)
        All uniform in ``±1/sqrt(hidden_size)`` at first.

    Raises
    ------
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    K. Cho et al.: Learning Phrase Representations using RNN Encoder-Decoder. arXiv:1406.1078.
    Source: ``mlx.nn.GRU``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.GRU(3, 5)(np.ones((2, 7, 3), np.float32)).shape
    (2, 7, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        sizes(self, 0, input_size=input_size)
        sizes(self, 1, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self._has_bias = bool(bias)
        self._initialise(rng)

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return new first values."""
        size, draw = self.hidden_size, _uniform(self.hidden_size, rng)
        values = {"Wx": draw(3 * size, self.input_size), "Wh": draw(3 * size, size)}
        return values | {"b": draw(3 * size), "bhn": draw(size)} if self._has_bias else values

    def __call__(self, x: Any, hidden: Any = None) -> Any:
        """Return the state after each step.

        Parameters
        ----------
        x : array of shape (..., length, input_size)
        hidden : array of shape (..., hidden_size), optional
            The state before the first step.

        Returns
        -------
        array of shape (..., length, hidden_size)

        Raises
        ------
        ShapeError
            If a shape does not fit, or the sequence is empty.
        """
        _check(self, x, hidden=hidden)
        recurrent, bhn, size = self.Wh, _optional(self, "bhn"), self.hidden_size
        states = []
        for step in _steps(autodiff.linear(x, self.Wx, _optional(self, "b"))):
            gates, new, old = step[..., : 2 * size], step[..., 2 * size :], bhn
            if hidden is not None:
                product = autodiff.linear(hidden, recurrent, None)
                gates = gates + product[..., : 2 * size]
                old = product[..., 2 * size :]
                old = old if bhn is None else old + bhn
            gates = sigmoid(gates)
            reset, update = gates[..., :size], gates[..., size:]
            new = np.tanh(new if old is None else new + reset * old)
            hidden = new - update * new if hidden is None else new + update * (hidden - new)
            states.append(hidden)
        return np.stack(states, axis=-2)

    def _extra_repr(self) -> str:
        return f"input_dims={self.input_size}, hidden_size={self.hidden_size}, bias={'b' in self}"


class LSTM(Module):
    """A layer of long short-term memory.

    At every step, with the rows of `Wx`, `Wh` and `bias` in four parts, of ``i``, ``f``, ``g``
    and ``o``::

        i, f, o = sigmoid(...), sigmoid(...), sigmoid(...)   of Wx @ x + Wh @ h + bias
        g = tanh(...)
        c = f * c + i * g
        h = o * tanh(c)

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    rng : numpy.random.Generator, optional
        Draws the initial values.

    Attributes
    ----------
    Wx : array of shape (4 * hidden_size, input_size)
    Wh : array of shape (4 * hidden_size, hidden_size)
    bias : array of shape (4 * hidden_size,)
        All uniform in ``±1/sqrt(hidden_size)`` at first.

    Raises
    ------
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    S. Hochreiter, J. Schmidhuber: Long Short-Term Memory. Neural Computation 9 (1997); with the
    forget gate of F. Gers, J. Schmidhuber, F. Cummins: Learning to Forget (2000). Source:
    ``mlx.nn.LSTM``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> hidden, cell = nn.LSTM(3, 5)(np.ones((2, 7, 3), np.float32))
    >>> hidden.shape, cell.shape
    ((2, 7, 5), (2, 7, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        sizes(self, 0, input_size=input_size)
        sizes(self, 1, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self._has_bias = bool(bias)
        self._initialise(rng)

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return new first values."""
        size, draw = self.hidden_size, _uniform(self.hidden_size, rng)
        values = {"Wx": draw(4 * size, self.input_size), "Wh": draw(4 * size, size)}
        return values | {"bias": draw(4 * size)} if self._has_bias else values

    def __call__(self, x: Any, hidden: Any = None, cell: Any = None) -> tuple[Any, Any]:
        """Return the states and the cells after each step.

        Parameters
        ----------
        x : array of shape (..., length, input_size)
        hidden, cell : array of shape (..., hidden_size), optional
            What they are before the first step.

        Returns
        -------
        hidden, cell : array of shape (..., length, hidden_size)

        Raises
        ------
        ShapeError
            If a shape does not fit, or the sequence is empty.
        """
        _check(self, x, hidden=hidden, cell=cell)
        recurrent, size = self.Wh, self.hidden_size
        states, cells = [], []
        for step in _steps(autodiff.linear(x, self.Wx, _optional(self, "bias"))):
            if hidden is not None:
                step = step + autodiff.linear(hidden, recurrent, None)
            # Two halves first: the gradient of a slice is as large as what it was cut from.
            enter_keep, new_show = sigmoid(step[..., : 2 * size]), step[..., 2 * size :]
            enter, keep = enter_keep[..., :size], enter_keep[..., size:]
            new, show = np.tanh(new_show[..., :size]), sigmoid(new_show[..., size:])
            cell = enter * new if cell is None else keep * cell + enter * new
            hidden = show * np.tanh(cell)
            states.append(hidden)
            cells.append(cell)
        return np.stack(states, axis=-2), np.stack(cells, axis=-2)

    def _extra_repr(self) -> str:
        return (
            f"input_dims={self.input_size}, hidden_size={self.hidden_size}, bias={'bias' in self}"
        )


def _uniform(hidden_size: int, rng: np.random.Generator | None) -> Callable[..., Any]:
    limit = 1.0 / math.sqrt(hidden_size)
    return lambda *shape: init.uniform(-limit, limit)(shape, rng=rng)


def _optional(layer: Module, name: str) -> Any:
    return getattr(layer, name) if name in layer else None


def _check(layer: Any, x: Any, **states: Any) -> None:
    last_axis(layer, x, "input_size", layer.input_size)
    if x.ndim < 2 or x.shape[-2] == 0:
        raise ShapeError(
            f"{where(layer)} expects x of shape (..., length, input_size={layer.input_size}) with "
            f"at least one step, got {tuple(x.shape)}"
        )
    lead, size = tuple(x.shape[:-2]), layer.hidden_size
    for name, state in states.items():
        if state is not None and tuple(state.shape) != (*lead, size):
            raise ShapeError(
                f"{where(layer)} expects {name} of shape {(*lead, size)}, one state for each "
                f"sequence in x of shape {tuple(x.shape)}, got {tuple(state.shape)}"
            )


def _steps(x: Any) -> list[Any]:
    """Return the entries of `x` along its last axis but one.

    By halves, and halves of those. The gradient of a slice is an array of the size of what it was
    cut from, so entries cut one by one would take time and memory with the square of the length.
    """
    n = x.shape[-2]
    if n == 1:
        return [x[..., 0, :]]
    return _steps(x[..., : n // 2, :]) + _steps(x[..., n // 2 :, :])
