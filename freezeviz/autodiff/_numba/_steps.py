"""Steps of optimizers over flat arrays; `freezeviz.optim._numba` says of which rule.

They round as NumPy does, operation by operation, so which kernels compute makes no difference to
a single bit: no products joined with sums here, no other order.
"""

import math

import numba as nb

from freezeviz.autodiff._numba._compiled import FLAG, FLOAT, INT, kernel, read, write
from freezeviz.autodiff._numba._spans import span

_IN, _OUT = read(1), write(1)


@nb.njit
def _adam(b1, rest1, b2, rest2, rate, eps, shrink, shrinks, w, g, m, v, new_w, new_m, new_v):
    for i in range(w.size):
        gi = g[i]
        mi = m[i] * b1 + gi * rest1
        vi = v[i] * b2 + gi * gi * rest2
        new_m[i] = mi
        new_v[i] = vi
        wi = w[i] * shrink if shrinks else w[i]
        new_w[i] = wi - mi / (math.sqrt(vi) + eps) * rate


@nb.njit
def _sgd(rate, decay, decays, w, g, new_w):
    for i in range(w.size):
        gi = w[i] * decay + g[i] if decays else g[i]
        new_w[i] = w[i] - gi * rate


@nb.njit
def _momentum(rate, decay, decays, weight, rest, damps, nesterov, w, g, v, new_w, new_v):
    for i in range(w.size):
        gi = w[i] * decay + g[i] if decays else g[i]
        vi = v[i] * weight + (gi * rest if damps else gi)
        new_v[i] = vi
        step = gi + vi * weight if nesterov else vi
        new_w[i] = w[i] - step * rate


_ADAM = (FLOAT, FLOAT, FLOAT, FLOAT, FLOAT, FLOAT, FLOAT, FLAG, *(_IN,) * 4, *(_OUT,) * 3, INT)
_SGD = (FLOAT, FLOAT, FLAG, _IN, _IN, _OUT, INT)
_MOMENTUM = (FLOAT, FLOAT, FLAG, FLOAT, FLOAT, FLAG, FLAG, *(_IN,) * 3, *(_OUT,) * 2, INT)


@kernel(*_ADAM, parallel=True, fast=False)
def adam(
    b1, rest1, b2, rest2, rate, eps, shrink, shrinks, w, g, m, v, new_w, new_m, new_v, threads
):
    """Write Adam's step, see `freezeviz.optim._rules.adam`."""
    for t in nb.prange(threads):
        a, b = span(w.size, threads, t)
        _adam(
            b1, rest1, b2, rest2, rate, eps, shrink, shrinks,
            w[a:b], g[a:b], m[a:b], v[a:b], new_w[a:b], new_m[a:b], new_v[a:b],
        )  # fmt: skip


@kernel(*_ADAM, fast=False)
def small_adam(
    b1, rest1, b2, rest2, rate, eps, shrink, shrinks, w, g, m, v, new_w, new_m, new_v, threads
):
    """Write Adam's step in this thread."""
    _adam(b1, rest1, b2, rest2, rate, eps, shrink, shrinks, w, g, m, v, new_w, new_m, new_v)


@kernel(*_SGD, parallel=True, fast=False)
def sgd(rate, decay, decays, w, g, new_w, threads):
    """Write the step of gradient descent, see `freezeviz.optim._rules.sgd`."""
    for t in nb.prange(threads):
        a, b = span(w.size, threads, t)
        _sgd(rate, decay, decays, w[a:b], g[a:b], new_w[a:b])


@kernel(*_SGD, fast=False)
def small_sgd(rate, decay, decays, w, g, new_w, threads):
    """Write the step of gradient descent in this thread."""
    _sgd(rate, decay, decays, w, g, new_w)


@kernel(*_MOMENTUM, parallel=True, fast=False)
def momentum(rate, decay, decays, weight, rest, damps, nesterov, w, g, v, new_w, new_v, threads):
    """Write the step with momentum, see `freezeviz.optim._rules.momentum`."""
    for t in nb.prange(threads):
        a, b = span(w.size, threads, t)
        _momentum(
            rate, decay, decays, weight, rest, damps, nesterov,
            w[a:b], g[a:b], v[a:b], new_w[a:b], new_v[a:b],
        )  # fmt: skip


@kernel(*_MOMENTUM, fast=False)
def small_momentum(
    rate, decay, decays, weight, rest, damps, nesterov, w, g, v, new_w, new_v, threads
):
    """Write the step with momentum in this thread."""
    _momentum(rate, decay, decays, weight, rest, damps, nesterov, w, g, v, new_w, new_v)
