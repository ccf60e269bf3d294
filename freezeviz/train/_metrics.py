"""Numbers that a user wants to see beside the loss: their names, and what counts as a number."""

from collections.abc import Callable, Mapping
from typing import Any

import array_api_compat
import numpy as np

from freezeviz.backend import to_numpy
from freezeviz.errors import DataError

Metric = Callable[[Any, Any], Any]

# What the record has columns of already.
RESERVED = frozenset(
    {
        *("step", "epoch", "time", "loss", "accuracy"),
        *("seconds", "saved_bytes", "memory", "changes", "frozen"),
    }
)


def checked_metrics(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the metrics of a trainer.

    Raises
    ------
    DataError
        If a name is taken, or is none.
    TypeError
        If that is no mapping of names to functions.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(
            "metrics are functions by name, such as {'error': lambda outputs, targets: ...}; "
            f"got {type(metrics).__name__}"
        )
    for name, metric in metrics.items():
        check_name(name)
        if not callable(metric):
            raise TypeError(
                f"the metric {name!r} is a function (outputs, targets) -> float, "
                f"got {type(metric).__name__}"
            )
    return dict(metrics)


def check_name(name: Any) -> None:
    """Raise DataError if a metric cannot be called that."""
    if not isinstance(name, str) or not name:
        raise DataError(f"the name of a metric is a string, got {name!r}")
    if name in RESERVED or name.startswith("validation_"):
        raise DataError(f"a metric cannot be called {name!r}: the history has that of its own")


def single_number(value: Any, name: str) -> float:
    """Return a number, an array or a tensor of one element as a float.

    Raises
    ------
    DataError
        If it is anything else; `name` says in the message what it was to be.
    """
    try:
        return float(value) if isinstance(value, int | float) else _of_array(value)
    except OverflowError as error:
        raise DataError(
            f"{name} must be a number that fits in a float, got a larger one"
        ) from error
    except (TypeError, ValueError, RuntimeError) as error:
        shape = getattr(value, "shape", None)
        got = f"shape {tuple(shape)}" if shape else repr(value)[:80]
        raise DataError(
            f"{name} must be a single number, got {type(value).__name__} of {got}"
            if shape
            else f"{name} must be a single number, got {got}"
        ) from error


def on_host(value: Any) -> bool:
    """Whether reading a number waits for no device."""
    return isinstance(value, np.ndarray | np.generic | float | int)


def single_number_or_late(value: Any, name: str) -> Any:
    """Return a number as `single_number` does, or, of a GPU, as it is: an array of one element.

    Raises
    ------
    DataError
        If it is anything else.
    """
    is_there = array_api_compat.is_cupy_array(value)
    if is_there and value.size == 1 and value.dtype.kind in "biuf":
        return value
    return single_number(value, name)


def _of_array(value: Any) -> float:
    if hasattr(value, "detach"):  # of another framework: float() of one with a gradient warns there
        return float(value.detach().item())
    array = np.asarray(to_numpy(value))
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise ValueError("not one number")
    return float(array.reshape(()))
