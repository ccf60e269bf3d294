"""Kernels that work block by block: large enough for several, and of every shape at the seams."""

import itertools
from typing import Any

import numpy as np
import pytest

from freezeviz import autodiff
from freezeviz.autodiff import FUSED, _sets
from freezeviz.autodiff._numpy import _attention, _conv, _pool2d


def _numpy(name: str) -> _sets.Kernels:
    (found,) = [k for k in FUSED[name].kernels if k.set == "numpy"]
    return found


def _compare(name: str, args: list[Any], options: dict[str, Any], seed: int) -> None:
    """Assert that the kernels give what the portable ones give, whatever is wanted."""
    fused, kernels = FUSED[name], _numpy(name)
    wide = [None if a is None else a.astype(np.float64) for a in args]
    every = tuple(a is not None for a in args)
    expected, residual = fused.forward(every, *wide, **options)
    g = np.random.default_rng(seed).standard_normal(expected.shape).astype(np.float32)
    wanted = fused.backward(g.astype(np.float64), every, residual)
    scale = np.max(np.abs(expected), initial=1.0)
    for needs in itertools.product(*[(False, True) if e else (False,) for e in every]):
        assert kernels.accepts(needs, *args, **options)
        out, residual = kernels.forward(needs, *args, **options)
        np.testing.assert_allclose(out, expected, rtol=0, atol=3e-6 * scale)
        if not any(needs):
            assert residual is None
            continue
        for need, got, want in zip(
            needs, kernels.backward(g, needs, residual), wanted, strict=True
        ):
            assert (got is not None) == need
            if need:
                largest = np.max(np.abs(want), initial=1.0)
                np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * largest)


def _convolution(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
    def pair(low: int, high: int) -> tuple[int, int]:
        return int(rng.integers(low, high)), int(rng.integers(low, high))

    kernel, stride, padding, dilation = pair(1, 4), pair(1, 3), pair(0, 3), pair(1, 3)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    height, width = (max(1, r + int(rng.integers(2, 9))) for r in reach)
    inputs, outputs = (int(n) for n in rng.choice([1, 2, 3, 5, 8, 17], 2))
    x = rng.standard_normal((int(rng.integers(1, 8)), height, width, inputs))
    weight = rng.standard_normal((outputs, *kernel, inputs))
    bias = rng.standard_normal(outputs) if rng.random() < 0.7 else None
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    if rng.random() < 0.6:
        options["activation"] = "relu"
    out = [
        (n + 2 * p - r) // s + 1
        for n, p, r, s in zip((height, width), padding, reach, stride, strict=True)
    ]
    if min(out) > 1 and rng.random() < 0.6:
        options["pool"] = 2
    return [a if a is None else a.astype(np.float32) for a in (x, weight, bias)], options


@pytest.mark.parametrize("seed", range(40))
def test_a_convolution_in_blocks_is_the_whole(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two images in a block, or one: the last block of an odd batch is smaller.
    monkeypatch.setattr(_conv, "_BLOCK_BYTES", 1)
    rng = np.random.default_rng(seed)
    args, options = _convolution(rng)
    rows = [1, 1 << 20][seed % 2] if seed % 4 else 100
    monkeypatch.setattr(_conv, "_BLOCK_ROWS", rows)
    _compare("conv2d", args, options, seed)


def test_a_whole_batch_is_convolved_as_the_portable_kernels_do() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((21, 28, 28, 3)).astype(np.float32)
    weight = rng.standard_normal((16, 3, 3, 3)).astype(np.float32) / 5
    bias = rng.standard_normal(16).astype(np.float32)
    _compare("conv2d", [x, weight, bias], {"activation": "relu", "pool": 2}, 0)


@pytest.mark.parametrize("shape", [(2, 1, 4, 2), (2, 4, 1, 2)])
def test_of_an_image_too_small_for_a_window_a_convolution_is_empty(shape: tuple[int, ...]) -> None:
    x, weight = np.ones(shape, np.float32), np.ones((3, 2, 2, 2), np.float32)
    assert autodiff.conv2d(x, weight, None).shape == (2, shape[1] - 1, shape[2] - 1, 3)
    value, gradient = autodiff.value_and_grad(lambda w: autodiff.conv2d(x, w, None).sum())(weight)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(weight))


def test_of_equal_values_the_first_one_in_a_window_gets_the_gradient() -> None:
    x = np.array([[1, 2, 2], [2, 1, 2], [0, 0, 0]], np.float32)[None, :, :, None]
    options = {"kernel_size": (2, 2), "stride": (2, 2)}
    kernels = _numpy("max_pool2d")
    out, residual = kernels.forward((True,), np.repeat(x, 2, 2), **options)
    np.testing.assert_array_equal(out.ravel(), [2, 2, 2])
    (dx,) = kernels.backward(np.full(out.shape, 3, np.float32), (True,), residual)
    expected = [[0, 0, 3, 0, 3, 0], [3, 0, 0, 0, 0, 0], [0] * 6]
    np.testing.assert_array_equal(dx[0, :, :, 0], expected)


def test_pooling_and_relu_let_nothing_through_where_nothing_is_above_zero() -> None:
    kernels = _numpy("conv2d")
    x = np.array([[-1, -2, 3, 0], [-3, 0, 1, 2]], np.float32)[None, :, :, None]
    one = np.ones((1, 1, 1, 1), np.float32)
    needs = (True, False, False)
    out, residual = kernels.forward(needs, x, one, None, activation="relu", pool=2)
    np.testing.assert_array_equal(out.ravel(), [0, 3])
    g = np.array([np.inf, 5], np.float32).reshape(out.shape)
    dx, _, _ = kernels.backward(g, needs, residual)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0, 5, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "tanh"])
def test_a_cotangent_that_somebody_s_rule_has_widened_is_taken(activation: str | None) -> None:
    kernels, needs = _numpy("linear"), (True, True, True)
    rng = np.random.default_rng(0)
    args = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (5, 4), 5)]
    g = rng.standard_normal((3, 5)).astype(np.float32)
    found = []
    for dtype in (np.float32, np.float64):
        _, residual = kernels.forward(needs, *args, activation=activation)
        found.append(kernels.backward(g.astype(dtype), needs, residual))
    for single, wide in zip(*found, strict=True):
        np.testing.assert_allclose(wide, single, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pool", [None, 2])
def test_a_convolution_keeps_one_value_or_one_byte_of_its_output(pool: int | None) -> None:
    kernels = _numpy("conv2d")
    x, weight = np.ones((3, 6, 6, 2), np.float32), np.ones((5, 3, 3, 2), np.float32)
    needs = (True, False, True)
    out, residual = kernels.forward(needs, x, weight, np.ones(5, np.float32), activation="relu",
                                    pool=pool)  # fmt: skip
    kept = [a for a in residual if isinstance(a, np.ndarray)]
    assert sum(a.nbytes for a in kept if a is not weight) == (out.size if pool else out.nbytes)
    assert not any(a is x for a in kept)


@pytest.mark.parametrize("seed", range(12))
def test_pooling_in_blocks_is_the_whole(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pool2d, "_BLOCK_BYTES", 2000)
    rng = np.random.default_rng(seed)
    n, h, w, c = (int(k) for k in rng.integers(2, 9, 4))
    x = rng.standard_normal((n, h, w, c)).astype(np.float32)
    _compare("max_pool2d", [x], {"kernel_size": (2, 2), "stride": (2, 2)}, seed)


@pytest.mark.parametrize("limit", [1, 1000, 10_000])
@pytest.mark.parametrize("masked", ["no", "causal", "padding", "added"])
def test_attention_in_blocks_is_the_whole(
    limit: int, masked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_attention, "_BLOCK_BYTES", limit)
    rng = np.random.default_rng(1)
    batch, heads, length, source = 3, 5, 9, 7 if masked != "causal" else 9

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    mask = {
        "no": None,
        "causal": np.tri(9, dtype=bool),
        "padding": rng.random((batch, 1, 1, source)) < 0.6,
        "added": drawn(1, heads, length, 1),
    }[masked]
    parts = [drawn(batch, heads, length, 4), drawn(batch, heads, source, 4)]
    parts.append(drawn(batch, heads, source, 6))
    _compare("attention", parts, {"mask": mask}, 2)
    if masked in ("no", "causal"):
        packed = drawn(batch, 9, 2 * heads * 4 + heads * 3)
        _compare("packed_attention", [packed], {"heads": heads, "dims": heads * 4, "mask": mask}, 2)


def test_attention_far_from_zero_neither_overflows_nor_vanishes() -> None:
    kernels = _numpy("attention")
    q = np.full((1, 1, 2, 1), 100, np.float32)
    k = np.array([-90, 90, 89.99], np.float32).reshape(1, 1, 3, 1)
    v = np.array([1, 2, 4], np.float32).reshape(1, 1, 3, 1)
    out, _ = kernels.forward((False,) * 3, q, k, v, scale=1.0)
    expected = (2 + 4 * np.exp(-1.0)) / (1 + np.exp(-1.0))
    np.testing.assert_allclose(out.ravel(), [expected] * 2, rtol=1e-2)


@pytest.mark.parametrize("words", [3, 50, 5000])
def test_the_gradient_of_a_row_is_the_sum_over_where_it_stands(words: int) -> None:
    rng = np.random.default_rng(words)
    indices = rng.integers(0, words, (4, 30)).astype(np.uint16)
    g = rng.standard_normal((4, 30, 5)).astype(np.float32)
    kernels = _numpy("embedding")
    weight = rng.standard_normal((words, 5)).astype(np.float32)
    out, residual = kernels.forward((True,), weight, indices=indices)
    np.testing.assert_array_equal(out, weight[indices])
    (dw,) = kernels.backward(g, (True,), residual)
    expected = np.zeros((words, 5))
    np.add.at(expected, indices, g)
    np.testing.assert_allclose(dw, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("index", [5, -6])
def test_an_index_beyond_the_table_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        FUSED["embedding"](np.ones((5, 2)), indices=np.array([0, index]))
