"""An explorer in Voila: the notebook's outputs as a page, its kernel alive behind it."""

import pytest

from tests.browser.lab import ARTIFACTS, SETUP, SHOW, START, LabServer, watched_page, write_notebook

pytest.importorskip("voila")
pytestmark = pytest.mark.browser

# Voila asks a CDN for icons, and fails to load JupyterLab's extensions that it has no use for.
ITS_OWN = ("cdn", "fontawesome", "shared module")


def test_tree_clicks_buttons_and_plots_work(context, tmp_path):
    home, root = tmp_path / "home", tmp_path / "root"
    home.mkdir()
    root.mkdir()
    write_notebook(root / "a.ipynb", [SETUP, SHOW, START])
    with LabServer(home, root, "voila") as server:
        page = watched_page(context)
        page.goto(f"{server.url}/voila/render/a.ipynb")
        row = page.locator('.freezeviz-live .fz-row[data-path="layers.0"]')
        row.wait_for()
        status = page.locator(".fz-status")
        assert status.text_content() == "running"
        row.click()
        page.wait_for_selector('.fz-row[data-path="layers.0"][data-state="frozen"]')
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press(" ")
        page.wait_for_selector('.fz-row[data-path="layers.2"][data-state="frozen"]')
        page.wait_for_selector(".fz-plots canvas")
        page.get_by_role("button", name="Stop", exact=True).click()
        page.wait_for_function(
            "() => document.querySelector('.fz-status').textContent === 'stopped'"
        )
        page.wait_for_function(
            "() => document.querySelector('.fz-plots').textContent.includes('freeze layers.2')"
        )
        assert not page.locator(".freezeviz-static").is_visible()
        ARTIFACTS.mkdir(exist_ok=True)
        page.screenshot(path=str(ARTIFACTS / "voila.png"))
        ours = [p for p in page.problems if not any(part in p for part in ITS_OWN)]
        assert ours == []
        page.close()
