"""A notebook that was run and exported with nbconvert: tree and picture, without any JavaScript."""

import pytest

from tests.browser.lab import SETUP, SHOW, write_notebook

nbclient = pytest.importorskip("nbclient")
nbconvert = pytest.importorskip("nbconvert")
pytestmark = pytest.mark.browser

RUN = "trainer.freeze('layers.0')\ntrainer.fit(3, progress=False)"
OWN = """
own = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
explorer_of_own = fv.explore(own)
explorer_of_own
"""
LOOP = """
for step, batch in fv.steps(range(20), explorer_of_own):
    explorer_of_own.log(loss=1 / (1 + step))
    if step == 9:
        explorer_of_own.controller.freeze("layers.2")
"""


def test_the_page_shows_the_last_state_as_a_nested_list_and_a_picture(browser, tmp_path):
    import nbformat

    path = write_notebook(tmp_path / "run.ipynb", [SETUP, SHOW, RUN, OWN, LOOP])
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    html, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    (tmp_path / "run.html").write_text(html, encoding="utf-8")

    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((tmp_path / "run.html").as_uri())
    copies = page.locator(".freezeviz-static")
    assert copies.count() == 2
    for copy, frozen, alt in (
        (copies.nth(0), "layers.0", "after 60 steps"),
        (copies.nth(1), "layers.2", "after 20 steps"),
    ):
        assert copy.is_visible()
        assert copy.locator("ul ul li").count() >= 3
        row = copy.locator("li", has_text=frozen).last
        assert row.is_visible()
        assert "❄ frozen" in row.text_content()
        picture = copy.locator("img")
        assert picture.is_visible()
        assert picture.bounding_box()["width"] > 300
        assert alt in picture.get_attribute("alt")
        assert picture.get_attribute("src").startswith("data:image/")
    context.close()
