"""Work beside the kernel's loop."""

import asyncio
import logging
import threading

import pytest

from freezeviz.widgets._loop import MainLoop
from freezeviz.widgets._worker import Worker


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield MainLoop(loop, threading.get_ident())
    loop.close()


def test_work_is_done_in_another_thread_in_order(loop):
    worker = Worker(loop, "test")
    done, end = [], threading.Event()
    for i in range(5):
        worker.do(lambda i=i: done.append((i, threading.get_ident())))
    worker.do(end.set)
    assert end.wait(10)
    assert [i for i, _ in done] == list(range(5))
    assert threading.get_ident() not in {thread for _, thread in done}
    worker.close()


def test_without_a_loop_work_is_done_at_once():
    done = []
    Worker(MainLoop(None, threading.get_ident()), "test").do(lambda: done.append(1))
    assert done == [1]


def test_work_that_fails_is_logged_and_the_next_goes_on(loop, caplog):
    worker = Worker(loop, "test")
    end = threading.Event()
    with caplog.at_level(logging.ERROR, "freezeviz"):
        worker.do(lambda: 1 / 0)
        worker.do(end.set)
        assert end.wait(10)
    assert "ZeroDivisionError" in caplog.text
    worker.close()


def test_what_is_asked_of_a_closed_worker_is_not_done(loop):
    worker = Worker(loop, "test")
    worker.close()
    done = []
    worker.do(lambda: done.append(1))
    assert done == []
