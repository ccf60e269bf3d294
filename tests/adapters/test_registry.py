import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn
from freezeviz.adapters import LayerInfo, ParameterInfo, _registry, adapt, register


class Plain(dict):
    """A model of another framework: arrays by name, and a set of frozen names."""

    def __init__(self, **arrays):
        super().__init__(arrays)
        self.frozen = set()


class PlainAdapter:
    framework = "plain"

    def __init__(self, model):
        self.model = model

    def snapshot(self):
        parameters = tuple(
            ParameterInfo(name, x.shape, str(x.dtype), x.size, x.nbytes)
            for name, x in self.model.items()
        )
        return LayerInfo("", "Plain", "Plain", "", parameters, (), (), (), type(self.model).__mro__)

    def frozen(self):
        return frozenset(self.model.frozen)

    def held(self):
        return frozenset()

    def training(self):
        return True

    def set_frozen(self, paths, frozen, hold=None):
        self.model.frozen = (
            self.model.frozen | set(paths) if frozen else self.model.frozen - set(paths)
        )

    def read(self, path):
        return np.array(self.model[path])


@pytest.fixture(autouse=True)
def _built_in_only(monkeypatch):
    """Other tests register frameworks of their own for the whole process."""
    monkeypatch.setattr(_registry, "_registered", _registry._registered[:2])


@pytest.fixture
def plain():
    take_back = register("plain", lambda model: isinstance(model, Plain), PlainAdapter)
    yield Plain(w=np.ones((2, 2)), b=np.ones(2))
    take_back()


def test_an_unknown_object_is_refused_with_what_is_known():
    for thing in (3, "model", None, {"w": np.ones(1)}, nn.Linear):
        with pytest.raises(
            TypeError, match=r"expected a model of freezeviz, torch, got .*register\(\)"
        ):
            adapt(thing)


def test_a_registered_framework_is_frozen_like_any_other(plain):
    assert adapt(plain).framework == "plain"
    assert fv.select(plain, "**").paths == ("w", "b")
    assert fv.freeze(plain, lambda path, value: value.ndim == 2).paths == ("w",)
    assert plain.frozen == {"w"}
    (~fv.select(plain, "w")).freeze()
    fv.unfreeze(plain, "?")
    assert plain.frozen == set()
    with pytest.raises(TypeError, match="expected a model of freezeviz, torch, plain, got"):
        adapt(3)


def test_the_native_adapter_stays(plain):
    assert adapt(nn.Linear(1, 1)).framework == "freezeviz"


def test_a_registration_can_be_taken_back():
    take_back = register("plain", lambda model: isinstance(model, Plain), PlainAdapter)
    take_back()
    take_back()
    with pytest.raises(TypeError):
        adapt(Plain())


def test_the_newest_registration_wins():
    class Own:
        framework = "own"

        def __init__(self, model):
            self.model = model

    take_back = register("own", lambda model: isinstance(model, nn.Linear), Own)
    try:
        assert adapt(nn.Linear(1, 1)).framework == "own"
        assert adapt(nn.ReLU()).framework == "freezeviz"
    finally:
        take_back()
    assert adapt(nn.Linear(1, 1)).framework == "freezeviz"
