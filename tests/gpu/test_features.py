"""The feature cache on a GPU: rows are kept there, found there, and nobody waits for them."""

import numpy as np
import pytest

from freezeviz.train import _features_judge, _pinned
from tests.standin_cupy import cupy_of, host_reads, on_device_only
from tests.train._features import conv_net, images, told, trainer_of

CALLS = [lambda t: t.fit(3, progress=False), lambda t: list(t.steps(3))]


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch):
    """Small models are not worth a cache: let them be."""
    monkeypatch.setattr(_features_judge, "FETCH", -1e9)


def trainer_on(place, cache=True, **options):
    trainer = trainer_of(conv_net, "layers.0", cache, data=images(), **options)
    trainer.model.to(place)
    return trainer


def stores(trainer):
    return [node.store for node in trainer._loop.engine.features._plan.stores]


def check_alike(first, second):
    for column in ("loss", "accuracy"):
        for record in ("steps", "validation"):
            one, other = (getattr(t.history, record)[column] for t in (first, second))
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6, err_msg=column)


# Bytes: all rows fit into memory, or none.
@pytest.mark.parametrize("memory", [True, 1], ids=["in memory", "spilled"])
@pytest.mark.parametrize("run", CALLS, ids=["fit", "steps"])
@pytest.mark.parametrize("share", [0.25, 0.0], ids=["data on the GPU", "data on the host"])
def test_a_run_with_cached_features_is_that_of_the_cpu(share, run, memory, cupy, monkeypatch):
    monkeypatch.setattr(_pinned, "SHARE", share)
    host, there = (trainer_on(place, memory, validation=images(20, 1)) for place in ("cpu", "gpu"))
    plain = trainer_on("gpu", False, validation=images(20, 1))
    for trainer in (host, there, plain):
        run(trainer)
    check_alike(host, there)
    check_alike(plain, there)
    assert told(there).layers == told(host).layers != ""
    assert told(there).spilled == (memory is not True)
    assert told(there).hits == 1.0
    kind = cupy.ndarray if memory is True else np.memmap
    assert [type(store._array) for store in stores(there)] == [kind] * len(stores(there))


def counted(trainer, monkeypatch, strict):
    """Note how often each step waits; with `strict`, let nothing pass from the second epoch on."""
    engine, reads = trainer._loop.engine, []
    step = engine.step

    def watched(number, skip_bad):
        first = number % len(engine.train) == 0 or number < len(engine.train)
        with host_reads() as seen:
            if strict and not first:
                with on_device_only():
                    outcome = step(number, skip_bad)
            else:
                outcome = step(number, skip_bad)
        reads.append(len(seen))
        return outcome

    monkeypatch.setattr(engine, "step", watched)
    trainer.fit(3, progress=False)
    return reads


def test_rows_on_the_gpu_are_put_there_and_found_there_without_waiting(monkeypatch):
    with cupy_of("stand-in"):
        trainer = trainer_on("gpu")
        reads = counted(trainer, monkeypatch, strict=True)
    assert told(trainer).hits == 1.0
    # Whether the layers may be answered for is looked into in the first step, and whether the data
    # are the same in the first of each epoch.
    assert reads[1:4] == reads[5:8] == reads[9:12] == [0, 0, 0]
    assert reads[4] == reads[8] == 1
