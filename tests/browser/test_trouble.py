"""What may happen to a page while a model trains behind it: nothing is lost, nothing hangs."""

import pytest

from tests.browser.lab import SETUP, SHOW, START

pytestmark = pytest.mark.browser

FROZEN = '.fz-row[data-path="{}"][data-state="frozen"]'


def test_a_page_that_is_loaded_again_shows_the_run_and_takes_clicks(open_notebook):
    lab = open_notebook(SETUP, SHOW, START)
    page = lab.page
    lab.row("layers.0").click()
    page.wait_for_selector(FROZEN.format("layers.0"))
    lab.save()
    page.reload()
    page.wait_for_selector(".freezeviz-live .fz-row")
    lab.wait_for_kernel()
    page.wait_for_selector(FROZEN.format("layers.0"))
    step = lab.python("trainer.step")
    lab.until(f"trainer.step > {step + 20}")
    lab.row("layers.2").click()
    page.wait_for_selector(FROZEN.format("layers.2"))
    page.get_by_role("button", name="Stop", exact=True).click()
    lab.until("trainer.status == 'stopped'")
    assert lab.python("len(changes())") == 2
    page.problems.clear()  # of the sockets that the reload cut


def test_two_browsers_on_one_kernel_show_the_same(open_notebook, browser):
    first = open_notebook(SETUP, SHOW, START, name="shared.ipynb")
    first.save()
    inside = browser.new_context(viewport={"width": 1280, "height": 900})
    second = open_notebook(run=False, name="shared.ipynb", inside=inside)
    second.page.wait_for_selector(".freezeviz-live .fz-row")
    first.row("layers.0").click()
    second.page.wait_for_selector(FROZEN.format("layers.0"))
    second.row("layers.2").click()
    first.page.wait_for_selector(FROZEN.format("layers.2"))
    second.page.get_by_role("button", name="Stop", exact=True).click()
    for lab in (first, second):
        lab.page.wait_for_function(
            "() => document.querySelector('.fz-status').textContent === 'stopped'"
        )
    assert first.python("len(changes())") == 2
    inside.close()


def test_a_thousand_clicks_in_ten_seconds_are_all_carried_out(open_notebook):
    lab = open_notebook(SETUP, SHOW, START)
    page = lab.page
    page.evaluate(
        """async () => {
          const rows = ["layers.0", "layers.2", "layers.4"].map((path) =>
            document.querySelector(`.freezeviz-live .fz-row[data-path="${path}"]`));
          const begin = performance.now();
          for (let i = 0; i < 1000; i++) {
            const path = rows[i % 3].dataset.path;
            document.querySelector(`.freezeviz-live .fz-row[data-path="${path}"]`).click();
            while (performance.now() < begin + 10 * i)
              await new Promise((done) => setTimeout(done, 2));
          }
        }"""
    )
    lab.until("len(changes()) == 1000", seconds=60)
    page.wait_for_function("() => !document.querySelector('.fz-row[aria-busy]')")
    # 334, 333 and 333 times
    page.wait_for_selector(FROZEN.format("layers.2"))
    page.wait_for_selector(FROZEN.format("layers.4"))
    assert lab.python("sorted({p.rpartition('.')[0] for p in trainer.adapter.frozen()})") == [
        "layers.2",
        "layers.4",
    ]
    assert lab.python("trainer.status") == "running"


def test_a_widget_that_is_closed_leaves_the_run_alone_and_can_be_shown_again(open_notebook):
    lab = open_notebook(SETUP, SHOW, START)
    lab.python("explorer.face.bridge.widget.close()")
    lab.page.wait_for_selector(".freezeviz-live", state="detached")
    step = lab.python("trainer.step")
    lab.until(f"trainer.step > {step + 20}")
    lab.run_cell(1)
    lab.page.wait_for_selector(".freezeviz-live .fz-row")
    lab.row("layers.0").click()
    lab.page.wait_for_selector(FROZEN.format("layers.0"))
    assert lab.python("len(changes())") == 1


def test_a_kernel_that_died_is_told_on_the_page(open_notebook):
    lab = open_notebook(SETUP, SHOW, START)
    lab.row("layers.0").click()
    lab.page.wait_for_selector(FROZEN.format("layers.0"))
    lab.page.evaluate(
        """() => {
          const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
          kernel.requestExecute({code: "import os; os.kill(os.getpid(), 9)"});
        }"""
    )
    gone = lab.page.locator('[data-banner="gone"]')
    gone.wait_for()
    assert "Run the cell again" in gone.text_content()
    assert lab.page.get_by_role("button", name="Stop", exact=True).is_disabled()
    assert lab.page.locator(FROZEN.format("layers.0")).is_visible()  # the last state stays
    lab.page.problems.clear()  # the cell that killed it
