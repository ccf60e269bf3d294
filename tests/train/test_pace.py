"""The rhythm that keeps what is costly below a share of the time."""

import pytest

from freezeviz.train._pace import Pace


def simulate(pace, cost, seconds=200.0, eager_every=None):
    """Do it whenever it is ready, each time at that cost; return the share of the time it took."""
    now = spent = 0.0
    last_eager = 0.0
    while now < seconds:
        eager = eager_every is not None and now - last_eager >= eager_every
        if pace.ready(now, eager=eager):
            pace.spent(now, cost)
            spent += cost
            last_eager = now if eager else last_eager
        now += 0.01
    return spent / seconds


@pytest.mark.parametrize("cost", [0.01, 0.04, 0.2, 1.0])
def test_the_share_is_kept_whatever_it_costs(cost):
    assert simulate(Pace(share=0.03, shortest=0.25), cost) <= 0.03 + cost / 200


@pytest.mark.parametrize("cost", [0.02, 0.1])
def test_the_share_is_kept_by_the_eager_too(cost):
    pace = Pace(share=0.03, shortest=0.25)
    assert simulate(pace, cost, eager_every=0.0) <= 0.03 + 2 * cost / 200


def test_what_is_cheap_is_not_done_more_often_than_wanted():
    pace = Pace(share=0.03, shortest=0.25)
    pace.spent(10.0, 1e-6)
    assert not pace.ready(10.24)
    assert pace.ready(10.26)


def test_the_eager_come_after_half_the_time_and_owe_the_rest():
    pace = Pace(share=0.1, shortest=0.0)
    pace.spent(0.0, 0.1)
    assert not pace.ready(0.4, eager=True)
    assert pace.ready(0.6, eager=True)
    pace.spent(0.6, 0.1)
    assert not pace.ready(1.9)
    assert pace.ready(2.01)


def test_one_slow_turn_passes_by():
    pace = Pace(share=0.1, shortest=0.0)
    pace.spent(0.0, 2.0)
    now = 0.0
    for _ in range(12):
        now = pace.next
        pace.spent(now, 0.01)
    assert pace.next - now < 0.5
