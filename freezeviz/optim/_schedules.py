"""Schedules: functions of the number of updates done so far, to be given as a learning rate.

Names, arguments and values are those of ``mlx.optimizers``. They are plain functions of a number,
without a memory: what an optimizer's step count is decides, not how often they were asked. They
can be pickled and compared by their arguments.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

Schedule = Callable[[int], float]


def exponential_decay(init: float, decay_rate: float) -> Schedule:
    """Return the schedule ``init * decay_rate ** step``.

    Parameters
    ----------
    init, decay_rate : float

    Notes
    -----
    Source: ``mlx.optimizers.exponential_decay``.

    Examples
    --------
    >>> exponential_decay(0.1, 0.5)(2)
    0.025
    """
    return partial(_exponential, init, decay_rate)


def _exponential(init: float, decay_rate: float, step: int) -> float:
    return init * decay_rate**step


def step_decay(init: float, decay_rate: float, step_size: int) -> Schedule:
    """Return a schedule that starts at `init` and is multiplied again every `step_size` steps.

    Parameters
    ----------
    init, decay_rate : float
    step_size : int

    Raises
    ------
    ValueError
        If `step_size` is less than 1.

    Notes
    -----
    Source: ``mlx.optimizers.step_decay``.

    Examples
    --------
    >>> schedule = step_decay(0.1, 0.5, 10)
    >>> schedule(9), schedule(10), schedule(20)
    (0.1, 0.05, 0.025)
    """
    _at_least_one("step_decay: step_size", step_size)
    return partial(_steps, init, decay_rate, step_size)


def _steps(init: float, decay_rate: float, step_size: int, step: int) -> float:
    return init * decay_rate ** (step // step_size)


def cosine_decay(init: float, decay_steps: int, end: float = 0.0) -> Schedule:
    """Return a schedule that falls from `init` to `end` along half a cosine, and stays there.

    Parameters
    ----------
    init : float
    decay_steps : int
        The step from which on it is `end`.
    end : float

    Raises
    ------
    ValueError
        If `decay_steps` is less than 1.

    Notes
    -----
    I. Loshchilov, F. Hutter: SGDR: Stochastic Gradient Descent with Warm Restarts.
    arXiv:1608.03983. Source: ``mlx.optimizers.cosine_decay``.

    Examples
    --------
    >>> schedule = cosine_decay(0.1, 100)
    >>> schedule(0), round(schedule(50), 9), schedule(100), schedule(101)
    (0.1, 0.05, 0.0, 0.0)
    """
    _at_least_one("cosine_decay: decay_steps", decay_steps)
    return partial(_cosine, init, decay_steps, end)


def _cosine(init: float, decay_steps: int, end: float, step: int) -> float:
    share = 0.5 * (1.0 + math.cos(math.pi * min(step, decay_steps) / decay_steps))
    return end + share * (init - end)


def linear_schedule(init: float, end: float, steps: int) -> Schedule:
    """Return a schedule that goes from `init` to `end` along a line, and stays there.

    Parameters
    ----------
    init, end : float
    steps : int
        The step from which on it is `end`.

    Raises
    ------
    ValueError
        If `steps` is less than 1.

    Notes
    -----
    Source: ``mlx.optimizers.linear_schedule``.

    Examples
    --------
    >>> warmup = linear_schedule(0.0, 0.1, 10)
    >>> warmup(0), warmup(5), warmup(100)
    (0.0, 0.05, 0.1)
    """
    _at_least_one("linear_schedule: steps", steps)
    return partial(_linear, init, end, steps)


def _linear(init: float, end: float, steps: int, step: int) -> float:
    return init + (end - init) * (min(step, steps) / steps)


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Return a schedule that is one after the other.

    Parameters
    ----------
    schedules : sequence of callable
        Each but the first is asked with the steps since its boundary.
    boundaries : sequence of int
        The first step of each schedule but the first, in order.

    Raises
    ------
    ValueError
        If there is no schedule, another number of boundaries, or they are not in order.

    Notes
    -----
    Source: ``mlx.optimizers.join_schedules``.

    Examples
    --------
    >>> warm = join_schedules([linear_schedule(0.0, 0.1, 10), cosine_decay(0.1, 200)], [10])
    >>> warm(5), warm(10), warm(210)
    (0.05, 0.1, 0.0)
    """
    if not schedules or len(boundaries) != len(schedules) - 1:
        raise ValueError(
            "join_schedules takes schedules and the first step of each but the first, got "
            f"{len(schedules)} schedules and {len(boundaries)} boundaries"
        )
    if list(boundaries) != sorted(boundaries):
        raise ValueError(f"join_schedules: boundaries are in order, got {list(boundaries)}")
    return partial(_joined, tuple(schedules), tuple(boundaries))


def _joined(schedules: tuple[Schedule, ...], boundaries: tuple[int, ...], step: int) -> float:
    passed = [b for b in boundaries if b <= step]
    return schedules[len(passed)](step - passed[-1] if passed else step)


def _at_least_one(name: str, value: int) -> None:
    if not value >= 1:
        raise ValueError(f"{name} is at least 1, got {value!r}")
