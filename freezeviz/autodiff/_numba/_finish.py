"""What comes after a layer's product: bias and activation, and the way back through that."""

import numba as nb

from freezeviz.autodiff._numba import _math
from freezeviz.autodiff._numba._compiled import FAST

f4 = nb.float32
NONE, RELU, GELU, TANH = range(4)
ACTIVATIONS = {None: NONE, "relu": RELU, "gelu": GELU, "tanh": TANH}


@nb.njit(fastmath=FAST, error_model="numpy")
def finish(y, slope, bias, biased, activation, keep, r0, r1, c0, c1):
    """Add the bias to a tile of `y` and apply the activation; keep GELU's slope if asked for."""
    w = c1 - c0
    for i in range(r0, r1):
        yi = y[i, c0:c1]
        if biased:
            b = bias[c0:c1]
            for j in range(w):
                yi[j] += b[j]
        if activation == RELU:
            for j in range(w):
                yi[j] = f4(0.0) if yi[j] < f4(0.0) else yi[j]
        elif activation == TANH:
            for j in range(w):
                yi[j] = _math.tanh(yi[j])
        elif activation == GELU:
            if keep:
                si = slope[i, c0:c1]
                for j in range(w):
                    z = yi[j]
                    c = f4(0.5) * (f4(1.0) + _math.erf(z * f4(0.70710678)))
                    yi[j] = z * c
                    si[j] = c + z * f4(0.39894228) * _math.exp(f4(-0.5) * z * z)
            else:
                for j in range(w):
                    z = yi[j]
                    yi[j] = z * (f4(0.5) * (f4(1.0) + _math.erf(z * f4(0.70710678))))


@nb.njit(inline="always")
def slope_rows(g, kept, dz, activation, r0, r1):
    """Multiply a cotangent by the activation's derivative, from what the forward pass has kept."""
    for i in range(r0, r1):
        gi, ki, di = g[i], kept[i], dz[i]
        if activation == RELU:
            for j in range(gi.size):
                di[j] = gi[j] if ki[j] > f4(0.0) else f4(0.0)
        elif activation == TANH:
            for j in range(gi.size):
                di[j] = gi[j] * (f4(1.0) - ki[j] * ki[j])
        else:
            for j in range(gi.size):
                di[j] = gi[j] * ki[j]
