"""The rules of the optimizers as they act on one block of NumPy arrays, without temporaries.

Each is a function of its numbers, the parameter ``w``, the gradient ``g`` and the states, which it
only reads; then of the new parameter and the new states, which it writes; then of scratch memory.
They round as the formulas of the optimizers' `apply_single` do, bit for bit. ``new_w`` serves as
scratch before the last line. A number that is None stands for a term that is left out.
"""

from typing import Any

from numpy import absolute, add, divide, maximum, multiply, sign, sqrt, subtract

Number = Any  # of the arrays' dtype


def adam(
    b1: Number,
    rest1: Number,
    b2: Number,
    rest2: Number,
    rate: Number,
    eps: Number,
    shrink: Number | None,
    w: Any,
    g: Any,
    m: Any,
    v: Any,
    new_w: Any,
    new_m: Any,
    new_v: Any,
    t: Any,
) -> None:
    """Write Adam's step: `rest1` is ``1 - b1``; `shrink` is what AdamW multiplies `w` with."""
    _running(b1, rest1, m, g, new_m, t)
    multiply(g, g, t)
    _running(b2, rest2, v, t, new_v, t)
    sqrt(new_v, t)
    add(t, eps, t)
    divide(new_m, t, t)
    multiply(t, rate, t)
    subtract(_shrunk(shrink, w, new_w), t, new_w)


def adamax(
    b1: Number,
    rest1: Number,
    b2: Number,
    rate: Number,
    eps: Number,
    w: Any,
    g: Any,
    m: Any,
    v: Any,
    new_w: Any,
    new_m: Any,
    new_v: Any,
    t: Any,
) -> None:
    """Write Adamax's step."""
    _running(b1, rest1, m, g, new_m, t)
    multiply(v, b2, t)
    absolute(g, new_w)
    maximum(t, new_w, out=new_v)
    multiply(new_m, rate, t)
    add(new_v, eps, new_w)
    divide(t, new_w, t)
    subtract(w, t, new_w)


def adagrad(
    rate: Number, eps: Number, w: Any, g: Any, v: Any, new_w: Any, new_v: Any, t: Any
) -> None:
    """Write Adagrad's step."""
    multiply(g, g, t)
    add(v, t, new_v)
    _scaled_step(rate, eps, w, g, new_v, new_w, t)


def rmsprop(
    keep: Number,
    rest: Number,
    rate: Number,
    eps: Number,
    w: Any,
    g: Any,
    v: Any,
    new_w: Any,
    new_v: Any,
    t: Any,
) -> None:
    """Write RMSprop's step."""
    multiply(g, g, t)
    _running(keep, rest, v, t, new_v, t)
    _scaled_step(rate, eps, w, g, new_v, new_w, t)


def adadelta(
    keep: Number,
    rest: Number,
    rate: Number,
    eps: Number,
    w: Any,
    g: Any,
    v: Any,
    u: Any,
    new_w: Any,
    new_v: Any,
    new_u: Any,
    t: Any,
) -> None:
    """Write AdaDelta's step."""
    multiply(g, g, t)
    _running(keep, rest, v, t, new_v, t)
    add(u, eps, t)
    add(new_v, eps, new_w)
    divide(t, new_w, t)
    sqrt(t, t)
    multiply(t, g, t)
    multiply(t, t, new_w)
    _running(keep, rest, u, new_w, new_u, new_w)
    multiply(t, rate, t)
    subtract(w, t, new_w)


def lion(
    b1: Number,
    rest1: Number,
    b2: Number,
    rest2: Number,
    rate: Number,
    shrink: Number | None,
    w: Any,
    g: Any,
    m: Any,
    new_w: Any,
    new_m: Any,
    t: Any,
) -> None:
    """Write Lion's step."""
    _running(b1, rest1, m, g, t, new_w)
    sign(t, t)
    multiply(t, rate, t)
    _running(b2, rest2, m, g, new_m, new_w)
    subtract(_shrunk(shrink, w, new_w), t, new_w)


def sgd(rate: Number, decay: Number | None, w: Any, g: Any, new_w: Any, t: Any) -> None:
    """Write the step of gradient descent without momentum."""
    g = _penalised(decay, w, g, t)
    multiply(g, rate, t)
    subtract(w, t, new_w)


def momentum(
    rate: Number,
    decay: Number | None,
    weight: Number,
    rest: Number | None,
    nesterov: bool | None,
    w: Any,
    g: Any,
    v: Any,
    new_w: Any,
    new_v: Any,
    t: Any,
) -> None:
    """Write the step of gradient descent with momentum: `rest` is ``1 - dampening``."""
    g = _penalised(decay, w, g, t)
    multiply(v, weight, new_v)
    add(new_v, g if rest is None else multiply(g, rest, new_w), new_v)
    update = new_v
    if nesterov:
        multiply(new_v, weight, new_w)
        update = add(g, new_w, new_w)
    multiply(update, rate, t)
    subtract(w, t, new_w)


def _running(keep: Number, rest: Number, old: Any, value: Any, new: Any, t: Any) -> None:
    """Write a running mean after one more value, which may stand in the scratch memory."""
    multiply(value, rest, t)
    multiply(old, keep, new)
    add(new, t, new)


def _shrunk(shrink: Number | None, w: Any, out: Any) -> Any:
    """Return the parameter after a decoupled weight decay, if there is one."""
    return w if shrink is None else multiply(w, shrink, out)


def _penalised(decay: Number | None, w: Any, g: Any, out: Any) -> Any:
    """Return the gradient with that of an L2 penalty, if there is one."""
    return g if decay is None else add(g, multiply(w, decay, out), out)


def _scaled_step(rate: Number, eps: Number, w: Any, g: Any, v: Any, new_w: Any, t: Any) -> None:
    sqrt(v, t)
    add(t, eps, t)
    multiply(g, rate, new_w)
    divide(new_w, t, new_w)
    subtract(w, new_w, new_w)
