"""Stochastic gradient descent."""

from typing import Any

from freezeviz.backend import array_namespace
from freezeviz.optim import _rules
from freezeviz.optim._base import Optimizer, Schedule, checked
from freezeviz.optim._kernels import Kernel, in_blocks


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum.

    ``v = momentum * v + (1 - dampening) * g`` and ``w = w - learning_rate * v``, where ``g`` has
    ``weight_decay * w`` added to it.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a function of the number of updates done so far.
    momentum : float
    weight_decay : float
        An L2 penalty: part of the gradient, so part of the momentum too.
    dampening : float
    nesterov : bool

    Raises
    ------
    ValueError
        If a number is out of range, or `nesterov` is asked for without momentum or with dampening.

    Notes
    -----
    After ``mlx.optimizers.SGD``. PyTorch leaves the dampening out of the very first step.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> optimizer = optim.SGD(0.1, momentum=0.9)
    >>> new = optimizer.apply_gradients({"w": np.array([2.0])}, {"w": np.array([1.0])})
    >>> new["w"].round(3)
    array([0.8])
    """

    def __init__(
        self,
        learning_rate: float | Schedule,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = checked("momentum", momentum)
        self.weight_decay = checked("weight_decay", weight_decay)
        self.dampening = checked("dampening", dampening)
        self.nesterov = nesterov
        if nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov needs a momentum, and dampening=0")

    def init_single(self, parameter: Any, state: dict[str, Any]) -> None:
        # zeros, not zeros_like: without momentum these pages are never touched, so cost nothing.
        state["v"] = array_namespace(parameter).zeros(parameter.shape, dtype=parameter.dtype)

    def _kernel(self, step: int) -> Kernel:
        decay = self.weight_decay if self.weight_decay != 0 else None
        if self.momentum == 0:
            return Kernel(_rules.sgd, (), (self.learning_rate, decay))
        rest = 1 - self.dampening if self.dampening != 0 else None
        numbers = self.learning_rate, decay, self.momentum, rest, self.nesterov
        return Kernel(_rules.momentum, ("v",), numbers)

    @in_blocks(_kernel)
    def apply_single(self, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
        if self.weight_decay != 0:
            gradient = gradient + self.weight_decay * parameter
        if self.momentum == 0:
            return parameter - self.learning_rate * gradient
        v = self.momentum * state["v"]
        v += (1 - self.dampening) * gradient if self.dampening != 0 else gradient
        state["v"] = v
        update = gradient + self.momentum * v if self.nesterov else v
        return parameter - self.learning_rate * update

    def _options(self) -> dict[str, Any]:
        return {
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "dampening": self.dampening,
            "nesterov": self.nesterov,
        }
