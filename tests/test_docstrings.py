"""Every public name says what it takes, gives and raises, where it comes from, with an example.

Checked by machine, as far as one can: that each argument is described, each error class that a
function raises itself is listed, the source is named, and the examples give what they say.
"""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
import warnings
from typing import get_overloads

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.freezing import PolicyStep

ROOMS = ["nn", "nn.losses", "nn.init", "optim", "explicit"]
OTHERS = [
    "Policy", "explore", "freeze", "receipt", "select", "steps", "summary",
    "tree_flatten", "tree_map", "tree_unflatten", "unfreeze"
]  # fmt: skip
# Sections in numpydoc's order.
SECTIONS = [
    "Parameters", "Returns", "Attributes", "Raises", "Warns", "See Also", "Notes", "Examples"
]  # fmt: skip
WITH_DOCTESTS = ["nn", "optim", "explicit", "models", "io", "tree", "paths", "autodiff"]


def public():
    found = {}
    for room in ROOMS:
        module = importlib.import_module(f"freezeviz.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value) and not inspect.ismodule(value):
                found[f"{room}.{name}"] = value
    return found | {name: getattr(fv, name) for name in OTHERS}


def methods():
    found = {}
    for name, value in PUBLIC.items():
        for method in vars(value) if inspect.isclass(value) else ():
            member = inspect.getattr_static(value, method)
            member = getattr(member, "__func__", member)
            if method[0] != "_" and inspect.isfunction(member):
                found[f"{name}.{method}"] = (value, member)
    return found


PUBLIC = public()
METHODS = methods()


def sections(text):
    """Return the text of each section by its name; what comes first is ``""``."""
    parts = re.split(r"(?m)^(\w[\w ]*)\n-{3,}$", text)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(section):
    """Return the names that a section describes: what stands left of a colon, not indented."""
    heads = re.findall(r"(?m)^(\S.*)$", section)
    return {n.strip().lstrip("*") for head in heads for n in head.partition(" : ")[0].split(",")}


def arguments(function):
    # Of what takes (layer), (layer, which), (layer, ps, st) or all, the overload with all.
    several = get_overloads(function) if inspect.isfunction(function) else []
    signature = inspect.signature(several[-1] if several else function)
    generic = function in (PUBLIC["nn.Module"], PUBLIC["explicit.WrapperLayer"])
    return set() if generic else set(signature.parameters) - {"self", "cls"}


def raised(function):
    """Return the error classes that the source of a function names after ``raise``."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(error, ast.Name) and error.id[0].isupper():
                found.add(error.id)
    return found - {"AttributeError", "NotImplementedError"}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_name_is_documented_with_arguments_errors_and_example(name):
    value = PUBLIC[name]
    assert value.__doc__, "no documentation"
    text = sections(inspect.cleandoc(value.__doc__))
    assert text[""].strip().splitlines()[0].endswith((".", ":"))
    assert [s for s in SECTIONS if s in text] == [s for s in text if s], "order of sections"
    assert arguments(value) - entries(text.get("Parameters", "")) == set(), "arguments"
    own = inspect.isfunction(value) or "__init__" in vars(value)
    errors = raised(value.__init__ if inspect.isclass(value) else value) if own else set()
    assert errors - entries(text.get("Raises", "")) == set(), "errors"
    assert ">>>" in text.get("Examples", ""), "example"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_documented_with_arguments_and_errors(name):
    owner, method = METHODS[name]
    inherited = [getattr(c, method.__name__, None) for c in owner.__mro__[1:]]
    texts = [inspect.getdoc(m) or "" for m in (method, *inherited) if m is not None]
    assert texts[0], "no documentation"
    described = {n for text in texts for n in entries(sections(text).get("Parameters", ""))}
    assert arguments(method) - described == set(), "arguments"
    listed = {n for text in texts for n in entries(sections(text).get("Raises", ""))}
    assert raised(method) - listed == set(), "errors"


@pytest.mark.parametrize("name", [n for n in PUBLIC if n not in OTHERS])
def test_the_source_of_a_layer_loss_or_optimizer_is_named(name):
    text = PUBLIC[name].__doc__
    assert re.search(r"mlx|MLX|Lux|torch|PyTorch|arXiv|\((19|20)\d\d\)", text)


def doctests():
    for room in WITH_DOCTESTS:
        module = importlib.import_module(f"freezeviz.{room}")
        yield module.__name__
        for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
            yield found.name


@pytest.mark.parametrize("name", list(doctests()))
def test_examples_give_what_they_say(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(3, 3), nn.Linear(3, 3)]
        self.head = nn.Linear(3, 2)

    def __call__(self, x):
        return self.head(self.layers[1](self.layers[0](x)))


def what_users_have():
    """The names that examples take as given."""
    fv.seed(0)
    model, trained = Net(), Net()
    trained.head.freeze()
    x, y = np.ones((4, 3), np.float32), np.zeros(4, int)
    return {
        "fv": fv,
        "nn": nn,
        "PolicyStep": PolicyStep,
        "warnings": warnings,
        "model": model,
        "trainer": fv.Trainer(trained, optim.SGD(0.1), data=(x, y), batch_size=2),
        "explorer": fv.explore(model),
        "loader": [(x, y)],
        "train_on": lambda x, y: 0.5,
        "loss": 0.5,
        "right": 1,
        "norm": 0.1,
        "y": y,
    }


def doctests_of_users():
    for room in ("explorer", "freezing"):
        package = importlib.import_module(f"freezeviz.{room}")
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for test in doctest.DocTestFinder().find(importlib.import_module(found.name)):
                if test.examples:
                    yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", list(doctests_of_users()))
def test_examples_of_exploring_and_freezing_give_what_they_say(test):
    if any("import torch" in example.source for example in test.examples):
        pytest.importorskip("torch")
    test.globs.update(what_users_have())
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert result.attempted == len(test.examples)
    assert result.failed == 0
