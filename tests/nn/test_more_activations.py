"""The activations beyond the common ones, against PyTorch."""

import copy
import pickle

import numpy as np
import pytest

from freezeviz import nn
from freezeviz.errors import ShapeError

torch = pytest.importorskip("torch")
from tests.nn._torch import DTYPES, check, here, normal, ours  # noqa: E402

F = torch.nn.functional
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def gelu_fast(x):
    return x * torch.sigmoid(1.702 * x)


CASES = {
    "CELU": (nn.CELU(), F.celu),
    # A power of two: torch keeps one over alpha in single precision.
    "CELU(0.25)": (nn.CELU(0.25), lambda x: F.celu(x, 0.25)),
    "GELU precise": (nn.GELU("precise"), lambda x: F.gelu(x, approximate="tanh")),
    "GELU tanh": (nn.GELU(approx="tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "GELU fast": (nn.GELU("fast"), gelu_fast),
    "GELU none": (nn.GELU("none"), F.gelu),
    "GLU": (nn.GLU(), F.glu),
    "GLU(0)": (nn.GLU(axis=0), lambda x: F.glu(x, 0)),
    "HardShrink": (nn.HardShrink(), F.hardshrink),
    "HardShrink(1)": (nn.HardShrink(1.0), lambda x: F.hardshrink(x, 1.0)),
    "HardTanh": (nn.HardTanh(), F.hardtanh),
    "HardTanh(-2, 3)": (nn.HardTanh(-2.0, max_val=3.0), lambda x: F.hardtanh(x, -2.0, 3.0)),
    "Hardswish": (nn.Hardswish(), F.hardswish),
    "LogSigmoid": (nn.LogSigmoid(), F.logsigmoid),
    "Mish": (nn.Mish(), F.mish),
    "PReLU": (nn.PReLU(init=0.1), lambda x: F.prelu(x, torch.tensor([0.1], dtype=x.dtype))),
    "ReLU2": (nn.ReLU2(), lambda x: F.relu(x) ** 2),
    "ReLU6": (nn.ReLU6(), F.relu6),
    "SELU": (nn.SELU(), F.selu),
    "Softmin": (nn.Softmin(), lambda x: F.softmin(x, -1)),
    "Softmin(1)": (nn.Softmin(1), lambda x: F.softmin(x, 1)),
    "Softshrink": (nn.Softshrink(), F.softshrink),
    "Softshrink(2)": (nn.Softshrink(lambd=2.0), lambda x: F.softshrink(x, 2.0)),
    "Softsign": (nn.Softsign(), F.softsign),
}
FUNCTIONS = {
    "celu": "CELU",
    "gelu_fast_approx": "GELU fast",
    "glu": "GLU",
    "hard_shrink": "HardShrink",
    "hard_tanh": "HardTanh",
    "hardswish": "Hardswish",
    "log_sigmoid": "LogSigmoid",
    "mish": "Mish",
    "relu2": "ReLU2",
    "relu6": "ReLU6",
    "selu": "SELU",
    "softmin": "Softmin",
    "softshrink": "Softshrink",
    "softsign": "Softsign",
}
every_case = pytest.mark.parametrize("name", CASES)


class Fixed(nn.Module):
    """An activation whose own parameters do not count."""

    def __init__(self, activation):
        super().__init__()
        self._activation = activation

    def __call__(self, x):
        return self._activation(x)


@every_dtype
@pytest.mark.parametrize("shape", [(4, 6), (2, 2), (0, 4), (2, 3, 4)])
@every_case
def test_activation(name, shape, dtype):
    activation, reference = CASES[name]
    if isinstance(activation, nn.PReLU):
        activation = copy.deepcopy(activation).set_dtype(dtype)
        activation.weight = here(np.array([0.1], dtype))
    check(Fixed(activation), lambda p, x: reference(x), [normal(shape, dtype) * 3], dtype)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_function_is_what_the_module_applies(name):
    x = normal((4, 6), "float32") * 3
    expected = CASES[FUNCTIONS[name]][0](x)
    np.testing.assert_array_equal(getattr(nn, name)(x), expected)


@every_case
def test_activation_and_derivative_of_corners_and_of_large_values(name):
    activation, reference = CASES[name]
    corners = [-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0]
    x = np.array([[-1e4, -100.0, -30.0, *corners, 30.0, 100.0, 1e4]] * 2, np.float64)
    if name.startswith("PReLU"):
        activation = copy.deepcopy(activation)
        activation.weight = here(np.array([0.1]))
    check(Fixed(activation), lambda p, x: reference(x), [x], "float64")


@every_case
def test_half_precision_stays_and_is_close_to_single(name):
    activation, _ = CASES[name]
    if isinstance(activation, nn.PReLU):
        activation = copy.deepcopy(activation).set_dtype("float16")
    x = normal((4, 6), "float16")
    got, _, (gradient,) = ours(Fixed(activation), [x])
    wide, _, (wide_gradient,) = ours(Fixed(activation), [x.astype("float32")])
    assert got.dtype == gradient.dtype == np.float16
    np.testing.assert_allclose(got, wide, rtol=5e-3, atol=5e-3)
    np.testing.assert_allclose(gradient, wide_gradient, rtol=2e-2, atol=2e-2)


@every_case
def test_layouts_in_memory_make_no_difference(name):
    activation, _ = CASES[name]
    x = normal((4, 6), "float32")
    expected = ours(Fixed(activation), [x])
    for view in (
        np.asfortranarray(x),
        np.repeat(x, 2, 0)[::2],
        np.ascontiguousarray(x[::-1])[::-1],
    ):
        got = ours(Fixed(activation), [view])
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-6)
        np.testing.assert_allclose(got[2][0], expected[2][0], rtol=1e-6)


@every_case
def test_activations_can_be_pickled_and_print_what_they_were_made_with(name):
    activation, _ = CASES[name]
    x = normal((4, 6), "float32")
    copied = pickle.loads(pickle.dumps(activation))
    np.testing.assert_array_equal(copied(x), activation(x))
    assert repr(copied) == repr(activation)
    assert type(copied) is type(activation)
    assert type(activation).__doc__


def test_some_pictures():
    assert repr(nn.CELU(0.3)) == "CELU(alpha=0.3)"
    assert repr(nn.GELU("fast")) == "GELU(approx='fast')"
    assert repr(nn.PReLU(3)) == "PReLU(num_parameters=3)"


@every_case
def test_nan_goes_through(name):
    activation, reference = CASES[name]
    x = np.array([[np.nan, 1.0], [np.nan, 2.0]])
    with np.errstate(invalid="ignore"):
        got = np.isnan(activation(x))
    np.testing.assert_array_equal(got, torch.isnan(reference(torch.from_numpy(x))).numpy())


# ---------------------------------------------------------------- those with something of their own


@every_dtype
@pytest.mark.parametrize("n", [1, 3])
def test_prelu(n, dtype):
    x = normal((4, 5, 3), dtype)
    x[0, 0, 0] = 0.0

    def reference(p, x):
        return F.prelu(x.movedim(-1, 1), p["weight"]).movedim(1, -1)

    check(nn.PReLU(n), reference, [x], dtype)


def test_prelu_as_a_function_of_two_arrays():
    x, alpha = normal((4, 3), "float64"), np.array([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(nn.prelu(x, alpha), np.where(x > 0, x, alpha * x))


def test_step_is_one_from_the_threshold_on_and_flat():
    x = np.array([-1.0, 0.0, 0.5, 2.0], np.float32)
    np.testing.assert_array_equal(nn.step(x), [0, 1, 1, 1])
    np.testing.assert_array_equal(nn.Step(0.5)(x), [0, 0, 1, 1])
    out, _, (gradient,) = ours(nn.Step(), [x])
    assert out.dtype == np.float32
    assert not gradient.any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: nn.glu(x, 2), ShapeError, r"axis 2, got x of shape \(4, 5\)"),
        (lambda x: nn.GLU()(x), ShapeError, r"axis -1, got x of shape \(4, 5\)"),
        (lambda x: nn.PReLU(3)(x), ShapeError, r"num_parameters=3\), got \(4, 5\)"),
        (lambda x: nn.celu(x, 0), ValueError, "alpha"),
        (lambda x: nn.hard_tanh(x, 1.0, 1.0), ValueError, "min_val is below max_val"),
        (lambda x: nn.GELU("exact"), ValueError, r"approx is one of .*'tanh'.* got 'exact'"),
        (lambda x: nn.CELU(1.0, 2.0), TypeError, "CELU takes"),
        (lambda x: nn.Softsign(axis=1), TypeError, "Softsign takes no arguments|'axis'"),
    ],
)
def test_what_makes_no_sense_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((4, 5), np.float32))
