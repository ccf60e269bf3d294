"""The squared difference of two arrays."""

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._fused._reductions import reduced, reduced_raw, spread


def _reference(x, y, *, reduction="mean"):
    """Return the squared difference of two arrays of one shape.

    Parameters
    ----------
    x, y : array of the same shape
    reduction : {'mean', 'sum', 'none'}

    Returns
    -------
    scalar, or an array of the shape of `x` with ``'none'``
    """
    return reduced(p.square(x - y), reduction)


def _forward(needs, x, y, *, reduction="mean"):
    difference = x - y
    return reduced_raw(difference * difference, reduction), (
        (difference, reduction) if any(needs) else None
    )


def _backward(g, needs, residual):
    difference, reduction = residual
    twice = difference * spread(g, 2.0, difference.size, reduction)
    return twice if needs[0] else None, -twice if needs[1] else None


squared_error = Fused("squared_error", _forward, _backward, _reference)
