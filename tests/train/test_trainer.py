"""A run in the foreground: what it computes, records and leaves behind."""

import math
import pickle

import numpy as np
import pytest

from freezeviz import nn, optim
from freezeviz.errors import NonFiniteLossWarning, NothingTrainableWarning, RunError
from tests.train._setup import (
    BATCH,
    SAMPLES,
    STEPS_PER_EPOCH,
    kinds,
    make_data,
    make_model,
    make_trainer,
    weights,
)


def test_a_run_learns_what_the_data_say():
    trainer = make_trainer(data=make_data(400), validation=make_data(100, seed=1))
    before = trainer.evaluate()
    trainer.fit(20, progress=False)
    loss, accuracy = trainer.evaluate()
    assert loss < before[0] / 2
    assert accuracy > 0.85


def test_the_steps_are_those_of_a_loop_written_by_hand():
    x, y = make_data()
    by_hand, optimizer = make_model(), optim.Adam(0.01)
    losses = []
    for epoch in range(2):
        order = np.random.default_rng([7, epoch]).permutation(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start : start + BATCH]

            def loss_of(x, y):
                return nn.losses.cross_entropy(by_hand(x), y, reduction="mean")

            loss, gradients = nn.value_and_grad(by_hand, loss_of)(x[chosen], y[chosen])
            optimizer.update(by_hand, gradients)
            losses.append(float(loss))
    trainer = make_trainer(make_model(), optim.Adam(0.01), seed=7)
    trainer.fit(2, progress=False)
    assert trainer.history.steps["loss"].tolist() == losses
    assert weights(trainer.model) == weights(by_hand)


def test_every_sample_is_seen_once_an_epoch_the_last_batch_being_smaller():
    seen = []
    x = np.arange(SAMPLES, dtype=np.float32)[:, None]

    def loss(outputs, targets):
        seen.append(targets[:, 0].tolist())
        return nn.losses.mse_loss(outputs, targets, reduction="mean")

    trainer = make_trainer(nn.Linear(1, 1), optim.SGD(0.0), loss=loss, data=(x, x))
    trainer.fit(2, progress=False)
    assert [len(batch) for batch in seen] == [16, 16, 16, 2] * 2
    first, second = ([v for batch in seen[i : i + 4] for v in batch] for i in (0, 4))
    assert sorted(first) == sorted(second) == list(range(SAMPLES))
    assert first != second != list(range(SAMPLES))


def test_without_shuffling_the_order_is_that_of_the_data():
    seen = []
    x = np.arange(8, dtype=np.float32)[:, None]

    def loss(outputs, targets):
        seen.extend(targets[:, 0].tolist())
        return ((outputs - targets) ** 2).mean()

    make_trainer(
        nn.Linear(1, 1), optim.SGD(0.0), loss=loss, data=(x, x), batch_size=3, shuffle=False
    ).fit(1, progress=False)
    assert seen == list(range(8))


def test_a_batch_may_be_larger_than_the_data():
    trainer = make_trainer(batch_size=1000)
    trainer.fit(3, progress=False)
    assert (trainer.step, trainer.steps_per_epoch) == (3, 1)


def test_state_and_events_of_a_run():
    trainer = make_trainer(validation=make_data(10))
    assert (trainer.status, trainer.step, trainer.epoch, trainer.rate) == ("idle", 0, 0, 0.0)
    assert trainer.events == ()
    trainer.fit(2, progress=False)
    assert (trainer.status, trainer.step, trainer.epoch) == ("finished", 8, 2)
    assert trainer.planned_steps == 8
    assert trainer.rate > 0
    assert trainer.error is None
    assert kinds(trainer) == ["RunStarted", "Validated", "Validated", "Finished"]
    assert [(e.step, e.epoch) for e in trainer.events] == [(0, 0), (4, 0), (8, 1), (8, 2)]
    assert trainer.events[0].epochs == 2
    trainer.fit(1, progress=False)
    assert (trainer.step, trainer.epoch, trainer.planned_steps) == (12, 3, 12)


def test_events_are_plain_values():
    trainer = make_trainer()
    trainer.freeze("layers.0")
    trainer.fit(1, progress=False)
    assert pickle.loads(pickle.dumps(trainer.events)) == trainer.events
    with pytest.raises(AttributeError):
        trainer.events[0].step = 3


def test_observers_get_every_step_and_every_event():
    trainer, got = make_trainer(validation=make_data(10)), []
    end = trainer.subscribe(got.append)
    trainer.fit(1, progress=False)
    assert [type(e).__name__ for e in got] == [
        "RunStarted",
        *["StepDone"] * STEPS_PER_EPOCH,
        "Validated",
        "Finished",
    ]
    steps = [e for e in got if type(e).__name__ == "StepDone"]
    assert [e.step for e in steps] == [1, 2, 3, 4]
    assert [e.epoch for e in steps] == [0, 0, 0, 0]
    assert [e.loss for e in steps] == trainer.history.steps["loss"].tolist()
    assert tuple(e for e in got if type(e).__name__ != "StepDone") == trainer.events
    end()
    trainer.fit(1, progress=False)
    assert got[-1].step == 4


def test_validation_is_the_mean_over_samples_in_eval_mode():
    model, (x, y) = make_model(dropout=True), make_data(21, seed=3)
    trainer = make_trainer(model, validation=(x, y), batch_size=8)
    trainer.fit(1, progress=False)
    model.eval()
    outputs = model(x)
    losses = nn.losses.cross_entropy(outputs, y, reduction="none")
    validated = trainer.events[-2]
    assert validated.loss == pytest.approx(losses.mean(), rel=1e-5)
    assert validated.accuracy == pytest.approx((outputs.argmax(-1) == y).mean())
    assert trainer.evaluate() == (validated.loss, validated.accuracy)
    assert trainer.evaluate((x, y)) == (validated.loss, validated.accuracy)


def test_training_needs_train_mode_and_gives_the_modes_back():
    model = make_model(dropout=True)
    model.layers[2].eval()
    seen = []

    def loss(outputs, targets):
        seen.append([m.training for m in model.modules()])
        return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    trainer = make_trainer(model, loss=loss, validation=make_data(5))
    before = [m.training for m in model.modules()]
    trainer.fit(2, progress=False)
    assert all(all(modes) for modes in seen[:4] + seen[5:9])
    assert not any(seen[4])
    assert not any(seen[9])
    assert [m.training for m in model.modules()] == before
    trainer.evaluate()
    assert [m.training for m in model.modules()] == before


def test_a_held_layer_comes_back_from_a_run_in_the_mode_it_was_in():
    model = make_model(dropout=True)
    trainer = make_trainer(model)
    trainer.freeze("layers.3", hold=True)
    trainer.fit(1, progress=False)
    assert not model.layers[3].training
    trainer.unfreeze("layers.3")
    assert model.layers[3].training


def test_evaluating_between_two_steps_does_not_leave_the_model_in_eval_mode():
    model = make_model(dropout=True)
    trainer = make_trainer(model)
    for _ in trainer.steps(1):
        loss, _ = trainer.evaluate()
        assert math.isfinite(loss)
        model.eval()
    other = make_trainer(make_model(dropout=True))
    other.fit(1, progress=False)
    assert weights(model) == weights(other.model)


def test_the_loop_can_be_driven_by_hand():
    trainer = make_trainer()
    done = [event.step for event in trainer.steps(epochs=2)]
    assert done == list(range(1, 9))
    assert trainer.status == "finished"


def test_leaving_the_loop_stops_the_run_and_the_next_one_finishes_the_epoch():
    trainer = make_trainer(validation=make_data(5))
    for event in trainer.steps(3):
        if event.step == 6:
            break
    assert trainer.status == "stopped"
    assert kinds(trainer)[-1] == "Stopped"
    trainer.fit(2, progress=False)
    assert (trainer.step, trainer.epoch, trainer.status) == (12, 3, "finished")
    whole = make_trainer(validation=make_data(5))
    whole.fit(3, progress=False)
    assert weights(whole.model) == weights(trainer.model)
    assert whole.history.validation["loss"].tolist() == trainer.history.validation["loss"].tolist()


def test_one_run_at_a_time():
    trainer = make_trainer()
    steps = trainer.steps(1)
    next(steps)
    for start in (
        lambda: trainer.fit(1, progress=False),
        lambda: trainer.start(1),
        lambda: next(trainer.steps(1)),
    ):
        with pytest.raises(RunError, match="under way already"):
            start()
    assert trainer.status == "running"
    steps.close()
    trainer.fit(1, progress=False)


# ---- accuracy -------------------------------------------------------------------------------


def test_accuracy_is_the_share_of_right_classes():
    x = np.eye(4, dtype=np.float32)
    model = nn.Linear(4, 4, bias=False)
    model.weight = np.eye(4, dtype=np.float32)
    trainer = make_trainer(model, optim.SGD(0.0), data=(x, np.array([0, 1, 2, 0])), batch_size=4)
    trainer.fit(1, progress=False)
    assert trainer.history.steps["accuracy"].tolist() == [0.75]


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        ("mse_loss", np.ones((6, 2), np.float32)),
        ("mse_loss", np.ones((6, 2), np.int64)),
        (lambda outputs, targets: ((outputs - targets) ** 2).mean(), np.ones((6, 2))),
    ],
)
def test_without_classes_there_is_no_accuracy(loss, targets):
    data = (np.ones((6, 4), np.float32), targets)
    trainer = make_trainer(nn.Linear(4, 2), loss=loss, data=data, validation=data)
    trainer.fit(1, progress=False)
    assert trainer.history.to_dict()["accuracy"] == [None]
    assert trainer.history.to_dict()["validation_accuracy"] == [None]
    assert trainer.evaluate()[1] is None


def test_a_loss_of_ones_own_for_classes_has_an_accuracy():
    def loss(outputs, targets):
        return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    trainer = make_trainer(loss=loss)
    trainer.fit(1, progress=False)
    assert None not in trainer.history.to_dict()["accuracy"]


# ---- special cases --------------------------------------------------------------------------


def test_with_everything_frozen_the_run_evaluates_and_warns_once():
    trainer = make_trainer()
    trainer.freeze("")
    before = weights(trainer.model)
    with pytest.warns(NothingTrainableWarning) as caught:
        trainer.fit(2, progress=False)
    assert len(caught) == 1
    assert weights(trainer.model) == before
    assert len(trainer.history) == 8
    assert trainer.optimizer.step == 0


def nan_loss_at(*steps):
    made = []

    def loss(outputs, targets):
        made.append(1)
        value = nn.losses.cross_entropy(outputs, targets, reduction="mean")
        return value * np.float32("nan") if len(made) in steps else value

    return loss


def test_a_nan_loss_is_reported_and_the_run_goes_on():
    trainer = make_trainer(optimizer=optim.SGD(0.0), loss=nan_loss_at(2, 3, 6))
    with (
        np.errstate(invalid="ignore"),
        pytest.warns(NonFiniteLossWarning, match="step 2") as caught,
    ):
        trainer.fit(2, progress=False)
    assert len(caught) == 1
    # The loss of step 2 made every trainable parameter NaN, and every later loss with it.
    assert [e.step for e in trainer.events if type(e).__name__ == "NonFiniteLoss"] == [2]
    assert trainer.status == "finished"
    assert np.isnan(trainer.history.steps["loss"][1:]).all()


def test_each_stretch_of_bad_losses_is_one_event():
    trainer = make_trainer(loss=nan_loss_at(2, 3, 6))
    trainer.freeze("")
    with pytest.warns((NonFiniteLossWarning, NothingTrainableWarning)):
        trainer.fit(2, progress=False)
    bad = [e for e in trainer.events if type(e).__name__ == "NonFiniteLoss"]
    assert [e.step for e in bad] == [2, 6]
    assert math.isnan(bad[0].loss)


def test_a_nan_loss_can_end_the_run_before_it_reaches_the_model():
    trainer = make_trainer(loss=nan_loss_at(3), stop_on_nonfinite=True)
    after = {}
    trainer.subscribe(lambda e: after.setdefault(e.step, weights(trainer.model)))
    with np.errstate(invalid="ignore"), pytest.warns(NonFiniteLossWarning, match="did not change"):
        trainer.fit(2, progress=False)
    assert (trainer.status, trainer.step) == ("stopped", 3)
    assert kinds(trainer)[-2:] == ["NonFiniteLoss", "Stopped"]
    assert weights(trainer.model) == after[2]


def test_a_loss_that_raises_ends_the_run_and_leaves_everything_usable():
    made = []

    def loss(outputs, targets):
        made.append(1)
        if len(made) == 6:
            raise ZeroDivisionError("my own mistake")
        return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    trainer = make_trainer(loss=loss)
    after = {}
    trainer.subscribe(lambda e: after.setdefault(e.step, weights(trainer.model)))
    with pytest.raises(ZeroDivisionError, match="my own mistake"):
        trainer.fit(2, progress=False)
    assert (trainer.status, trainer.step, len(trainer.history)) == ("failed", 5, 5)
    assert isinstance(trainer.error, ZeroDivisionError)
    assert trainer.events[-1].message == "ZeroDivisionError: my own mistake"
    assert weights(trainer.model) == after[5]
    assert trainer.model.training
    trainer.fit(1, progress=False)
    assert (trainer.status, trainer.step, trainer.error) == ("finished", 8, None)


def test_progress_is_shown_on_the_error_stream_or_not_at_all(capfd):
    trainer = make_trainer(validation=make_data(5))
    trainer.fit(1, progress=False)
    assert capfd.readouterr() == ("", "")
    trainer.fit(2)
    out, err = capfd.readouterr()
    assert out == ""
    for part in ("8/8", "epoch 3, loss", "validation"):
        assert part in err


def test_repr_is_short_and_stable():
    trainer = make_trainer()
    assert repr(trainer) == "Trainer(Sequential, Adam, idle, step 0 of 0)"
    trainer.fit(1, progress=False)
    assert repr(trainer) == "Trainer(Sequential, Adam, finished, step 4 of 4)"


def test_data_are_used_where_they_are_not_copied():
    x, y = make_data()
    trainer = make_trainer(data=(x, y))
    assert trainer._loop.engine.train.x is x


def test_a_model_and_data_on_the_gpu_train_as_on_the_cpu(cupy):
    host = make_trainer(validation=make_data(9))
    host.fit(3, progress=False)
    x, y = make_data()
    for data in ((cupy.asarray(x), cupy.asarray(y)), (x, y)):
        model = make_model().to("gpu")
        trainer = make_trainer(model, data=data, validation=make_data(9))
        trainer.fit(3, progress=False)
        assert all(isinstance(v, cupy.ndarray) for _, v in model.named_parameters())
        np.testing.assert_allclose(
            trainer.history.steps["loss"], host.history.steps["loss"], rtol=1e-4
        )
