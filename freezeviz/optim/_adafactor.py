"""Adafactor."""

import math
from collections.abc import Sequence
from typing import Any

from freezeviz.backend import array_namespace
from freezeviz.optim._base import Optimizer, Schedule, above_zero, checked


class Adafactor(Optimizer):
    """Adafactor: of the squared gradients of a matrix, only means of rows and columns are kept.

    Parameters
    ----------
    learning_rate : float or callable, optional
        A number, or a function of the number of updates done so far. Only used without
        `relative_step`.
    eps : pair of float
        The first is added to squared gradients, the second is the least scale of a parameter.
    clip_threshold : float
        Updates whose root mean square is larger are scaled down to it.
    decay_rate : float
        Not positive. The running means forget by ``1 - t ** decay_rate`` at a parameter's update
        number ``t``.
    beta_1 : float, optional
        Keep a running mean of the updates, too, with this weight of the past.
    weight_decay : float
    scale_parameter : bool
        Multiply the learning rate by the root mean square of the parameter.
    relative_step : bool
        The learning rate is ``min(1e-2, 1 / sqrt(t))``; `learning_rate` is ignored.
    warmup_init : bool
        Then it is ``min(1e-6 * t, 1 / sqrt(t))``.

    Raises
    ------
    ValueError
        If a number is out of range, or there is neither a learning rate nor a relative step.

    Notes
    -----
    N. Shazeer, M. Stern: Adafactor: Adaptive Learning Rates with Sublinear Memory Cost.
    arXiv:1804.04235. After ``mlx.optimizers.Adafactor``. Arrays of three and more axes are stacks
    of matrices over the last two. ``t`` counts the updates of the parameter, not of the
    optimizer: one that is unfrozen in mid-run starts as all did.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> optimizer = optim.Adafactor(0.1, relative_step=False)
    >>> new = optimizer.apply_gradients({"w": np.array([2.0])}, {"w": np.array([1.0])})
    >>> new["w"].round(3)
    array([0.9])
    """

    def __init__(
        self,
        learning_rate: float | Schedule | None = None,
        eps: Sequence[float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta_1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ) -> None:
        super().__init__()
        if learning_rate is not None:
            self._maybe_schedule("learning_rate", learning_rate)
        elif not relative_step:
            raise ValueError("Adafactor needs a learning_rate, or relative_step=True")
        if len(eps) != 2:
            raise ValueError(f"eps are two numbers, got {eps!r}")
        self.eps = (above_zero("eps[0]", eps[0]), checked("eps[1]", eps[1]))
        self.clip_threshold = above_zero("clip_threshold", clip_threshold)
        # -decay_rate + 0: zero without its sign.
        self.decay_rate = -checked("minus decay_rate", -decay_rate) + 0.0
        self.beta_1 = None if beta_1 is None else checked("beta_1", beta_1, 1)
        self.weight_decay = checked("weight_decay", weight_decay)
        self.scale_parameter = scale_parameter
        self.relative_step = relative_step
        self.warmup_init = warmup_init

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last update, before it is scaled by a parameter.

        With `relative_step`, that of a parameter that took part in every update. It cannot be
        assigned then: without effect, it would look as if it had one.
        """
        return self._relative(max(self.step, 1)) if self.relative_step else super().learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        if self.relative_step:
            raise ValueError(
                "Adafactor with relative_step=True chooses its learning rate itself; "
                "make it with relative_step=False to set one"
            )
        self._maybe_schedule("learning_rate", value)

    def init_single(self, parameter: Any, state: dict[str, Any]) -> None:
        zeros, shape, dtype = array_namespace(parameter).zeros, parameter.shape, parameter.dtype
        if parameter.ndim >= 2:
            state["exp_avg_sq_row"] = zeros(shape[:-1], dtype=dtype)
            state["exp_avg_sq_col"] = zeros((*shape[:-2], shape[-1]), dtype=dtype)
        else:
            state["exp_avg_sq"] = zeros(shape, dtype=dtype)
        if self.beta_1 is not None:
            state["exp_avg"] = zeros(shape, dtype=dtype)

    def apply_single(self, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
        if parameter.size == 0:
            return parameter
        xp = array_namespace(parameter)
        t = state["step"]
        rate = self._relative(t) if self.relative_step else self.learning_rate
        if self.scale_parameter:
            rate = _at_least(xp, _rms(xp, parameter), self.eps[1]) * rate
        # In-place operators, but only on arrays made here.
        squared = gradient * gradient
        squared += self.eps[0]
        update = self._factor(xp, squared, state, t)
        update *= gradient
        update /= _at_least(xp, _rms(xp, update) / self.clip_threshold, 1.0)
        update *= rate
        if self.beta_1 is not None:
            update *= 1 - self.beta_1
            update += state["exp_avg"] * self.beta_1
            state["exp_avg"] = update
        if self.weight_decay:
            parameter = parameter - parameter * (rate * self.weight_decay)
        return parameter - update

    def _factor(self, xp: Any, squared: Any, state: dict[str, Any], t: int) -> Any:
        """Return one over the root of the running mean of squared gradients, and keep the mean."""
        keep = 1.0 - t**self.decay_rate

        def running(name: str, new: Any) -> Any:
            state[name] = value = state[name] * keep + new * (1.0 - keep)
            return value

        if squared.ndim < 2:
            return 1.0 / xp.sqrt(running("exp_avg_sq", squared))
        rows = running("exp_avg_sq_row", xp.mean(squared, axis=-1))
        columns = running("exp_avg_sq_col", xp.mean(squared, axis=-2))
        of_rows = xp.sqrt(xp.mean(rows, axis=-1, keepdims=True) / rows)
        return of_rows[..., :, None] * (1.0 / xp.sqrt(columns))[..., None, :]

    def _relative(self, t: int) -> float:
        return min(1e-6 * t if self.warmup_init else 1e-2, 1.0 / math.sqrt(t))

    def _options(self) -> dict[str, Any]:
        return {
            "eps": self.eps,
            "clip_threshold": self.clip_threshold,
            "decay_rate": self.decay_rate,
            "beta_1": self.beta_1,
            "weight_decay": self.weight_decay,
            "scale_parameter": self.scale_parameter,
            "relative_step": self.relative_step,
            "warmup_init": self.warmup_init,
        }


def _rms(xp: Any, x: Any) -> Any:
    return xp.sqrt(xp.mean(xp.square(x)))


def _at_least(xp: Any, x: Any, least: float) -> Any:
    # An array: NumPy's maximum with a Python number keeps the dtype, the standard's refuses it.
    return xp.maximum(x, xp.asarray(least, dtype=x.dtype))
