"""An explorer in Notebook 7, which takes the arrow keys and Enter for itself where it can."""

import pytest

from tests.browser.lab import (
    SETUP,
    SHOW,
    START,
    LabNotebook,
    LabServer,
    watched_page,
    write_notebook,
)

pytestmark = pytest.mark.browser

# Notebook 7.6 throws this on a plain notebook, too, when its settings are not there yet.
ITS_OWN = "(reading 'schema')"


def test_clicks_keys_and_buttons_work(context, tmp_path):
    home, root = tmp_path / "home", tmp_path / "root"
    home.mkdir()
    root.mkdir()
    write_notebook(root / "a.ipynb", [SETUP, SHOW, START])
    with LabServer(home, root, "notebook") as server:
        notebook = LabNotebook(watched_page(context), server, "a.ipynb")
        page = notebook.page
        notebook.run_all()
        page.wait_for_selector(".freezeviz-live .fz-row")
        notebook.until("trainer.step > 200")
        cells = page.locator(".jp-Notebook .jp-Cell").count()
        notebook.row("layers.0").click()
        for key in (
            "ArrowDown",
            "ArrowDown",
            " ",
            "d",
            "d",
            "a",
            "x",
            "Home",
            "ArrowDown",
            "Enter",
        ):
            page.keyboard.press(key)
        notebook.until("len(changes()) == 3")
        labels = notebook.python("[e.label for e in changes()]")
        assert labels == ["freeze layers.0", "freeze layers.2", "unfreeze layers.0"]
        assert page.locator(".jp-Notebook .jp-Cell").count() == cells
        notebook.screenshot("notebook7")
        page.get_by_role("button", name="Stop", exact=True).click()
        notebook.until("trainer.status == 'stopped'")
        page.get_by_label("epochs").fill("")
        for key in ("2", "Enter"):
            page.keyboard.press(key)
        notebook.until("trainer.status == 'finished'")
        assert notebook.python("trainer.events[-1].step % trainer.steps_per_epoch") == 0
        assert [problem for problem in page.problems if ITS_OWN not in problem] == []
