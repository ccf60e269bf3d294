"""The kernels for NumPy's arrays against the portable ones in double precision."""

import itertools
from typing import Any

import numpy as np
import pytest

from freezeviz.autodiff import FUSED, Fused, _sets
from freezeviz.autodiff._numpy import _activations
from tests.autodiff._table import ROWS, Row, normal, positive, strided, transposed, whole

_ROWS = [r for r in ROWS if r.rule in FUSED]
_TAKEN = [name for name, fused in FUSED.items() if any(k.set == "numpy" for k in fused.kernels)]
_ROUNDING = {np.dtype(np.float32): 3e-6, np.dtype(np.float64): 1e-13}

# Shapes that end within a tile, a vector or a block, and that are next to one.
_SIZES = [(1, 1, 1), (1, 7, 3), (2, 1, 5), (5, 3, 1), (33, 17, 31), (64, 64, 64), (130, 65, 257)]


def _linear_rows() -> list[Row]:
    rows = []
    for (m, k, n), activation in itertools.product(_SIZES, [None, "relu", "gelu", "tanh"]):
        options = {"activation": activation}
        rows.append(Row("linear", (normal(m, k), normal(n, k), normal(n)), options))
    rows.append(Row("linear", (strided(normal(33, 20)), transposed(normal(40, 20)), None), {}))
    rows.append(Row("linear", (normal(4, 50, 20), strided(normal(40, 20)), normal(40)), {}))
    rows.append(Row("linear", (normal(0, 20), normal(40, 20), normal(40)), {"activation": "relu"}))
    rows.append(Row("linear", (normal(5, 0), normal(40, 0), normal(40)), {"activation": "gelu"}))
    rows.append(Row("linear", (normal(5, 8), normal(0, 8), normal(0)), {"activation": "tanh"}))
    return rows


def _norm_rows() -> list[Row]:
    rows = []
    for m, k, n in _SIZES:
        x, vectors = normal(min(m, 5), k, n), (positive(n), normal(n))
        rows += [Row("layer_norm", (x, weight, bias), {}) for weight in (vectors[0], None)
                 for bias in (vectors[1], None)]  # fmt: skip
    rows.append(Row("layer_norm", (transposed(normal(33, 20)), strided(positive(20)), None), {}))
    rows.append(Row("layer_norm", (strided(normal(3, 33, 20)), None, normal(20)), {"eps": 0.1}))
    rows.append(Row("layer_norm", (normal(600, 20), positive(20), normal(20)), {}))
    return rows


def _loss_rows() -> list[Row]:
    rows = []
    name = "softmax_cross_entropy"
    for reduction in ("none", "mean", "sum"):
        options: dict[str, Any] = {"reduction": reduction}
        # Few classes are computed by column, many by row.
        for classes in (1, 2, 10, 63, 64, 65, 300):
            targets = whole(33, below=classes)
            rows.append(Row(name, (normal(33, classes),), options | {"targets": targets}))
        targets = np.array([[0, 3, 1]], dtype=np.uint8)
        rows.append(Row(name, (normal(1, 3, 7),), options | {"targets": targets}))
        for layout in (transposed, strided):
            targets = whole(20, below=33)
            rows.append(Row(name, (layout(normal(20, 33)),), options | {"targets": targets}))
            rows.append(Row("squared_error", (layout(normal(20, 33)), normal(20, 33)), options))
        rows.append(Row("squared_error", (normal(1, 1), normal(1, 1)), options))
        rows.append(Row("squared_error", (normal(130, 257), normal(130, 257)), options))
    return rows


def _gelu_rows() -> list[Row]:
    shapes = [(), (1,), (7, 33, 5), (40_000,), (0, 3)]
    rows = [Row("gelu", (normal(*shape),)) for shape in shapes]
    return [
        *rows,
        Row("gelu", (transposed(normal(40, 30)),)),
        Row("gelu", (strided(normal(9, 8)),)),
    ]


_MORE = [*_linear_rows(), *_norm_rows(), *_loss_rows(), *_gelu_rows()]


def _kernels(name: str) -> _sets.Kernels:
    (found,) = [k for k in FUSED[name].kernels if k.set == "numpy"]
    return found


def _parts(out: Any) -> tuple[Any, ...]:
    return out if isinstance(out, tuple) else (out,)


def _wide(args: list[Any], options: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    def widened(x: Any) -> Any:
        single = isinstance(x, np.ndarray) and x.dtype.kind == "f"
        return x.astype(np.float64) if single else x

    return [widened(a) for a in args], {k: widened(v) for k, v in options.items()}


def _assert_near(got: Any, want: np.ndarray, dtype: Any, scale: float = 1.0) -> None:
    assert got.dtype == dtype
    assert got.shape == want.shape
    size = max(1.0, scale, float(np.max(np.abs(want), initial=0.0)))
    np.testing.assert_allclose(got, want, rtol=0, atol=_ROUNDING[np.dtype(dtype)] * size)


def _compare(fused: Fused, kernels: _sets.Kernels, row: Row, dtype: Any) -> bool:
    """Assert that kernels give what the portable ones give; return whether they take the call."""
    args, options = row.drawn(dtype)
    wide, wide_options = _wide(args, options)
    traced = row.traced()
    taken = False
    every = tuple(i in traced for i in range(len(args)))
    expected, residual = fused.forward(every, *wide, **wide_options)
    g = np.random.default_rng(3).standard_normal(np.shape(_parts(expected)[0]))
    g = g.astype(dtype)
    wanted = fused.backward(g.astype(np.float64), every, residual)
    layouts = [g, g.T.copy().T, np.repeat(g[..., None], 2, -1)[..., 0]]
    for n in range(len(traced) + 1):
        for subset in itertools.combinations(traced, n):
            needs = tuple(i in subset for i in range(len(args)))
            if not kernels.accepts(needs, *args, **options):
                continue
            taken = True
            for layout in layouts if n == len(traced) else layouts[:1]:
                layout.flags.writeable = False
                out, residual = kernels.forward(needs, *args, **options)
                for part, want in zip(_parts(out), _parts(expected), strict=True):
                    _assert_near(part, want, dtype)
                if not n:
                    continue
                cotangents = kernels.backward(layout, needs, residual)
                for need, got, want in zip(needs, cotangents, wanted, strict=True):
                    assert (got is not None) == need
                    if need:
                        # Sums over rows: rounding grows with their number, not with the result.
                        _assert_near(got, np.asarray(want), dtype, g.size**0.5)
    return taken


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", _TAKEN)
def test_they_give_what_the_portable_kernels_give(name: str, dtype: Any) -> None:
    kernels = _kernels(name)
    taken = [_compare(FUSED[name], kernels, row, dtype) for row in _ROWS if row.rule == name]
    taken += [_compare(FUSED[name], kernels, row, dtype) for row in _MORE if row.rule == name]
    assert any(taken)


@pytest.mark.parametrize("row", [r for r in _MORE if r.rule == "linear"], ids=str)
def test_blocks_of_any_size_give_the_same(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    args, options = row.drawn(np.float32)
    needs = tuple(a is not None for a in args)
    kernels = _kernels("linear")
    whole_, residual = kernels.forward(needs, *args, **options)
    monkeypatch.setattr(_activations, "BLOCK", 50)
    blocks, other = kernels.forward(needs, *args, **options)
    np.testing.assert_allclose(blocks, whole_, rtol=1e-6, atol=1e-7)
    g = np.ones_like(whole_)
    for a, b in zip(
        kernels.backward(g, needs, residual), kernels.backward(g, needs, other), strict=True
    ):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", _TAKEN)
def test_they_give_the_same_bits_whatever_is_wanted(name: str) -> None:
    kernels = _kernels(name)
    for row in (r for r in (*_ROWS, *_MORE) if r.rule == name):
        args, options = row.drawn(np.float32)
        traced = row.traced()
        seen = set()
        for subset in itertools.product((False, True), repeat=len(traced)):
            wanted = dict(zip(traced, subset, strict=True))
            needs = tuple(wanted.get(i, False) for i in range(len(args)))
            if kernels.accepts(needs, *args, **options):
                out, residual = kernels.forward(needs, *args, **options)
                seen.add(np.asarray(_parts(out)[0]).tobytes())
                assert any(needs) or not list(_arrays(residual))
        assert len(seen) <= 1, str(row)


def _arrays(residual: Any) -> Any:
    if isinstance(residual, tuple | list):
        for part in residual:
            yield from _arrays(part)
    elif isinstance(residual, np.ndarray):
        yield residual


def test_gelu_of_single_precision_is_accurate_to_rounding(rng: np.random.Generator) -> None:
    from scipy.special import ndtr

    x = np.concatenate([np.linspace(-15, 15, 100_001), rng.standard_normal(10_000)])
    x = x.astype(np.float32)[:, None]
    one, wide = np.ones((1, 1), np.float32), x.astype(np.float64)
    kernels = _kernels("linear")
    needs = (True, False, False)
    out, residual = kernels.forward(needs, x, one, None, activation="gelu")
    slope, _, _ = kernels.backward(np.ones_like(out), needs, residual)
    density = np.exp(-0.5 * wide * wide) / np.sqrt(2 * np.pi)
    assert np.max(np.abs(out - wide * ndtr(wide)) / np.maximum(1, np.abs(wide))) < 2e-7
    assert np.max(np.abs(slope - (ndtr(wide) + wide * density))) < 3e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_activations_stand_the_largest_and_smallest_numbers(activation: str, dtype: Any) -> None:
    x = np.array([[1e30], [-1e30], [0.0], [-0.0], [1e-40], [np.nan]], dtype)
    kernels = _kernels("linear")
    needs, one = (True, False, False), np.ones((1, 1), dtype)
    out, residual = kernels.forward(needs, x, one, None, activation=activation)
    slope, _, _ = kernels.backward(np.ones_like(out), needs, residual)
    top, flat = (1.0, 0.0) if activation == "tanh" else (1e30, 1.0)
    np.testing.assert_allclose(out[:5, 0], [top, -(top == 1.0), 0, 0, out[4, 0]], rtol=1e-6)
    np.testing.assert_allclose(slope[:2, 0], [flat, 0.0], atol=1e-6)
    assert np.isnan(out[5, 0])


def test_relu_lets_nothing_through_where_it_is_zero_not_even_infinity() -> None:
    x, one = np.array([[-1.0], [0.0], [2.0]], np.float32), np.ones((1, 1), np.float32)
    kernels = _kernels("linear")
    needs = (False, False, True)
    _, residual = kernels.forward(needs, x, one, np.zeros(1, np.float32), activation="relu")
    g = np.array([[np.inf], [np.nan], [3.0]], np.float32)
    _, _, db = kernels.backward(g, needs, residual)
    np.testing.assert_array_equal(db, [3.0])


def test_an_unknown_activation_says_which_ones_there_are() -> None:
    with pytest.raises(ValueError, match=r"gelu.*relu.*tanh.*got 'swish'"):
        FUSED["linear"](np.ones((2, 3)), np.ones((4, 3)), None, activation="swish")
