"""Adamax."""

from collections.abc import Sequence
from typing import Any

from freezeviz.backend import array_namespace
from freezeviz.optim import _rules
from freezeviz.optim._adam import Adam
from freezeviz.optim._base import Schedule, above_zero
from freezeviz.optim._kernels import Kernel, in_blocks


class Adamax(Adam):
    """Adamax: Adam with the largest recent gradient in place of the root of the mean square.

    ``m = b1 * m + (1 - b1) * g``, ``v = max(b2 * v, abs(g))``,
    ``w = w - learning_rate * m / (v + eps)``.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a function of the number of updates done so far.
    betas : pair of float
    eps : float

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    D. Kingma, J. Ba: Adam: A Method for Stochastic Optimization, section 7. arXiv:1412.6980.
    After ``mlx.optimizers.Adamax``, which does not correct the bias of ``m``. PyTorch does.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> optimizer = optim.Adamax(0.1)
    >>> new = optimizer.apply_gradients({"w": np.array([2.0])}, {"w": np.array([1.0])})
    >>> new["w"].round(3)
    array([0.99])
    """

    def __init__(
        self,
        learning_rate: float | Schedule,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate, betas, above_zero("eps", eps))

    def _largest(self, step: int) -> Kernel:
        b1, b2 = self.betas
        return Kernel(_rules.adamax, ("m", "v"), (b1, 1 - b1, b2, self.learning_rate, self.eps))

    @in_blocks(_largest)
    def apply_single(self, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
        xp = array_namespace(parameter)
        b1, b2 = self.betas
        m = state["m"] * b1
        m += gradient * (1 - b1)
        v = xp.maximum(state["v"] * b2, xp.abs(gradient))
        state["m"], state["v"] = m, v
        return parameter - m * self.learning_rate / (v + self.eps)

    def _options(self) -> dict[str, Any]:
        return {"betas": self.betas, "eps": self.eps}
