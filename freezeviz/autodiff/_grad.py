"""Derivatives of functions of arrays and of nested containers of arrays."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeGuard

import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.autodiff._choice import prepare_kernels
from freezeviz.autodiff._tracer import Leaf, Like, Tape, Tracer, raw
from freezeviz.backend import array_namespace, is_array
from freezeviz.errors import AutodiffError
from freezeviz.tree import tree_map

_depth: ContextVar[int] = ContextVar("freezeviz_trace_depth", default=0)


@contextmanager
def _new_tape() -> Iterator[Tape]:
    depth = _depth.get()
    token = _depth.set(depth + 1)
    tape = Tape(nested=depth > 0)
    try:
        yield tape
    finally:
        # What the function left somewhere (in a list, in a generator) records no more.
        tape.open = False
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
        `tree`: arrays at its floating arrays (zeros where the value does not depend on one), and
        None at all other leaves (None, numbers, integer arrays), which are constants.

    Raises
    ------
    AutodiffError
        If `fn` does not return a real scalar, an array in the tree is complex, or the tree is
        nothing but a number or an integer array.

    Notes
    -----
    The explicit face of `nn.value_and_grad`. Source: ``Zygote.withgradient``, as Lux's manual uses
    it.

    Examples
    --------
    >>> import numpy as np
    >>> value_and_grad(lambda p: (p["w"] ** 2).sum())({"w": np.array([1.0, 2.0])})
    (np.float64(5.0), {'w': array([2., 4.])})
    """
    prepare_kernels()

    def value_and_gradient(tree: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        with _new_tape() as tape:
            traced = tree_map(lambda leaf: _leaf(tape, leaf), tree)
            if traced is tree and tree is not None:
                _refuse_number(tree)
            result = fn(traced, *args, **kwargs)
            output = result[0] if type(result) is tuple else result
            _pull_back(tape, output)
        return _plain(tape, result), _cotangents(tape, traced)

    return value_and_gradient


def value_and_gradients(fn: Callable[[list[Any]], Any], arrays: list[Any]) -> tuple[Any, list[Any]]:
    """Return ``fn(arrays)`` and its gradients: `value_and_grad` of a list, called once.

    Without trees and context managers, which take longer than a small layer does.
    """
    depth = _depth.get()
    token = _depth.set(depth + 1)
    tape = Tape(nested=depth > 0)
    try:
        leaves: list[Any] = []
        for array in arrays:
            if type(array) is np.ndarray and array.dtype.kind == "f":
                leaves.append(Tracer(array, Leaf(), tape))
            else:
                leaves.append(_leaf(tape, array))
        result = fn(leaves)
        _pull_back(tape, result[0] if type(result) is tuple else result)
    finally:
        tape.open = False
        _depth.reset(token)
    return _plain(tape, result), _owned(tape, leaves, None)


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
        Takes a cotangent of the value's shape, gives one cotangent per primal, None for one that
        is no floating array. Can be called once: it consumes the tape.

    Raises
    ------
    AutodiffError
        If a primal is complex. By the pullback: if it is called again, or with a cotangent of
        another shape.
    """
    with _new_tape() as tape:
        leaves = [_leaf(tape, p) for p in primals]
        output = fn(*leaves)
    consumed = False

    def pullback(g: Any) -> tuple[Any, ...]:
        nonlocal consumed
        if consumed:
            raise AutodiffError("a pullback can be called once; call vjp() again for another")
        if _is_on(output, tape):
            g = _as_array(g, output.value)
            if tuple(g.shape) != tuple(output.shape):
                raise AutodiffError(
                    f"the pullback takes a cotangent of the value's shape {tuple(output.shape)}, "
                    f"got {tuple(g.shape)}"
                )
            consumed = True
            tape.backward(output, g)
        consumed = True
        return tuple(_cotangents(tape, leaves, g))

    return _plain(tape, output), pullback


def _is_on(x: Any, tape: Tape) -> TypeGuard[Tracer]:
    return type(x) is Tracer and x.tape is tape


def _pull_back(tape: Tape, output: Any) -> None:
    """Push the cotangent one from a scalar to the leaves of its tape."""
    if type(output) is Tracer and output.tape is tape:
        value = output.value
        # Nearly always: what is below finds out what is wrong with others.
        if isinstance(value, np.generic | np.ndarray) and value.shape == ():
            one = _ones.get(value.dtype)
            if one is not None:
                tape.backward(output, one)
                return
    shape = getattr(output, "shape", None)
    if shape != () and not isinstance(output, int | float):
        got = type(output).__name__ if shape is None else f"shape {tuple(shape)}"
        raise AutodiffError(
            f"a gradient needs a function that returns a scalar, got {got}; "
            "reduce it, for example with .mean()"
        )
    if type(output) is Tracer and not output.tape.open:
        raise AutodiffError(
            "a gradient needs the value of the function at hand, got a traced array of another "
            "one, which has returned already"
        )
    if _is_on(output, tape):
        value = raw(output)
        if not _is_kind(value, "real floating"):
            raise AutodiffError(f"a gradient needs a real and floating scalar, got {value.dtype}")
        tape.backward(output, array_namespace(value).ones_like(value))


# The cotangents of scalars, which nobody can write into.
_ones: dict[Any, np.ndarray] = {
    np.dtype(kind): np.ones((), kind) for kind in (np.float32, np.float64)
}
for _one in _ones.values():
    _one.flags.writeable = False


def _leaf(tape: Tape, leaf: Any) -> Any:
    return tape.leaf(leaf) if _is_differentiable(leaf) else leaf


def _is_differentiable(x: Any) -> bool:
    """Return whether a derivative in `x` is taken: a real floating array, traced or not."""
    if type(x) is np.ndarray and x.dtype.kind == "f":
        return True
    # NumPy makes scalars of arrays without axes: `x - 0.1 * g` of them, for one.
    if type(x) is Tracer or isinstance(x, np.floating):
        return True
    if not is_array(x):
        return False
    if _is_kind(x, "complex floating"):
        raise AutodiffError(
            f"only real arrays are differentiated, got {x.dtype} of shape {tuple(x.shape)}"
        )
    return _is_kind(x, "real floating")


def _is_kind(x: Any, kind: str) -> bool:
    if isinstance(x, np.ndarray | np.generic):
        # A tenth of the time of np.isdtype.
        return x.dtype.kind == ("f" if kind == "real floating" else "c")
    return array_namespace(x).isdtype(x.dtype, kind)


def _refuse_number(x: Any) -> None:
    if is_array(x) or isinstance(x, int | float | np.generic):
        raise AutodiffError(
            f"a gradient is taken in floating arrays, got {x!r}; give np.array(...) of it, "
            "with a floating dtype"
        )


def _cotangents(tape: Tape, leaves: Any, seed: Any = None) -> Any:
    """Return what arrived at the leaves of a consumed tape, as arrays that may be written into.

    Rules hand on views: of a broadcast, of the cotangent of another argument, of the `seed`.
    Whoever scales a gradient in place should neither meet a read-only array nor change two.
    """
    flat: list[Any] = []
    tree_map(flat.append, leaves)
    found = iter(_owned(tape, flat, seed))
    return tree_map(lambda _: next(found), leaves)


def _owned(tape: Tape, leaves: list[Any], seed: Any) -> list[Any]:
    """Return the cotangents of leaves that are in a list."""
    owners = {_owner(seed)}
    found: list[Any] = []
    for leaf in leaves:
        if not (type(leaf) is Tracer and leaf.tape is tape):
            found.append(None)
            continue
        g, value = leaf.node.cotangent, leaf.value
        if g is None:
            found.append(_zeros_like(raw(value)))
            continue
        if type(g) is np.ndarray and g.dtype == value.dtype:
            if g.base is None and id(g) not in owners and g.flags.writeable:
                owners.add(id(g))
                found.append(g)
                continue
        else:
            g = _as_array(g, value)
        if type(g) is not Tracer:
            # A broadcast has strides of zero; CuPy does not say that it is read-only.
            writable = getattr(getattr(g, "flags", None), "writeable", True)
            if _owner(g) in owners or not writable or 0 in getattr(g, "strides", ()):
                g = array_namespace(g).asarray(g, copy=True)
            owners.add(_owner(g))
        found.append(g)
    return found


def _zeros_like(value: Any) -> Any:
    if type(value) is np.ndarray:
        return np.zeros(value.shape, value.dtype)
    return array_namespace(value).zeros_like(value)


def _owner(array: Any) -> int:
    return id(_pool.owner(array))


def _as_array(g: Any, like: Any) -> Any:
    # Reductions of NumPy give scalars; a gradient is an array like the parameter.
    if type(g) is Tracer:
        return g
    value = raw(like)
    return array_namespace(value).asarray(g, dtype=value.dtype)


def _plain(tape: Tape, result: Any) -> Any:
    kind = type(result)
    if kind is Tracer:
        return result.value if result.tape is tape else result
    if kind is np.ndarray or isinstance(result, np.generic):
        return result
    if kind is tuple:  # a loss and more
        return tuple([_plain(tape, part) for part in result])
    return tree_map(lambda x: x.value if _is_on(x, tape) else x, result)


__all__ = ["Like", "grad", "stop_gradient", "value_and_grad", "vjp"]
