"""Derivatives of functions of arrays and of nested containers of arrays."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from freezeviz.autodiff._tracer import Like, Tape, Tracer, raw
from freezeviz.backend import array_namespace, is_array
from freezeviz.errors import AutodiffError
from freezeviz.tree import tree_map

_depth: ContextVar[int] = ContextVar("freezeviz_trace_depth", default=0)


@contextmanager
def _new_tape() -> Iterator[Tape]:
    level = _depth.get() + 1
    token = _depth.set(level)
    try:
        yield Tape(level)
    finally:
        _depth.reset(token)


def stop_gradient(x: Any) -> Any:
    """Return the plain array of `x`: a constant for every derivative.

    Parameters
    ----------
    x : array or nested containers of arrays
    """
    return tree_map(raw, x)


def value_and_grad(fn: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """Return a function that gives ``fn``'s value and its gradient in the first argument.

    Parameters
    ----------
    fn : callable
        ``fn(tree, *args, **kwargs)`` returns a scalar, or a tuple whose first entry is the
        scalar to differentiate.

    Returns
    -------
    callable
        ``(tree, *args, **kwargs) -> (value, gradient)``. The gradient has the structure of
        `tree`; leaves that are no arrays (None, numbers) keep their place.

    Raises
    ------
    AutodiffError
        If `fn` does not return a scalar, or an array to differentiate is not real and floating.

    Examples
    --------
    >>> import numpy as np
    >>> value_and_grad(lambda p: (p["w"] ** 2).sum())({"w": np.array([1.0, 2.0])})
    (np.float64(5.0), {'w': array([2., 4.])})
    """

    def value_and_gradient(tree: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        with _new_tape() as tape:
            traced = tree_map(lambda leaf: _leaf(tape, leaf), tree)
            result = fn(traced, *args, **kwargs)
            output = result[0] if type(result) is tuple else result
            pull_back(tape, output)
        gradient = tree_map(cotangent, traced)
        return _plain(tape, result), gradient

    return value_and_gradient


def grad(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gives the gradient of `fn` in its first argument.

    See Also
    --------
    value_and_grad
    """
    both = value_and_grad(fn)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def vjp(fn: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Return ``fn(*primals)`` and its pullback.

    Parameters
    ----------
    fn : callable
        A function of arrays that returns one array.
    *primals : array

    Returns
    -------
    value : array
    pullback : callable
        Takes a cotangent of the value's shape, gives one cotangent per primal. Can be called
        once: it consumes the tape.
    """
    with _new_tape() as tape:
        leaves = [_leaf(tape, p) for p in primals]
        output = fn(*leaves)

    def pullback(g: Any) -> tuple[Any, ...]:
        if type(output) is Tracer and output.tape is tape:
            tape.backward(output, g)
        return tuple(map(cotangent, leaves))

    return _plain(tape, output), pullback


def pull_back(tape: Tape, output: Any) -> None:
    """Push the cotangent one from a scalar to the leaves of its tape."""
    shape = getattr(output, "shape", None)
    if shape != () and not isinstance(output, int | float):
        got = type(output).__name__ if shape is None else f"shape {tuple(shape)}"
        raise AutodiffError(
            f"a gradient needs a function that returns a scalar, got {got}; "
            "reduce it, for example with .mean()"
        )
    if type(output) is Tracer and output.tape is tape:
        value = raw(output)
        tape.backward(output, array_namespace(value).ones_like(value))


def _leaf(tape: Tape, leaf: Any) -> Any:
    return tape.leaf(leaf) if is_differentiable(leaf) else leaf


def is_differentiable(x: Any) -> bool:
    """Return whether a derivative in `x` makes sense: a real floating array, traced or not."""
    value = raw(x)
    return is_array(value) and array_namespace(value).isdtype(value.dtype, "real floating")


def cotangent(leaf: Any) -> Any:
    """Return what arrived at a leaf of a consumed tape: zeros where nothing did."""
    if type(leaf) is not Tracer:
        return leaf
    g = leaf.node.cotangent
    if g is None:
        value = raw(leaf)
        return array_namespace(value).zeros_like(value)
    return as_array(g, leaf.value)


def as_array(g: Any, like: Any) -> Any:
    # Reductions of NumPy give scalars; a gradient is an array like the parameter.
    value = raw(like)
    return g if type(g) is Tracer else array_namespace(value).asarray(g, dtype=value.dtype)


def _plain(tape: Tape, result: Any) -> Any:
    return tree_map(lambda x: x.value if type(x) is Tracer and x.tape is tape else x, result)


__all__ = ["Like", "grad", "stop_gradient", "value_and_grad", "vjp"]
