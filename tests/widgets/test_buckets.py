"""A long table in few buckets: extremes, means and gaps; growing costs what is new."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeviz.widgets._buckets import Buckets

values = st.one_of(st.floats(-1e6, 1e6, width=32), st.sampled_from([np.nan, np.inf, -np.inf]))


def table(loss, **more):
    steps = np.arange(1, len(loss) + 1, dtype=float)
    return {"step": steps, "loss": np.array(loss, float)} | more


def read(buckets):
    trait = buckets.as_trait()
    return (
        np.frombuffer(trait["x"], "<i4"),
        {name: np.frombuffer(data, "<f4") for name, data in trait["y"].items()},
        {name: np.frombuffer(data, "<f4") for name, data in trait["mean"].items()},
    )


def test_a_short_table_is_sent_as_it_is():
    buckets = Buckets(8)
    buckets.update(table([3.0, np.nan, 1.0]))
    x, y, mean = read(buckets)
    assert buckets.width == 1
    assert x.tolist() == [1, 2, 3]
    assert np.array_equal(y["loss"], np.float32([3, np.nan, 1]), equal_nan=True)
    assert mean == {}


def test_a_long_one_in_smallest_and_largest_values_in_order_and_means():
    buckets = Buckets(4)
    buckets.update(table([1, 5, 2, 2, 9, 3, 4, 4, 7, 6]))
    x, y, mean = read(buckets)
    assert buckets.width == 4
    assert x.tolist() == [1, 3, 5, 7, 9, 10]
    assert y["loss"].tolist() == [1, 5, 9, 3, 7, 6]
    assert mean["loss"].tolist() == [2.5, 5.0, 6.5]


@given(st.lists(values, min_size=1, max_size=200), st.lists(st.integers(1, 60), max_size=8))
def test_growing_by_bits_is_the_same_as_all_at_once(losses, bits):
    grown = Buckets(16)
    rows = 0
    for bit in [*bits, len(losses)]:
        rows = min(rows + bit, len(losses))
        grown.update(table(losses[:rows]))
    at_once = Buckets(16)
    at_once.update(table(losses))
    assert grown.as_trait() == at_once.as_trait()


@given(st.lists(values, min_size=1, max_size=200))
def test_no_extreme_is_lost_and_there_are_never_many_points(losses):
    buckets = Buckets(16)
    buckets.update(table(losses))
    x, y, _ = read(buckets)
    assert len(x) == len(y["loss"]) <= 32
    assert (np.diff(x) >= 0).all()
    known = np.array([v for v in losses if np.isfinite(v)], np.float32)
    shown = y["loss"][np.isfinite(y["loss"])]
    assert not np.isinf(y["loss"]).any()
    assert len(known) == 0 or (shown.min(), shown.max()) == (known.min(), known.max())
    assert len(known) > 0 or len(shown) == 0


def test_the_last_row_may_be_filled_in_later():
    buckets = Buckets(8)
    buckets.update(table([3.0, np.nan]))
    buckets.update(table([3.0, 2.0]))
    assert read(buckets)[1]["loss"].tolist() == [3.0, 2.0]


def test_columns_may_come_later():
    buckets = Buckets(4)
    buckets.update(table(range(10)))
    buckets.update(table(range(12), f1=np.append(np.full(10, np.nan), [0.5, 0.75])))
    _, y, mean = read(buckets)
    assert set(y) == set(mean) == {"loss", "f1"}
    assert y["f1"][-2:].tolist() == [0.5, 0.75]


def test_an_empty_table_has_no_points():
    buckets = Buckets()
    buckets.update(table([]))
    assert (buckets.rows, len(buckets.as_trait()["x"])) == (0, 0)


@pytest.mark.parametrize("losses", [[1e300, -1e300, 1.0], [1e300] * 40, [5e-324] * 40])
def test_what_a_float32_has_no_room_for_is_at_its_end(losses):
    buckets = Buckets(8)
    buckets.update(table(losses))
    _, y, mean = read(buckets)
    assert np.isfinite(y["loss"]).all()
    assert all(np.isfinite(m).all() for m in mean.values())


def test_an_update_of_a_long_table_touches_the_news_only():
    losses = np.random.default_rng(0).random(100_000)
    buckets = Buckets()
    buckets.update(table(losses[:90_000]))
    poisoned = losses.copy()
    poisoned[:80_000] = 7.0  # would show if it were read again
    buckets.update(table(poisoned[:90_100]))
    fresh = Buckets()
    fresh.update(table(losses[:90_100]))
    assert buckets.as_trait() == fresh.as_trait()
