"""When a run steps aside for other threads."""

import pytest

from freezeviz.train import _turns


class Clock:
    """A time that passes only by sleeping, longer while somebody takes the turn."""

    def __init__(self):
        self.now, self.slept, self.taken, self.threads = 100.0, 0, False, 2

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.slept += 1
        self.now += 0.004 if self.taken else seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_turns, "perf_counter", clock.perf_counter)
    monkeypatch.setattr(_turns, "sleep", clock.sleep)
    monkeypatch.setattr(_turns, "active_count", lambda: clock.threads)
    return clock


def test_while_nobody_wants_a_turn_offers_are_rare(clock):
    turns = _turns.Turns()
    for _ in range(1000):
        turns.offer()
        clock.now += 0.0005
    assert 40 <= clock.slept <= 55


def test_while_turns_are_taken_offers_are_frequent(clock):
    turns = _turns.Turns()
    clock.taken = True
    for _ in range(1000):
        turns.offer()
        clock.now += 0.0005
    assert 190 <= clock.slept <= 260
    clock.slept, clock.taken = 0, False
    for _ in range(1000):
        turns.offer()
        clock.now += 0.0005
    assert clock.slept <= 55


def test_a_thread_that_is_alone_never_waits(clock):
    turns = _turns.Turns()
    clock.threads = 1
    for _ in range(1000):
        turns.offer()
        clock.now += 0.0005
    assert clock.slept == 0
