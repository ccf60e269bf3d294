"""A model as a table, in text and in HTML."""

import numpy as np

from freezeviz import nn, optim
from freezeviz.explorer import summary
from freezeviz.train import Trainer


def mlp():
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))


def test_it_prints_the_tree():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    model.layers[0].freeze()
    assert str(summary(model)).splitlines() == [
        "name        type           parameters  state",
        "Sequential  Sequential             23  ◐ mixed",
        "├ layers.0  Linear  4 → 3          15  ❄ frozen",
        "├ layers.1  ReLU                    –  –",
        "└ layers.2  Linear  3 → 2           8  ○ trainable",
        "23 parameters: 8 trainable, 15 frozen (65.2 %)",
    ]


def test_repr_is_the_same_text():
    assert repr(summary(mlp())) == str(summary(mlp()))


def test_with_parameters_every_one_has_a_row():
    text = str(summary(mlp(), parameters=True))
    assert text.count("weight") == 2
    assert text.count("bias") == 2


def test_held_modules_are_marked():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm(4))
    model.layers[1].freeze(hold=True)
    assert "❄ frozen, held" in str(summary(model))


def test_a_notebook_shows_nested_lists():
    html = summary(mlp())._repr_html_()
    assert html.count("<ul") == html.count("</ul>") == 2
    assert html.count("<li>") == html.count("</li>") == 4
    assert "<code>layers.2</code> &nbsp; Linear 5 → 4 &nbsp; 24 &nbsp; ○ trainable" in html


def test_it_is_of_the_moment_when_it_was_made():
    model = mlp()
    before = summary(model)
    model.freeze()
    assert "❄" not in str(before)
    assert "❄" in str(summary(model))


def test_a_trainer_stands_for_its_model():
    x = np.zeros((8, 6), np.float32)
    trainer = Trainer(mlp(), optim.SGD(0.1), data=(x, np.zeros(8, int)), batch_size=8)
    assert str(summary(trainer)) == str(summary(trainer.model))
