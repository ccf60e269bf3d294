"""What an explorer leaves in a notebook: the widget, and a copy for pages without a kernel."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

ROOT = Path(__file__).parents[2]
VIEW = "application/vnd.jupyter.widget-view+json"

SETUP = """
import numpy as np
from freezeviz import nn, optim
from freezeviz.train import Trainer
from freezeviz.widgets import explore
rng = np.random.default_rng(0)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
x = rng.standard_normal((80, 6), dtype=np.float32)
trainer = Trainer(model, optim.SGD(0.01), data=(x, rng.integers(0, 3, 80)), batch_size=8)
"""


@pytest.fixture
def execute(monkeypatch, tmp_path):
    """Run cells in a kernel and return the notebook with its outputs."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))

    def run(*cells):
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in (SETUP, *cells)]
        client = NotebookClient(notebook, timeout=120, kernel_name="python3")
        client.execute()
        return notebook

    return run


def static_html(cell):
    found = [o["data"]["text/html"] for o in cell.outputs if "text/html" in o.get("data", {})]
    assert len(found) == 1
    return found[0]


def test_a_cell_shows_the_widget_with_a_text_that_is_always_the_same(execute):
    first = execute("explore(trainer)").cells[1].outputs
    second = execute("explore(trainer)").cells[1].outputs
    result = first[-1]
    assert result["output_type"] == "execute_result"
    assert VIEW in result["data"]
    text = result["data"]["text/plain"]
    assert text.startswith("When this cell ran:\nname        type           parameters")
    texts = [[o["data"]["text/plain"] for o in outputs] for outputs in (first, second)]
    assert texts[0] == texts[1]
    htmls = [[o["data"].get("text/html") for o in outputs] for outputs in (first, second)]
    assert htmls[0] == htmls[1]


def test_before_a_run_the_static_copy_is_the_tree(execute):
    html = static_html(execute("explore(trainer)").cells[1])
    assert html.startswith('<div class="freezeviz-static">')
    assert "<img" not in html
    assert "<code>layers.0</code>" in html


def test_after_a_run_the_static_copy_has_the_last_picture_and_states(execute):
    notebook = execute(
        "explore(trainer)", "trainer.freeze('layers.0')\ntrainer.fit(2, progress=False)"
    )
    html = static_html(notebook.cells[1])
    assert html.count('<img src="data:image/png;base64,') == 1
    assert 'alt="Loss plot after 20 steps; training loss ' in html
    assert re.search(r"<code>layers\.0</code>.*?❄ frozen", html)


def test_a_run_in_the_background_brings_the_copy_up_to_date_when_it_ends(execute):
    notebook = execute(
        "explore(trainer)",
        "trainer.start(3)\ntrainer.wait()",
    )
    assert "Loss plot after 30 steps" in static_html(notebook.cells[1])


def test_both_outputs_of_an_explorer_shown_twice_are_brought_up_to_date(execute):
    notebook = execute("explore(trainer)", "explore(trainer)", "trainer.fit(1, progress=False)")
    for cell in notebook.cells[1:3]:
        assert "Loss plot after 10 steps" in static_html(cell)
    views = [cell.outputs[-1]["data"][VIEW]["model_id"] for cell in notebook.cells[1:3]]
    assert views[0] == views[1]


def test_an_explorer_that_was_closed_is_shown_anew(execute):
    notebook = execute(
        "e = explore(trainer)\ne",
        "e.face.bridge.widget.close()\ntrainer.fit(1, progress=False)",
        "e",
    )
    old, new = (notebook.cells[i].outputs[-1]["data"][VIEW]["model_id"] for i in (1, 3))
    assert old != new
    assert "Loss plot after 10 steps" in static_html(notebook.cells[3])


def test_a_model_frozen_in_a_cell_is_shown_so_after_the_cell(execute):
    notebook = execute(
        "e = explore(model)\ne",
        "model.layers[0].freeze()",
        "print(e.face.bridge.widget.state[1] & 3)",
    )
    assert notebook.cells[3].outputs[0]["text"] == "1\n"


def test_an_exported_page_shows_the_copy_and_runs_nothing_of_ours(execute):
    notebook = execute("explore(trainer)", "trainer.fit(1, progress=False)")
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    copy = page[page.index('<div class="freezeviz-static">') :]
    assert "data:image/png;base64," in copy
    assert "<code>layers.0</code>" in copy


def test_without_the_extra_a_notebook_shows_html_and_says_what_to_install(execute):
    notebook = execute(
        "import importlib.util as u\nreal = u.find_spec\n"
        "import freezeviz.widgets._face as face\n"
        "face.find_spec = lambda name: None if name == 'anywidget' else real(name)\n"
        "explore(trainer)"
    )
    data = notebook.cells[1].outputs[-1]["data"]
    assert VIEW not in data
    assert "pip install 'freezeviz[notebook]'" in data["text/plain"]
    assert "freezeviz[notebook]" in data["text/html"]
    assert "<code>layers.0</code>" in data["text/html"]
