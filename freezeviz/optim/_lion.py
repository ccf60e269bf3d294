"""Lion."""

from collections.abc import Sequence
from typing import Any

from freezeviz.backend import array_namespace, sign
from freezeviz.optim import _rules
from freezeviz.optim._base import Optimizer, Schedule, checked
from freezeviz.optim._kernels import Kernel, in_blocks


class Lion(Optimizer):
    """Lion: every entry moves by the learning rate, in the direction of a running gradient.

    ``c = b1 * m + (1 - b1) * g``, ``m = b2 * m + (1 - b2) * g``,
    ``w = w - learning_rate * (sign(c) + weight_decay * w)``.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a function of the number of updates done so far. The authors advise one 3 to
        10 times smaller than for AdamW, and a weight decay as many times larger.
    betas : pair of float
    weight_decay : float

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    X. Chen et al.: Symbolic Discovery of Optimization Algorithms. arXiv:2302.06675. After
    ``mlx.optimizers.Lion``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> optimizer = optim.Lion(0.1)
    >>> new = optimizer.apply_gradients({"w": np.array([2.0])}, {"w": np.array([1.0])})
    >>> new["w"].round(3)
    array([0.9])
    """

    def __init__(
        self,
        learning_rate: float | Schedule,
        betas: Sequence[float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        if not hasattr(betas, "__len__") or len(betas) != 2:
            raise ValueError(f"betas are two numbers, got {betas!r}")
        self.betas = (checked("betas[0]", betas[0], 1), checked("betas[1]", betas[1], 1))
        self.weight_decay = checked("weight_decay", weight_decay)

    def init_single(self, parameter: Any, state: dict[str, Any]) -> None:
        state["m"] = array_namespace(parameter).zeros(parameter.shape, dtype=parameter.dtype)

    def _kernel(self, step: int) -> Kernel:
        (b1, b2), rate = self.betas, self.learning_rate
        shrink = 1 - rate * self.weight_decay if self.weight_decay else None
        return Kernel(_rules.lion, ("m",), (b1, 1 - b1, b2, 1 - b2, rate, shrink))

    @in_blocks(_kernel)
    def apply_single(self, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
        (b1, b2), rate, m = self.betas, self.learning_rate, state["m"]
        direction = sign(m * b1 + gradient * (1 - b1))
        state["m"] = m * b2 + gradient * (1 - b2)
        if self.weight_decay:
            parameter = parameter * (1 - rate * self.weight_decay)
        return parameter - direction * rate

    def _options(self) -> dict[str, Any]:
        return {"betas": self.betas, "weight_decay": self.weight_decay}
