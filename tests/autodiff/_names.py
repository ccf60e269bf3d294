"""Calls through NumPy's names, operators and the tracer's methods: what the tests run over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.special

_RNG = np.random.default_rng(5)
# Far enough from each other and from the thresholds below that finite differences cross none.
X = 0.32 + 0.05 * _RNG.permutation(12).reshape(3, 4)
Y = 0.345 + 0.05 * _RNG.permutation(12).reshape(3, 4)
Z = _RNG.uniform(0.3, 0.9, (4, 2))
CUBE = 0.3125 + 0.025 * _RNG.permutation(24).reshape(2, 3, 4)
ONES = np.ones((2, 1, 3, 1))
for _array in (X, Y, Z, CUBE, ONES):
    _array.flags.writeable = False
ROWS = np.array([2, 0, 2])
ALONG = np.array([[3, 3], [0, 1], [2, 0]])
MASK = X > Y


_DTYPES = "dtypes are objects of the library"
_INDEX = "the standard has no such index"
_CALLS_NUMPY = "NumPy itself computes it, of what is plain"


@dataclass(frozen=True, eq=False)
class Case:
    """A call through one of NumPy's names, and the array in which it is differentiated."""

    name: Any
    call: Callable[..., Any]
    at: np.ndarray = field(default_factory=lambda: X)
    # Whether the value is NumPy's to the bit; else to rounding, as sums in another order are.
    exact: bool = True
    # Whether half precision is asked for: SciPy computes it in double.
    half: bool = True
    # Why it is not asked of another library's arrays.
    only_numpy: str | None = None

    def __str__(self) -> str:
        return getattr(self.name, "__name__", self.name)


def _unary(ufunc: Any, **options: Any) -> Case:
    return Case(ufunc, lambda x: ufunc(x), **options)


def _binary(ufunc: Any, exact: bool = True) -> list[Case]:
    return [
        Case(ufunc, lambda x: ufunc(x, Y), exact=exact),
        Case(ufunc, lambda x: ufunc(Y, x), exact=exact),
        Case(ufunc, lambda x: ufunc(x, 2.5), exact=exact),
        Case(ufunc, lambda x: ufunc(2.5, x), exact=exact),
        Case(ufunc, lambda x: ufunc(x, x * 0.5), exact=exact),
        Case(ufunc, lambda x: ufunc(x, [0.1, 0.2, 0.4, 0.95]), exact=exact),
    ]


UFUNCS = [
    *_binary(np.add),
    *_binary(np.subtract),
    *_binary(np.multiply),
    *_binary(np.divide),
    *_binary(np.power),
    *_binary(np.float_power, exact=False),
    *_binary(np.maximum),
    *_binary(np.minimum),
    *_binary(np.fmax),
    *_binary(np.fmin),
    *_binary(np.logaddexp),
    *[
        _unary(ufunc)
        for ufunc in (
            np.negative, np.positive, np.conjugate, np.exp, np.exp2, np.expm1, np.log, np.log2,
            np.log10, np.log1p, np.sqrt, np.square, np.reciprocal, np.absolute, np.fabs, np.sin,
            np.cos, np.tan, np.tanh, np.sinh, np.cosh, np.arcsin, np.arccos, np.arctan,
        )
    ],
    Case(np.matmul, lambda x: np.matmul(x, Z)),
    Case(np.matmul, lambda x: np.matmul(Y.T, x)),
    Case(np.matmul, lambda x: np.matmul(CUBE, x), Z),
    Case(np.matmul, lambda x: np.matmul(x, Z), CUBE),
]  # fmt: skip

FUNCTIONS = [
    Case(np.sum, lambda x: np.sum(x)),
    Case(np.sum, lambda x: np.sum(x, axis=0)),
    Case(np.sum, lambda x: np.sum(x, (0, -1), keepdims=True), CUBE),
    Case(np.sum, lambda x: np.sum(x, axis=np.int64(1), dtype=np.float64), only_numpy=_DTYPES),
    Case(np.mean, lambda x: np.mean(x)),
    Case(np.mean, lambda x: np.mean(x, axis=(0, 2), keepdims=True), CUBE),
    Case(np.mean, lambda x: np.mean(x, axis=-1, dtype=np.float64), only_numpy=_DTYPES),
    Case(np.var, lambda x: np.var(x)),
    Case(np.var, lambda x: np.var(x, axis=1, ddof=1)),
    Case(np.var, lambda x: np.var(x, axis=0, correction=1, keepdims=True)),
    Case(np.std, lambda x: np.std(x)),
    Case(np.std, lambda x: np.std(x, axis=(0, 2), ddof=1), CUBE),
    Case(np.max, lambda x: np.max(x)),
    Case(np.amax, lambda x: np.amax(x, axis=1, keepdims=True)),
    Case(np.min, lambda x: np.min(x, axis=(0, -1)), CUBE),
    Case(np.amin, lambda x: np.amin(x)),
    Case(np.prod, lambda x: np.prod(x), exact=False),
    Case(np.prod, lambda x: np.prod(x, axis=0, keepdims=True), exact=False),
    Case(np.prod, lambda x: np.prod(x, axis=(1, 2)), CUBE, exact=False),
    Case(np.prod, lambda x: np.prod(x * [0.0, 1.0, 1.0, 2.0]), exact=False),
    Case(np.prod, lambda x: np.prod(x[:0], axis=0) * x[0], only_numpy=_INDEX),
    Case(np.average, lambda x: np.average(x)),
    Case(np.average, lambda x: np.average(x, axis=0, weights=Y)),
    Case(np.average, lambda x: np.average(x, axis=0, weights=[1.0, 2.0, 4.0])),
    Case(np.average, lambda x: np.average(CUBE, axis=(2, 1), weights=x.T), X),
    Case(np.average, lambda x: np.average(Y, weights=x, axis=1, keepdims=True)),
    Case(np.cumsum, lambda x: np.cumsum(x)),
    Case(np.cumsum, lambda x: np.cumsum(x, axis=-2)),
    Case(np.reshape, lambda x: np.reshape(x, (2, -1))),
    Case(np.reshape, lambda x: np.reshape(x, 12)),
    Case(np.reshape, lambda x: np.reshape(x, [6, 2], "C")),
    Case(np.reshape, lambda x: np.reshape(x, shape=(4, 3), copy=True)),
    Case(np.ravel, lambda x: np.ravel(x)),
    Case(np.transpose, lambda x: np.transpose(x), CUBE),
    Case(np.transpose, lambda x: np.transpose(x, (2, 0, 1)), CUBE),
    Case(np.transpose, lambda x: np.transpose(x, axes=[-1, 0, 1]), CUBE),
    Case(np.permute_dims, lambda x: np.permute_dims(x, axes=(1, 0, 2)), CUBE),
    Case(np.matrix_transpose, lambda x: np.matrix_transpose(x), CUBE),
    Case(np.swapaxes, lambda x: np.swapaxes(x, 0, -1), CUBE),
    Case(np.moveaxis, lambda x: np.moveaxis(x, 0, -1), CUBE),
    Case(np.moveaxis, lambda x: np.moveaxis(x, [0, 1], [-1, 0]), CUBE),
    Case(np.expand_dims, lambda x: np.expand_dims(x, 1)),
    Case(np.expand_dims, lambda x: np.expand_dims(x, (0, -1))),
    Case(np.squeeze, lambda x: np.squeeze(x * ONES)),
    Case(np.squeeze, lambda x: np.squeeze(x, axis=(1, -1)), ONES),
    Case(np.squeeze, lambda x: np.squeeze(x, 1), ONES),
    Case(np.broadcast_to, lambda x: np.broadcast_to(x, (2, 3, 4))),
    Case(np.broadcast_to, lambda x: np.broadcast_to(np.sum(x), 5)),
    Case(np.full_like, lambda x: np.full_like(x, x[0]), only_numpy=_INDEX),
    Case(np.full_like, lambda x: np.full_like(x, np.sum(x), shape=(2,))),
    Case(np.flip, lambda x: np.flip(x)),
    Case(np.flip, lambda x: np.flip(x, axis=(0, -1)), CUBE),
    Case(np.roll, lambda x: np.roll(x, 2)),
    Case(np.roll, lambda x: np.roll(x, -1, axis=1)),
    Case(np.roll, lambda x: np.roll(x, (1, 5), axis=(0, 1))),
    Case(np.roll, lambda x: np.roll(x, 1, axis=(0, -1))),
    Case(np.roll, lambda x: np.roll(x, 3, axis=0)),
    Case(np.concatenate, lambda x: np.concatenate([x, Y, x])),
    Case(np.concatenate, lambda x: np.concatenate((Y, x), axis=-1)),
    Case(np.concatenate, lambda x: np.concatenate([x, Z], axis=None)),
    Case(np.concatenate, lambda x: np.concatenate(x), only_numpy=_INDEX),
    Case(np.concat, lambda x: np.concat([x[0], [1.0, 2.0]]), only_numpy=_INDEX),
    Case(np.stack, lambda x: np.stack([x, Y], axis=1)),
    Case(np.stack, lambda x: np.stack([x[0, 0], 2.0, x[1, 1]])),
    Case(np.vstack, lambda x: np.vstack([x[0], Y, x])),
    Case(np.hstack, lambda x: np.hstack([x, Y])),
    Case(np.hstack, lambda x: np.hstack([x[0], Y[0, :2]])),
    Case(np.split, lambda x: np.stack(np.split(x, 2, axis=1))),
    Case(np.split, lambda x: np.concatenate(np.split(x, [1], axis=0)[::-1])),
    Case(np.repeat, lambda x: np.repeat(x, 2)),
    Case(np.repeat, lambda x: np.repeat(x, 3, axis=1), CUBE),
    Case(np.repeat, lambda x: np.repeat(x, [0, 2, 1], axis=0), only_numpy=_INDEX),
    Case(np.tile, lambda x: np.tile(x, 2)),
    Case(np.tile, lambda x: np.tile(x, (2, 1, 3))),
    Case(np.take, lambda x: np.take(x, ROWS, axis=0)),
    Case(np.take, lambda x: np.take(x, [5, 0, 5, -1]), only_numpy=_INDEX),
    Case(np.take, lambda x: np.take(x, ALONG, axis=1)),
    Case(np.take, lambda x: np.take(x, 1, axis=-1)),
    Case(np.take_along_axis, lambda x: np.take_along_axis(x, ALONG, axis=1)),
    Case(
        np.take_along_axis,
        lambda x: np.take_along_axis(x, np.argsort(x, axis=0), axis=0),
        only_numpy=_CALLS_NUMPY,
    ),
    Case(np.take_along_axis, lambda x: np.take_along_axis(x, ROWS, axis=None)),
    Case(np.pad, lambda x: np.pad(x, 1)),
    Case(np.pad, lambda x: np.pad(x, ((0, 1), (2, 0)), constant_values=-1.5)),
    Case(np.pad, lambda x: np.pad(x, [(1, 0), (0, 0)], constant_values=np.sum(x))),
    Case(np.pad, lambda x: np.pad(x, (1, 2), mode="constant")),
    Case(np.clip, lambda x: np.clip(x, 0.5, 0.7)),
    Case(np.clip, lambda x: np.clip(x, None, Y)),
    Case(np.clip, lambda x: np.clip(Y, x, 0.8)),
    Case(np.clip, lambda x: np.clip(x, min=0.5)),
    Case(np.clip, lambda x: np.clip(x, max=0.7)),
    Case(np.clip, lambda x: np.clip(x, [0.4, 0.5, 0.6, 0.7], 0.8)),
    Case(np.clip, lambda x: np.clip(x, 0.7, 0.5)),
    Case(np.where, lambda x: np.where(MASK, x, Y)),
    Case(np.where, lambda x: np.where(x > 0.5, 1.0, x * x)),
    Case(np.where, lambda x: np.where([True, False, True, True], x, [1.0, 2.0, 3.0, 4.0])),
    Case(np.where, lambda x: np.where(np.array([0, 1, 2, 0]), x, -x), only_numpy=_CALLS_NUMPY),
    Case(np.where, lambda x: np.where(True, x, 0.0)),
    Case(np.tril, lambda x: np.tril(x)),
    Case(np.tril, lambda x: np.tril(x, -1), CUBE),
    Case(np.triu, lambda x: np.triu(x, k=1)),
    Case(np.triu, lambda x: np.triu(x[0]), only_numpy=_INDEX),
    Case(np.diagonal, lambda x: np.diagonal(x)),
    Case(np.diagonal, lambda x: np.diagonal(x, 1)),
    Case(np.diagonal, lambda x: np.diagonal(x, -1, axis1=2, axis2=0), CUBE),
    Case(np.diagonal, lambda x: np.diagonal(x, 4)),
    Case(np.trace, lambda x: np.trace(x)),
    Case(np.trace, lambda x: np.trace(x, offset=1, axis1=0, axis2=2), CUBE),
    Case(np.dot, lambda x: np.dot(x, Z)),
    Case(np.dot, lambda x: np.dot(x[0], Y[0])),
    Case(np.dot, lambda x: np.dot(2.0, x)),
    Case(np.dot, lambda x: np.dot(x.T, CUBE), X, exact=False),
    Case(np.inner, lambda x: np.inner(x, CUBE), exact=False),
    Case(np.inner, lambda x: np.inner(x, 3.0)),
    Case(np.outer, lambda x: np.outer(x, Z[0])),
    Case(np.outer, lambda x: np.outer([1.0, 2.0], x)),
    Case(np.vdot, lambda x: np.vdot(x, Y)),
    Case(np.tensordot, lambda x: np.tensordot(x, Y), exact=False),
    Case(np.tensordot, lambda x: np.tensordot(CUBE, x, axes=([2, 1], [1, 0])), exact=False),
    Case(np.tensordot, lambda x: np.tensordot(x, Z, axes=1), exact=False),
    Case(np.tensordot, lambda x: np.tensordot(x, Z, axes=0), exact=False),
    Case(np.tensordot, lambda x: np.tensordot(x, Z, axes=(-1, 0)), exact=False),
    Case(np.einsum, lambda x: np.einsum("ij,jk", x, Z)),
    Case(np.einsum, lambda x: np.einsum("ij,jk->ki", x, Z, optimize=True), exact=False),
    Case(np.einsum, lambda x: np.einsum("...ij,j...->...i", CUBE, x[0]), X),
    Case(np.einsum, lambda x: np.einsum("b...j,jk", CUBE, x), Z),
    Case(np.einsum, lambda x: np.einsum("i...->...", x)),
    Case(np.einsum, lambda x: np.einsum("ij,ij->i", x, x)),
    Case(np.einsum, lambda x: np.einsum("ij , j k -> ik", x, [[1.0], [2.0], [3.0], [4.0]])),
    Case(np.linalg.norm, lambda x: np.linalg.norm(x), exact=False),
    Case(np.linalg.norm, lambda x: np.linalg.norm(x, axis=-1), exact=False),
    Case(np.linalg.norm, lambda x: np.linalg.norm(x, 2, axis=0, keepdims=True), exact=False),
    Case(np.linalg.norm, lambda x: np.linalg.norm(x, "fro", axis=(0, 2)), CUBE, exact=False),
    Case(np.copy, lambda x: np.copy(x)),
    Case(np.astype, lambda x: np.astype(x, np.float64), only_numpy=_DTYPES),
]

METHODS = [
    Case("sum", lambda x: x.sum(axis=0)),
    Case("mean", lambda x: x.mean(-1, keepdims=True)),
    Case("var", lambda x: x.var()),
    Case("std", lambda x: x.std(axis=1)),
    Case("max", lambda x: x.max()),
    Case("min", lambda x: x.min(axis=0)),
    Case("prod", lambda x: x.prod(), exact=False),
    Case("cumsum", lambda x: x.cumsum(axis=1)),
    Case("reshape", lambda x: x.reshape(4, 3)),
    Case("reshape", lambda x: x.reshape((2, 6))),
    Case("reshape", lambda x: x.reshape(-1)),
    Case("ravel", lambda x: x.ravel()),
    Case("flatten", lambda x: x.flatten()),
    Case("transpose", lambda x: x.transpose(2, 0, 1), CUBE),
    Case("transpose", lambda x: x.transpose(), CUBE),
    Case("transpose", lambda x: x.transpose((1, 0, 2)), CUBE),
    Case("T", lambda x: x.T),
    Case("mT", lambda x: x.mT, CUBE),
    Case("swapaxes", lambda x: x.swapaxes(0, 1)),
    Case("squeeze", lambda x: x.squeeze(), ONES),
    Case("clip", lambda x: x.clip(0.5, 0.7)),
    Case("take", lambda x: x.take(ROWS, axis=0)),
    Case("repeat", lambda x: x.repeat(2, axis=0)),
    Case("diagonal", lambda x: x.diagonal()),
    Case("trace", lambda x: x.trace()),
    Case("dot", lambda x: x.dot(Z)),
    Case("astype", lambda x: x.astype(np.float64), only_numpy=_DTYPES),
    Case("astype", lambda x: x.astype("float64", copy=False), only_numpy=_DTYPES),
    Case("copy", lambda x: x.copy()),
    Case("real", lambda x: x.real),
]

OPERATORS = [
    Case("x + y", lambda x: x + Y),
    Case("y + x", lambda x: Y + x),
    Case("x - 1", lambda x: x - 1),
    Case("1 - x", lambda x: 1 - x),
    Case("x * y", lambda x: x * Y),
    Case("np.float64 * x", lambda x: np.float64(2.5) * x, only_numpy=_CALLS_NUMPY),
    Case("x * list", lambda x: x * [1.0, 2.0, 3.0, 4.0]),
    Case("list * x", lambda x: [1.0, 2.0, 3.0, 4.0] * x),
    Case("x / y", lambda x: x / Y),
    Case("1 / x", lambda x: 1 / x),
    Case("x ** 2", lambda x: x**2),
    Case("x ** 1", lambda x: x**1),
    Case("x ** -1", lambda x: x**-1),
    Case("x ** 0.5", lambda x: x**0.5),
    Case("x ** 3", lambda x: x**3),
    Case("x ** 0", lambda x: x**0 * x),
    Case("x ** y", lambda x: x**Y),
    Case("2 ** x", lambda x: 2**x),
    Case("x @ z", lambda x: x @ Z),
    Case("y.T @ x", lambda x: Y.T @ x),
    Case("x @ list", lambda x: x @ [1.0, 2.0, 3.0, 4.0]),
    Case("list @ x", lambda x: [1.0, 2.0, 3.0] @ x),
    Case("-x", lambda x: -x),
    Case("+x", lambda x: +x),
    Case("abs(x)", lambda x: abs(x)),
    Case("x[1]", lambda x: x[1], only_numpy=_INDEX),
    Case("x[..., None, 1:3]", lambda x: x[..., None, 1:3]),
    Case("x[mask]", lambda x: x[MASK]),
    Case("x[x > 0.5]", lambda x: x[x > 0.5]),
    Case("x[rows, rows]", lambda x: x[ROWS, ROWS]),
    Case("x[[0, 2]]", lambda x: x[[0, 2]], only_numpy=_INDEX),
    Case("iteration", lambda x: sum(r * i for i, r in enumerate(x)), only_numpy=_INDEX),
    Case("unpacking", lambda x: (lambda a, b, c: a * b + c)(*x), only_numpy=_INDEX),
    Case("in place", lambda x: _in_place(x)),
    Case("sum() of a list", lambda x: sum([x[0], x[1], x[0]]), only_numpy=_INDEX),
    Case("scipy.special.erf", lambda x: scipy.special.erf(x), half=False),
    Case("scipy.special.expit", lambda x: scipy.special.expit(x), exact=False, half=False),
    Case("np.add.reduce", lambda x: np.add.reduce(x)),
    Case("np.add.reduce", lambda x: np.add.reduce(x, axis=1, keepdims=True)),
    Case("np.maximum.reduce", lambda x: np.maximum.reduce(x, axis=None)),
    Case("np.minimum.reduce", lambda x: np.minimum.reduce(x, axis=(0, 1), where=True), CUBE),
    Case("np.multiply.reduce", lambda x: np.multiply.reduce(x, axis=1), exact=False),
    Case("x // 1 is a constant", lambda x: (x // 0.25) * x, only_numpy=_CALLS_NUMPY),
    Case("sign is a constant", lambda x: np.sign(x - 0.6) * x, only_numpy=_CALLS_NUMPY),
    Case("floor is a constant", lambda x: np.floor(x * 10) * x, only_numpy=_CALLS_NUMPY),
    Case("integers are constants", lambda x: x.astype(int) + x, only_numpy=_DTYPES),
]


def _in_place(x: Any) -> Any:
    y = x
    y = y * 2.0
    y += x
    y *= x
    return y


CASES: list[Case] = [*UFUNCS, *FUNCTIONS, *METHODS, *OPERATORS]

# For arrays of another library: no array of NumPy's but the one that is differentiated in.
_CONSTANTS = {"X", "Y", "Z", "CUBE", "ONES", "ROWS", "ALONG", "MASK"}
ELSEWHERE = [
    c for c in CASES if c.only_numpy is None and _CONSTANTS.isdisjoint(c.call.__code__.co_names)
]
