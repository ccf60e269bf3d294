"""Losses against PyTorch: values, and gradients of predictions and targets."""

import numpy as np
import pytest

from freezeviz import nn
from freezeviz.errors import DataError, ShapeError

torch = pytest.importorskip("torch")
from tests.nn._torch import DTYPES, compare, here, normal  # noqa: E402

F = torch.nn.functional
REDUCTIONS = ["none", "mean", "sum"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("shape", "axis"), [((6, 4), -1), ((1, 4), 1), ((3, 4, 5), 1), ((4,), 0)])
def test_cross_entropy_of_classes(shape, axis, smoothing, reduction, dtype):
    lead = tuple(n for i, n in enumerate(shape) if i != axis % len(shape))
    targets = np.random.default_rng(1).integers(0, 4, lead)

    def loss(x):
        return nn.losses.cross_entropy(
            x, here(targets), axis=axis, label_smoothing=smoothing, reduction=reduction
        )

    def reference(x):
        return F.cross_entropy(
            x, torch.from_numpy(np.asarray(targets)), reduction=reduction, label_smoothing=smoothing
        )

    compare(loss, reference, [normal(shape, dtype) * 3], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("shape", "axis"), [((6, 4), -1), ((3, 4, 5), 1), ((4,), 0)])
def test_cross_entropy_of_probabilities(shape, axis, smoothing, reduction, dtype):
    targets = np.abs(normal(shape, dtype, 1))
    targets /= targets.sum(axis=axis, keepdims=True)

    def loss(x, y):
        return nn.losses.cross_entropy(
            x, y, axis=axis, label_smoothing=smoothing, reduction=reduction
        )

    def reference(x, y):
        # torch divides by the number of samples only, without the axes that are not classes.
        each = F.cross_entropy(x, y, reduction="none", label_smoothing=smoothing)
        return {"none": lambda: each, "sum": each.sum, "mean": each.mean}[reduction]()

    compare(loss, reference, [normal(shape, dtype) * 3, targets], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_weighs_samples(dtype):
    targets, weights = np.array([0, 2, 1]), np.array([1.0, 0.0, 2.5], dtype)

    def reference(x):
        return F.cross_entropy(x, torch.from_numpy(targets), reduction="none") * torch.tensor(
            weights
        )

    compare(
        lambda x: nn.losses.cross_entropy(x, here(targets), weights=here(weights)),
        reference,
        [normal((3, 4), dtype)],
        dtype,
    )


def test_cross_entropy_of_large_logits_neither_overflows_nor_loses():
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], np.float32)
    loss = nn.losses.cross_entropy(logits, np.array([1, 0]))
    np.testing.assert_allclose(loss, [2e4, np.log(3)], rtol=1e-6)


def test_cross_entropy_of_one_hot_integers_needs_floats_or_classes():
    logits = np.zeros((3, 4), np.float32)
    with pytest.raises(ShapeError, match=r"targets of shape \(3,\).*got \(3, 4\)"):
        nn.losses.cross_entropy(logits, np.eye(4, dtype=int)[:3])


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_cross_entropy_takes_every_kind_of_integer(kind):
    logits = normal((3, 4), "float32")
    targets = np.array([0, 3, 1])
    np.testing.assert_array_equal(
        nn.losses.cross_entropy(logits, targets.astype(kind)),
        nn.losses.cross_entropy(logits, targets),
    )


@pytest.mark.parametrize(("targets", "wrong"), [([0, 4, 1], "4"), ([0, -1, 1], "-1")])
def test_cross_entropy_names_the_class_that_is_out_of_range(targets, wrong):
    with pytest.raises(DataError, match=rf"class {wrong} for logits of 4 classes.*0 to 3"):
        nn.losses.cross_entropy(np.zeros((3, 4)), np.array(targets))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64])
def test_cross_entropy_of_no_classes_takes_no_targets(kind):
    with pytest.raises(DataError, match="class 0 for logits of 0 classes"):
        nn.losses.cross_entropy(np.zeros((3, 0)), np.zeros(3, kind))


@pytest.mark.parametrize(
    ("logits", "targets", "options", "message"),
    [
        (np.zeros((3, 4)), np.zeros(2, int), {}, r"\(3,\).*got \(2,\)"),
        (np.zeros((3, 4)), np.zeros((3, 5)), {}, r"\(3, 4\), got \(3, 5\)"),
        (np.zeros((3, 4)), np.zeros(3, int), {"axis": 2}, "no axis 2"),
        (np.zeros((3, 4)), np.zeros(3, int), {"weights": np.ones(4)}, r"weights.*\(4,\)"),
        (np.array(1.0), np.array(0), {}, "got a scalar"),
    ],
)
def test_cross_entropy_refuses_shapes_that_do_not_fit(logits, targets, options, message):
    with pytest.raises(ShapeError, match=message):
        nn.losses.cross_entropy(logits, targets, **options)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_cross_entropy_refuses_smoothing_outside_of_the_interval(smoothing):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        nn.losses.cross_entropy(np.zeros((1, 2)), np.zeros(1, int), label_smoothing=smoothing)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (4, 3), (1,)])
def test_mse_loss(shape, reduction, dtype):
    compare(
        lambda x, y: nn.losses.mse_loss(x, y, reduction=reduction),
        lambda x, y: F.mse_loss(x, y, reduction=reduction),
        [normal(shape, dtype), normal(shape, dtype, 1)],
        dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("logits", [True, False])
def test_binary_cross_entropy(logits, weighted, reduction, dtype):
    weights = np.abs(normal((4, 3), dtype, 2)) if weighted else None
    other = None if weights is None else torch.from_numpy(weights)
    x = normal((4, 3), dtype) * 3
    x = x if logits else 1 / (1 + np.exp(-x))
    targets = np.random.default_rng(1).integers(0, 2, (4, 3)).astype(dtype)
    theirs = F.binary_cross_entropy_with_logits if logits else F.binary_cross_entropy
    compare(
        lambda x: nn.losses.binary_cross_entropy(
            x, here(targets), here(weights), logits, reduction
        ),
        lambda x: theirs(x, torch.from_numpy(targets), other, reduction=reduction),
        [x],
        dtype,
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_binary_cross_entropy_of_certain_probabilities_is_finite(dtype):
    p, y = np.array([0.0, 1.0, 0.0, 1.0], dtype), np.array([0.0, 1.0, 1.0, 0.0], dtype)
    loss = nn.losses.binary_cross_entropy(p, y, with_logits=False, reduction="none")
    np.testing.assert_array_equal(loss, [0, 0, 100, 100])
    assert loss.dtype == dtype


def test_binary_cross_entropy_of_large_logits():
    x, y = np.array([1e4, -1e4, 1e4], np.float32), np.array([1.0, 0.0, 0.0], np.float32)
    loss = nn.losses.binary_cross_entropy(x, y, reduction="none")
    np.testing.assert_array_equal(loss, [0, 0, 1e4])


@pytest.mark.parametrize("loss", [nn.losses.mse_loss, nn.losses.binary_cross_entropy])
@pytest.mark.parametrize("kind", [np.int64, np.uint8, bool])
def test_whole_targets_do_not_widen_the_loss(loss, kind):
    x, y = normal((4,), "float32"), np.array([0, 1, 1, 0])
    got = loss(x, y.astype(kind))
    assert got.dtype == np.float32
    assert got == loss(x, y.astype(np.float32))


@pytest.mark.parametrize("loss", [nn.losses.mse_loss, nn.losses.binary_cross_entropy])
def test_shapes_that_would_broadcast_are_refused(loss):
    with pytest.raises(ShapeError, match=r"\(4, 1\), got \(4,\)"):
        loss(np.ones((4, 1)), np.ones(4))


@pytest.mark.parametrize(
    "loss",
    [
        lambda reduction: nn.losses.mse_loss(np.ones((0, 2)), np.ones((0, 2)), reduction),
        lambda reduction: nn.losses.cross_entropy(
            np.ones((0, 2)), np.ones(0, int), reduction=reduction
        ),
    ],
)
def test_empty_batches(loss):
    assert loss("none").shape[0] == 0
    assert loss("sum") == 0
    with pytest.raises(DataError, match="empty batch"):
        loss("mean")


def test_unknown_reductions_are_refused():
    with pytest.raises(ValueError, match="'none', 'mean' or 'sum', got 'avg'"):
        nn.losses.mse_loss(np.ones(2), np.ones(2), reduction="avg")
