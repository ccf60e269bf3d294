"""The feature cache: what frozen layers make of a sample is computed once, and nothing changes."""

import gc
import glob
import os
import tempfile

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn
from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._tracer import Primitive
from freezeviz.errors import DataError
from freezeviz.nn import _calls
from freezeviz.train import _features_judge, _features_store
from freezeviz.widgets._numbers import Numbers
from tests.train._features import (
    BATCH,
    SAMPLES,
    Counting,
    assert_same,
    both,
    conv_net,
    driven,
    images,
    rows,
    tokens,
    told,
    trainer_of,
)


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch):
    """Small models are not worth a cache: let them be."""
    monkeypatch.setattr(_features_judge, "FETCH", -1e9)


def counting_net():
    Counting.counted = 0
    return nn.Sequential(Counting(4, 8), nn.ReLU(), nn.Linear(8, 3))


# ---- the same run ------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", ["layers.0", ["layers.0", "layers.4"]])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_run_with_a_cache_is_the_run_without(frozen, shuffle):
    cached, plain = both(conv_net, frozen, data=images(), shuffle=shuffle, validation=images(20, 1))
    assert told(cached).layers
    assert told(cached).hits == 1.0
    assert not plain.history.features
    for cached_loss, loss in zip(
        *(t.history.steps["loss"][:4] for t in (cached, plain)), strict=True
    ):
        assert cached_loss == loss  # what is computed for the first time is computed as ever


class Gain(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = np.linspace(0.5, 2, 4, dtype=np.float32)

    def __call__(self, x):
        return np.tanh(x * self.gain)


def test_a_run_is_the_same_bit_for_bit_where_rows_do_not_depend_on_their_batch():
    cached, plain = both(lambda: nn.Sequential(Gain(), nn.Linear(4, 3)), "layers.0", data=rows())
    assert told(cached).exact
    assert "bit for bit" in told(cached).text
    assert_same(cached, plain, bits=True)


def test_rows_that_depend_on_their_batch_to_rounding_are_told_of():
    class Rounding(nn.Module):
        def __call__(self, x):
            return (x + np.float32(len(x))) - np.float32(len(x))

    def make():
        return nn.Sequential(nn.Linear(4, 8), Rounding(), nn.Linear(8, 3))

    cached, _ = both(make, "layers.0", data=rows())
    assert not told(cached).exact
    assert "to rounding" in told(cached).text


def test_frozen_layers_compute_each_sample_once():
    trainer = trainer_of(counting_net, "layers.0", True, data=rows())
    steps = trainer.steps(4)
    for _ in range(trainer.steps_per_epoch):
        next(steps)
    # Once each; the first batch again, in two halves, and in pieces of the size of the last batch,
    # to look whether they may be kept.
    assert Counting.counted == SAMPLES + 3 * BATCH
    for _ in steps:
        pass
    assert Counting.counted == SAMPLES + 3 * BATCH


def test_rows_stay_for_the_next_run():
    trainer = trainer_of(counting_net, "layers.0", True, data=rows())
    trainer.fit(1, progress=False)
    before = Counting.counted
    trainer.fit(2, progress=False)
    assert Counting.counted == before


def test_a_run_that_begins_to_be_frozen_in_mid_epoch_computes_what_is_missing_once():
    trainer = trainer_of(counting_net, None, True, data=rows())
    driven(trainer, {2: lambda t: t.freeze("layers.0")}, epochs=1)
    seen = Counting.counted
    driven(trainer, epochs=1)
    # Two of four batches were answered for already; the other samples are computed now.
    assert Counting.counted - seen == 2 * BATCH
    driven(trainer, epochs=2)
    assert Counting.counted - seen == 2 * BATCH


def test_validation_has_rows_of_its_own():
    trainer = trainer_of(counting_net, "layers.0", True, data=rows(), validation=rows(20, seed=1))
    trainer.fit(1, progress=False)
    before = Counting.counted
    trainer.fit(2, progress=False)
    assert Counting.counted == before


# ---- what ends it ------------------------------------------------------------------------------


def new_weight(trainer):
    layer = trainer.model.layers[0]
    layer.weight = np.asarray(layer.weight) * np.float32(1.5)


def loaded(trainer):
    pairs = [
        (path, np.asarray(v) * np.float32(0.5)) for path, v in trainer.model.named_parameters()
    ]
    trainer.model.load_weights(pairs)


def new_data(trainer):
    trainer._loop.engine.train.x[:] *= np.float32(2)


CHANGES = {
    "a new value": new_weight,
    "weights loaded": loaded,
    "unfrozen by order": lambda t: t.unfreeze("layers.0"),
    "unfrozen on the model": lambda t: t.model.layers[0].unfreeze(),
    "frozen by order": lambda t: t.freeze("layers.4"),
    "frozen on the model": lambda t: t.model.layers[4].freeze(),
    "a layer replaced": lambda t: t.model.update_modules({"layers": [nn.Conv2d(1, 4, 3)]}),
    "another head": lambda t: t.model.layers.__setitem__(6, nn.Linear(8, 3)),
    "another list": lambda t: t.model.layers.__setitem__(1, nn.Tanh()),
    "put into eval mode": lambda t: t.model.layers[0].eval(),
    "unfrozen and frozen": lambda t: (t.unfreeze("layers.0"), t.freeze("layers.0")),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("step", [4, 6])
def test_a_change_between_two_steps_counts_at_once(change, step):
    def do(trainer):
        fv.seed(5)
        CHANGES[change](trainer)

    both(conv_net, "layers.0", {step: do}, data=images(), validation=images(20, 1))


def test_data_that_are_changed_in_place_count_from_the_next_epoch_on():
    runs = []
    for cache in (True, False):
        trainer = trainer_of(conv_net, "layers.0", cache, data=images())
        runs.append(driven(trainer, {4: new_data}))
    assert_same(*runs)


def test_a_buffer_that_is_written_into_counts():
    def make():
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm(8), nn.Linear(8, 3))

    def write(trainer):
        trainer.model.layers[1].running_mean[:] += 1

    def hold(trainer):
        trainer.freeze("layers.1", hold=True)

    cached, _ = both(make, "layers.0", {0: hold, 6: write}, data=rows())
    assert told(cached).layers == "layers 0–1"


def test_an_attribute_that_is_changed_counts():
    def make():
        return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.0), nn.Linear(8, 3))

    def drop(trainer):
        trainer.model.layers[1].p = 0.5

    cached, _ = both(make, "layers.0", {6: drop}, data=rows())
    assert "layers.1 is Dropout in training mode: hold it" in told(cached).text


# ---- what cannot be kept -------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.BatchNorm(8), nn.Dropout(0.5)])
def test_a_layer_that_moves_ends_what_is_kept_and_says_so(layer):
    def make():
        return nn.Sequential(
            nn.Linear(4, 8), nn.ReLU(), type(layer)(layer_argument), nn.Linear(8, 3)
        )

    layer_argument = 8 if isinstance(layer, nn.BatchNorm) else 0.5
    cached, _ = both(make, ["layers.0", "layers.2"][: 2 if layer_argument == 8 else 1], data=rows())
    kind = type(layer).__name__
    assert told(cached).reason == f"layers.2 is {kind} in training mode: hold it"
    assert told(cached).layers == "layers 0–1"


def test_a_moving_layer_at_the_beginning_leaves_nothing_to_keep():
    def make():
        return nn.Sequential(nn.BatchNorm(4), nn.Linear(4, 8), nn.Linear(8, 3))

    cached, _ = both(make, ["layers.0", "layers.1"], data=rows())
    assert (
        told(cached).text == "no features cached: layers.0 is BatchNorm in training mode: hold it"
    )


def test_held_batch_normalisation_is_kept():
    def make():
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm(8), nn.ReLU(), nn.Linear(8, 3))

    def hold(trainer):
        trainer.freeze("layers.1", hold=True)

    cached, _ = both(make, "layers.0", {0: hold}, data=rows())
    assert told(cached).layers == "layers 0–2"
    assert told(cached).reason is None


def test_where_nothing_is_frozen_there_is_nothing_to_tell():
    cached, _ = both(conv_net, None, data=images())
    assert cached.history.features == ()


def test_where_the_first_layer_trains_that_is_the_reason():
    cached, _ = both(conv_net, "layers.4", data=images())
    assert told(cached).reason == "layers.0.weight trains"


def test_what_is_cheap_is_not_kept(monkeypatch):
    monkeypatch.setattr(_features_judge, "FETCH", 15_000.0)
    cached, _ = both(counting_net, "layers.0", data=rows())
    assert "no dearer than fetching" in told(cached).text


def test_everything_may_be_frozen():
    with pytest.warns(fv.errors.NothingTrainableWarning):
        both(conv_net, "**", data=images())


# ---- memory, switch, traces --------------------------------------------------------------------


def test_rows_beyond_the_memory_given_go_into_a_file_that_goes_away():
    def files():
        return set(glob.glob(os.path.join(tempfile.gettempdir(), "freezeviz-features-*")))

    before = files()
    cached = trainer_of(conv_net, "layers.0", 100, data=images())
    driven(cached)
    assert told(cached).spilled
    assert "in a temporary file" in told(cached).text
    plain = driven(trainer_of(conv_net, "layers.0", False, data=images()))
    assert_same(cached, plain)
    del cached
    gc.collect()
    assert files() == before


def test_training_and_validation_share_the_memory_given():
    data = images()
    alone = trainer_of(conv_net, "layers.0", True, data=data)
    driven(alone)
    enough = told(alone).nbytes
    both = trainer_of(conv_net, "layers.0", enough + 1, data=data, validation=data)
    driven(both)
    engine = both._loop.engine
    kept = [cache._plan for cache in (engine.features, engine._of_validation)]
    assert [plan.nbytes for plan in kept] == [enough, enough]
    assert [plan.in_memory for plan in kept] == [enough, 0]


def test_rows_that_fit_nowhere_are_not_kept(monkeypatch):
    monkeypatch.setattr("freezeviz.train._features.free_disk", lambda: 10)
    cached = driven(trainer_of(conv_net, "layers.0", 100, data=images()))
    assert "more than the memory allowed" in told(cached).text
    assert_same(cached, driven(trainer_of(conv_net, "layers.0", False, data=images())))


def test_a_file_that_keeps_its_name_is_removed_with_the_rows(monkeypatch):
    monkeypatch.setattr(_features_store.os, "unlink", lambda path: (_ for _ in ()).throw(OSError()))
    store = _features_store.Rows(4, np.zeros((2, 3), np.float32), spilled=True)
    (name,) = glob.glob(os.path.join(tempfile.gettempdir(), "freezeviz-features-*"))
    monkeypatch.undo()
    del store
    gc.collect()
    assert not os.path.exists(name)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "yes", None])
def test_the_switch_takes_true_false_or_bytes(wrong):
    with pytest.raises(DataError, match="feature_cache"):
        trainer_of(conv_net, None, wrong, data=images())


def test_classes_are_as_they_were_after_a_run():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

        def __call__(self, x):
            return self.head(nn.relu(self.first(x)))

    before = Primitive.__call__, Fused.__call__, nn.Linear.__call__
    trainer = trainer_of(Net, "first", True, data=rows())
    steps = trainer.steps(2)
    next(steps)
    next(steps)
    assert told(trainer).layers
    steps.close()
    assert (Primitive.__call__, Fused.__call__, nn.Linear.__call__) == before
    assert not _calls.stand_ins


def test_what_is_told_is_measured_and_no_event_of_the_run():
    cached = driven(trainer_of(conv_net, "layers.0", True, data=images()))
    assert "FeaturesChanged" not in {type(e).__name__ for e in cached.events}
    first, last = cached.history.features[0], told(cached)
    assert (first.step, first.faster) == (1, None)
    seconds = cached.history.steps["seconds"]
    # The first step looked into the model; those of the first epoch computed, the others did not.
    assert last.faster == pytest.approx(seconds[1:4].mean() / seconds[4:8].mean(), rel=1e-6)
    assert last.nbytes == SAMPLES * 16 * 4
    assert last.faster is not None
    assert "x faster" in last.text or "no faster" in last.text


def test_the_explorer_says_what_is_kept():
    cached = driven(trainer_of(conv_net, "layers.0", True, data=images()))
    explorer = fv.explore(cached)
    assert told(cached).text in repr(explorer)
    assert told(cached).text in explorer.html()
    assert Numbers.of(cached).as_trait(cached)["features"] == told(cached).text


def test_a_watched_run_is_the_same():
    watched = trainer_of(conv_net, "layers.0", True, data=images())
    stop = watched.watch_measures()
    driven(watched)
    stop()
    assert_same(watched, driven(trainer_of(conv_net, "layers.0", False, data=images())))


def test_integers_can_be_samples():
    def make():
        return nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(20, 3))

    cached, _ = both(make, "layers.0", data=tokens())
    assert told(cached).layers == "layers 0–1"
