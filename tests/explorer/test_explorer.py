"""`explore` and its explorer, without a browser."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest

from freezeviz import nn, optim
from freezeviz.explorer import Explorer, explore
from freezeviz.train import Trainer
from tests.explorer.fake_framework import FakeModel, encoder


def mlp():
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))


def trainer():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 6), dtype=np.float32)
    return Trainer(mlp(), optim.SGD(0.1), data=(x, rng.integers(0, 4, 16)), batch_size=8)


def test_it_prints_as_a_tree_with_states():
    model = mlp()
    model.layers[0].freeze()
    model.layers[2].freeze(keys="bias")
    assert repr(explore(model)).splitlines() == [
        "name        type           parameters  state",
        "Sequential  Sequential             59  ◐ mixed",
        "├ layers.0  Linear  6 → 5          35  ❄ frozen",
        "├ layers.1  ReLU                    –  –",
        "└ layers.2  Linear  5 → 4          24  ◐ mixed",
        "  ├ weight  4 × 5                  20  ○ trainable",
        "  └ bias    4                       4  ❄ frozen",
        "59 parameters: 20 trainable, 39 frozen (66.1 %)",
    ]


def test_what_it_prints_is_the_same_every_time():
    first, second = repr(explore(mlp())), repr(explore(mlp()))
    assert first == second
    assert "0x" not in first


def test_a_long_tree_is_cut_and_says_so():
    lines = repr(explore(encoder(100))).splitlines()
    assert len(lines) == 83
    assert lines[-2] == "… 322 more rows"


def test_an_empty_model_has_a_tree_too():
    assert repr(explore(FakeModel([("", "Nothing", [], [])]))).splitlines() == [
        "name     type     parameters  state",
        "Nothing  Nothing           –  –",
        "0 parameters: 0 trainable, 0 frozen",
    ]


HOSTILE = '<img src=x onerror="alert(1)">'


def test_names_in_html_are_text():
    model = FakeModel([("", HOSTILE, [], []), (HOSTILE, "Linear & Co", ["w\"'"], [])])
    html = explore(model).html()
    assert "<img" not in html
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;" in html
    assert "Linear &amp; Co" in html


def test_names_in_text_stay_on_their_line():
    model = FakeModel([("", "Model", [], []), ("a\nb\x1b[31m", "L" * 500, ["w"], [])])
    text = repr(explore(model))
    assert len(text.splitlines()) == 4
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 200


def test_the_same_target_has_one_explorer_as_long_as_it_is_used():
    run = trainer()
    assert explore(run) is explore(run)
    assert explore(run) is not explore(run.model)
    assert explore(run).controller.run is run


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="expected a model of freezeviz"):
        explore([1, 2, 3])


def test_an_explorer_that_nobody_has_any_more_leaves_the_trainer():
    run = trainer()
    explorer = explore(run)
    controller = weakref.ref(explorer.controller)
    del explorer
    gc.collect()
    assert controller() is None
    run.fit(1, progress=False)
    assert repr(explore(run))


def test_a_new_structure_is_shown_when_the_model_is_explored_again():
    model = mlp()
    explorer = explore(model)
    model.layers[1] = nn.Linear(5, 5)
    explore(model)
    assert "layers.1  Linear  5 → 5" in repr(explorer)


def test_outside_notebooks_it_is_text_and_html():
    bundle = explore(mlp())._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/plain"].startswith("name ")


def test_a_face_makes_what_a_notebook_shows():
    model = mlp()
    explorer = explore(model, face=lambda explorer: {"text/plain": type(explorer).__name__})
    assert explorer._repr_mimebundle_() == {"text/plain": "Explorer"}
    assert isinstance(explorer, Explorer)


def test_it_works_where_the_notebook_extra_is_not_installed():
    code = """
import sys
for name in ("anywidget", "ipywidgets", "IPython", "matplotlib", "traitlets"):
    sys.modules[name] = None
from freezeviz import nn
from freezeviz.widgets import explore
explorer = explore(nn.Sequential(nn.Linear(2, 2)))
explorer.controller.toggle("layers.0")
print(explorer)
print(sorted(explorer._repr_mimebundle_()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "❄ frozen" in done.stdout
    assert "pip install 'freezeviz[notebook]'" in done.stdout
    assert done.stdout.endswith("['text/html', 'text/plain']\n")
