"""Adam and AdamW."""

from collections.abc import Sequence
from typing import Any

from freezeviz.backend import array_namespace
from freezeviz.optim import _rules
from freezeviz.optim._base import Optimizer, Schedule, checked
from freezeviz.optim._kernels import Kernel, in_blocks


class Adam(Optimizer):
    """Adam: steps of the size of the learning rate, scaled by running moments of the gradient.

    ``m = b1 * m + (1 - b1) * g``, ``v = b2 * v + (1 - b2) * g**2``,
    ``w = w - learning_rate * m / (sqrt(v) + eps)``.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a function of the number of updates done so far.
    betas : pair of float
    eps : float
    bias_correction : bool
        Divide ``m`` by ``1 - b1**t`` and ``v`` by ``1 - b2**t``, where ``t`` counts the updates of
        this parameter. Off by default, as in MLX; PyTorch always corrects.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    After ``mlx.optimizers.Adam``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> optimizer = optim.Adam(0.1)
    >>> new = optimizer.apply_gradients({"w": np.array([2.0])}, {"w": np.array([1.0])})
    >>> new["w"].round(3)
    array([0.684])
    """

    def __init__(
        self,
        learning_rate: float | Schedule,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        bias_correction: bool = False,
    ) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        if not hasattr(betas, "__len__") or len(betas) != 2:
            raise ValueError(f"betas are two numbers, got {betas!r}")
        self.betas = (checked("betas[0]", betas[0], 1), checked("betas[1]", betas[1], 1))
        self.eps = checked("eps", eps)
        self.bias_correction = bias_correction

    def init_single(self, parameter: Any, state: dict[str, Any]) -> None:
        xp = array_namespace(parameter)
        state["m"] = xp.zeros(parameter.shape, dtype=parameter.dtype)
        state["v"] = xp.zeros(parameter.shape, dtype=parameter.dtype)

    def _corrected(self, step: int) -> tuple[float, float]:
        """Return learning rate and eps as they are at a parameter's update number `step`."""
        rate, eps = self.learning_rate, self.eps
        if self.bias_correction:
            # The factor of sqrt(v) is moved to the rate and to eps, where it is a plain number.
            b1, b2 = self.betas
            root = (1 - b2**step) ** 0.5
            rate *= root / (1 - b1**step)
            eps *= root
        return rate, eps

    def _kernel(self, step: int, shrink: float | None = None) -> Kernel:
        b1, b2 = self.betas
        numbers = b1, 1 - b1, b2, 1 - b2, *self._corrected(step), shrink
        return Kernel(_rules.adam, ("m", "v"), numbers)

    @in_blocks(_kernel)
    def apply_single(self, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
        b1, b2 = self.betas
        m = state["m"] * b1
        m += gradient * (1 - b1)
        v = state["v"] * b2
        squared = gradient * gradient
        squared *= 1 - b2
        v += squared
        state["m"], state["v"] = m, v

        rate, eps = self._corrected(state["step"])
        denominator = array_namespace(v).sqrt(v)
        denominator += eps
        update = m / denominator
        update *= rate
        return parameter - update

    def _options(self) -> dict[str, Any]:
        return {"betas": self.betas, "eps": self.eps, "bias_correction": self.bias_correction}


class AdamW(Adam):
    """Adam with decoupled weight decay: ``w * (1 - learning_rate * weight_decay)`` before the step.

    Parameters
    ----------
    learning_rate : float or callable
    betas : pair of float
    eps : float
    weight_decay : float
    bias_correction : bool

    Raises
    ------
    ValueError
        If a number is out of range.

    See Also
    --------
    Adam : what the other arguments mean.

    Notes
    -----
    After ``mlx.optimizers.AdamW``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> optimizer = optim.AdamW(0.1, weight_decay=0.5)
    >>> new = optimizer.apply_gradients({"w": np.array([2.0])}, {"w": np.array([1.0])})
    >>> new["w"].round(3)
    array([0.634])
    """

    def __init__(
        self,
        learning_rate: float | Schedule,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        bias_correction: bool = False,
    ) -> None:
        super().__init__(learning_rate, betas, eps, bias_correction)
        self.weight_decay = checked("weight_decay", weight_decay)

    def _decayed(self, step: int) -> Kernel:
        return Adam._kernel(self, step, 1 - self.learning_rate * self.weight_decay)

    @in_blocks(_decayed)
    def apply_single(self, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
        decayed = parameter * (1 - self.learning_rate * self.weight_decay)
        return super().apply_single(gradient, decayed, state)

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"weight_decay": self.weight_decay}
