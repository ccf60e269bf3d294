"""The primitives and the table of their derivative rules.

Rules are written in traced operations, so second derivatives come free. Where a function has a
kink, the derivative follows PyTorch: zero for ``abs`` and ``relu`` at their kink, shared evenly
among ties of ``maximum``, ``minimum`` and the reductions.
"""

import math
from functools import partial
from typing import Any

import numpy as np

from freezeviz.autodiff._count import gemm
from freezeviz.autodiff._pool import summed
from freezeviz.autodiff._tracer import Like, Primitive, Tracer, defvjp, primitive, raw
from freezeviz.backend import array_namespace, sign
from freezeviz.errors import AutodiffError

_DIRECT = (np.ndarray, np.generic, int, float, bool)
_LOG_2, _LOG_10 = math.log(2.0), math.log(10.0)
_TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


def _elementwise(name: str, arity: int) -> Primitive:
    fast = getattr(np, name)

    def unary(x: Any) -> Any:
        if type(x) is np.ndarray:
            return fast(x)
        return getattr(array_namespace(x), name)(x)

    return Primitive(unary if arity == 1 else _binary(name), name)


def _binary(name: str) -> Any:
    fast = getattr(np, name)

    def binary(x: Any, y: Any) -> Any:
        if isinstance(x, _DIRECT) and isinstance(y, _DIRECT):
            return fast(x, y)
        return getattr(array_namespace(x, y), name)(x, y)

    return binary


def unbroadcast(g: Any, like: Like) -> Any:
    """Return the cotangent of an argument that was broadcast, and cast, to `g`'s."""
    shape = tuple(like.shape)
    if tuple(g.shape) != shape:
        extra = g.ndim - len(shape)
        axes = tuple(range(extra)) + tuple(
            i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1
        )
        if axes:
            g = sum_(g, axis=axes, keepdims=True)
        if tuple(g.shape) != shape:
            g = reshape(g, shape=shape)
    return g if g.dtype == like.dtype else astype(g, dtype=like.dtype)


# ---------------------------------------------------------------- arithmetic


_add_others = _binary("add")


def _add(x: Any, y: Any) -> Any:
    # Residual connections add whole activations.
    return summed(x, y) if type(x) is type(y) is np.ndarray else _add_others(x, y)


add = Primitive(_add, "add")
defvjp(
    add,
    x=lambda g, x_like: unbroadcast(g, x_like),
    y=lambda g, y_like: unbroadcast(g, y_like),
)

subtract = _elementwise("subtract", 2)
defvjp(
    subtract,
    x=lambda g, x_like: unbroadcast(g, x_like),
    y=lambda g, y_like: negative(unbroadcast(g, y_like)),
)

multiply = _elementwise("multiply", 2)
defvjp(
    multiply,
    x=lambda g, y, x_like: unbroadcast(g * y, x_like),
    y=lambda g, x, y_like: unbroadcast(g * x, y_like),
)

divide = _elementwise("divide", 2)
defvjp(
    divide,
    x=lambda g, y, x_like: unbroadcast(g / y, x_like),
    y=lambda g, out, y, y_like: unbroadcast(negative(g * out / y), y_like),
)

power = _elementwise("pow", 2)
power.name = power.__name__ = "power"
defvjp(
    power,
    x=lambda g, x, y, x_like: unbroadcast(g * y * x ** _minus_one(y), x_like),
    y=lambda g, out, x, y_like: unbroadcast(g * out * _log_of_base(x), y_like),
)


# Scalars stay scalars in both: `where` would make arrays of them, of the wrong dtype and library.
_SCALARS = (int, float, np.generic)


def _minus_one(y: Any) -> Any:
    # x ** (0 - 1) is infinite at x = 0, yet the derivative of x ** 0 is zero there.
    if isinstance(y, _SCALARS):
        return 1 if y == 0 else y - 1  # pyright: ignore[reportOperatorIssue]
    return where(equal(y, 0), 1.0, y - 1)


def _log_of_base(x: Any) -> Any:
    # 0 ** y is flat in y; 1 there makes the logarithm zero. Negative bases have no logarithm.
    if isinstance(x, _SCALARS):
        x = float(x)  # pyright: ignore[reportArgumentType]
        return math.log(x) if x > 0 else 0.0 if x == 0 else math.nan
    return log(where(equal(x, 0), 1.0, x))


maximum = _elementwise("maximum", 2)
defvjp(
    maximum,
    x=lambda g, out, x, y, x_like: unbroadcast(g * _winner(x, out, y), x_like),
    y=lambda g, out, x, y, y_like: unbroadcast(g * _winner(y, out, x), y_like),
)

minimum = _elementwise("minimum", 2)
defvjp(
    minimum,
    x=lambda g, out, x, y, x_like: unbroadcast(g * _winner(x, out, y), x_like),
    y=lambda g, out, x, y, y_like: unbroadcast(g * _winner(y, out, x), y_like),
)


def _winner(mine: Any, out: Any, other: Any) -> Any:
    xp = array_namespace(raw(out))
    dtype = raw(out).dtype
    won = xp.astype(xp.asarray(equal(mine, out)), dtype)
    tied = xp.astype(xp.asarray(equal(mine, other)), dtype)
    return won * (1.0 - 0.5 * tied)


logaddexp = _elementwise("logaddexp", 2)
defvjp(
    logaddexp,
    # Not exp(x - out): in single precision, `out` has lost the digits that matter.
    x=lambda g, x, y, x_like: unbroadcast(g * sigmoid(x - y), x_like),
    y=lambda g, x, y, y_like: unbroadcast(g * sigmoid(y - x), y_like),
)

# ---------------------------------------------------------------- elementwise, one argument

negative = _elementwise("negative", 1)
defvjp(negative, x=lambda g: negative(g))

exp = _elementwise("exp", 1)
defvjp(exp, x=lambda g, out: g * out)


@primitive
def exp2(x):
    """Return ``2 ** x``."""
    xp = array_namespace(x)
    return xp.exp2(x) if hasattr(xp, "exp2") else xp.pow(2.0, x)


defvjp(exp2, x=lambda g, out: g * out * _LOG_2)

expm1 = _elementwise("expm1", 1)
defvjp(expm1, x=lambda g, out: g * (out + 1))

log = _elementwise("log", 1)
defvjp(log, x=lambda g, x: g / x)

log2 = _elementwise("log2", 1)
defvjp(log2, x=lambda g, x: g / (x * _LOG_2))

log10 = _elementwise("log10", 1)
defvjp(log10, x=lambda g, x: g / (x * _LOG_10))

log1p = _elementwise("log1p", 1)
defvjp(log1p, x=lambda g, x: g / (x + 1))

sqrt = _elementwise("sqrt", 1)
defvjp(sqrt, x=lambda g, out: g * 0.5 / out)


@primitive
def root(x):
    """Return the square root of a sum of squares: of a norm, of a standard deviation."""
    return array_namespace(x).sqrt(x)


def _root_vjp(g: Any, out: Any) -> Any:
    # The derivative of a norm at zero is taken as zero, not as the infinity of a square root.
    zero = equal(out, 0)
    return masked(g, mask=~zero) * 0.5 / where(zero, 1.0, out)


defvjp(root, x=_root_vjp)

square = _elementwise("square", 1)
defvjp(square, x=lambda g, x: g * 2.0 * x)

reciprocal = _elementwise("reciprocal", 1)
defvjp(reciprocal, x=lambda g, out: negative(g * out * out))

abs_ = _elementwise("abs", 1)
defvjp(abs_, x=lambda g, x: g * sign(raw(x)))

sin = _elementwise("sin", 1)
defvjp(sin, x=lambda g, x: g * cos(x))

cos = _elementwise("cos", 1)
defvjp(cos, x=lambda g, x: negative(g * sin(x)))

tan = _elementwise("tan", 1)
defvjp(tan, x=lambda g, out: g * (out * out + 1))

tanh = _elementwise("tanh", 1)
defvjp(tanh, x=lambda g, out: g * (1 - out * out))

sinh = _elementwise("sinh", 1)
defvjp(sinh, x=lambda g, x: g * cosh(x))

cosh = _elementwise("cosh", 1)
defvjp(cosh, x=lambda g, x: g * sinh(x))

arcsin = _elementwise("asin", 1)
defvjp(arcsin, x=lambda g, x: g / sqrt(1 - x * x))

arccos = _elementwise("acos", 1)
defvjp(arccos, x=lambda g, x: negative(g / sqrt(1 - x * x)))

arctan = _elementwise("atan", 1)
defvjp(arctan, x=lambda g, x: g / (x * x + 1))


@primitive
def relu(x):
    """Return ``max(x, 0)``."""
    return array_namespace(x).maximum(x, raw_zero(x))


def raw_zero(x: Any) -> Any:
    # A typed zero: a Python scalar is refused by some namespaces' maximum.
    return array_namespace(x).asarray(0, dtype=x.dtype)


defvjp(relu, x=lambda g, out: masked(g, mask=raw(out) > 0))


@primitive
def sigmoid(x):
    """Return ``1 / (1 + exp(-x))``, without overflow at either end."""
    xp = array_namespace(x)
    small = xp.exp(-xp.abs(x))
    # 1 where x is positive, else `small`, which is below 1; costs a third of a `where`.
    return xp.maximum(small, xp.astype(x >= 0, x.dtype)) / (1 + small)


defvjp(sigmoid, x=lambda g, out: g * out * (1 - out))


@primitive
def softplus(x):
    """Return ``log(1 + exp(x))``, without overflow at either end."""
    xp = array_namespace(x)
    # A tenth of the time of NumPy's logaddexp in single precision.
    return xp.maximum(x, raw_zero(x)) + xp.log1p(xp.exp(-xp.abs(x)))


defvjp(softplus, x=lambda g, x: g * sigmoid(x))


@primitive
def erf(x):
    """Return the error function of `x`."""
    if isinstance(x, np.ndarray | np.generic):
        from scipy.special import erf as kernel  # 80 ms of import that only GELU needs

        return kernel(x).astype(x.dtype, copy=False)  # of half precision, it gives single
    xp = array_namespace(x)
    if "cupy" in xp.__name__:
        from cupyx.scipy.special import erf as kernel  # pyright: ignore[reportMissingImports]

        return kernel(x).astype(x.dtype, copy=False)
    return xp.asarray(erf.fun(np.asarray(x)), dtype=x.dtype)


defvjp(erf, x=lambda g, x: g * exp(negative(x * x)) * _TWO_OVER_SQRT_PI)


@primitive
def astype(x, *, dtype):
    """Return `x` in another dtype."""
    xp = array_namespace(x)
    # The cotangent of a real array that met a complex one: its imaginary part has no place.
    if xp.isdtype(x.dtype, "complex floating"):
        raise AutodiffError("complex arrays cannot be differentiated through, only real ones")
    return xp.astype(x, dtype)


defvjp(astype, x=lambda g, x_like: astype(g, dtype=x_like.dtype))


@primitive
def where_(condition, x, y):
    """Return `x` where `condition`, else `y`."""
    xp = array_namespace(condition, x, y)
    return xp.where(condition, x, y) if xp is np else xp.where(condition, *_typed_pair(xp, x, y))


def _typed_pair(xp: Any, x: Any, y: Any) -> tuple[Any, Any]:
    # A Python scalar takes the other side's dtype, as in arithmetic. NumPy does that itself.
    if hasattr(x, "dtype") == hasattr(y, "dtype"):
        return x, y
    dtype = x.dtype if hasattr(x, "dtype") else y.dtype
    return xp.asarray(x, dtype=dtype), xp.asarray(y, dtype=dtype)


defvjp(
    where_,
    x=lambda g, condition, x_like: unbroadcast(masked(g, mask=condition), x_like),
    y=lambda g, condition, y_like: unbroadcast(masked(g, mask=~condition), y_like),
)


def where(condition: Any, x: Any, y: Any) -> Any:
    """Return `x` where `condition`, else `y`; the condition is a constant."""
    condition = raw(condition)
    xp = array_namespace(condition, raw(x), raw(y))
    condition = xp.asarray(condition)
    if not xp.isdtype(condition.dtype, "bool"):
        condition = condition != 0
    return where_(condition, x, y)


_SAME_SIZE = {2: np.int16, 4: np.int32, 8: np.int64}


@primitive
def masked(x, *, mask):
    """Return `x` where the boolean `mask` is true, else zero, even where `x` is not finite."""
    if type(x) is np.ndarray and type(mask) is np.ndarray and x.dtype.itemsize in _SAME_SIZE:
        # Of -1 and 0 as bits, which costs what a product does; np.where takes 10 times as long
        # when the mask is irregular, as an activation's is.
        bits = _SAME_SIZE[x.dtype.itemsize]
        return (x.view(bits) & -mask.view(np.int8)).view(x.dtype)
    xp = array_namespace(x, mask)
    return xp.where(mask, x, xp.asarray(0, dtype=x.dtype))


defvjp(masked, x=lambda g, mask, x_like: unbroadcast(masked(g, mask=mask), x_like))


# ---------------------------------------------------------------- reductions


_FEW = 1 << 12


def _kept(x: Any, axis: Any, like: Like) -> Any:
    """Return a reduced array with its reduced axes back as ones."""
    return reshape(x, shape=_kept_shape(axis, like.shape))


def _kept_shape(axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    if axis is None:
        return (1,) * len(shape)
    axes = {a % len(shape) for a in ((axis,) if isinstance(axis, int) else axis)}
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _spread(g: Any, axis: Any, like: Like) -> Any:
    if type(g) is not Tracer and isinstance(g, np.ndarray | np.generic):
        shape = _kept_shape(axis, like.shape)
        if math.prod(like.shape) <= _FEW:
            # To write a few numbers takes a quarter of the time of a view without strides.
            out = np.empty(like.shape, g.dtype)
            out[...] = g.reshape(shape)
            return out
        return np.broadcast_to(g.reshape(shape), like.shape)
    return broadcast_to(_kept(g, axis, like), shape=tuple(like.shape))


@primitive
def sum_(x, *, axis=None, keepdims=False, dtype=None):
    """Return the sum over `axis`, by default in the dtype of `x`."""
    if type(x) is np.ndarray:  # what np.sum comes to
        return np.add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)
    return array_namespace(x).sum(x, axis=axis, keepdims=keepdims, dtype=dtype)


defvjp(sum_, x=lambda g, x_like, axis: unbroadcast(_spread(g, axis, x_like), x_like))


@primitive
def max_(x, *, axis=None, keepdims=False):
    """Return the maximum over `axis`."""
    return array_namespace(x).max(x, axis=axis, keepdims=keepdims)


@primitive
def min_(x, *, axis=None, keepdims=False):
    """Return the minimum over `axis`."""
    return array_namespace(x).min(x, axis=axis, keepdims=keepdims)


def _extremum(g: Any, out: Any, x: Any, axis: Any) -> Any:
    like = Like(x.shape, x.dtype)
    plain = raw(x)
    xp = array_namespace(plain)
    hit = xp.astype(plain == _kept(raw(out), axis, like), plain.dtype)
    count = xp.sum(hit, axis=axis, keepdims=True)
    # A NaN equals nothing, not even the NaN that is the extremum: nobody gets the gradient.
    return _kept(g, axis, like) * (hit / xp.maximum(count, xp.ones_like(count)))


defvjp(max_, x=lambda g, out, x, axis: _extremum(g, out, x, axis))
defvjp(min_, x=lambda g, out, x, axis: _extremum(g, out, x, axis))


@primitive
def cumsum(x, *, axis):
    """Return the running sum along `axis`."""
    return array_namespace(x).cumulative_sum(x, axis=axis)


defvjp(cumsum, x=lambda g, axis: flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis))


@primitive
def softmax(x, *, axis=-1):
    """Return ``exp(x) / sum(exp(x))`` along `axis`."""
    xp = array_namespace(x)
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    e /= xp.sum(e, axis=axis, keepdims=True)
    return e


defvjp(
    softmax,
    x=lambda g, out, axis: out * (g - sum_(g * out, axis=axis, keepdims=True)),
)


@primitive
def logsumexp(x, *, axis=None, keepdims=False):
    """Return ``log(sum(exp(x)))`` over `axis`, without overflow."""
    xp = array_namespace(x)
    top = xp.max(x, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    out = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    if keepdims:
        return out
    return xp.reshape(out, ()) if axis is None else xp.squeeze(out, axis=axis)


defvjp(
    logsumexp,
    x=lambda g, out, x, axis: (
        _kept(g, axis, Like(x.shape, x.dtype)) * exp(x - _kept(out, axis, Like(x.shape, x.dtype)))
    ),
)

# ---------------------------------------------------------------- shape


@primitive
def reshape(x, *, shape):
    """Return `x` in another shape."""
    return array_namespace(x).reshape(x, shape)


defvjp(reshape, x=lambda g, x_like: reshape(g, shape=tuple(x_like.shape)))


@primitive
def broadcast_to(x, *, shape):
    """Return `x` repeated to a shape it broadcasts to."""
    return array_namespace(x).broadcast_to(x, shape)


defvjp(broadcast_to, x=lambda g, x_like: unbroadcast(g, x_like))


@primitive
def transpose(x, *, axes):
    """Return `x` with its axes permuted."""
    return array_namespace(x).permute_dims(x, axes)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    inverse = [0] * len(axes)
    for i, axis in enumerate(axes):
        inverse[axis] = i
    return tuple(inverse)


defvjp(transpose, x=lambda g, axes: transpose(g, axes=_inverse(axes)))


@primitive
def flip(x, *, axis=None):
    """Return `x` reversed along `axis`."""
    return array_namespace(x).flip(x, axis=axis)


defvjp(flip, x=lambda g, axis: flip(g, axis=axis))


@primitive
def concatenate(*arrays, axis=0):
    """Return the arrays joined along `axis`."""
    return array_namespace(*arrays).concat(arrays, axis=axis)


def _concatenate_vjp(g, i, likes, axis):
    axis = axis % len(likes[0].shape)
    start = sum(like.shape[axis] for like in likes[:i])
    index = (slice(None),) * axis + (slice(start, start + likes[i].shape[axis]), ...)
    return unbroadcast(getitem(g, index=index), likes[i])


defvjp(concatenate, _concatenate_vjp)


@primitive
def getitem(x, *, index):
    """Return ``x[index]``."""
    return x[index]


@primitive
def scatter_add(x, *, index, like):
    """Return zeros like `like` with `x` added at `index`: the adjoint of `getitem`."""
    xp = array_namespace(x)
    out = xp.zeros(like.shape, dtype=x.dtype)
    if isinstance(index, tuple) and len(index) == 1:
        (index,) = index
    if _hits_once(index):
        # The standard knows no new axes in an assignment.
        old = tuple(i for i in index if i is not None) if isinstance(index, tuple) else index
        out[old] = x if old == index else xp.reshape(x, out[old].shape)
    elif isinstance(out, np.ndarray):
        if isinstance(index, np.ndarray) and out.size:
            _add_rows(out, index, x)
        else:
            np.add.at(out, index, x)
    elif "cupy" in xp.__name__:
        import cupy  # pyright: ignore[reportMissingImports]

        cupy.add.at(out, index, x)  # cupyx.scatter_add is deprecated (14.2)
    else:
        host = np.zeros(like.shape, dtype=np.asarray(x).dtype)
        np.add.at(host, _host_index(index), np.asarray(x))
        out = xp.asarray(host)
    return out


def _hits_once(index: Any) -> bool:
    """Return whether an index can hit no entry twice: slices and integers."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(i is None or i is Ellipsis or isinstance(i, int | np.integer | slice) for i in parts)


def _add_rows(out: np.ndarray, index: np.ndarray, x: np.ndarray) -> None:
    if index.dtype == np.bool_:
        out[index] = x
        return
    # One-dimensional np.add.at has a fast loop; the general one takes 3 to 10 times as long.
    width = math.prod(out.shape[1:])
    flat = index.reshape(-1, 1).astype(np.intp) * width + np.arange(width)
    np.add.at(out.reshape(-1), flat.reshape(-1), x.reshape(-1))


def _host_index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_host_index(i) for i in index)
    return np.asarray(index) if hasattr(index, "dtype") else index


defvjp(getitem, x=lambda g, x_like, index: scatter_add(g, index=index, like=x_like))
defvjp(scatter_add, x=lambda g, index: getitem(g, index=index))

# ---------------------------------------------------------------- contractions


@primitive
def matmul(x, y):
    """Return the matrix product as ``x @ y`` defines it."""
    return gemm(x, y)


def swap(x: Any) -> Any:
    """Return `x` with its last two axes exchanged."""
    axes = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
    return transpose(x, axes=axes)


def _matmul_x(g: Any, y: Any, x_like: Like) -> Any:
    if y.ndim == 1:
        return unbroadcast(_column(g) * y, x_like)
    if len(x_like.shape) == 1:
        product = matmul(y, _column(g))
        return unbroadcast(reshape(product, shape=tuple(product.shape[:-1])), x_like)
    if y.ndim == 2:
        return unbroadcast(_by_rows(g, swap(y)), x_like)
    return unbroadcast(matmul(g, swap(y)), x_like)


def _matmul_y(g: Any, x: Any, y_like: Like) -> Any:
    if x.ndim == 1:
        row = g if len(y_like.shape) == 1 else reshape(g, shape=(*g.shape[:-1], 1, g.shape[-1]))
        return unbroadcast((x if len(y_like.shape) == 1 else _column(x)) * row, y_like)
    if len(y_like.shape) == 1:
        return unbroadcast(matmul(reshape(g, shape=(g.size,)), _rows(x)), y_like)
    if len(y_like.shape) == 2:
        return unbroadcast(matmul(swap(_rows(x)), _rows(g)), y_like)
    return unbroadcast(matmul(swap(x), g), y_like)


def _column(x: Any) -> Any:
    return reshape(x, shape=(*x.shape, 1))


# With one matrix for the whole batch: one large product instead of a batch of small ones (3 times
# as fast), and no sum over the batch.


def _rows(x: Any) -> Any:
    return x if x.ndim == 2 else reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))


def _by_rows(x: Any, y: Any) -> Any:
    product = matmul(_rows(x), y)
    return product if x.ndim == 2 else reshape(product, shape=(*x.shape[:-1], y.shape[-1]))


defvjp(matmul, x=_matmul_x, y=_matmul_y)


@primitive
def einsum_(*operands, subscripts, optimize=False):
    """Return Einstein's sum over explicit subscripts (``"ij,jk->ik"``)."""
    xp = array_namespace(*operands)
    if xp is np:
        return np.einsum(subscripts, *operands, optimize=optimize)
    if "cupy" in xp.__name__:
        import cupy  # pyright: ignore[reportMissingImports]

        return cupy.einsum(subscripts, *operands, optimize=optimize)
    return xp.asarray(np.einsum(subscripts, *map(np.asarray, operands), optimize=optimize))


def _einsum_vjp(g, i, others, likes, subscripts):
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    wanted = terms.pop(i)
    # Axes that only this operand has were summed away: their cotangent is constant along them.
    present = "".join(c for c in wanted if c in set(output).union(*terms))
    # The value is what the user would have got from NumPy; the derivative may take the fast way.
    g = einsum_(g, *others, subscripts=f"{','.join([output, *terms])}->{present}", optimize=True)
    sizes = dict(zip(present, g.shape, strict=True))
    g = reshape(g, shape=tuple(sizes.get(c, 1) for c in wanted))
    # An axis of size one may have been broadcast against another operand's.
    full = tuple(max(n, sizes.get(c, 1)) for c, n in zip(wanted, likes[i].shape, strict=True))
    return unbroadcast(broadcast_to(g, shape=full), likes[i])


defvjp(einsum_, _einsum_vjp)


# ---------------------------------------------------------------- no derivative


def _compare(name: str, x: Any, y: Any) -> Any:
    x, y = raw(x), raw(y)
    if isinstance(x, (*_DIRECT, list)) and isinstance(y, (*_DIRECT, list)):
        return getattr(np, name)(x, y)
    return getattr(array_namespace(x, y), name)(x, y)


equal = partial(_compare, "equal")
unequal = partial(_compare, "not_equal")

__all__ = ["Tracer", "unbroadcast"]
