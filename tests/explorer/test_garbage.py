"""The garbage collector put off."""

import gc
import threading

import pytest

from freezeviz.explorer._garbage import no_collection


def inner():
    with no_collection():
        with no_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise KeyError


def test_it_is_off_within_the_block_and_on_again_after_an_error():
    assert gc.isenabled()
    with pytest.raises(KeyError):
        inner()
    assert gc.isenabled()


def test_who_has_it_off_finds_it_off():
    gc.disable()
    try:
        with no_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_blocks_of_two_threads_overlap():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with no_collection():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with no_collection():
        thread.start()
        assert entered.wait(10)
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()
