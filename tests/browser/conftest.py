"""Chromium for the tests of one file, a fresh page for each test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.lab import ARGUMENTS, LabNotebook, LabServer, watched_page, write_notebook


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A JupyterLab for the tests of one file."""
    with LabServer(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("root")) as server:
        yield server


@pytest.fixture
def open_notebook(
    server: LabServer, context: Any, request: pytest.FixtureRequest
) -> Iterator[Callable[..., LabNotebook]]:
    """Write a notebook of cells, open it, by default run it; nothing may go wrong on the page."""
    opened: list[LabNotebook] = []

    def open_it(
        *cells: str, run: bool = True, name: str | None = None, inside: Any = None
    ) -> LabNotebook:
        name = name or f"{request.node.name.split('[')[0]}.ipynb"
        if cells:
            write_notebook(server.root / name, list(cells))
        notebook = LabNotebook(watched_page(inside or context), server, name)
        opened.append(notebook)
        if run:
            notebook.run_all()
            notebook.page.wait_for_selector(".freezeviz-live .fz-row")
        return notebook

    yield open_it
    problems = [problem for notebook in opened for problem in notebook.page.problems]
    for notebook in opened:
        notebook.page.close()  # before its kernel ends, which it would complain of
    server.end_kernels()
    assert problems == []
