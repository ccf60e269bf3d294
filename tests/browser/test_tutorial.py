"""The tutorial as a newcomer sees it: in JupyterLab, with a mouse."""

import shutil
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api")

from tests.browser.lab import ARGUMENTS, ROOT, LabNotebook, LabServer, watched_page  # noqa: E402

pytestmark = pytest.mark.browser

CHANGES = "[e for e in trainer.events if type(e).__name__ == 'FreezeChanged']"


@pytest.fixture(scope="module")
def lab(chromium, tmp_path_factory):
    """Open the tutorial in Lab and run it from top to bottom."""
    home = tmp_path_factory.mktemp("home")
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT / "notebooks", root, dirs_exist_ok=True)
    with LabServer(home, Path(root)) as server, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        notebook = LabNotebook(watched_page(context), server, "01_first_freeze.ipynb")
        notebook.page.set_default_timeout(120_000)
        notebook.run_all()
        yield notebook
        browser.close()


def test_the_tutorial_runs_and_its_tree_takes_clicks_while_training(lab):
    page = lab.page
    assert lab.python("report.ok") is True
    assert lab.python("[e.frozen for e in " + CHANGES + "]") == [True, False]

    tree = page.locator(".freezeviz-live [role=treegrid]")
    tree.scroll_into_view_if_needed()
    page.get_by_role("spinbutton").first.fill("100000")
    page.get_by_role("button", name="Start").first.click()
    lab.until("trainer.status == 'running'")

    lab.row("layers.2").click()
    lab.row("layers.4").click()
    lab.until("len(" + CHANGES + ") == 4")
    page.wait_for_timeout(1500)
    lab.screenshot("tutorial_clicked")
    page.get_by_role("button", name="Stop").first.click()
    lab.until("trainer.status == 'stopped'")

    # What the kernel has, what the log says, what the row shows, what the plot marks.
    frozen = lab.python("sorted(p for p, _ in fv.tree_flatten(model.frozen_parameters()))")
    layers = ("layers.0", "layers.2", "layers.4")
    assert frozen == sorted(f"{layer}.{name}" for layer in layers for name in ("weight", "bias"))
    assert lab.python("[list(e.paths) for e in " + CHANGES + "[2:]]") == [
        ["layers.2.weight", "layers.2.bias"],
        ["layers.4.weight", "layers.4.bias"],
    ]
    for layer in layers:
        assert "frozen" in lab.row(layer).inner_text()
    texts = "[t.get_text() for a in trainer.history.plot().axes for t in a.texts]"
    labels = " ".join(lab.python(texts))
    assert "freeze layers.2" in labels
    assert "freeze layers.4" in labels

    # And nothing of it moved: neither since the receipt of the tutorial nor since the clicks.
    assert lab.python("receipt.verify().ok") is True
    assert page.problems == []
