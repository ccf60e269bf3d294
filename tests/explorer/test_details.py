"""Details of a node: numbers that are right, for arrays of every kind."""

import numpy as np
import pytest

from freezeviz import nn
from freezeviz.errors import ModelError, SelectorError
from freezeviz.explorer import explore
from freezeviz.explorer._details import MOST_ARRAYS, MOST_VALUES, _numbers
from tests.explorer.fake_framework import FakeAdapter, encoder


class Layer(nn.Module):
    """A layer of our own.

    With more to say.
    """

    def __init__(self):
        super().__init__()
        self.weight = np.array([[1.0, np.nan], [np.inf, 3.0]], np.float32)
        self.register_buffer("count", np.arange(5))
        self.inner = nn.Linear(2, 2)


def test_a_module_is_told_with_its_own_arrays_and_the_place_of_its_code():
    model = Layer()
    model.freeze(recurse=False)
    seen = explore(model).controller.details("")
    assert (seen.path, seen.kind) == ("", "Layer")
    assert seen.doc == "A layer of our own.\n\nWith more to say."
    assert seen.source.rpartition(":")[0].endswith("test_details.py")
    (weight,) = seen.parameters
    assert (weight.path, weight.shape, weight.dtype) == ("weight", (2, 2), "float32")
    assert (weight.device, weight.frozen) == ("cpu", True)
    assert (weight.minimum, weight.mean, weight.maximum, weight.nonfinite) == (1.0, 2.0, 3.0, 2)
    (count,) = seen.buffers
    assert (count.frozen, count.minimum, count.maximum) == (None, 0.0, 4.0)
    assert seen.left_out == 0


def test_a_parameter_is_told_alone():
    seen = explore(Layer()).controller.details("inner.bias")
    assert (seen.path, seen.kind) == ("inner.bias", "parameter")
    assert [array.path for array in seen.parameters] == ["inner.bias"]
    assert seen.buffers == ()
    assert seen.source


def test_a_module_without_arrays_shows_the_first_below_it():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(20)])
    seen = explore(model).controller.details("")
    assert len(seen.parameters) == MOST_ARRAYS
    assert seen.left_out == 40 - MOST_ARRAYS
    assert seen.parameters[0].path == "layers.0.weight"


def test_an_unknown_path_is_an_error():
    with pytest.raises(SelectorError, match="no path 'inr'"):
        explore(Layer()).controller.details("inr")


def test_further_names_lead_to_the_same_details():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, shared)
    controller = explore(model).controller
    assert controller.details("layers.1.weight") == controller.details("layers.0.weight")
    assert controller.details("layers.0").parameters[0].aliases == ("layers.1.weight",)


def test_an_adapter_that_tells_neither_place_nor_device_will_do():
    seen = explore(encoder(1)).controller.details("head")
    assert (seen.doc, seen.source) == ("", "")
    assert seen.parameters[0].device == ""
    assert seen.parameters[0].maximum == 0.0


def test_an_array_that_cannot_be_read_tells_why(monkeypatch):
    def read(self, path):
        raise ModelError("no values yet")

    monkeypatch.setattr(FakeAdapter, "read", read)
    seen = explore(encoder(1)).controller.details("head")
    assert {array.problem for array in seen.parameters} == {"no values yet"}
    assert seen.parameters[0].minimum is None


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(-1, 1, 1000),
        np.float32([1e38, -1e38]),
        np.float64([1e308, -1e308]),
        np.float16([65504, -65504, 0.5]),
        np.float32([1e-45, 2e-45]),
        np.float32([3.5] * 7),
        np.float64([0.1, 0.1, 0.1]),
        np.arange(-5, 5, dtype=np.int8),
        np.uint64([0, 2**63]),
        np.array([True, False, True]),
        np.array(2.0),
    ],
)
def test_numbers_are_those_of_the_values(values):
    numbers = _numbers(values)
    wide = values.astype(np.longdouble)
    assert numbers["minimum"] == float(wide.min())
    assert numbers["maximum"] == float(wide.max())
    assert numbers["minimum"] <= numbers["mean"] <= numbers["maximum"]
    rounding = np.abs(wide).max() * 1e-12
    assert numbers["mean"] == pytest.approx(float(wide.mean()), abs=float(rounding))
    assert numbers["nonfinite"] == 0
    if numbers["histogram"] is not None:
        assert sum(numbers["histogram"].counts) == values.size
        assert len(numbers["histogram"].edges) == len(numbers["histogram"].counts) + 1


def test_a_histogram_counts_as_numpy_does(rng):
    values = rng.standard_normal(10_000).astype(np.float32)
    histogram = _numbers(values)["histogram"]
    counts, edges = np.histogram(values.astype(np.float64), bins=len(histogram.counts))
    assert np.abs(np.subtract(histogram.counts, counts)).max() <= 2  # at the edges
    assert np.allclose(histogram.edges, edges)


def test_complex_numbers_count_by_their_magnitude():
    assert _numbers(np.array([3 + 4j, 0j], np.complex64))["maximum"] == 5.0


def test_arrays_with_nothing_to_count():
    assert _numbers(np.zeros((0, 3), np.float32)) == {"nonfinite": 0}
    assert _numbers(np.float32([np.nan, -np.inf])) == {"nonfinite": 2}
    assert "dtype" in _numbers(np.array(["a"]))["problem"]


def test_of_very_many_values_some_are_counted():
    histogram = _numbers(np.arange(MOST_VALUES + 1, dtype=np.float32))["histogram"]
    assert histogram.sampled
    assert sum(histogram.counts) == MOST_VALUES // 2 + 1
