"""Code and policies: what they do to a fresh model is what the explorer shows, in few words."""

import contextlib
import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import nn
from freezeviz.adapters import adapt
from freezeviz.errors import FreezevizWarning
from freezeviz.explorer import explore
from tests.explorer.fake_framework import encoder
from tests.explorer.models import fresh, models, state


def run(code, model):
    exec(code, {"model": model})
    return state(adapt(model))


def acted_on(data, model):
    """A controller of the model, after some random actions."""
    controller = explore(model).controller
    parameters = list(adapt(model).snapshot().all_parameters())
    rows = [row.path for row in controller.rows()]
    for _ in range(data.draw(st.integers(0, 5), "actions")):
        what = data.draw(st.sampled_from(["freeze", "hold", "unfreeze", "release", "each"]), "what")
        if what == "each":
            chosen = data.draw(st.lists(st.sampled_from(parameters), max_size=8), "parameters")
            adapt(model).set_frozen([info.path for info in chosen], True)
            controller.refresh()
            continue
        paths = data.draw(st.lists(st.sampled_from(rows), min_size=1, max_size=3), "rows")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FreezevizWarning)
            with contextlib.suppress(fv.SelectorError):  # rows without parameters
                getattr(controller, what)(paths)
    return controller


@settings(max_examples=150)
@given(st.data())
def test_code_brings_a_fresh_model_to_the_same_state(data):
    model = data.draw(models(), "model")
    new = fresh(model)
    controller = acted_on(data, model)
    code = controller.code()
    assert run(code, new) == state(controller.adapter), code


@settings(max_examples=100)
@given(st.data())
def test_a_policy_brings_a_fresh_model_to_the_same_state_by_way_of_its_json(data):
    model = data.draw(models(), "model")
    new = fresh(model)
    controller = acted_on(data, model)
    policy = controller.policy()
    again = fv.Policy.from_json(policy.to_json())
    assert again == policy
    again.apply(new)
    assert state(adapt(new)) == state(controller.adapter)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.Linear(2, 2)
        self.norm = nn.LayerNorm(2)
        self.mlp = nn.Linear(2, 2)
        self.dropout = nn.Dropout(0.1)


class Net(nn.Module):
    def __init__(self, n_layers=12):
        super().__init__()
        self.embed = nn.Embedding(3, 2)
        self.layers = [Block() for _ in range(n_layers)]
        self.statistics = nn.BatchNorm(2)
        self.head = nn.Linear(2, 2)


def calls(code):
    return re.findall(r"^(?:fv|model)\.", code, re.MULTILINE)


@pytest.mark.parametrize(
    ("act", "lines"),
    [
        (lambda c: None, ["# Nothing is frozen: a fresh model is like this."]),
        (lambda c: c.freeze(""), ["model.freeze()"]),
        (lambda c: c.hold(""), ["model.freeze(hold=True)"]),
        (lambda c: c.freeze("head"), ['fv.freeze(model, "head")']),
        (lambda c: c.apply_preset("head_only"), ["model.freeze()", 'fv.unfreeze(model, "head")']),
        (
            lambda c: c.freeze([f"layers.{i}" for i in range(6)]),
            ['fv.freeze(model, "layers.[0-5]")'],
        ),
        (
            lambda c: c.freeze([f"layers.{i}.attention" for i in (1, 3, 5, 11)]),
            ['fv.freeze(model, "layers.[135].attention", "layers.11.attention")'],
        ),
        (
            lambda c: (c.freeze("layers"), c.unfreeze("**.norm")),
            ['fv.freeze(model, "layers.*.attention", "layers.*.mlp")'],
        ),
        (
            lambda c: (c.hold("type:LayerNorm | statistics"), c.freeze("embed")),
            ['fv.freeze(model, "**.norm", "statistics", hold=True)', 'fv.freeze(model, "embed")'],
        ),
        (
            lambda c: (c.hold(""), c.unfreeze("head")),
            ["model.freeze(hold=True)", 'fv.unfreeze(model, "head")'],
        ),
    ],
)
def test_usual_states_are_the_lines_that_one_would_write(act, lines):
    model = Net()
    controller = explore(model).controller
    act(controller)
    code = controller.code()
    assert [line for line in code.splitlines() if line and "import" not in line] == lines
    assert run(code, fresh(model)) == state(controller.adapter)


def test_all_but_the_biases_of_three_hundred_modules_are_two_calls_at_most():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(300)])
    controller = explore(model).controller
    controller.freeze("")
    controller.unfreeze("**.bias")
    code = controller.code()
    assert len(calls(code)) <= 2
    assert len(code) < 120
    assert run(code, fresh(model)) == state(controller.adapter)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(range(13)), max_size=13), st.booleans())
def test_some_of_many_layers_take_few_calls(layers, without_biases):
    model = Net()
    controller = explore(model).controller
    if layers:
        controller.freeze([f"layers.{i}" if i < 12 else "head" for i in layers])
    if without_biases:
        controller.unfreeze("**.bias")
    code = controller.code()
    assert len(calls(code)) <= 2
    assert len(code) < 260
    assert run(code, fresh(model)) == state(controller.adapter)


@settings(max_examples=30)
@given(st.data())
def test_a_random_state_takes_no_more_than_to_list_what_is_frozen(data):
    model = Net(4)
    paths = [info.path for info in adapt(model).snapshot().all_parameters()]
    frozen = data.draw(st.sets(st.sampled_from(paths)))
    adapt(model).set_frozen(frozen, True)
    controller = explore(model).controller
    policy = controller.policy()
    terms = [term for step in policy.steps for term in step.terms]
    assert len(terms) == len(set(terms))
    assert len(policy.steps) <= 4
    listed = sum(len(path) + 12 for path in frozen) + 30
    assert sum(len(term) + 12 for term in terms) + 30 * len(policy.steps) <= listed
    assert run(controller.code(), fresh(model)) == state(controller.adapter)


def test_a_hold_that_no_policy_can_say_is_left_out_with_a_warning():
    inner = nn.Sequential(nn.Linear(2, 2))  # the same parameters as its only module
    model = nn.Sequential(inner, nn.Linear(2, 2))
    inner.freeze()
    inner.freeze(recurse=False, keys=[], hold=True)
    controller = explore(model).controller
    with pytest.warns(FreezevizWarning, match=r"whether 'layers\.0.*' is held cannot be said"):
        policy = controller.policy()
    policy.apply(new := fresh(model))
    assert adapt(new).frozen() == controller.adapter.frozen()


def test_names_that_no_policy_term_has_as_they_are_come_out_quoted():
    model = nn.Sequential(nn.Linear(2, 2))
    model.blocks = {'say "x" | *': nn.Linear(2, 2), "\ud800": nn.Linear(2, 2)}
    controller = explore(model).controller
    controller.toggle('blocks.say "x" | *')
    controller.toggle("blocks.\ud800.bias")
    code = controller.code()
    code.encode()
    assert run(code, fresh(model)) == state(controller.adapter)


def test_a_framework_without_words_of_its_own_gets_the_policy_as_json():
    framework = encoder(2)
    controller = explore(framework).controller
    controller.freeze("layers.0 | head")
    code = controller.code()
    namespace = {"model": encoder(2), "fv": fv}
    exec(code, namespace)
    assert namespace["model"].frozen == framework.frozen


def test_long_lines_are_wrapped():
    model = Net()
    controller = explore(model).controller
    for path in ("embed.weight", "layers.3.attention.bias", "layers.7.mlp.weight", "head.bias"):
        controller.freeze(path)
    code = controller.code()
    assert max(map(len, code.splitlines())) <= 88
    assert run(code, fresh(model)) == state(controller.adapter)
