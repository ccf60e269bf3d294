"""A trainer on a GPU: what a run reads back, in the foreground and in the background."""

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import backend
from tests.standin_cupy import cupy_of, host_reads
from tests.train._setup import make_data, make_model, make_trainer


def on_gpu(**options):
    options = {"validation": None} | options
    return make_trainer(make_model(dropout=True).to("gpu"), **options)


def test_a_step_waits_for_the_device_once_for_its_loss_and_accuracy():
    with cupy_of("stand-in"):
        trainer = on_gpu()
        with host_reads() as reads:
            trainer.fit(2, progress=False)
    assert len(reads) == trainer.step == 8


def test_a_step_without_classes_waits_once_for_its_loss():
    x, _ = make_data()
    with cupy_of("stand-in"):
        trainer = on_gpu(data=(x, x[:, :3]), loss="mse_loss")
        with host_reads() as reads:
            trainer.fit(2, progress=False)
    assert len(reads) == trainer.step == 8


def test_a_validation_waits_once_for_each_batch():
    with cupy_of("stand-in"):
        trainer = on_gpu(validation=make_data(40))
        with host_reads() as reads:
            trainer.fit(1, progress=False)
    assert len(reads) == trainer.step + 3


@pytest.mark.parametrize("background", [False, True])
def test_a_run_with_orders_between_its_steps_is_that_of_the_cpu(background, cupy):
    seen = []
    for place in ("cpu", "gpu"):
        model = make_model(dropout=True).to(place)
        fv.freeze(model, "layers.0.weight")
        trainer = make_trainer(model, validation=make_data(9))
        kept = fv.receipt(trainer)
        trainer.freeze("layers.4.*")
        if background:
            trainer.start(3)
            trainer.wait(60)
        else:
            trainer.fit(3, progress=False)
        assert trainer.status == "finished"
        assert kept.verify().ok
        trainer.unfreeze("layers.0.weight")
        trainer.fit(1, progress=False)
        assert not kept.verify().ok
        assert {type(v) for _, v in model.named_parameters()} == {
            np.ndarray if place == "cpu" else cupy.ndarray
        }
        seen.append(trainer.history)
    for column in ("loss", "accuracy"):
        np.testing.assert_allclose(
            seen[0].steps[column], seen[1].steps[column], rtol=1e-4, err_msg=column
        )
    np.testing.assert_allclose(seen[0].validation["loss"], seen[1].validation["loss"], rtol=1e-4)


def test_data_in_lists_go_where_the_model_is(cupy):
    x, y = make_data()
    trainer = on_gpu(data=(x.tolist(), y.tolist()))
    trainer.fit(1, progress=False)
    assert isinstance(trainer._loop.engine.train.x, cupy.ndarray)
    assert backend.device() == "cpu"
