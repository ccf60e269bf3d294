"""Statistics and bias gradients over many positions are as good as float32 can be."""

import numpy as np
import pytest

from freezeviz import autodiff


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((16, 112, 112, 4), dtype=np.float32) + 3


def test_batch_statistics_of_large_images_keep_six_digits(images):
    _, mean, var = autodiff.batch_norm(images, None, None)
    exact = images.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=1e-6)


def test_the_bias_gradient_of_a_convolution_keeps_six_digits(images):
    weight = np.zeros((4, 1, 1, 4), np.float32)
    _, pullback = autodiff.vjp(
        lambda bias: autodiff.conv2d(images, weight, bias), np.zeros(4, np.float32)
    )
    (db,) = pullback(images)
    np.testing.assert_allclose(db, images.astype(np.float64).sum((0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 255, 256, 512, 513, 1000, 70_000])
def test_sums_of_any_number_of_rows_are_whole(n):
    from freezeviz.autodiff._fused._sums import sum_rows

    x = np.arange(3 * n, dtype=np.float64).reshape(n, 3)
    np.testing.assert_array_equal(sum_rows(x), x.sum(axis=0))
