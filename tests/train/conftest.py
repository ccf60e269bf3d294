"""What tests of training share: interrupts reach them."""

import signal

import pytest


@pytest.fixture(autouse=True)
def python_s_own_handler():
    """A shell that starts the tests in its background has interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
