"""Receipts: they notice any byte that moves, and nothing that is frozen ever does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import nn, optim
from tests.train._setup import make_data, make_model, make_trainer, weights


@pytest.fixture
def model():
    return make_model(dropout=True)


def put(model, path, value):
    """Give a parameter or buffer a new array, frozen or not."""
    model.update(fv.tree_unflatten({path: value}))


# ---- what it holds ------------------------------------------------------------------------------


def test_a_receipt_covers_what_is_frozen(model):
    assert repr(fv.receipt(model)) == "Receipt(of nothing: nothing is frozen or held)"
    fv.freeze(model, "layers.0")
    receipt = fv.receipt(model)
    assert list(receipt) == ["layers.0.weight", "layers.0.bias"]
    assert all(len(digest) == 64 for digest in receipt.values())
    assert repr(receipt) == "Receipt(of 2 parameters)"
    report = receipt.verify()
    assert (report.ok, report.checked, report.moved) == (True, 2, ())


def test_buffers_of_held_layers_are_covered_too(model):
    fv.freeze(model, "layers.3")
    assert not [path for path in fv.receipt(model) if "running" in path]
    fv.freeze(model, "layers.3", hold=True)
    receipt = fv.receipt(model)
    assert [p for p in receipt if "running" in p] == [
        "layers.3.running_mean",
        "layers.3.running_var",
    ]
    assert repr(receipt) == "Receipt(of 2 parameters and 2 buffers)"


def test_a_tied_array_is_covered_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3, bias=False)
            self.b = nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

    model = Tied()
    fv.freeze(model, "b")
    assert list(fv.receipt(model)) == ["a.weight"]


def test_the_fingerprint_covers_dtype_and_shape(model):
    fv.freeze(model, "layers.0.bias")
    first = fv.receipt(model)["layers.0.bias"]
    assert first == fv.receipt(model)["layers.0.bias"]
    zeros = np.zeros(8, np.float32)
    digests = set()
    for value in (zeros, zeros.astype(np.float64), zeros.reshape(2, 4), zeros[:4], -zeros):
        put(model, "layers.0.bias", value)
        digests.add(fv.receipt(model)["layers.0.bias"])
    assert len(digests) == 5


# ---- what it notices ----------------------------------------------------------------------------


def moved_by(model, path, value, **options):
    fv.freeze(model, "layers.0", hold=True)
    fv.freeze(model, "layers.3", hold=True)
    receipt = fv.receipt(model, **options)
    put(model, path, value)
    report = receipt.verify()
    assert not report.ok
    (moved,) = report.moved
    assert (moved.path, report.checked) == (path, 6)
    return moved


def test_a_changed_parameter_is_found_with_how_far_and_how_much(model):
    value = np.array(model.layers[0].weight)
    value[2, 1] += 0.5
    value[3, 1] -= 0.25
    moved = moved_by(model, "layers.0.weight", value)
    assert (moved.kind, moved.what, moved.changed, moved.size) == ("parameter", "changed", 2, 32)
    assert moved.max_difference == pytest.approx(0.5, rel=1e-6)
    assert not moved.trainable
    assert moved.first_seen is None


def test_one_flipped_bit_is_found(model):
    value = np.array(model.layers[0].weight)
    value.view(np.uint32)[0, 0] ^= 1
    moved = moved_by(model, "layers.0.weight", value)
    assert moved.changed == 1
    assert 0 < moved.max_difference < 1e-6


def test_the_sign_of_a_zero_is_found(model):
    put(model, "layers.0.bias", np.zeros(8, np.float32))
    moved = moved_by(model, "layers.0.bias", np.full(8, -0.0, np.float32))
    assert (moved.changed, moved.max_difference) == (8, 0.0)


def test_a_nan_that_stays_is_no_movement(model):
    put(model, "layers.0.bias", np.full(8, np.nan, np.float32))
    fv.freeze(model, "layers.0")
    assert fv.receipt(model).verify().ok


def test_infinities_can_be_compared(model):
    put(model, "layers.0.bias", np.full(8, np.inf, np.float32))
    moved = moved_by(model, "layers.0.bias", np.full(8, -np.inf, np.float32))
    assert moved.max_difference == np.inf


def test_a_moved_buffer_of_a_held_layer_is_found(model):
    moved = moved_by(model, "layers.3.running_mean", np.ones(8, np.float32))
    assert (moved.kind, moved.what, moved.trainable) == ("buffer", "changed", False)


@pytest.mark.parametrize(
    "value", [np.zeros(8), np.zeros(9, np.float32), np.zeros((8, 1), np.float32)]
)
def test_another_dtype_or_shape_is_a_replacement(model, value):
    moved = moved_by(model, "layers.0.bias", value)
    assert (moved.what, moved.max_difference, moved.changed) == ("replaced", None, None)


def test_without_values_it_is_still_found(model):
    moved = moved_by(model, "layers.0.bias", np.ones(8, np.float32), keep_values=False)
    assert (moved.what, moved.max_difference, moved.changed) == ("changed", None, None)


def test_what_is_gone_is_found(model):
    fv.freeze(model, "layers.0")
    receipt = fv.receipt(model)
    model.layers[0] = nn.Tanh()
    report = receipt.verify()
    assert [(m.path, m.what, m.trainable) for m in report.moved] == [
        ("layers.0.weight", "gone", False),
        ("layers.0.bias", "gone", False),
    ]


def test_a_path_that_became_an_alias_is_not_gone():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 2, bias=False)
            self.b = nn.Linear(2, 2, bias=False)

    model = Pair()
    fv.freeze(model, "b")
    receipt = fv.receipt(model)
    model.a.weight = model.b.weight
    assert receipt.verify().ok


def test_values_of_the_receipt_do_not_follow_the_model(model):
    model.layers[0].freeze()
    receipt = fv.receipt(model)
    model.layers[0].unfreeze()
    model.layers[0].bias[:] = 7  # a writable array again, changed in place
    (moved,) = receipt.verify().moved
    assert (moved.path, moved.trainable) == ("layers.0.bias", True)


# ---- what it says -------------------------------------------------------------------------------


def test_a_report_is_text_that_does_not_change(model):
    nothing = fv.receipt(model).verify()
    assert repr(nothing) == "Nothing was frozen or held: there is nothing to check."
    assert nothing.ok
    fv.freeze(model, "layers.0.bias")
    receipt = fv.receipt(model)
    assert repr(receipt.verify()) == "Verified: 1 array unchanged, byte for byte."
    fv.freeze(model, "layers.0")
    receipt = fv.receipt(model)
    assert repr(receipt.verify()) == "Verified: 2 arrays unchanged, byte for byte."
    put(model, "layers.0.bias", model.layers[0].bias + np.float32(0.5))
    assert repr(receipt.verify()) == (
        "Not as on the receipt: 1 of 2 arrays moved.\n"
        "  layers.0.bias: parameter changed, 8 of 8 elements, by up to 0.5"
    )


def test_the_html_of_a_report_is_escaped():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = {"<script>alert(1)</script>": np.ones(2, np.float32)}

    model = Odd().freeze()
    receipt = fv.receipt(model)
    assert "<script>" not in receipt.verify()._repr_html_()
    model.table = {"<script>alert(1)</script>": np.zeros(2, np.float32)}
    html = receipt.verify()._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


# ---- with a trainer -----------------------------------------------------------------------------


def test_with_a_trainer_the_report_tells_the_step_that_first_saw_it():
    trainer = make_trainer()
    trainer.freeze("layers.0")
    receipt = fv.receipt(trainer)
    trainer.fit(1, progress=False)
    assert receipt.verify().ok
    trainer.unfreeze("layers.0.bias")
    seen = []
    for event in trainer.steps(1):
        report = receipt.verify()
        seen.append([(m.path, m.first_seen, m.trainable) for m in report.moved])
        if event.step == 6:
            trainer.freeze("layers.0")
    assert seen == [
        [("layers.0.bias", 5, True)],
        [("layers.0.bias", 5, True)],
        [("layers.0.bias", 5, False)],
        [("layers.0.bias", 5, False)],
    ]
    assert "first seen at step 5" in repr(report)


PATHS = ["layers.0", "layers.0.weight", "layers.3", "layers.4", "layers.4.bias", ""]
OPTIMIZERS = {
    "SGD": lambda: optim.SGD(0.1),
    "SGD with momentum": lambda: optim.SGD(0.1, momentum=0.9),
    "SGD with decay": lambda: optim.SGD(0.1, weight_decay=0.5),
    "SGD with all": lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.5, nesterov=True),
    "Adam": lambda: optim.Adam(0.1),
    "Adam, corrected": lambda: optim.Adam(0.1, bias_correction=True),
    "AdamW": lambda: optim.AdamW(0.1, weight_decay=0.5),
}
orders = st.tuples(
    st.sampled_from(["freeze", "hold", "unfreeze", "toggle"]), st.sampled_from(PATHS)
)


@pytest.mark.filterwarnings("ignore::freezeviz.errors.NothingTrainableWarning")
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@settings(max_examples=15, deadline=None)
@given(script=st.dictionaries(st.integers(0, 15), st.lists(orders, max_size=3), max_size=8))
def test_between_a_freeze_and_its_unfreeze_no_byte_ever_moves(make, script):
    """After every step: what was frozen during it is as before it, to the byte; the rest moved."""
    model = make_model(dropout=True)
    trainer = make_trainer(model, make(), data=make_data(64), validation=make_data(8))

    def state():
        held = [f"{path}." for path in trainer.adapter.held()]
        buffers = {p for p, _ in model.named_buffers() if any(p.startswith(h) for h in held)}
        return trainer.adapter.frozen() | buffers, weights(model), fv.receipt(trainer)

    fixed, before, receipt = state()
    for event in trainer.steps(4):
        after = weights(model)
        assert {p for p in fixed if after[p] != before[p]} == set()
        assert receipt.verify().ok
        trainable = [p for p, _ in model.named_parameters() if p not in fixed]
        assert all(after[p] != before[p] for p in trainable if p.endswith("weight"))
        for order, path in script.get(event.step, ()):
            if order == "hold":
                trainer.freeze(path, hold=True)
            else:
                getattr(trainer, order)(path)
        trainer._loop.attend()  # what the next step would do first
        fixed, before, receipt = state()


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(list(OPTIMIZERS)),
    frozen_from=st.integers(0, 8),
    length=st.integers(1, 8),
)
def test_a_receipt_holds_over_a_whole_freeze_in_the_background(name, frozen_from, length):
    trainer = make_trainer(make_model(dropout=True), OPTIMIZERS[name]())
    receipts, reports = [], []

    def watch(event):
        if type(event).__name__ != "StepDone":
            return
        if event.step == frozen_from:
            trainer.freeze("layers.0", hold=True)
        if event.step == frozen_from + 1:
            receipts.append(fv.receipt(trainer))
        if event.step == frozen_from + length + 1:
            reports.append(receipts[0].verify() if receipts else None)
            trainer.unfreeze("layers.0")

    if frozen_from == 0:
        trainer.freeze("layers.0", hold=True)
    trainer.subscribe(watch)
    trainer.start(5)
    assert trainer.wait() == "finished"
    assert reports[0].ok
    assert reports[0].checked == 2
    assert not receipts[0].verify().ok
