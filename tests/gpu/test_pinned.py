"""Data that stay on the host: batches go through pinned memory, in the right order."""

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import optim
from freezeviz.train import _pinned
from freezeviz.train._pinned import Pinned, fits
from tests.standin_cupy import HazardError, cupy_of, host_reads, on_device_only
from tests.standin_cupy._streams import Event
from tests.train._setup import BATCH, make_data, make_model, make_trainer

X = np.arange(24.0).reshape(8, 3)


@pytest.fixture(autouse=True)
def _no_room(monkeypatch):
    """Data may take nothing of the GPU's memory: they stay on the host."""
    monkeypatch.setattr(_pinned, "SHARE", 0.0)


@pytest.fixture
def standin():
    with cupy_of("stand-in") as cupy:
        yield cupy


def trained(place, **options):
    """Return what a run with batches of several sizes and a validation came to."""
    trainer = make_trainer(
        make_model().to(place), optim.Adam(0.05), validation=make_data(40, 1), **options
    )
    trainer.fit(3, progress=False)
    values = {path: fv.to_numpy(value) for path, value in trainer.model.named_parameters()}
    return trainer, values


def check_alike(one, other):
    for column in ("loss", "accuracy"):
        for record in ("steps", "validation"):
            first, second = (getattr(t.history, record)[column] for t, _ in (one, other))
            np.testing.assert_allclose(first, second, rtol=1e-4, err_msg=column)
    for path, value in one[1].items():
        np.testing.assert_allclose(value, other[1][path], rtol=1e-3, atol=1e-5, err_msg=path)


# ---------------------------------------------------------------- whole runs


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("cache", [False, True])
def test_a_run_with_data_on_the_host_is_that_of_the_cpu(cache, shuffle, cupy):
    host = trained("cpu", shuffle=shuffle, feature_cache=cache)
    there = trained("gpu", shuffle=shuffle, feature_cache=cache)
    train = there[0]._loop.engine.train
    assert type(train.x) is type(train.y) is Pinned
    check_alike(host, there)


def test_no_step_waits_and_the_next_batch_is_on_its_way_when_a_step_was_launched(
    standin, monkeypatch
):
    trainer = make_trainer(make_model().to("gpu"), feature_cache=False)
    engine, seen = trainer._loop.engine, []
    step = engine.step

    def launched(number, skip_bad):
        with on_device_only():
            outcome = step(number, skip_bad)
        seen.append([array._coming.copied.done for array in (engine.train.x, engine.train.y)])
        return outcome

    monkeypatch.setattr(engine, "step", launched)
    trainer.fit(2, progress=False)
    assert seen == [[False, False]] * 8
    assert engine.train.x._coming is None  # nothing is on its way when a run is over


def test_the_data_are_the_users_again_when_the_model_goes_to_the_cpu(standin):
    x, y = make_data()
    trainer = make_trainer(make_model().to("gpu"), data=(x, y))
    trainer.fit(1, progress=False)
    trainer.model.to("cpu")
    trainer.fit(1, progress=False)
    assert trainer._loop.engine.train.x is x
    assert trainer._loop.engine.train.y is y


def test_between_two_steps_the_trainer_may_be_asked_for_something_else(standin):
    expected = [done.loss for done in make_trainer().steps(2)]
    trainer = make_trainer(make_model().to("gpu"), validation=make_data(9))
    losses = []
    for done in trainer.steps(2):
        losses.append(done.loss)
        trainer.evaluate()
        trainer.evaluate(make_data(20))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_frozen_layers_are_cached_on_the_gpu_of_data_on_the_host(standin):
    seen = []
    for place in ("cpu", "gpu"):
        model = make_model()
        model.layers[0].freeze()
        trainer = make_trainer(model.to(place), data=make_data(8 * BATCH), feature_cache=True)
        trainer.fit(3, progress=False)
        seen.append((trainer, {p: fv.to_numpy(v) for p, v in model.named_parameters()}))
    np.testing.assert_allclose(
        seen[0][0].history.steps["loss"], seen[1][0].history.steps["loss"], rtol=1e-4
    )


def test_data_go_to_the_gpu_as_a_whole_if_that_leaves_most_of_it_free(standin, monkeypatch):
    monkeypatch.setattr(_pinned, "SHARE", 0.25)
    x, y = np.zeros(100), np.zeros(50, np.int64)
    there = standin.zeros(3)
    for free, whole in ((4 * 1200, True), (4 * 1200 - 1, False)):
        monkeypatch.setattr(standin.cuda.runtime, "memGetInfo", lambda free=free: (free, 1 << 37))
        assert fits(x, y, there) == whole
        assert fits(x, y, x)  # of NumPy's models, all data are where they are
        assert fits(standin.asarray(x), standin.asarray(y), there)  # they are there already


# ---------------------------------------------------------------- order


def test_rows_that_were_not_the_ones_brought_ahead_are_the_right_ones(standin):
    rows = Pinned(X)
    np.testing.assert_array_equal(rows[0:3].get(), X[0:3])
    rows.ahead(slice(3, 6))
    unwanted = rows._coming
    np.testing.assert_array_equal(rows[np.array([7, 0])].get(), X[[7, 0]])
    assert unwanted is not None
    assert unwanted.copied.done  # before its memory is someone else's
    rows.ahead(np.array([1, 2]))
    np.testing.assert_array_equal(rows[np.array([1, 2])].get(), X[[1, 2]])
    np.testing.assert_array_equal(rows[::3].get(), X[::3])
    np.testing.assert_array_equal(rows[standin.asarray([4])].get(), X[[4]])


def test_rows_that_were_given_stay_what_they_were(standin):
    rows, kept = Pinned(X), []
    for start in range(7):
        kept.append(rows[start : start + 2])
        rows.ahead(slice(start + 1, start + 3))
    for start, batch in enumerate(kept):
        np.testing.assert_array_equal(batch.get(), X[start : start + 2])


def test_pinned_memory_is_written_again_only_when_its_copy_was_made(standin):
    rows = Pinned(X)
    with host_reads() as reads:
        coming = [rows._send(slice(k, k + 2)) for k in range(2)]
        assert reads == []
        coming += [rows._send(slice(k, k + 2)) for k in range(2, 5)]
    assert len(reads) == 3
    for k, batch in enumerate(coming):
        rows._wait(batch)
        np.testing.assert_array_equal(batch.rows.get(), X[k : k + 2])


def test_rows_that_nobody_wants_any_more_are_waited_for_before_their_memory_is_given_away(standin):
    rows = Pinned(X)
    rows[0:2]
    rows.ahead(slice(2, 4))
    coming = rows._coming
    with on_device_only():
        rows.close()
    assert coming.copied.done


# Each of these makes a run on a fast machine wrong now and then; here it is always wrong.


def test_a_step_that_would_not_wait_for_its_batch_is_seen(standin, monkeypatch):
    monkeypatch.setattr(Pinned, "_wait", lambda rows, coming: None)
    assert np.isnan(Pinned(X)[0:2].get()).all()


def test_a_buffer_that_would_be_written_too_early_is_seen(standin, monkeypatch):
    monkeypatch.setattr(Event, "done", True)
    rows = Pinned(X)
    coming = [rows._send(slice(k, k + 2)) for k in range(3)]
    rows._wait(coming[0])
    np.testing.assert_array_equal(coming[0].rows.get(), X[2:4])


def test_a_copy_into_memory_that_may_be_in_use_is_seen(standin, monkeypatch):
    rows = Pinned(X)
    monkeypatch.setattr(rows._stream, "wait_event", lambda event: None)
    with pytest.raises(HazardError):
        rows[0:2]
