"""Same seed, same data, same events: the same run, bit for bit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeviz import optim, random
from tests.train._setup import eventually, make_data, make_model, make_trainer, weights

PATHS = ["layers.0", "layers.0.bias", "layers.3", "layers.4.weight", "layers.4"]
may_freeze_all = pytest.mark.filterwarnings("ignore::freezeviz.errors.NothingTrainableWarning")


def fresh(seed=0, optimizer=None):
    return make_trainer(
        make_model(dropout=True), optimizer, seed=seed, validation=make_data(9), batch_size=16
    )


def record(trainer):
    table = trainer.history.to_dict()
    return weights(trainer.model), table["loss"], table["validation_loss"], table["changes"]


def drive(trainer, script, epochs=3):
    """Give each order of a script after its step: ``{step: [(method, path), ...]}``."""
    orders = {step: list(given) for step, given in script.items()}

    def give(step):
        for method, path in orders.pop(step, ()):
            getattr(trainer, method)(path)

    give(0)
    for event in trainer.steps(epochs):
        give(event.step)
    return record(trainer)


def test_two_runs_with_the_same_seed_are_the_same():
    first, second = fresh(), fresh()
    first.fit(3, progress=False)
    random.default_rng().random(100)  # whatever else is drawn
    second.fit(3, progress=False)
    assert record(first) == record(second)


def test_another_seed_gives_another_run():
    first, second = fresh(seed=0), fresh(seed=1)
    first.fit(1, progress=False)
    second.fit(1, progress=False)
    assert record(first)[1] != record(second)[1]


def test_a_run_does_not_touch_the_global_generator():
    trainer = fresh()
    random.seed(3)
    expected = random.default_rng().random(3).tolist()
    random.seed(3)
    trainer.fit(1, progress=False)
    assert random.default_rng().random(3).tolist() == expected


def test_masks_differ_from_step_to_step():
    masks = []

    def loss(outputs, targets):
        masks.append(random.default_rng().random(4).tolist())
        return (outputs**2).mean()

    trainer = make_trainer(loss=loss)
    trainer.fit(2, progress=False)
    assert len({tuple(mask) for mask in masks}) == 8


orders = st.tuples(st.sampled_from(["freeze", "unfreeze", "toggle"]), st.sampled_from(PATHS))
scripts = st.dictionaries(st.integers(0, 11), st.lists(orders, max_size=3), max_size=6)


@may_freeze_all
@settings(max_examples=25, deadline=None)
@given(scripts, st.sampled_from(["SGD", "Adam", "AdamW"]))
def test_the_same_orders_at_the_same_steps_give_the_same_run(script, name):
    make = {
        "SGD": lambda: optim.SGD(0.05, momentum=0.9, weight_decay=0.01),
        "Adam": lambda: optim.Adam(0.01),
        "AdamW": lambda: optim.AdamW(0.01),
    }[name]
    assert drive(fresh(optimizer=make()), script) == drive(fresh(optimizer=make()), script)


def test_a_run_in_the_background_is_the_run_in_the_foreground():
    script = {0: [("freeze", "layers.0")], 5: [("unfreeze", "layers.0"), ("freeze", "layers.4")]}
    expected = drive(fresh(), script)
    trainer = fresh()
    trainer.freeze("layers.0")

    def at_step_5(event):
        if event.step == 5 and type(event).__name__ == "StepDone":
            trainer.unfreeze("layers.0")
            trainer.freeze("layers.4")

    trainer.subscribe(at_step_5)
    trainer.start(3)
    trainer.wait()
    assert record(trainer) == expected


@may_freeze_all
def test_clicks_at_any_moment_give_the_run_that_their_events_tell():
    """Whatever a background run did, doing its recorded changes by hand does the same."""
    live = fresh()
    live.start(30)
    for path in (PATHS * 4)[:18]:
        step = live.step
        live.toggle(path)
        eventually(lambda step=step: live.step > step + 2 or live.status == "finished")
    live.wait()
    script = {}
    for event in live.events:
        if type(event).__name__ == "FreezeChanged":
            method = "freeze" if event.frozen else "unfreeze"
            script.setdefault(event.step, []).append((method, list(event.paths)))
    again = fresh()
    drive(again, script, epochs=30)
    assert weights(again.model) == weights(live.model)
    assert again.history.to_dict()["loss"] == live.history.to_dict()["loss"]


def test_stopping_and_going_on_changes_nothing():
    whole, parts = fresh(), fresh()
    whole.fit(4, progress=False)
    for stop_at in (1, 4, 7, 13, 16):
        epochs = 4 - parts.epoch
        for event in parts.steps(epochs):
            if event.step == stop_at:
                break
    assert weights(parts.model) == weights(whole.model)
    assert record(parts)[1:] == record(whole)[1:]
