"""Chromium for the tests of one file, a fresh page for each test."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.lab import ARGUMENTS, watched_page


# For one file: Playwright keeps an event loop running in this thread, not to be met by other tests.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    """An empty page that reaches nothing outside; nothing may go wrong on it unnoticed."""
    page = watched_page(context)
    page.set_content("<!doctype html><html lang='en'><body></body></html>")
    yield page
    assert page.problems == []
