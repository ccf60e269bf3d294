"""An explorer in a real JupyterLab: clicks while a model trains, and things that go wrong."""

import json

import numpy as np
import pytest

from tests.browser.lab import SETUP, SHOW, START

pytestmark = pytest.mark.browser

# Lab logs it for every widget of a notebook that is opened without its kernel.
MODEL_NOT_FOUND = "widget model not found"


def state_of(notebook, path):
    return notebook.row(path).first.get_attribute("data-state")


def test_clicks_while_training_freeze_are_shown_logged_marked_and_hold(open_notebook):
    lab = open_notebook(SETUP, SHOW, START)
    lab.until("trainer.step > 200")
    lab.row("layers.0").click()
    lab.row("layers.2").click()
    lab.until("len(changes()) == 2")
    receipt = "globals().update(receipt=fv.receipt(model)) or len(receipt.paths)"
    assert lab.python(receipt.replace("len(receipt.paths)", "True")) is True
    frozen = lab.python("sorted(trainer.adapter.frozen())")
    assert frozen == ["layers.0.bias", "layers.0.weight", "layers.2.bias", "layers.2.weight"]
    events = lab.python("[(e.label, e.origin, e.step > 200) for e in changes()]")
    assert events == [["freeze layers.0", "click", True], ["freeze layers.2", "click", True]]
    lab.page.wait_for_function(
        """() => [...document.querySelectorAll('.fz-row[data-state="frozen"]')].length === 2"""
    )
    assert state_of(lab, "") == "mixed"
    step = lab.python("trainer.step")
    lab.until(f"trainer.step > {step + 200}")
    lab.page.get_by_role("button", name="Stop", exact=True).click()
    lab.until("trainer.status == 'stopped'")
    assert lab.python("receipt.verify().ok") is True
    texts = "[t.get_text() for a in trainer.history.plot().axes for t in a.texts]"
    drawn = " ".join(lab.python(texts))
    assert "freeze layers.0" in drawn
    assert "freeze layers.2" in drawn
    lab.page.wait_for_function(
        "() => document.querySelector('.fz-plots').textContent.includes('freeze layers.2')"
    )
    lab.screenshot("lab_clicked")


def click_a_hundred_times(lab, pause):
    """Click one row a hundred times; return the milliseconds from each click to its effect."""
    page = lab.page
    page.evaluate(
        """() => {
          window.clicks = [];
          window.noted ||= window.addEventListener("click", () =>
            window.clicks.push(performance.timeOrigin + performance.now()), true) ?? true;
        }"""
    )
    row = lab.row("layers.2")
    row.scroll_into_view_if_needed()
    box = row.bounding_box()
    before = lab.python("len(changes())")
    for _ in range(100):
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(pause)
    lab.until(f"len(changes()) >= {before + 100}")
    page.wait_for_timeout(300)
    applied = np.array(lab.python(f"[e.time for e in changes()][{before}:]")) * 1000
    clicks = np.array(page.evaluate("() => window.clicks"))
    assert len(applied) == len(clicks) == 100
    latency = applied - clicks
    assert latency.min() > -1  # the clocks of page and kernel agree
    rate = 1000 * 99 / (clicks[-1] - clicks[0])
    median, p95 = np.median(latency), np.quantile(latency, 0.95)
    print(f"\nclick to applied: median {median:.1f} ms, 95 % {p95:.1f} ms, {rate:.0f} clicks/s")
    page.wait_for_function("() => !document.querySelector('.fz-row[aria-busy]')")
    assert state_of(lab, "layers.2") == "trainable"
    return latency


def test_of_a_hundred_rapid_clicks_none_is_lost(open_notebook):
    """As fast as they can be made, about a hundred a second: they queue, and all arrive."""
    lab = open_notebook(SETUP, SHOW, START)
    lab.until("trainer.step > 200")
    click_a_hundred_times(lab, pause=0)


def test_a_click_takes_effect_within_a_tenth_of_a_second(open_notebook):
    """At twenty clicks a second, twice as many as a person makes: none waits for another."""
    lab = open_notebook(SETUP, SHOW, START)
    lab.until("trainer.step > 200")
    latency = click_a_hundred_times(lab, pause=40)
    assert np.median(latency) < 100
    assert np.quantile(latency, 0.95) < 250


def test_the_keyboard_freezes_and_the_notebook_stays_as_it_was(open_notebook):
    lab = open_notebook(SETUP, SHOW, START)
    cells = lab.page.locator(".jp-Notebook .jp-Cell").count()
    lab.row("").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", " ", "d", "d", "a", "x", "Enter"):
        lab.page.keyboard.press(key)
    lab.until("len(changes()) == 2")
    assert lab.python("[e.paths for e in changes()]") == [["layers.0.weight"]] * 2
    assert lab.page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert lab.page.evaluate("() => document.activeElement.dataset.path") == "layers.0.weight"


def test_undo_anywhere_in_the_explorer_never_undoes_what_was_written_in_a_cell(open_notebook):
    lab = open_notebook(SETUP, SHOW, "")
    page = lab.page
    written = page.locator(".jp-Notebook .jp-CodeCell").nth(2).locator(".cm-content")
    written.click()
    page.keyboard.type("answer = 42")
    source = """() => window.jupyterapp.shell.currentWidget.content.widgets
      .map((cell) => cell.model.sharedModel.getSource())"""
    before = page.evaluate(source)
    assert before[2] == "answer = 42"
    frozen = "[p for p, _ in fv.tree_flatten(model.frozen_parameters())]"

    page.get_by_role("button", name="Freeze all", exact=True).click()
    lab.until(f"len({frozen}) == 6")
    page.get_by_role("button", name="Unfreeze all").focus()
    page.keyboard.press("Control+z")
    lab.until(f"{frozen} == []")
    page.keyboard.press("Control+Shift+z")
    lab.until(f"len({frozen}) == 6")
    page.get_by_role("button", name="Start", exact=True).focus()
    page.keyboard.press("Control+z")
    lab.until(f"{frozen} == []")

    lab.row("layers.0").focus()
    page.keyboard.press("Shift+P")
    page.keyboard.press("1")  # only the head trains
    lab.until(f"len({frozen}) == 4")
    page.keyboard.press("Control+z")
    lab.until(f"{frozen} == []")

    for field in (page.get_by_role("searchbox"), page.get_by_label("epochs")):
        first = field.input_value()
        field.press_sequentially("12")
        typed = field.input_value()
        for _ in range(3):  # also when nothing is left: a browser would go on in the cell
            page.keyboard.press("Control+z")
        assert field.input_value() == first
        page.keyboard.press("Control+y")
        assert field.input_value() == typed != first
    lab.row("layers.0").focus()
    page.keyboard.press("?")
    page.keyboard.press("Control+z")
    page.keyboard.press("Escape")
    assert page.evaluate(source) == before
    assert lab.python(frozen) == []


def test_start_pause_and_stop_from_the_page(open_notebook):
    lab = open_notebook(SETUP, SHOW)
    page = lab.page
    page.get_by_label("epochs").fill("50000")
    page.get_by_role("button", name="Start", exact=True).click()
    lab.until("trainer.step > 50")
    page.get_by_role("button", name="Pause", exact=True).click()
    lab.until("trainer.status == 'paused'")
    lab.row("layers.4").click()
    page.wait_for_selector('.fz-row[data-path="layers.4"][data-state="frozen"]')
    page.get_by_role("button", name="Resume", exact=True).click()
    lab.until("trainer.status == 'running'")
    page.get_by_role("button", name="Stop", exact=True).click()
    lab.until("trainer.status == 'stopped'")
    step = lab.python("trainer.step")
    page.wait_for_function(
        f"() => document.querySelector('.fz-line').textContent.startsWith('step {step:,} of')"
    )
    assert page.locator(".fz-status").text_content() == "stopped"


def test_two_views_of_one_trainer_stay_in_step(open_notebook):
    lab = open_notebook(SETUP, SHOW, "fv.explore(trainer)", START)
    lab.run_cell(1)  # the first once more: its old view is replaced
    page = lab.page
    page.wait_for_function("() => document.querySelectorAll('.freezeviz-live').length === 2")
    first, second = (page.locator(".freezeviz-live").nth(i) for i in (0, 1))
    first.locator('.fz-row[data-path="layers.0"]').click()
    second.locator('.fz-row[data-path="layers.0"][data-state="frozen"]').wait_for()
    second.locator('.fz-row[data-path="layers.0"]').click()
    first.locator('.fz-row[data-path="layers.0"][data-state="trainable"]').wait_for()
    assert lab.python("len(changes())") == 2


def test_clearing_the_cell_while_training_leaves_the_run_alone(open_notebook):
    lab = open_notebook(SETUP, SHOW, START)
    lab.until("len(explorer.face.bridge.views) == 1")
    lab.page.evaluate(
        """() => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.activeCellIndex = 1;
          return window.jupyterapp.commands.execute("notebook:clear-cell-output");
        }"""
    )
    lab.until("len(explorer.face.bridge.views) == 0")
    step = lab.python("trainer.step")
    lab.until(f"trainer.step > {step + 100}")
    assert lab.python("trainer.status") == "running"


def test_a_run_that_fails_is_told_on_the_page_and_not_in_the_console(open_notebook):
    failing = """
calls = []
def loss(outputs, targets):
    calls.append(1)
    if len(calls) > 30:
        raise ValueError("boom <img src=x>")
    return nn.losses.cross_entropy(outputs, targets, reduction="mean")
trainer = fv.Trainer(model, optim.Adam(1e-4), loss=loss, data=(x, y), batch_size=64)
"""
    lab = open_notebook(SETUP, failing, SHOW)
    lab.page.get_by_role("button", name="Start", exact=True).click()
    banner = lab.page.locator('[data-banner="error"]')
    banner.wait_for()
    assert "After step 30: ValueError: boom <img src=x>" in banner.text_content()
    assert lab.page.locator(".fz-status").text_content() == "failed"
    assert lab.python("len(trainer.history)") == 30
    lab.screenshot("lab_failed")


def test_a_cell_that_trains_in_the_foreground_is_shown_while_it_runs(open_notebook):
    lab = open_notebook(SETUP, SHOW)
    lab.page.evaluate(
        """() => {
          const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
          const code = "trainer.fit(100_000, progress=False)";
          window.fit = kernel.requestExecute({code, store_history: false});
        }"""
    )
    lab.page.wait_for_function(
        "() => document.querySelector('.fz-status').textContent === 'running'"
    )
    lab.page.wait_for_function(
        "() => /step [1-9]/.test(document.querySelector('.fz-line').textContent)"
    )
    lab.page.evaluate(
        """async () => {
          await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt();
          await window.fit.done;
        }"""
    )
    lab.page.wait_for_function(
        "() => document.querySelector('.fz-status').textContent === 'stopped'"
    )


def test_a_restart_of_the_kernel_is_told_and_running_the_cells_again_helps(open_notebook):
    lab = open_notebook(SETUP, SHOW, START)
    lab.until("trainer.step > 100")
    lab.restart_kernel()
    gone = lab.page.locator('[data-banner="gone"]')
    gone.wait_for()
    assert "Run the cell again" in gone.text_content()
    for name in ("Stop", "Freeze all", "Undo"):
        assert lab.page.get_by_role("button", name=name, exact=True).is_disabled()
    lab.row("layers.0").click(force=True)
    lab.page.wait_for_timeout(500)
    lab.screenshot("lab_restarted")
    lab.run_all()
    lab.page.wait_for_selector(".freezeviz-live:not(.fz-dead) .fz-row")
    assert lab.page.locator('[data-banner="gone"]').count() == 0
    lab.row("layers.0").click()
    lab.until("len(changes()) == 1")


def test_a_saved_notebook_shows_picture_and_tree_without_a_kernel(open_notebook, server):
    name = "saved.ipynb"
    lab = open_notebook(SETUP, SHOW, START, name=name)
    lab.until("trainer.step > 300")
    lab.row("layers.0").click()
    lab.until("len(changes()) == 1")
    lab.python("trainer.stop()")
    lab.until("trainer.status == 'stopped'")
    static = lab.page.locator(".freezeviz-static")
    lab.page.wait_for_function("() => document.querySelector('.freezeviz-static img')")
    assert not static.is_visible()  # a live view stands beside it
    lab.save()
    saved = json.loads((server.root / name).read_text())
    copies = [
        "".join(output["data"]["text/html"])
        for output in saved["cells"][1]["outputs"]
        if "text/html" in output["data"]
    ]
    assert len(copies) == 1

    # As it comes to somebody else: not run there, so not trusted, and cleaned by Lab.
    for cell in saved["cells"]:
        cell["metadata"] = {"note": "changed by hand"}
    (server.root / "received.ipynb").write_text(json.dumps(saved))
    for other, trusted in ((name, True), ("received.ipynb", False)):
        lab.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        reader = open_notebook(name=other, run=False)
        copy = reader.page.locator(".freezeviz-static")
        copy.wait_for()
        assert copy.is_visible()
        assert copy.locator("img").evaluate("(i) => i.complete && i.naturalWidth") >= 300
        assert "after step" in copy.locator("img").get_attribute("alt")
        assert copy.get_by_text("layers.0").is_visible()
        assert "❄ frozen" in copy.text_content()
        reader.page.wait_for_timeout(2500)  # Lab gives up on the widget's model after two seconds
        reader.screenshot(f"lab_saved_{'trusted' if trusted else 'untrusted'}")
        others = [p for p in reader.page.problems if MODEL_NOT_FOUND not in p]
        assert others == []
        reader.page.problems.clear()


def test_a_widget_saved_with_its_state_comes_back_as_a_picture_that_says_so(open_notebook):
    switch = """() => window.jupyterapp.commands.execute(
      "@jupyter-widgets/jupyterlab-manager:saveWidgetState")"""
    name = "with_state.ipynb"
    lab = open_notebook(SETUP, SHOW, "trainer.fit(5, progress=False)", name=name)
    lab.row("layers.0").click()
    lab.until("len(changes()) == 1")
    lab.page.wait_for_function("() => document.querySelector('.fz-panels canvas') !== null")
    lab.page.evaluate(switch)
    lab.save()
    lab.page.evaluate(switch)
    lab.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    again = open_notebook(name=name, run=False)
    again.page.wait_for_selector('.fz-row[data-path="layers.0"][data-state="frozen"]')
    again.page.wait_for_function("() => document.querySelector('.fz-panels canvas') !== null")
    gone = again.page.locator('[data-banner="gone"]')
    gone.wait_for()
    assert "Run the cell again" in gone.text_content()
    assert again.page.get_by_role("button", name="Start", exact=True).is_disabled()
    again.screenshot("lab_with_state")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_looks_right_in_labs_themes(open_notebook, theme):
    lab = open_notebook(SETUP, SHOW, START)
    lab.page.set_viewport_size({"width": 1700, "height": 1000})
    lab.page.evaluate(
        """async (theme) => {
          await window.jupyterapp.commands.execute("apputils:change-theme", {theme});
        }""",
        theme,
    )
    dark = str("Dark" not in theme).lower()
    lab.page.wait_for_function(
        "(light) => document.body.getAttribute('data-jp-theme-light') === light", arg=dark
    )
    lab.until("trainer.step > 300")
    lab.row("layers.0").click()
    lab.until("len(changes()) == 1")
    lab.page.wait_for_function("() => document.querySelector('.fz-panels canvas') !== null")
    lab.page.get_by_role("button", name="Stop", exact=True).click()
    lab.until("trainer.status == 'stopped'")
    lab.page.wait_for_timeout(800)
    lab.screenshot(f"lab_{'dark' if 'Dark' in theme else 'light'}", ".freezeviz-live")
    ink, ground = lab.page.evaluate(
        """() => [".fz-row .fz-label", ".fz-model"].map((selector, i) =>
          getComputedStyle(document.querySelector(selector))[i ? "backgroundColor" : "color"]
            .match(/[\\d.]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b))"""
    )
    assert (ink > ground) == ("Dark" in theme)
