"""One row for each way in which each primitive is tested."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from freezeviz.autodiff import Like


@dataclass(frozen=True)
class Sample:
    """Values that are drawn anew for every test."""

    draw: Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Row:
    """A call of a primitive: samples become arrays, anything else is passed as it is."""

    rule: str
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    # Why second derivatives, or arrays of another library, are left out. None: they are not.
    second: str | None = None
    strict: str | None = None

    def drawn(self, *dtypes: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return arguments and options; arrays are read-only, floating arguments in `dtypes`.

        Several dtypes are given in turn.
        """
        rng = np.random.default_rng(7)
        args = [_drawn(a, rng) for a in self.args]
        for turn, i in enumerate(_floating(args)):
            dtype = dtypes[turn % len(dtypes)] if dtypes else np.float64
            if args[i].dtype != dtype:
                args[i] = args[i].astype(dtype)
            args[i].flags.writeable = False
        return args, {name: _drawn(option, rng) for name, option in self.options.items()}

    def traced(self) -> list[int]:
        """Return the positions of the differentiable arguments."""
        return _floating(self.drawn()[0])

    def __str__(self) -> str:
        texts = [str(a.shape) if isinstance(a, np.ndarray) else repr(a) for a in self.drawn()[0]]
        texts += [
            f"{name}={'...' if isinstance(option, Sample | np.ndarray) else option}"
            for name, option in self.options.items()
        ]
        return f"{self.rule}-{'-'.join(texts)}".replace(" ", "").replace("\n", "")


def _drawn(a: Any, rng: np.random.Generator) -> Any:
    return a.draw(rng) if isinstance(a, Sample) else a


def _floating(args: list[Any]) -> list[int]:
    return [i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]


def row(rule: str, *args: Any, second: str | None = None, strict: str | None = None, **options):
    return Row(rule, args, options, second, strict)


# ---------------------------------------------------------------- samples


def normal(*shape: int) -> Sample:
    return Sample(lambda rng: np.asarray(rng.standard_normal(shape)))


def positive(*shape: int) -> Sample:
    return Sample(lambda rng: np.asarray(rng.uniform(0.5, 2.0, shape)))


def inside(*shape: int) -> Sample:
    """Between -0.8 and 0.8."""
    return Sample(lambda rng: np.asarray(rng.uniform(-0.8, 0.8, shape)))


def off_zero(*shape: int) -> Sample:
    """Of both signs, at least 0.3 from zero."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        sign = np.where(rng.random(shape) < 0.5, -1.0, 1.0)
        return np.asarray(rng.uniform(0.3, 2.0, shape) * sign)

    return Sample(draw)


def apart(*shape: int) -> Sample:
    """No two values closer than 0.1: finite differences do not change which one is the largest."""
    n = int(np.prod(shape))
    return Sample(lambda rng: (rng.permutation(n) * 0.1 - 0.05 * n).reshape(shape))


def given(values: Any) -> Sample:
    return Sample(lambda rng: np.array(values, dtype=np.float64))


def transposed(sample: Sample) -> Sample:
    """The same values in another order of memory."""
    return Sample(lambda rng: np.ascontiguousarray(sample.draw(rng).T).T)


def strided(sample: Sample) -> Sample:
    """The same values as every second entry, backwards, of a larger array."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        x = sample.draw(rng)
        larger = np.full((*x.shape[:-1], 2 * x.shape[-1]), 1e9)
        larger[..., ::-2] = x
        return larger[..., ::-2]

    return Sample(draw)


def whole(*shape: int, below: int) -> Sample:
    return Sample(lambda rng: np.asarray(rng.integers(0, below, shape)))


def mask(*shape: int) -> Sample:
    return Sample(lambda rng: np.asarray(rng.random(shape) < 0.5))


# ---------------------------------------------------------------- rows

_DTYPES = "has dtype objects of its own"
_MIXED = "does not mix integers or NumPy's scalars with floating arrays"
_KINK = "the gradient jumps there"

_SHAPES = [
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((), (2, 2)),
    ((2, 2), ()),
    ((), ()),
    ((0, 3), (3,)),
    ((1, 1, 2), (4, 1, 1)),
    ((1,), (1,)),
]


def _binary(rule: str, left: Any, right: Any) -> list[Row]:
    rows = [row(rule, left(*x), right(*y)) for x, y in _SHAPES]
    rows.append(row(rule, left(2, 3), 1.5))
    rows.append(row(rule, 1.5, right(2, 3)))
    rows.append(row(rule, transposed(left(3, 4)), strided(right(3, 4))))
    rows.append(row(rule, strided(left(4)), right(3, 4)))
    return rows


def _unary(rule: str, sample: Any) -> list[Row]:
    rows = [row(rule, sample(*shape)) for shape in ((3, 4), (), (0, 3), (1,), (2, 1, 3))]
    return [*rows, row(rule, transposed(sample(3, 4))), row(rule, strided(sample(2, 3)))]


_ARITHMETIC = [
    *_binary("add", normal, normal),
    *_binary("subtract", normal, normal),
    *_binary("multiply", normal, normal),
    *_binary("divide", normal, off_zero),
    *_binary("power", positive, normal),
    *_binary("logaddexp", normal, normal),
    *_binary("maximum", normal, positive),
    *_binary("minimum", normal, positive),
    row("power", off_zero(2, 3), 3),
    row("power", off_zero(2, 3), -2.0),
    row("power", normal(2, 3), 0),
    row("power", normal(2, 3), np.array([1, 2, 3]), strict=_MIXED),
    row("power", given([0.0, 0.0, 2.0]), np.array([0, 1, 2]), strict=_MIXED),
    row("power", positive(2, 3), np.float32(2.5), strict=_MIXED),
    row("power", 2, normal(3)),
    row("power", 0.0, positive(3)),
    row("power", np.array([0, 2, 3]), positive(3), strict=_MIXED),
    row("power", np.float32(2.0), normal(3), strict=_MIXED),
    row("divide", off_zero(2, 3), strided(off_zero(2, 3))),
    # At a tie of two, central differences see the mean of the one-sided derivatives.
    row("maximum", given([1.0, 2.0, 3.0]), given([1.0, 2.5, 3.0]), second=_KINK),
    row("minimum", given([1.0, 2.0, 3.0]), given([1.0, 2.5, 3.0]), second=_KINK),
    row("maximum", off_zero(2, 3), 0.0),
    row("minimum", off_zero(2, 3), 0.0),
    row("logaddexp", given([900.0, -900.0, 0.0]), given([901.0, 0.0, 900.0])),
]

_ELEMENTWISE = [
    *_unary("negative", normal),
    *_unary("exp", normal),
    *_unary("exp2", normal),
    *_unary("expm1", normal),
    *_unary("log", positive),
    *_unary("log2", positive),
    *_unary("log10", positive),
    *_unary("log1p", positive),
    *_unary("sqrt", positive),
    *_unary("root", positive),
    *_unary("square", normal),
    *_unary("reciprocal", off_zero),
    *_unary("abs", off_zero),
    *_unary("sin", normal),
    *_unary("cos", normal),
    *_unary("tan", inside),
    *_unary("tanh", normal),
    *_unary("sinh", normal),
    *_unary("cosh", normal),
    *_unary("asin", inside),
    *_unary("acos", inside),
    *_unary("atan", normal),
    *_unary("relu", off_zero),
    *_unary("sigmoid", normal),
    *_unary("softplus", normal),
    *_unary("erf", normal),
    row("sigmoid", given([-800.0, -30.0, 0.0, 30.0, 800.0])),
    row("softplus", given([-800.0, -30.0, 0.0, 30.0, 800.0])),
    row("astype", normal(2, 3), dtype=np.float64, strict=_DTYPES),
    row("where", mask(2, 3), normal(2, 3), normal(2, 3)),
    row("where", mask(2, 3), normal(3), normal(2, 1)),
    row("where", mask(3), normal(2, 1), normal()),
    row("where", mask(4, 2, 3), normal(3), normal()),
    row("where", mask(2, 3), normal(2, 3), 1.5),
    row("where", mask(2, 3), 1.5, normal(2, 3)),
    row("where", mask(0, 3), normal(0, 3), normal(3)),
    row("where", mask(3, 4), transposed(normal(3, 4)), strided(normal(3, 4))),
    row("masked", normal(2, 3), mask=mask(2, 3)),
    row("masked", normal(2, 3), mask=mask(3)),
    row("masked", normal(3), mask=mask(2, 3)),
    row("masked", normal(0, 3), mask=mask(0, 3)),
    row("masked", normal(), mask=mask()),
    row("masked", strided(normal(2, 3)), mask=mask(2, 3)),
    row("masked", transposed(normal(4, 3)), mask=mask(4, 1)),
]

_AXES = [
    {},
    {"axis": 0},
    {"axis": -1},
    {"axis": (0, 2)},
    {"axis": (-1, 0), "keepdims": True},
    {"axis": 1, "keepdims": True},
    {"keepdims": True},
]


def _reduction(rule: str, sample: Any) -> list[Row]:
    rows = [row(rule, sample(2, 3, 4), **options) for options in _AXES]
    rows += [row(rule, sample()), row(rule, sample(5), axis=0), row(rule, sample(1, 1), axis=1)]
    rows.append(row(rule, transposed(sample(3, 4)), axis=0))
    rows.append(row(rule, strided(sample(3, 4)), axis=1, keepdims=True))
    return rows


_REDUCTIONS = [
    *_reduction("sum", normal),
    *_reduction("max", apart),
    *_reduction("min", apart),
    *_reduction("logsumexp", normal),
    row("sum", normal(2, 3), axis=()),
    row("sum", normal(0, 3), axis=0),
    row("sum", normal(0, 3)),
    row("sum", normal(3, 0), axis=0),
    row("sum", normal(2, 3), axis=1, dtype=np.float64, strict=_DTYPES),
    row("max", given([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]]), axis=1, second=_KINK),
    row("min", given([[3.0, 1.0, 1.0], [2.0, 2.0, 5.0]]), axis=1, keepdims=True, second=_KINK),
    row("max", apart(0, 3), axis=1),
    row("logsumexp", given([[900.0, 901.0], [-900.0, -905.0]]), axis=1),
    row("logsumexp", given([[-np.inf, 1.0], [0.0, -np.inf]]), axis=1, second="inf - inf in it"),
    row("cumsum", normal(2, 3), axis=0),
    row("cumsum", normal(2, 3), axis=-1),
    row("cumsum", strided(normal(2, 3)), axis=1),
    row("cumsum", normal(0, 3), axis=0),
    row("cumsum", normal(1), axis=0),
    row("softmax", normal(2, 3)),
    row("softmax", normal(2, 3), axis=0),
    row("softmax", normal(2, 3, 4), axis=1),
    row("softmax", normal(0, 3)),
    row("softmax", normal(2, 1)),
    row("softmax", strided(normal(2, 3))),
    row("softmax", given([[900.0, -900.0, 899.0]])),
]

_ADVANCED = "mixes integer arrays with slices, or several masks, which the standard leaves out"

_SHAPING = [
    row("reshape", normal(2, 3), shape=(6,)),
    row("reshape", normal(2, 3), shape=(3, -1)),
    row("reshape", normal(2, 3), shape=(1, 2, 1, 3)),
    row("reshape", normal(1), shape=()),
    row("reshape", normal(), shape=(1, 1)),
    row("reshape", normal(0, 3), shape=(3, 0)),
    row("reshape", transposed(normal(2, 3)), shape=(6,)),
    row("broadcast_to", normal(3), shape=(2, 3)),
    row("broadcast_to", normal(2, 1), shape=(4, 2, 3)),
    row("broadcast_to", normal(), shape=(2, 2)),
    row("broadcast_to", normal(1), shape=(0,)),
    row("broadcast_to", normal(2, 3), shape=(2, 3)),
    row("broadcast_to", normal(1), shape=(1,)),
    row("transpose", normal(2, 3), axes=(1, 0)),
    row("transpose", normal(2, 3, 4), axes=(2, 0, 1)),
    row("transpose", normal(2, 3, 4), axes=(0, 2, 1)),
    row("transpose", normal(), axes=()),
    row("transpose", strided(normal(0, 3)), axes=(1, 0)),
    row("flip", normal(2, 3)),
    row("flip", normal(2, 3), axis=0),
    row("flip", normal(2, 3, 2), axis=(0, -1)),
    row("flip", normal(0, 3), axis=0),
    row("concatenate", normal(2, 3), normal(1, 3)),
    row("concatenate", normal(2, 3), normal(2, 1), normal(2, 2), axis=1),
    row("concatenate", normal(2, 3), normal(2, 4), axis=-1),
    row("concatenate", normal(2)),
    row("concatenate", normal(0, 3), normal(2, 3), axis=0),
    row("concatenate", transposed(normal(2, 3)), strided(normal(2, 3)), axis=0),
    row("getitem", normal(3, 4), index=(1, ...)),
    row("getitem", normal(3, 4), index=(-1, 2)),
    row("getitem", normal(3, 4), index=(slice(None, None, 2), slice(3, 0, -1))),
    row("getitem", normal(3, 4), index=(..., 1)),
    row("getitem", normal(3, 4), index=(None, slice(1, 3), None, ...)),
    row("getitem", normal(3, 4), index=...),
    row("getitem", normal(3, 4), index=(np.int64(1), ...)),
    row("getitem", normal(3, 4), index=(slice(2, 2), ...)),
    row("getitem", normal(4), index=np.array([3, 0, 0, -1])),
    row("getitem", normal(4), index=(np.array([3, 0, 0, -4]),)),
    row("getitem", normal(3, 4), index=np.array([[2, 0], [0, -3]]), strict=_ADVANCED),
    row("getitem", normal(3, 4), index=np.array([], dtype=np.int64), strict=_ADVANCED),
    row("getitem", normal(3, 4), index=np.array([1, 2, 1], dtype=np.uint8), strict=_ADVANCED),
    row("getitem", normal(3, 4), index=np.array(1), strict=_ADVANCED),
    row("getitem", normal(3), index=np.array(1)),
    row("getitem", normal(3, 4), index=[0, 2, 2], strict="lists are no index there"),
    row("getitem", normal(3, 4), index=(np.array([0, 2, 2, 2]), np.array([1, 3, 3, 0]))),
    row("getitem", normal(3, 4), index=(np.array([[0], [2]]), np.array([1, 1, 3]))),
    row("getitem", normal(2, 3, 4), index=(..., np.array([0, 0, 1])), strict=_ADVANCED),
    row("getitem", normal(2, 3, 4), index=(slice(None), [2, 2], 1), strict=_ADVANCED),
    row("getitem", normal(2, 3, 4), index=(0, np.array([1, 1]), slice(1, 3)), strict=_ADVANCED),
    row("getitem", normal(3, 4), index=mask(3, 4)),
    row("getitem", normal(3, 4), index=mask(3)),
    row("getitem", normal(3, 4), index=(slice(1, 3), np.array([True, False, True, True])),
        strict=_ADVANCED),
    row("getitem", transposed(normal(3, 4)), index=np.array([1, 1, 0]), strict=_ADVANCED),
]  # fmt: skip

_LIKE = Like((3, 4), np.dtype(np.float64))

_SCATTERING = [
    row("scatter_add", normal(4), index=(1, ...), like=_LIKE),
    row("scatter_add", normal(), index=(1, 2), like=_LIKE),
    row("scatter_add", normal(2, 4), index=(slice(0, 3, 2), ...), like=_LIKE),
    row(
        "scatter_add", normal(5, 4), index=np.array([0, 2, 2, -1, 0]), like=_LIKE, strict=_ADVANCED
    ),
    row("scatter_add", normal(0, 4), index=np.array([], dtype=int), like=_LIKE, strict=_ADVANCED),
    row("scatter_add", normal(2), index=(np.array([1, 1]), np.array([3, 3])), like=_LIKE),
    row("scatter_add", normal(2, 4), index=np.array([True, False, True]), like=_LIKE),
    row("scatter_add", strided(normal(2, 4)), index=np.array([1, 1]), like=_LIKE, strict=_ADVANCED),
]

_CONTRACTIONS = [
    row("matmul", normal(2, 3), normal(3, 4)),
    row("matmul", normal(3), normal(3)),
    row("matmul", normal(3), normal(3, 4)),
    row("matmul", normal(2, 3), normal(3)),
    row("matmul", normal(3), normal(2, 3, 4)),
    row("matmul", normal(2, 5, 3), normal(3)),
    row("matmul", normal(2, 5, 3), normal(3, 4)),
    row("matmul", normal(5, 3), normal(2, 3, 4)),
    row("matmul", normal(2, 5, 3), normal(2, 3, 4)),
    row("matmul", normal(2, 1, 5, 3), normal(4, 3, 2)),
    row("matmul", normal(1, 1), normal(1, 1)),
    row("matmul", normal(0, 3), normal(3, 2)),
    row("matmul", normal(2, 0), normal(0, 3)),
    row("matmul", normal(0, 2, 3), normal(3, 2)),
    row("matmul", transposed(normal(2, 3)), strided(normal(3, 4))),
    row("einsum", normal(2, 3), normal(3, 4), subscripts="ij,jk->ik"),
    row("einsum", normal(2, 3), subscripts="ij->ji"),
    row("einsum", normal(2, 3), subscripts="ij->"),
    row("einsum", normal(2, 3), subscripts="ij->j"),
    row("einsum", normal(2, 3), normal(2, 4), subscripts="ij,ik->jk"),
    row("einsum", normal(2, 3), normal(4), subscripts="ij,k->ijk"),
    row("einsum", normal(2, 3), normal(4), subscripts="ij,k->i"),
    row("einsum", normal(3), normal(3), subscripts="i,i->"),
    row("einsum", normal(2, 3), normal(3, 2), normal(2), subscripts="ij,jk,k->i"),
    row("einsum", normal(2, 3), normal(3, 2), normal(2), subscripts="ij,jk,k->i", optimize=True),
    row("einsum", normal(), normal(2), subscripts=",i->i"),
    row("einsum", normal(1, 3), normal(2, 3), subscripts="ij,ij->ij"),
    row("einsum", normal(1, 3), normal(2, 3), subscripts="ij,ij->j"),
    row("einsum", normal(0, 3), normal(3, 2), subscripts="ij,jk->ik"),
    row("einsum", transposed(normal(2, 3)), strided(normal(3, 2)), subscripts="ij,jk->ik"),
]

_POOL = {"kernel_size": (2, 2), "stride": (2, 2)}

_FUSED = [
    row("linear", normal(2, 3), normal(4, 3), normal(4)),
    row("linear", normal(2, 3), normal(4, 3), None),
    row("linear", normal(3), normal(4, 3), normal(4)),
    row("linear", normal(2, 5, 3), normal(4, 3), normal(4)),
    row("linear", normal(0, 3), normal(4, 3), normal(4)),
    row("linear", normal(1, 1), normal(1, 1), normal(1)),
    row("linear", normal(2, 3), normal(4, 3), normal(1)),
    row("linear", transposed(normal(2, 3)), strided(normal(4, 3)), strided(normal(4))),
    row("linear", transposed(normal(2, 5, 3)), transposed(normal(4, 3)), None),
    row("linear", normal(2, 3), normal(4, 3), normal(4), activation="relu"),
    row("linear", normal(2, 3), normal(4, 3), normal(4), activation="gelu"),
    row("linear", normal(2, 3), normal(4, 3), normal(4), activation="tanh"),
    row("linear", inside(2, 5, 3), inside(4, 3), given([3, -3, 3, -3]), activation="relu"),
    row("linear", normal(2, 5, 3), normal(4, 3), None, activation="gelu"),
    row("linear", normal(3), normal(4, 3), normal(4), activation="tanh"),
    row("linear", normal(0, 3), normal(4, 3), normal(4), activation="gelu"),
    row("linear", transposed(normal(2, 3)), strided(normal(4, 3)), strided(normal(4)),
        activation="gelu"),
    row("softmax_cross_entropy", normal(4, 3), targets=whole(4, below=3)),
    row("softmax_cross_entropy", normal(2, 4, 3), targets=whole(2, 4, below=3)),
    row("softmax_cross_entropy", normal(3), targets=np.array(2)),
    row("softmax_cross_entropy", normal(0, 3), targets=whole(0, below=3)),
    row("softmax_cross_entropy", normal(2, 1), targets=np.array([0, 0])),
    row("softmax_cross_entropy", normal(2, 3), targets=np.array([0, 2], dtype=np.uint8)),
    row("softmax_cross_entropy", strided(normal(4, 3)), targets=whole(4, below=3)),
    row("softmax_cross_entropy", normal(4, 3), targets=whole(4, below=3), reduction="mean"),
    row("softmax_cross_entropy", normal(2, 4, 3), targets=whole(2, 4, below=3), reduction="sum"),
    row("softmax_cross_entropy", normal(3), targets=np.array(2), reduction="mean"),
    row("softmax_cross_entropy", normal(0, 3), targets=whole(0, below=3), reduction="sum"),
    row("squared_error", normal(4, 3), normal(4, 3)),
    row("squared_error", normal(4, 3), normal(4, 3), reduction="sum"),
    row("squared_error", normal(2, 4, 3), normal(2, 4, 3), reduction="none"),
    row("squared_error", normal(), normal()),
    row("squared_error", normal(0, 3), normal(0, 3), reduction="sum"),
    row("squared_error", transposed(normal(4, 3)), strided(normal(4, 3))),
    row("softmax_cross_entropy", given([[900.0, -900.0, 899.0]]), targets=np.array([2])),
    *_unary("gelu", normal),
    row("layer_norm", normal(4, 3), positive(3), normal(3)),
    row("layer_norm", normal(4, 3), positive(3), None),
    row("layer_norm", normal(4, 3), None, normal(3)),
    row("layer_norm", normal(4, 3), None, None),
    row("layer_norm", normal(3), positive(3), normal(3)),
    row("layer_norm", normal(2, 4, 3), positive(3), normal(3), eps=0.1),
    row("layer_norm", normal(0, 3), positive(3), normal(3)),
    row("layer_norm", normal(2, 1), positive(1), normal(1)),
    row("layer_norm", strided(normal(4, 3)), strided(positive(3)), strided(normal(3))),
    row("batch_norm", normal(4, 3), positive(3), normal(3)),
    row("batch_norm", normal(4, 3), positive(3), None),
    row("batch_norm", normal(4, 3), None, normal(3)),
    row("batch_norm", normal(4, 3), None, None),
    row("batch_norm", normal(1, 3), positive(3), normal(3)),
    row("batch_norm", normal(2, 2, 3, 2), positive(2), normal(2), eps=0.1),
    row("batch_norm", transposed(normal(4, 3)), strided(positive(3)), strided(normal(3))),
    row("attention", normal(2, 3), normal(4, 3), normal(4, 5)),
    row("attention", normal(2, 2, 3), normal(2, 4, 3), normal(2, 4, 5)),
    row("attention", normal(2, 3, 2, 3), normal(2, 1, 4, 3), normal(1, 4, 5)),
    row("attention", normal(2, 3), normal(4, 3), normal(4, 5), scale=0.7),
    row("attention", normal(2, 2, 3), normal(2, 4, 3), normal(2, 4, 5), mask=normal(2, 4)),
    row("attention", normal(4, 3), normal(4, 3), normal(4, 5), mask=np.tri(4, dtype=bool)),
    row("attention", normal(2, 3), normal(4, 3), normal(4, 5), mask=mask(3, 1, 4)),
    row("attention", normal(2, 3), normal(4, 3), normal(4, 2), mask=np.array([[True], [False]])),
    row("attention", normal(2, 3), normal(4, 3), normal(4, 2), mask=np.array([[0.0], [-np.inf]])),
    row("attention", normal(2, 3, 4, 2), normal(2, 3, 5, 2), normal(2, 3, 5, 3)),
    row("attention", normal(2, 3, 4, 2), normal(2, 3, 5, 2), normal(2, 3, 5, 3), scale=0.7,
        mask=mask(2, 1, 4, 5)),
    row("attention", normal(2, 3, 4, 2), normal(2, 3, 5, 2), normal(2, 3, 5, 3),
        mask=given([[0.0], [-np.inf], [1.0], [2.0]])),
    row("attention", transposed(normal(2, 3, 4, 2)), strided(normal(2, 3, 5, 2)),
        normal(2, 3, 5, 3), mask=normal(3, 1, 5)),
    row("attention", normal(0, 2, 3), normal(0, 4, 3), normal(0, 4, 5)),
    row("attention", normal(1, 3), normal(1, 3), normal(1, 5)),
    row("attention", strided(normal(2, 3)), transposed(normal(4, 3)), strided(normal(4, 5))),
    row("projections", normal(2, 4, 3), normal(2, 3), normal(5, 3), normal(4, 3), normal(2),
        normal(5), normal(4)),
    row("projections", normal(4, 3), normal(2, 3), normal(2, 3), normal(2, 3), None, None, None),
    row("projections", normal(0, 3), normal(2, 3), normal(2, 3), normal(2, 3), normal(2),
        normal(2), normal(2)),
    row("projections", strided(normal(4, 3)), transposed(normal(2, 3)), strided(normal(2, 3)),
        normal(1, 3), strided(normal(2)), normal(2), normal(1)),
    row("packed_attention", normal(2, 5, 12), heads=2, dims=4),
    row("packed_attention", normal(2, 5, 14), heads=2, dims=4, scale=0.7),
    row("packed_attention", normal(2, 4, 6), heads=1, dims=2, mask=np.tri(4, dtype=bool)),
    row("packed_attention", normal(2, 4, 6), heads=2, dims=2, mask=normal(2, 1, 1, 4)),
    row("packed_attention", normal(2, 2, 6), heads=2, dims=2, mask=np.array([[True], [False]])),
    row("packed_attention", normal(0, 3, 6), heads=2, dims=2),
    row("packed_attention", normal(2, 1, 3), heads=1, dims=1),
    row("packed_attention", normal(2, 3, 4), heads=1, dims=2),  # values without dims
    row("packed_attention", strided(normal(2, 3, 6)), heads=2, dims=2),
    row("conv2d", normal(2, 4, 5, 2), normal(3, 2, 2, 2), normal(3)),
    row("conv2d", normal(2, 4, 5, 2), normal(3, 2, 2, 2), None),
    row("conv2d", normal(1, 5, 5, 2), normal(3, 3, 2, 2), normal(3), stride=(2, 1)),
    row("conv2d", normal(1, 4, 4, 2), normal(2, 3, 3, 2), normal(2), padding=(1, 2)),
    row("conv2d", normal(1, 6, 5, 1), normal(2, 2, 2, 1), normal(2), dilation=(2, 3)),
    row("conv2d", normal(1, 4, 4, 4), normal(6, 2, 2, 2), normal(6), groups=2),
    row("conv2d", normal(2, 3, 3, 3), normal(3, 2, 2, 1), None, groups=3),
    row("conv2d", normal(1, 7, 6, 2), normal(4, 2, 3, 1), normal(4), stride=(2, 2),
        padding=(1, 1), dilation=(2, 1), groups=2),
    row("conv2d", normal(2, 3, 3, 2), normal(3, 1, 1, 2), normal(3)),
    row("conv2d", normal(0, 3, 3, 2), normal(3, 2, 2, 2), normal(3)),
    row("conv2d", normal(1, 1, 1, 1), normal(1, 1, 1, 1), normal(1)),
    row("conv2d", transposed(normal(2, 4, 4, 2)), strided(normal(3, 2, 2, 2)), strided(normal(3))),
    # Far from the kink of ReLU; kinks and whole batches: test_kernel_blocks.py.
    row("conv2d", normal(2, 4, 5, 2), normal(3, 2, 2, 2), given([20.0, -20.0, 30.0]),
        activation="relu"),
    row("conv2d", apart(2, 4, 5, 2), normal(2, 2, 2, 2), given([20.0, -30.0]), activation="relu",
        pool=2),
    row("conv2d", apart(1, 5, 6, 2), normal(3, 2, 2, 2), None, pool=2),
    row("conv2d", apart(1, 4, 4, 4), normal(4, 3, 3, 2), given([30.0, -20.0, 25.0, 40.0]),
        groups=2, padding=(1, 1), activation="relu", pool=2),
    row("conv2d", apart(1, 9, 9, 2), normal(2, 2, 2, 2), given([30.0, -30.0]), stride=(1, 2),
        dilation=(2, 1), activation="relu", pool=3),
    row("conv2d", normal(3, 7, 6, 10), normal(4, 3, 2, 10), normal(4), stride=(2, 1),
        padding=(2, 1), dilation=(2, 1)),
    row("conv2d", normal(3, 7, 6, 9), normal(4, 2, 3, 9), normal(4), stride=(1, 2),
        padding=(0, 2)),
    row("conv2d", normal(3, 6, 6, 1), normal(2, 3, 3, 1), normal(2), padding=(1, 1)),
    row("max_pool2d", apart(2, 4, 6, 2), **_POOL),
    row("max_pool2d", apart(3, 5, 7, 2), **_POOL),
    row("max_pool2d", apart(1, 5, 5, 1), kernel_size=(3, 2), stride=(1, 2)),
    row("max_pool2d", apart(1, 5, 4, 2), kernel_size=(3, 3), stride=(2, 2), padding=(1, 1)),
    row("max_pool2d", apart(1, 20, 20, 1), kernel_size=(17, 17), stride=(1, 1)),
    row("max_pool2d", apart(1, 2, 2, 1), kernel_size=(1, 1), stride=(1, 1)),
    row("max_pool2d", apart(0, 4, 4, 2), **_POOL),
    row("max_pool2d", transposed(apart(2, 4, 4, 2)), **_POOL),
    row("embedding", normal(5, 3), indices=whole(7, below=5)),
    row("embedding", normal(5, 3), indices=whole(2, 4, below=5)),
    row("embedding", normal(5, 3), indices=np.array([4, -1, 0, -5, 4])),
    row("embedding", normal(5, 3), indices=np.array(2)),
    row("embedding", normal(5, 3), indices=whole(0, below=5)),
    row("embedding", normal(1, 1), indices=np.array([0, 0], dtype=np.uint8)),
    row("embedding", strided(normal(5, 3)), indices=whole(7, below=5)),
]  # fmt: skip

ROWS: list[Row] = [
    *_ARITHMETIC,
    *_ELEMENTWISE,
    *_REDUCTIONS,
    *_SHAPING,
    *_SCATTERING,
    *_CONTRACTIONS,
    *_FUSED,
]
