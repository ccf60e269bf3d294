"""The generator in use."""

import threading
from contextvars import copy_context

import numpy as np

from freezeviz import random


def test_seed_makes_the_global_generator_repeat_itself():
    random.seed(3)
    first = random.default_rng().random(4)
    random.seed(3)
    assert np.array_equal(random.default_rng().random(4), first)


def test_using_binds_a_generator_and_gives_the_former_back():
    outer = random.default_rng()
    bound = np.random.default_rng(1)
    with random.using(bound):
        assert random.default_rng() is bound
        with random.using(np.random.default_rng(2)):
            assert random.default_rng() is not bound
        assert random.default_rng() is bound
    assert random.default_rng() is outer


def test_using_is_undone_by_an_exception():
    outer = random.default_rng()
    try:
        with random.using(np.random.default_rng(1)):
            raise ValueError
    except ValueError:
        pass
    assert random.default_rng() is outer


def test_a_function_is_called_at_the_first_draw_and_once():
    made = []

    def make():
        made.append(np.random.default_rng(0))
        return made[-1]

    with random.using(make):
        assert made == []
        assert random.default_rng() is random.default_rng()
    assert len(made) == 1


def test_a_binding_reaches_a_thread_only_through_its_context():
    seen = {}

    def look(name):
        seen[name] = random.default_rng()

    with random.using(np.random.default_rng(1)):
        bound = random.default_rng()
        threads = [
            threading.Thread(target=look, args=("bare",)),
            threading.Thread(target=copy_context().run, args=(look, "copied")),
        ]
        for thread in threads:
            thread.start()
            thread.join()
    assert seen["copied"] is bound
    assert seen["bare"] is not bound


def test_seed_leaves_a_bound_generator_alone():
    with random.using(np.random.default_rng(5)):
        random.seed(0)
        got = random.default_rng().random()
    assert got == np.random.default_rng(5).random()
