"""A model is walked once, and again as soon as it is another."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeviz import nn, optim
from freezeviz.adapters import NativeAdapter
from freezeviz.adapters._index import ParameterIndex
from freezeviz.adapters._native_code import literal
from freezeviz.errors import SelectorError
from tests.explorer.models import models


class Pair(nn.Module):
    """A pair of layers.

    Nothing more.
    """

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.two = nn.Linear(3, 3)
        self.rest = {"norm": nn.BatchNorm(3), "scales": [np.ones(3, np.float32)]}


def seen_as_a_new_adapter_does(adapter):
    new = NativeAdapter(adapter.model)
    return (
        adapter.snapshot() == new.snapshot()
        and adapter.frozen() == new.frozen()
        and adapter.held() == new.held()
    )


def test_the_same_model_gives_the_same_snapshot():
    adapter = NativeAdapter(Pair())
    first = adapter.snapshot()
    adapter.set_frozen(["one.weight"], True)
    adapter.set_frozen(["one.weight", "rest.norm.bias"], False)
    assert adapter.snapshot() is first


def test_new_values_of_an_optimizer_are_no_new_model():
    model = Pair()
    adapter = NativeAdapter(model)
    first = adapter.snapshot()
    optimizer = optim.SGD(0.1)
    x = np.ones((2, 3), np.float32)
    _, gradients = nn.value_and_grad(model, lambda x: np.mean(model.two(model.one(x)) ** 2))(x)
    optimizer.update(model, gradients)
    assert adapter.snapshot() is first
    assert seen_as_a_new_adapter_does(adapter)


def test_values_that_change_places_are_taken_in():
    model = Pair()
    adapter = NativeAdapter(model)
    adapter.snapshot()
    model.one.weight, model.two.weight = model.two.weight, model.one.weight
    adapter.set_frozen(["two.weight"], True)
    assert seen_as_a_new_adapter_does(adapter)
    assert adapter.frozen() == {"two.weight"}


def _replaced(model):
    model.one = nn.Linear(3, 3, bias=False)


def _tied(model):
    model.two.weight = model.one.weight


def _shared(model):
    model.two = model.one


def _in_a_list(model):
    model.rest["scales"][0] = nn.Linear(2, 2)


def _longer_list(model):
    model.rest["scales"].append(np.ones(2, np.float32))


def _other_key(model):
    model.rest["other"] = model.rest.pop("norm")


def _renamed(model):
    model.rest = {"other": model.rest["norm"], "scales": model.rest["scales"]}


def _reshaped(model):
    model.one.bias = np.ones(4, np.float32)


def _other_dtype(model):
    model.one.bias = np.ones(3, np.float64)


def _integers(model):
    model.one.bias = np.ones(3, np.int32)


def _buffer(model):
    model.one.register_buffer("bias", model.one.bias)


def _deleted(model):
    del model.one.bias


def _other_detail(model):
    model.rest["norm"].momentum = 0.7


def _read_from_a_pickle(model):
    model.one.__setstate__(nn.Linear(3, 3, bias=False).__getstate__())


def _frozen_on_the_model(model):
    model.one.freeze(hold=True)


CHANGES = [
    value for name, value in list(globals().items()) if name.startswith("_") and callable(value)
]
CHANGES = [change for change in CHANGES if change.__module__ == __name__]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_model_is_seen(change):
    model = Pair()
    adapter = NativeAdapter(model)
    adapter.set_frozen(["one.weight"], True, hold=True)
    adapter.snapshot()
    change(model)
    assert seen_as_a_new_adapter_does(adapter)
    adapter.set_frozen([next(iter(adapter.snapshot().all_parameters())).path], True)
    assert seen_as_a_new_adapter_does(adapter)


def test_what_was_tied_and_is_no_more_is_seen():
    model = Pair()
    _tied(model)
    adapter = NativeAdapter(model)
    assert adapter.snapshot().children[0].parameters[0].aliases == ("two.weight",)
    model.two.weight = np.array(model.two.weight)
    assert adapter.snapshot().children[0].parameters[0].aliases == ()
    assert seen_as_a_new_adapter_does(adapter)


def test_within_a_block_it_looks_once():
    model = Pair()
    adapter = NativeAdapter(model)
    with adapter.still(), adapter.still():
        first = adapter.snapshot()
        model.one = nn.Linear(3, 3, bias=False)
        assert adapter.snapshot() is first
    assert adapter.snapshot() is not first


def test_a_copy_of_a_model_is_another_model():
    adapter = NativeAdapter(Pair())
    adapter.set_frozen(["one.weight"], True)
    other = NativeAdapter(copy.deepcopy(adapter.model))
    other.set_frozen(["one.weight"], False)
    assert adapter.frozen() == {"one.weight"}


@settings(max_examples=80)
@given(st.data())
def test_holding_follows_the_rule_told_in_words(data):
    adapter = NativeAdapter(data.draw(models()))
    root = adapter.snapshot()
    index = ParameterIndex(root)
    layers = [layer.path for layer in root.walk()]
    names = {info.path: (info.path, *info.aliases) for info in root.all_parameters()}
    changed = data.draw(st.sets(st.sampled_from(index.paths), min_size=1))
    frozen = data.draw(st.sets(st.sampled_from(index.paths)))

    def below(layer):
        while True:
            prefix = layer + "." if layer else ""
            found = {
                path for path, also in names.items() if any(n.startswith(prefix) for n in also)
            }
            if found or not layer:
                return found
            layer = layer.rpartition(".")[0]

    masks = index.mask(changed), index.mask(frozen)
    held = index.meant(index.carriers(layers), *masks, True)
    let_go = index.meant(index.carriers(layers), *masks, False)
    for layer, is_held, is_let_go in zip(layers, held, let_go, strict=True):
        own = below(layer)
        assert is_held == (own <= changed)
        assert is_let_go == (bool(own & changed) and not own & frozen)


def test_a_layer_is_described_by_the_docstring_and_the_place_of_its_class():
    adapter = NativeAdapter(Pair())
    doc, source = adapter.describe("")
    assert doc == "A pair of layers.\n\nNothing more."
    assert source.rpartition(":")[0].endswith("test_native_tree.py")
    assert adapter.describe("one")[0].startswith("An affine") or adapter.describe("one")[0]
    with pytest.raises(SelectorError, match=r"no layer 'three'.*"):
        adapter.describe("three")


def test_a_class_that_was_typed_in_has_no_place():
    namespace = {"nn": nn, "__name__": "typed"}
    exec("class Typed(nn.Module):\n    pass\n", namespace)
    assert NativeAdapter(namespace["Typed"]()).describe("") == ("", "")


def test_arrays_tell_where_they_lie():
    adapter = NativeAdapter(Pair())
    assert adapter.device("one.weight") == "cpu"
    assert adapter.device("rest.norm.running_mean") == "cpu"
    with pytest.raises(SelectorError, match="no array"):
        adapter.device("one.wieght")


@given(st.text())
def test_literals_are_what_python_reads_back(text):
    code = literal(text)
    assert eval(code) == text
    code.encode()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_blocks_without_an_end_leave_no_look_behind(order):
    """As an interrupt leaves them: whatever order what is left of them goes in."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    adapter = NativeAdapter(model)
    blocks = [adapter.still(), adapter.still()]
    for block in blocks:
        block.__enter__()
    before = adapter.snapshot()
    model.layers.append(nn.Linear(2, 2))
    assert adapter.snapshot() is before
    del block
    for i in order:
        blocks[i] = None
    assert len(list(adapter.snapshot().walk())) == len(list(before.walk())) + 1


def test_a_block_that_a_traceback_keeps_has_ended():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    adapter = NativeAdapter(model)
    with pytest.raises(KeyboardInterrupt) as kept, adapter.still():
        raise KeyboardInterrupt
    before = adapter.snapshot()
    model.layers.append(nn.Linear(2, 2))
    assert adapter.snapshot() is not before
    assert kept.tb is not None
