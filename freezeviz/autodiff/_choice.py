"""Which kernels compute: chosen by the user, loaded before the first step, never in one."""

import importlib
import importlib.util
import os
import threading
import warnings
from typing import NamedTuple

from freezeviz import backend
from freezeviz.autodiff import _sets
from freezeviz.errors import KernelsError, KernelsWarning, MissingExtraError, warn_or_log

VARIABLE = "FREEZEVIZ_KERNELS"
_INSTALL = 'pip install "freezeviz[fast]"'
_NUMPY, _BOTH = frozenset({"numpy"}), frozenset({"numba", "numpy"})
_KNOWN = ("auto", "numpy", "numba")


class _Loaded(NamedTuple):
    problem: str | None
    cause: BaseException | None = None


_lock = threading.RLock()
_asked: str | None = None  # what `use_kernels` was given; None: the environment decides
_settled = False
_loaded: _Loaded | None = None


def use_kernels(kernels: str) -> None:
    """Choose the kernels that compute layers, losses and optimizers on the CPU.

    All give the same numbers to rounding, and each gives the same in every run with as many
    threads.

    Parameters
    ----------
    kernels : {'auto', 'numpy', 'numba'}
        ``'numba'``: compiled ones, for arrays of single precision; NumPy computes what is small
        or not to their liking. They are compiled here and now: about a minute once per machine,
        a fraction of a second afterwards. ``'numpy'``: NumPy alone. ``'auto'``, the default:
        ``'numba'`` if it is installed and works, loaded by the first `nn.value_and_grad` or
        `Trainer`, and ``'numpy'`` otherwise. The choice overrides the environment variable
        ``FREEZEVIZ_KERNELS``.

    Raises
    ------
    KernelsError
        If `kernels` is none of the three, or Numba is asked for and does not work; the message
        says why. The former choice stays.
    MissingExtraError
        If Numba is asked for and not installed.

    Examples
    --------
    >>> import freezeviz as fv
    >>> fv.use_kernels("numpy")
    >>> fv.kernels()
    'numpy'
    >>> fv.use_kernels("auto")
    """
    global _asked, _settled
    asked = _checked(kernels, "use_kernels()")
    with _lock:
        if asked == "numba":
            _put_in_force(asked, f"use_kernels({asked!r})")
        elif asked == "numpy":
            _sets.put_in_force(_NUMPY)
        _asked, _settled = asked, asked != "auto"
        if _loaded is not None:
            # Nothing takes time any more: a run that goes on shall not wait for the next one.
            _settle()


def kernels() -> str:
    """Return whose kernels compute on the CPU: ``'numba'`` or ``'numpy'``.

    Loads them, if nothing has done so yet.

    Raises
    ------
    KernelsError, MissingExtraError
        If ``FREEZEVIZ_KERNELS`` holds no known name, or asks for Numba and it does not work.
    """
    _settle()
    return "numba" if "numba" in _sets.in_force() else "numpy"


def prepare_kernels() -> None:
    """Load the kernels that are wanted, unless arrays are made on a GPU by default.

    What computes steps calls it beforehand: kernels are compiled or read from the disk here.
    Once they are there it costs nothing.

    Raises
    ------
    KernelsError, MissingExtraError
        As `kernels` does.
    """
    if not _settled and backend.device() == "cpu":
        _settle()


def _settle() -> None:
    global _settled
    if _settled:
        return
    with _lock:
        if _settled:
            return
        if _asked is not None:
            asked, source = _asked, f"use_kernels({_asked!r})"
        elif value := os.environ.get(VARIABLE, "").strip():
            asked, source = _checked(value, VARIABLE), f"{VARIABLE}={value}"
        else:
            asked, source = "auto", "the default"
        _put_in_force(asked, source)
        _settled = True


def _checked(name: object, source: str) -> str:
    if not isinstance(name, str) or name.strip().lower() not in _KNOWN:
        raise KernelsError(f"{source} takes 'auto', 'numpy' or 'numba', got {name!r}.")
    return name.strip().lower()


def _put_in_force(asked: str, source: str) -> None:
    if asked == "numpy":
        _sets.put_in_force(_NUMPY)
        return
    installed = importlib.util.find_spec("numba") is not None
    if not installed and asked == "auto":
        _sets.put_in_force(_NUMPY)
        return
    if not installed:
        raise MissingExtraError(
            f"{source} asks for compiled kernels, and Numba is not installed: {_INSTALL}. "
            "Go on with 'numpy' or 'auto'."
        )
    loaded = _load(again=asked == "numba")
    if loaded.problem is None:
        _sets.put_in_force(_BOTH)
        return
    if asked == "numba":
        raise KernelsError(
            f"{source} asks for compiled kernels, and {loaded.problem} "
            "Go on with 'numpy' or 'auto'."
        ) from loaded.cause
    _sets.put_in_force(_NUMPY)


def _load(again: bool) -> _Loaded:
    """Import and compile the kernels; what went wrong is told once."""
    global _loaded
    if _loaded is None or (again and _loaded.problem is not None):
        told = _loaded is not None or again
        _loaded = _try()
        if _loaded.problem is not None and not told:
            warn_or_log(
                f"{_loaded.problem} NumPy's kernels compute instead, with the same results; "
                f"{VARIABLE}=numpy silences this.",
                KernelsWarning,
                _loaded.cause,
            )
    return _loaded


def _try() -> _Loaded:
    try:
        with warnings.catch_warnings():
            # Of Numba and LLVM about themselves; nobody here can do anything about them.
            warnings.simplefilter("ignore")
            importlib.import_module("freezeviz.autodiff._numba").compile_all()
    except Exception as error:
        # Anything: another version of NumPy than Numba knows, a processor that LLVM does not.
        line = str(error).strip().partition("\n")[0]
        return _Loaded(f"Numba's kernels cannot be used: {type(error).__name__}: {line}.", error)
    return _Loaded(None)
