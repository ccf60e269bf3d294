"""For everyone, in JupyterLab: the first tutorial with the keyboard alone, and axe-core."""

import nbformat
import pytest

from tests.browser.axe import load, violations
from tests.browser.lab import ROOT, SETUP, SHOW, START, LabNotebook, watched_page

pytestmark = pytest.mark.browser

CHANGES = "[[e.frozen, list(e.paths)] for e in trainer.events if hasattr(e, 'frozen')]"
LAYER_2 = ["layers.2.weight", "layers.2.bias"]
LAYER_4 = ["layers.4.weight", "layers.4.bias"]


class Keyboard:
    """Presses keys, and tells what has the focus in the words that a screen reader would use."""

    def __init__(self, page):
        self.page = page

    def __call__(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def focus(self):
        return self.page.evaluate(
            """() => {
              const e = document.activeElement;
              if (e.role === "row") return `row ${e.dataset.path}`;
              return e.ariaLabel ?? e.labels?.[0]?.textContent ?? e.textContent;
            }"""
        )

    def wait_for_focus(self, name):
        """Wait until a control has got the focus by itself."""
        for _ in range(100):
            if self.focus == name:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{self.focus!r} has the focus, not {name!r}")

    def tab_to(self, name, key="Tab", most=40):
        """Press Tab until a control has the focus."""
        seen = []
        for _ in range(most):
            self(key)
            seen.append(self.focus)
            if seen[-1] == name:
                return
        raise AssertionError(f"{name!r} was not reached: {seen}")

    def run_cells(self, n):
        """Run so many cells, from the one in hand on, and wait for the last one."""
        for _ in range(n):
            self("Shift+Enter")
        self.page.wait_for_function(
            """(n) => {
              const cells = window.jupyterapp.shell.currentWidget.content.widgets.slice(0, n);
              const code = cells.filter((cell) => cell.model.type === "code");
              return code.every((cell) => /[0-9]/.test(cell.promptNode.textContent));
            }""",
            arg=n,
        )


@pytest.fixture
def notebook(server, context):
    # Without what it was saved with: a number beside a cell means that it has run here.
    tutorial = nbformat.read(ROOT / "notebooks" / "01_first_freeze.ipynb", as_version=4)
    for cell in tutorial.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
    nbformat.write(tutorial, server.root / "01_first_freeze.ipynb")
    notebook = LabNotebook(watched_page(context), server, "01_first_freeze.ipynb")
    yield notebook
    problems = notebook.page.problems
    notebook.page.close()
    server.end_kernels()
    assert problems == []


def cell_with(notebook, text):
    """Return the number of the first cell with some text."""
    return notebook.page.evaluate(
        """(text) => window.jupyterapp.shell.currentWidget.content.widgets
          .findIndex((cell) => cell.model.sharedModel.getSource().includes(text))""",
        text,
    )


def test_start_freeze_undo_search_and_stop_without_a_mouse(notebook):
    page, press = notebook.page, Keyboard(notebook.page)
    shows = cell_with(notebook, "explorer = fv.explore(trainer)")
    # Lab puts the focus on the notebook when it opens one; in command mode keys are commands.
    page.wait_for_function("() => document.activeElement.closest('.jp-Notebook') !== null")
    press("Escape")
    press.run_cells(shows + 1)
    page.wait_for_selector(".freezeviz-live .fz-row")
    assert notebook.python("trainer.status") == "finished"
    first = notebook.python("len(trainer.events)")

    # Back to the cell with the explorer, and by Tab into it.
    press("ArrowUp")
    assert notebook.python("len(trainer.events)") == first
    press.tab_to("epochs")
    press("Control+a")
    page.keyboard.type("100000")
    press("Shift+Tab")
    assert press.focus == "Start"
    press("Enter")
    notebook.until("trainer.status == 'running'")
    press.wait_for_focus("Pause")

    # Two layers, by arrows; what was done is said.
    press.tab_to("row ")  # the tree: its root
    press("ArrowDown", "ArrowDown", "ArrowDown")
    assert press.focus == "row layers.2"
    press("Space")
    notebook.until(f"{CHANGES}[-1:] == [[True, {LAYER_2}]]")
    page.wait_for_function(
        "() => document.querySelector('.fz-note').textContent.startsWith('Freeze layers.2 after')"
    )
    assert press.focus == "row layers.2"
    press("End", "Enter")
    notebook.until(f"{CHANGES}[-1:] == [[True, {LAYER_4}]]")
    assert notebook.python("trainer.status") == "running"

    press("Control+z")
    notebook.until(f"{CHANGES}[-1:] == [[False, {LAYER_4}]]")
    frozen = "sorted(p for p, _ in fv.tree_flatten(model.frozen_parameters()))"
    assert notebook.python(frozen) == sorted(["layers.0.bias", "layers.0.weight", *LAYER_2])

    # Search leads to a parameter in a closed row; it is frozen where it was found.
    press("/")
    page.keyboard.type("4.bias")
    press("ArrowDown")
    assert press.focus == "row layers.4.bias"
    press("Shift+F")
    notebook.until(f"{CHANGES}[-1:] == [[True, ['layers.4.bias']]]")

    press.tab_to("Stop", "Shift+Tab")
    press("Enter")
    notebook.until("trainer.status == 'stopped'")
    page.wait_for_function("() => document.querySelector('.fz-status').innerText === 'stopped'")
    press.wait_for_focus("Start")
    assert notebook.python("receipt.verify().ok") is True


def test_axe_finds_nothing_in_either_theme(open_notebook):
    notebook = open_notebook(SETUP, SHOW, START)
    page = notebook.page
    notebook.row("layers.0").click()
    page.wait_for_selector('.fz-row[data-path="layers.0"][data-state="frozen"]')
    page.wait_for_selector(".fz-plots canvas")
    load(page)
    assert violations(page, ".freezeviz-live") == []
    notebook.python("exec('trainer.stop()')")
    page.evaluate(
        "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
        "JupyterLab Dark",
    )
    page.wait_for_selector('body[data-jp-theme-light="false"]', state="attached")
    page.wait_for_timeout(100)
    assert violations(page, ".freezeviz-live") == []
