"""Matrix products and their relatives."""

from __future__ import annotations

import builtins
import math
from typing import Any

from numpy.lib.array_utils import normalize_axis_tuple

from freezeviz.autodiff import _primitives as p
from freezeviz.autodiff._functions._arguments import arrays, common, no_out
from freezeviz.autodiff._functions._shapes import reshape
from freezeviz.errors import AutodiffError


def dot(x, y, out=None):
    no_out(out)
    x, y = common((x, y))
    if x.ndim == 0 or y.ndim == 0:
        return p.multiply(x, y)
    return p.matmul(x, y) if y.ndim <= 2 else tensordot(x, y, ((x.ndim - 1,), (y.ndim - 2,)))


def inner(x, y):
    x, y = common((x, y))
    if x.ndim == 0 or y.ndim == 0:
        return p.multiply(x, y)
    return tensordot(x, y, ((x.ndim - 1,), (y.ndim - 1,)))


def outer(x, y, out=None):
    no_out(out)
    x, y = arrays(x, y)
    return p.multiply(reshape(x, (-1, 1)), reshape(y, (1, -1)))


def vdot(x, y):
    x, y = arrays(x, y)
    return p.matmul(reshape(x, -1), reshape(y, -1))


def tensordot(x, y, axes: Any = 2):
    x, y = arrays(x, y)
    if hasattr(axes, "__index__"):
        axes = (tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes)))
    left = normalize_axis_tuple(axes[0], x.ndim)
    right = normalize_axis_tuple(axes[1], y.ndim)
    if [x.shape[a] for a in left] != [y.shape[a] for a in right]:
        raise ValueError(
            f"tensordot of shapes {tuple(x.shape)} and {tuple(y.shape)} along axes {left} and "
            f"{right}, which differ in size"
        )
    free_x = tuple(a for a in range(x.ndim) if a not in left)
    free_y = tuple(a for a in range(y.ndim) if a not in right)
    shape_x, shape_y = [x.shape[a] for a in free_x], [y.shape[a] for a in free_y]
    n = math.prod(x.shape[a] for a in left)
    rows = reshape(p.transpose(x, axes=free_x + left), (math.prod(shape_x), n))
    columns = reshape(p.transpose(y, axes=right + free_y), (n, math.prod(shape_y)))
    return reshape(p.matmul(rows, columns), (*shape_x, *shape_y))


def einsum(subscripts, *operands, out=None, optimize=False):
    no_out(out)
    if not isinstance(subscripts, str):
        raise AutodiffError("einsum needs its subscripts as a string, such as 'ij,jk->ik'")
    operands = common(operands)
    terms = subscripts.replace(" ", "")
    inputs, _, output = terms.partition("->")
    if "..." in terms:
        inputs, output = _expand_ellipsis(inputs, output, "->" in terms, operands)
    elif "->" not in terms:
        output = _single_letters(inputs)
    if any(len(set(t)) < len(t) for t in inputs.split(",")):
        raise AutodiffError(
            f"einsum {subscripts!r}: use np.diagonal for an index that repeats in one operand"
        )
    return p.einsum_(*operands, subscripts=f"{inputs}->{output}", optimize=optimize)


def _single_letters(inputs: str) -> str:
    """Return what einsum's output is where it is not given: the letters that occur once."""
    letters = inputs.replace(",", "").replace("...", "")
    return "".join(sorted(c for c in set(letters) if letters.count(c) == 1))


def _expand_ellipsis(inputs, output, explicit, operands):
    """Return inputs and output with letters for the dots."""
    terms = inputs.split(",")
    extra = [x.ndim - len(t.replace("...", "")) for t, x in zip(terms, operands, strict=True)]
    most = builtins.max((n for t, n in zip(terms, extra, strict=True) if "..." in t), default=0)
    dots = "".join([c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in inputs][:most])
    named = [t.replace("...", dots[most - n :]) for t, n in zip(terms, extra, strict=True)]
    output = output.replace("...", dots) if explicit else dots + _single_letters(inputs)
    return ",".join(named), output
