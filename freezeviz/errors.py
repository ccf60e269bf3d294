"""Errors and warnings of freezeviz.

::

    FreezevizError
    ├── SelectorError      (LookupError)   a path or selector that matches nothing
    ├── ParameterKeyError  (KeyError)      a parameter name that a module does not have
    ├── TiedParameterError (ValueError)    freezing one of several names of an array
    ├── ShapeError         (ValueError)    arrays whose shapes do not fit
    ├── DataError          (ValueError)    data a trainer cannot use
    ├── WeightsError       (ValueError)    a weights file or tree that does not fit the model
    ├── ModelError         (ValueError)    a model that cannot be frozen or read as it is now
    ├── PolicyError        (ValueError)    a policy that cannot be read
    ├── LockedError        (RuntimeError)  a change of what is locked in the explorer
    ├── AutodiffError      (TypeError)     an operation without derivative, or a tracer that leaks
    ├── DeviceError        (RuntimeError)  a device that was asked for and is not there
    ├── KernelsError       (RuntimeError)  kernels that were asked for and cannot be had
    ├── MissingExtraError  (ImportError)   an optional dependency that is not installed
    └── RunError           (RuntimeError)  a training run that failed or was misused

    FreezevizWarning (UserWarning)
    ├── UnmatchedKeyWarning       a freeze key that matches no parameter
    ├── NothingTrainableWarning   training with everything frozen
    ├── NonFiniteLossWarning      a loss that became NaN or infinite
    ├── KernelsWarning            compiled kernels that are installed and do not work
    └── ObserverWarning           an observer of a run that raised
"""

import logging
import warnings
from collections.abc import Iterable
from difflib import get_close_matches

_log = logging.getLogger("freezeviz")


class FreezevizError(Exception):
    """Base of every error that freezeviz raises on purpose."""


class SelectorError(FreezevizError, LookupError):
    """A path or selector that matches nothing."""


class ParameterKeyError(FreezevizError, KeyError):
    """A parameter name that a module does not have."""

    # KeyError prints the repr of its argument, which turns a sentence into a quoted string.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class TiedParameterError(FreezevizError, ValueError):
    """Something done to one of several names of an array and not to the others."""


class ShapeError(FreezevizError, ValueError):
    """Arrays whose shapes do not fit a layer, a loss or an operation."""


class DataError(FreezevizError, ValueError):
    """Data that a trainer cannot use."""


class WeightsError(FreezevizError, ValueError):
    """A weights file or tree that does not fit the model."""


class ModelError(FreezevizError, ValueError):
    """A model that cannot be frozen or read as it is now: without shapes, values or leaves."""


class PolicyError(FreezevizError, ValueError):
    """A policy that cannot be read, or a step of one that makes no sense."""


class LockedError(FreezevizError, RuntimeError):
    """A change of what is locked in the explorer."""


class AutodiffError(FreezevizError, TypeError):
    """An operation that cannot be differentiated, or that would leak a tracer."""


class DeviceError(FreezevizError, RuntimeError):
    """A device that was asked for and is not there."""


class KernelsError(FreezevizError, RuntimeError):
    """Kernels that were asked for and cannot be had."""


class MissingExtraError(FreezevizError, ImportError):
    """An optional dependency that is not installed."""


class RunError(FreezevizError, RuntimeError):
    """A training run that failed, or was used in a way its state does not allow."""


class FreezevizWarning(UserWarning):
    """Base of every warning that freezeviz gives."""


class UnmatchedKeyWarning(FreezevizWarning):
    """A freeze or unfreeze key that matches no parameter."""


class NothingTrainableWarning(FreezevizWarning):
    """Training while every parameter is frozen."""


class NonFiniteLossWarning(FreezevizWarning):
    """A loss that became NaN or infinite."""


class KernelsWarning(FreezevizWarning):
    """Compiled kernels that are installed and do not work."""


class ObserverWarning(FreezevizWarning):
    """An observer of a run that raised and was dropped."""


def warn_or_log(message: str, category: type[Warning], cause: BaseException | None = None) -> None:
    """Give a warning that ends nothing: it is logged where warnings are errors.

    Parameters
    ----------
    message : str
    category : type of warning
    cause : BaseException, optional
        For the log.
    """
    try:
        warnings.warn(message, category, stacklevel=3)
    except category:
        _log.warning(message, exc_info=cause)


def closest(name: str, known: Iterable[str], n: int = 3) -> str:
    """Return a sentence that names the known names closest to `name`, or an empty string."""
    matches = get_close_matches(name, list(known), n=n, cutoff=0.5)
    if not matches:
        return ""
    return " Closest: " + ", ".join(repr(m) for m in matches) + "."
