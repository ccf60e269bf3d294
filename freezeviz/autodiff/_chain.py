"""Several small linear layers in a row, as one node.

With a few thousand numbers in a layer, writing down that it was computed takes longer than the
computation. So a row of small layers is computed, and written down, at once. The arithmetic is that
of the single layers' kernels, operation for operation, and so are the values to the last bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from freezeviz.autodiff import _sets
from freezeviz.autodiff._count import _counts
from freezeviz.autodiff._tracer import Tracer
from freezeviz.errors import AutodiffError

# Numbers in the largest output of a layer that is small. Half of what the pool keeps memory for.
_SMALL = 1 << 12

_ZEROS = {np.dtype(t): np.zeros((), t) for t in (np.float32, np.float64)}


# Weight, bias or None, and the activation after them: "relu", "tanh" or None. Here and below, plain
# tuples: named ones take a fifth of a layer's time to make.
Link = tuple[Any, Any, str | None]


def can_begin(x: Any) -> bool:
    """Return whether a chain may begin with `x`: a small matrix of NumPy, or a tracer of one.

    Not while anything counts the single layers. To be asked before links are made: for each of many
    large layers, making those of all that follow took a twentieth of the forward pass.
    """
    if _counts.get() is not None or "numpy" not in _sets.in_force():
        return False
    value = x.value if type(x) is Tracer else x
    return (
        type(value) is np.ndarray
        and value.ndim == 2
        and value.dtype in _ZEROS
        and value.size <= _SMALL
    )


def chain(x: Any, links: Sequence[Link]) -> Any:
    """Return what linear layers, one after the other, make of `x`; None where that is not for here.

    That is the case unless all are plain and small arrays of NumPy that fit, or tracers of such
    arrays on one tape. What watches the single layers has to see them, too.

    Parameters
    ----------
    x : array of shape (rows, features)
        One that a chain `can_begin` with.
    links : sequence of Link
    """
    into_x = type(x) is Tracer
    value = x.value if into_x else x
    traced: list[Tracer] = [x] if into_x else []
    dtype, (rows, features) = value.dtype, value.shape
    zero = _ZEROS[dtype]
    plain: list[tuple[Any, Any, str | None, bool, bool]] = []
    for weight, bias, activation in links:
        into_weight, into_bias = type(weight) is Tracer, type(bias) is Tracer
        if into_weight:
            traced.append(weight)
            weight = weight.value
        if into_bias:
            traced.append(bias)
            bias = bias.value
        if type(weight) is not np.ndarray or weight.dtype != dtype:
            return None
        shape = weight.shape
        if len(shape) != 2 or shape[1] != features:
            return None
        features = shape[0]
        if rows * features > _SMALL:
            return None
        if bias is not None and not (
            type(bias) is np.ndarray and bias.dtype == dtype and bias.shape == (features,)
        ):
            return None
        plain.append((weight, bias, activation, into_weight, into_bias))
    tape = traced[0].tape if traced else None
    for tracer in traced:
        if tracer.tape is not tape:
            return None
    if tape is not None and (tape.nested or tape.watch is not None):
        return None
    # What the pullback of a link needs, None for what is not asked for: its input, for the weight;
    # the weight, for the input; the value, for the activation; which one; whether there is a bias.
    saved: list[tuple[Any, Any, Any, str | None, bool]] = []
    needs = into_x
    for weight, bias, activation, into_weight, into_bias in plain:
        y = np.dot(value, weight.T)
        if bias is not None:
            np.add(y, bias, out=y)
        if activation is None:
            kept = None
        else:
            kept = y
            if activation == "relu":
                np.maximum(y, zero, out=y)
            else:
                np.tanh(y, out=y)
        if needs or into_weight or into_bias:
            rows_kept = value if into_weight else None
            saved.append((rows_kept, weight if needs else None, kept, activation, into_bias))
            needs = True
        value = y
    if tape is None:
        return value
    # Backwards, as the cotangents come: to a tied parameter they are added in the order of layers.
    parents = tuple([tracer.node for tracer in reversed(traced)])
    return tape.record("linear", parents, _Pull(saved, into_x, zero), value)


class _Pull:
    """The pullback of a chain; see `FusedPull`."""

    __slots__ = ("_into_x", "_zero", "kept")

    def __init__(self, kept: list[Any], into_x: bool, zero: Any):
        self.kept = kept
        self._into_x = into_x
        self._zero = zero

    def __call__(self, g: Any) -> list[Any]:
        if type(g) is Tracer:
            raise AutodiffError(
                "the pullback of linear() cannot be differentiated by itself; "
                "call vjp() within the function that is differentiated"
            )
        zero = self._zero
        if g.dtype != zero.dtype:
            g = g.astype(zero.dtype)
        found: list[Any] = []
        for rows, weight, value, activation, into_bias in reversed(self.kept):
            if activation == "relu":
                # Zero where there was none, even from a cotangent that is infinite.
                g = np.where(value > zero, g, zero)
            elif activation is not None:
                slope = value * value
                np.subtract(1, slope, out=slope)
                np.multiply(slope, g, out=slope)
                g = slope
            if into_bias:
                found.append(np.add.reduce(g, axis=0))
            if rows is not None:
                found.append(np.dot(g.T, rows))
            if weight is not None:
                g = np.dot(g, weight)
        if self._into_x:
            found.append(g)
        return found
