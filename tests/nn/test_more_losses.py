"""The losses beyond cross entropy and squares, against PyTorch."""

import math

import numpy as np
import pytest

from freezeviz import autodiff, nn
from freezeviz.errors import DataError, ShapeError
from freezeviz.nn import losses

torch = pytest.importorskip("torch")
from tests.nn._torch import DTYPES, TOLERANCE, close, compare, here, normal  # noqa: E402

F = torch.nn.functional
REDUCTIONS = ["none", "mean", "sum"]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def reduced(each, reduction):
    return {"none": lambda: each, "mean": each.mean, "sum": each.sum}[reduction]()


# Ours, PyTorch's unreduced, and how many inputs.
ELEMENTWISE = {
    "l1": (losses.l1_loss, lambda x, y: F.l1_loss(x, y, reduction="none"), 2),
    "smooth_l1": (losses.smooth_l1_loss, lambda x, y: F.smooth_l1_loss(x, y, reduction="none"), 2),
    "smooth_l1 beta": (
        lambda x, y, **k: losses.smooth_l1_loss(x, y, beta=0.3, **k),
        lambda x, y: F.smooth_l1_loss(x, y, reduction="none", beta=0.3),
        2,
    ),
    "smooth_l1 beta 0": (
        lambda x, y, **k: losses.smooth_l1_loss(x, y, 0, **k),
        lambda x, y: F.smooth_l1_loss(x, y, reduction="none", beta=0.0),
        2,
    ),
    "huber": (losses.huber_loss, lambda x, y: F.huber_loss(x, y, reduction="none"), 2),
    "huber delta": (
        lambda x, y, **k: losses.huber_loss(x, y, delta=0.4, **k),
        lambda x, y: F.huber_loss(x, y, reduction="none", delta=0.4),
        2,
    ),
    "log_cosh": (losses.log_cosh_loss, lambda x, y: torch.log(torch.cosh(x - y)), 2),
    "hinge": (losses.hinge_loss, lambda x, y: torch.relu(1 - x * y), 2),
    "gaussian_nll": (
        lambda x, y, v, **k: losses.gaussian_nll_loss(x, y, v * v + 0.1, **k),
        lambda x, y, v: F.gaussian_nll_loss(x, y, v * v + 0.1, reduction="none"),
        3,
    ),
    "gaussian_nll full": (
        lambda x, y, v, **k: losses.gaussian_nll_loss(x, y, v * v + 0.1, full=True, **k),
        lambda x, y, v: F.gaussian_nll_loss(x, y, v * v + 0.1, full=True, reduction="none"),
        3,
    ),
    "margin_ranking": (
        lambda x, y, z, **k: losses.margin_ranking_loss(x, y, z, margin=0.2, **k),
        lambda x, y, z: torch.relu(-z * (x - y) + 0.2),
        3,
    ),
}


@every_dtype
@every_reduction
@pytest.mark.parametrize("shape", [(5,), (4, 3), (1,), (1, 1), ()])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_loss(name, shape, reduction, dtype):
    ours, theirs, n = ELEMENTWISE[name]
    inputs = [np.asarray(normal(shape, dtype, seed) * 1.5) for seed in range(n)]
    compare(
        lambda *xs: ours(*xs, reduction=reduction),
        lambda *xs: reduced(theirs(*xs), reduction),
        inputs,
        dtype,
    )


@pytest.mark.parametrize("name", sorted(set(ELEMENTWISE) - {"hinge", "margin_ranking"}))
def test_a_difference_of_zero_has_torchs_loss_and_gradient(name):
    ours, theirs, n = ELEMENTWISE[name]
    compare(
        lambda *xs: ours(*xs, reduction="sum"),
        lambda *xs: theirs(*xs).sum(),
        [np.ones(3)] * n,
        "float64",
    )


@every_dtype
@every_reduction
@pytest.mark.parametrize(("shape", "axis"), [((6, 4), -1), ((1, 4), 1), ((3, 4, 5), 1), ((4,), 0)])
def test_nll_loss(shape, axis, reduction, dtype):
    lead = tuple(n for i, n in enumerate(shape) if i != axis % len(shape))
    targets = np.random.default_rng(1).integers(0, 4, lead)
    compare(
        lambda x: losses.nll_loss(x, here(targets), axis=axis, reduction=reduction),
        lambda x: F.nll_loss(x, torch.from_numpy(np.asarray(targets)), reduction=reduction),
        [normal(shape, dtype)],
        dtype,
    )


@every_dtype
def test_nll_of_log_softmax_is_cross_entropy(dtype):
    x, y = normal((6, 4), dtype), np.array([0, 1, 2, 3, 0, 1])
    close(losses.nll_loss(nn.log_softmax(x), y), losses.cross_entropy(x, y), TOLERANCE[dtype])


@every_dtype
@every_reduction
@pytest.mark.parametrize(("shape", "axis"), [((6, 4), -1), ((1, 4), 1), ((3, 4, 5), 1), ((4,), 0)])
def test_kl_div_loss(shape, axis, reduction, dtype):
    def reference(x, y):
        each = F.kl_div(x, y, reduction="none", log_target=True).sum(axis)
        return reduced(each, reduction)

    inputs = [nn.log_softmax(normal(shape, dtype, seed), axis) for seed in (0, 1)]
    compare(
        lambda x, y: losses.kl_div_loss(x, y, axis=axis, reduction=reduction),
        reference,
        inputs,
        dtype,
    )


def test_kl_div_loss_counts_an_impossible_class_as_nothing():
    inputs = np.log(np.array([[0.5, 0.5, 1e-300], [0.25, 0.25, 0.5]]))
    inputs[0, 2] = -np.inf
    targets = np.array([[0.0, -np.inf, -np.inf], [np.log(0.5), np.log(0.5), -np.inf]])
    value, gradient = autodiff.value_and_grad(
        lambda x: losses.kl_div_loss(x, targets, reduction="sum")
    )(inputs)
    np.testing.assert_allclose(value, 2 * np.log(2))
    np.testing.assert_allclose(gradient, [[-1, 0, 0], [-0.5, -0.5, 0]], rtol=1e-12)


@every_dtype
@every_reduction
@pytest.mark.parametrize(("shape", "axis"), [((6, 4), 1), ((1, 4), -1), ((3, 4, 5), 1), ((4,), 0)])
def test_cosine_similarity_loss(shape, axis, reduction, dtype):
    compare(
        lambda x, y: losses.cosine_similarity_loss(x, y, axis=axis, reduction=reduction),
        lambda x, y: reduced(F.cosine_similarity(x, y, dim=axis), reduction),
        [normal(shape, dtype), normal(shape, dtype, 1)],
        dtype,
    )


def test_cosine_similarity_of_a_vector_of_zeros_is_zero_and_its_gradient_finite():
    x, y = np.zeros((1, 3)), np.ones((1, 3))
    value, pullback = autodiff.vjp(lambda x, y: losses.cosine_similarity_loss(x, y, eps=0.5), x, y)
    np.testing.assert_array_equal(value, [0.0])
    of_x, of_y = pullback(np.ones(1))
    np.testing.assert_array_equal(of_x, [[2.0, 2.0, 2.0]])
    np.testing.assert_array_equal(of_y, [[0.0, 0.0, 0.0]])


@every_dtype
@every_reduction
@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize(("shape", "axis"), [((6, 4), -1), ((1, 4), 1), ((3, 4, 5), 1)])
def test_triplet_loss(shape, axis, p, reduction, dtype):
    def reference(a, b, c):
        near, far = [((a - x).abs() ** p).sum(axis).add(1e-6) ** (1 / p) for x in (b, c)]
        return reduced(torch.relu(near - far + 0.7), reduction)

    compare(
        lambda *xs: losses.triplet_loss(*xs, axis=axis, p=p, margin=0.7, reduction=reduction),
        reference,
        [normal(shape, dtype, seed) for seed in range(3)],
        dtype,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_that_torch_has_whole_are_those(reduction):
    # Above, their formulas were compared; here the functions, where defaults or names differ.
    x, y, z = (normal((6, 4), "float64", seed) for seed in range(3))
    tx, ty, tz = (torch.from_numpy(a) for a in (x, y, z))
    close(
        np.asarray(losses.triplet_loss(x, y, z, eps=1e-12, reduction=reduction)),
        F.triplet_margin_loss(tx, ty, tz, eps=1e-15, reduction=reduction).numpy(),
        1e-10,
    )
    sign = np.sign(z)
    close(
        np.asarray(losses.margin_ranking_loss(x, y, sign, 0.3, reduction=reduction)),
        F.margin_ranking_loss(tx, ty, torch.from_numpy(sign), 0.3, reduction=reduction).numpy(),
        1e-10,
    )


# ---------------------------------------------------------------- what they have in common


def call(name, x, **options):
    """Call a loss on arrays like `x`, whatever it takes."""
    fn = getattr(losses, name)
    if name in ("nll_loss", "cross_entropy"):
        return fn(x, np.zeros(x.shape[:-1], int), **options)
    three = ("triplet_loss", "margin_ranking_loss", "gaussian_nll_loss")
    return fn(x, x * 0.5, *([np.abs(x) + 0.5] if name in three else []), **options)


every_loss = pytest.mark.parametrize("name", losses.__all__)


@every_loss
def test_a_loss_keeps_the_dtype_and_reduces_to_a_scalar(name):
    for dtype in ("float16", "float32", "float64"):
        x = np.abs(normal((3, 4), dtype)) / 4
        assert call(name, x).dtype == dtype
        for reduction in ("mean", "sum"):
            value = call(name, x, reduction=reduction)
            assert (value.dtype, value.shape) == (dtype, ())


@every_loss
def test_an_empty_batch_has_a_sum_but_no_mean(name):
    x = np.zeros((0, 4), np.float32)
    assert call(name, x, reduction="sum") == 0
    assert call(name, x, reduction="none").shape[0] == 0
    with pytest.raises(DataError, match="empty batch"):
        call(name, x, reduction="mean")


@every_loss
def test_a_reduction_that_does_not_exist_is_refused(name):
    with pytest.raises(ValueError, match=r"'none', 'mean' or 'sum', got 'max'"):
        call(name, np.full((3, 4), 0.5), reduction="max")


@every_loss
def test_layouts_in_memory_make_no_difference(name):
    x = np.abs(normal((3, 4), "float64")) / 4
    expected = autodiff.value_and_grad(lambda x: call(name, x, reduction="sum"))(x)
    for view in (np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
        got = autodiff.value_and_grad(lambda x: call(name, x, reduction="sum"))(view)
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-12)
        np.testing.assert_allclose(got[1], expected[1], rtol=1e-12)


@pytest.mark.parametrize("name", ["l1_loss", "smooth_l1_loss", "huber_loss", "log_cosh_loss"])
def test_whole_numbers_as_targets_do_not_widen_single_precision(name):
    x = normal((3, 4), "float32")
    assert getattr(losses, name)(x, np.ones((3, 4), int), reduction="none").dtype == np.float32


def test_defaults_are_those_of_mlx():
    x = np.full((3, 4), 0.5)
    means = {"binary_cross_entropy", "gaussian_nll_loss", "l1_loss", "mse_loss", "smooth_l1_loss"}
    assert {name for name in losses.__all__ if call(name, x).shape == ()} == means


a34, a33 = np.zeros((3, 4)), np.zeros((3, 3))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: losses.l1_loss(a34, a33), ShapeError, r"l1_loss .* \(3, 4\), got \(3, 3\)"),
        (lambda: losses.l1_loss(np.zeros(3), np.zeros((3, 1))), ShapeError, r"\(3,\), got \(3, 1"),
        (lambda: losses.smooth_l1_loss(a34, a33), ShapeError, "smooth_l1_loss"),
        (lambda: losses.huber_loss(a34, a33), ShapeError, "huber_loss"),
        (lambda: losses.log_cosh_loss(a34, a33), ShapeError, "log_cosh_loss"),
        (lambda: losses.hinge_loss(a34, a33), ShapeError, "hinge_loss"),
        (lambda: losses.kl_div_loss(a34, a33), ShapeError, "kl_div_loss"),
        (lambda: losses.kl_div_loss(a34, a34, axis=2), ShapeError, "no axis 2 in .*(3, 4)"),
        (lambda: losses.cosine_similarity_loss(a34, a33), ShapeError, "cosine"),
        (lambda: losses.cosine_similarity_loss(a34[0], a34[0]), ShapeError, "no axis 1"),
        (lambda: losses.gaussian_nll_loss(a34, a33, a34), ShapeError, "gaussian_nll_loss"),
        (lambda: losses.gaussian_nll_loss(a34, a34, a33), ShapeError, r"vars .* got \(3, 3\)"),
        (lambda: losses.triplet_loss(a34, a33, a34), ShapeError, "triplet_loss's positives"),
        (lambda: losses.triplet_loss(a34, a34, a33), ShapeError, "triplet_loss's negatives"),
        (lambda: losses.margin_ranking_loss(a34, a34, a33), ShapeError, "one shape"),
        (lambda: losses.nll_loss(a34, np.zeros(4, int)), ShapeError, r"\(3,\).* got \(4,\)"),
        (lambda: losses.nll_loss(a34, np.zeros(3, int), axis=5), ShapeError, "no axis 5"),
        (lambda: losses.nll_loss(a34, np.zeros(3)), DataError, "integer targets, got float64"),
        (lambda: losses.nll_loss(a34, np.array([0, 4, 1])), DataError, "class 4 .* 0 to 3"),
        (lambda: losses.smooth_l1_loss(a34, a34, -1), ValueError, "beta is not negative, got -1"),
        (lambda: losses.huber_loss(a34, a34, 0), ValueError, "delta is above zero, got 0"),
    ],
)
def test_what_does_not_fit_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_some_values_by_hand():
    x, y = np.array([0.0, 3.0]), np.array([0.5, 0.0])
    np.testing.assert_allclose(losses.l1_loss(x, y), 1.75)
    np.testing.assert_allclose(losses.huber_loss(x, y), [0.125, 2.5])
    np.testing.assert_allclose(losses.smooth_l1_loss(x, y, reduction="none"), [0.125, 2.5])
    np.testing.assert_allclose(losses.hinge_loss(np.array([0.3, 2.0]), np.array([-1, 1])), [1.3, 0])
    np.testing.assert_allclose(
        losses.gaussian_nll_loss(x, y, np.array([1.0, 4.0]), reduction="none"),
        [0.125, 0.5 * (math.log(4) + 9 / 4)],
    )
