"""Optimizers that scale each entry by a running square of its gradient: Adagrad and its heirs."""

from typing import Any

from freezeviz.backend import array_namespace
from freezeviz.optim import _rules
from freezeviz.optim._base import Optimizer, Schedule, above_zero, checked
from freezeviz.optim._kernels import Kernel, in_blocks


def zeros(parameter: Any) -> Any:
    """Return zeros of a parameter's shape and dtype."""
    return array_namespace(parameter).zeros(parameter.shape, dtype=parameter.dtype)


class Adagrad(Optimizer):
    """Adagrad: steps shrink with the sum of all squared gradients so far.

    ``v = v + g**2`` and ``w = w - learning_rate * g / (sqrt(v) + eps)``.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a function of the number of updates done so far.
    eps : float

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    J. Duchi, E. Hazan, Y. Singer: Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization. JMLR 12 (2011). After ``mlx.optimizers.Adagrad``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> optimizer = optim.Adagrad(0.1)
    >>> new = optimizer.apply_gradients({"w": np.array([2.0])}, {"w": np.array([1.0])})
    >>> new["w"].round(3)
    array([0.9])
    """

    def __init__(self, learning_rate: float | Schedule, eps: float = 1e-8) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.eps = above_zero("eps", eps)

    def init_single(self, parameter: Any, state: dict[str, Any]) -> None:
        state["v"] = zeros(parameter)

    def _kernel(self, step: int) -> Kernel:
        return Kernel(_rules.adagrad, ("v",), (self.learning_rate, self.eps))

    @in_blocks(_kernel)
    def apply_single(self, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
        state["v"] = v = state["v"] + gradient * gradient
        denominator = array_namespace(v).sqrt(v)
        denominator += self.eps
        return parameter - gradient * self.learning_rate / denominator

    def _options(self) -> dict[str, Any]:
        return {"eps": self.eps}


class RMSprop(Optimizer):
    """RMSprop: steps scaled by the root of a running mean of squared gradients.

    ``v = alpha * v + (1 - alpha) * g**2`` and ``w = w - learning_rate * g / (sqrt(v) + eps)``.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a function of the number of updates done so far.
    alpha : float
    eps : float

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    T. Tieleman, G. Hinton: Lecture 6.5, Neural Networks for Machine Learning (2012). After
    ``mlx.optimizers.RMSprop``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> optimizer = optim.RMSprop(0.1)
    >>> new = optimizer.apply_gradients({"w": np.array([2.0])}, {"w": np.array([1.0])})
    >>> new["w"].round(3)
    array([0.])
    """

    def __init__(
        self, learning_rate: float | Schedule, alpha: float = 0.99, eps: float = 1e-8
    ) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.alpha = checked("alpha", alpha)
        self.eps = above_zero("eps", eps)

    def init_single(self, parameter: Any, state: dict[str, Any]) -> None:
        state["v"] = zeros(parameter)

    def _kernel(self, step: int) -> Kernel:
        numbers = self.alpha, 1 - self.alpha, self.learning_rate, self.eps
        return Kernel(_rules.rmsprop, ("v",), numbers)

    @in_blocks(_kernel)
    def apply_single(self, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
        state["v"] = v = _running(state["v"], gradient * gradient, self.alpha)
        denominator = array_namespace(v).sqrt(v)
        denominator += self.eps
        return parameter - gradient * self.learning_rate / denominator

    def _options(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "eps": self.eps}


class AdaDelta(Optimizer):
    """AdaDelta: steps scaled by running means of squared gradients and of squared steps.

    ``v = rho * v + (1 - rho) * g**2``, ``d = sqrt(u + eps) / sqrt(v + eps) * g``,
    ``u = rho * u + (1 - rho) * d**2`` and ``w = w - learning_rate * d``.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a function of the number of updates done so far.
    rho : float
    eps : float

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    M. Zeiler: ADADELTA: An Adaptive Learning Rate Method. arXiv:1212.5701. After
    ``mlx.optimizers.AdaDelta``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> optimizer = optim.AdaDelta(1.0)
    >>> new = optimizer.apply_gradients({"w": np.array([2.0])}, {"w": np.array([1.0])})
    >>> new["w"].round(3)
    array([0.997])
    """

    def __init__(
        self, learning_rate: float | Schedule, rho: float = 0.9, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.rho = checked("rho", rho)
        self.eps = above_zero("eps", eps)

    def init_single(self, parameter: Any, state: dict[str, Any]) -> None:
        state["v"] = zeros(parameter)
        state["u"] = zeros(parameter)

    def _kernel(self, step: int) -> Kernel:
        numbers = self.rho, 1 - self.rho, self.learning_rate, self.eps
        return Kernel(_rules.adadelta, ("v", "u"), numbers)

    @in_blocks(_kernel)
    def apply_single(self, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
        u = state["u"]
        state["v"] = v = _running(state["v"], gradient * gradient, self.rho)
        delta = array_namespace(v).sqrt((u + self.eps) / (v + self.eps))
        delta *= gradient
        state["u"] = _running(u, delta * delta, self.rho)
        return parameter - delta * self.learning_rate

    def _options(self) -> dict[str, Any]:
        return {"rho": self.rho, "eps": self.eps}


def _running(mean: Any, new: Any, keep: float) -> Any:
    """Return a running mean after one more value; `new` is used up."""
    new *= 1 - keep
    new += mean * keep
    return new
