"""What a trainer refuses, and with which words."""

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.errors import DataError, RunError, ShapeError
from tests.train._setup import make_data, make_model, make_trainer

X, Y = make_data(10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": None}, r"needs data to train on: data=\(x, y\)"),
        ({"data": X}, r"data is a pair \(x, y\) of arrays, got ndarray"),
        ({"data": (X,)}, "data is a pair .* got 1 things"),
        ({"data": (X, Y, Y)}, "got 3 things"),
        (
            {"data": (X, Y[:9])},
            r"as many targets as inputs, got x of shape \(10, 4\) and y of shape \(9,\)",
        ),
        ({"data": (X[:0], Y[:0])}, r"data is empty: x has shape \(0, 4\)"),
        ({"data": (X, 3)}, "data's y is a single value"),
        ({"data": (X, ["a"] * 10)}, "data's y holds no numbers"),
        ({"data": ([[1, 2], [3]], Y)}, "data's x cannot be made an array"),
        ({"validation": (X, Y[:9])}, "validation needs as many targets"),
        ({"validation": (X[:0], Y[:0])}, "validation is empty"),
        ({"batch_size": 0}, "batch_size is a whole number of at least 1, got 0"),
        ({"batch_size": -3}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size is a whole number, got 2.5"),
        ({"batch_size": True}, "batch_size"),
        ({"seed": -1}, "seed is a whole number of at least 0, got -1"),
        ({"seed": None}, "seed is a whole number, got None"),
        ({"loss": "cross_entrop"}, "no loss 'cross_entrop' .* Closest: 'cross_entropy'"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        make_trainer(**({"data": (X, Y)} | options))


def test_data_errors_are_value_errors():
    with pytest.raises(ValueError, match="empty"):
        make_trainer(data=(X[:0], Y[:0]))


@pytest.mark.parametrize("epochs", [0, -1, 1.5, "3", None, True])
def test_epochs_have_to_be_a_positive_number(epochs):
    trainer = make_trainer()
    for drive in (trainer.fit, trainer.start, trainer.steps):
        with pytest.raises(DataError, match="epochs is a whole number"):
            drive(epochs)
    assert trainer.status == "idle"


def test_things_of_the_wrong_kind_are_refused():
    with pytest.raises(TypeError, match=r"trains freezeviz.nn modules, got dict"):
        fv.Trainer({}, optim.SGD(0.1), data=(X, Y))
    with pytest.raises(TypeError, match=r"such as optim.Adam\(1e-3\)"):
        fv.Trainer(make_model(), "adam", data=(X, Y))
    with pytest.raises(TypeError, match=r"such as optim.Adam\(1e-3\)"):
        fv.Trainer(make_model(), optim.Adam, data=(X, Y))
    with pytest.raises(TypeError, match="name of a loss, or a function"):
        make_trainer(loss=3)


def test_lists_are_data_too():
    trainer = make_trainer(data=(X.tolist(), Y.tolist()))
    trainer.fit(1, progress=False)
    assert trainer.step == 1


def test_inputs_of_the_wrong_width_name_the_layer_and_leave_the_trainer_usable():
    trainer = make_trainer(data=(X[:, :3], Y))
    with pytest.raises(ShapeError, match="Linear"):
        trainer.fit(1, progress=False)
    assert (trainer.status, trainer.step) == ("failed", 0)
    assert trainer.model.training


def test_a_label_out_of_range_is_an_error_that_says_so():
    trainer = make_trainer(data=(X, Y + 1))
    with pytest.raises(DataError, match="3"):
        trainer.fit(1, progress=False)
    trainer.start(1)
    with pytest.raises(RunError, match="DataError"):
        trainer.wait()


def test_a_loss_that_is_no_scalar_says_how_to_reduce_it():
    trainer = make_trainer(loss=nn.losses.cross_entropy)
    with pytest.raises(TypeError, match="scalar"):
        trainer.fit(1, progress=False)


def test_a_label_out_of_range_in_the_validation_data_ends_the_run_after_the_epoch():
    trainer = make_trainer(data=(X, Y), validation=(X, Y + 5))
    with pytest.raises(DataError):
        trainer.fit(2, progress=False)
    assert (trainer.status, trainer.step) == ("failed", 1)
    assert trainer.model.training


def test_evaluating_on_bad_data_is_refused():
    trainer = make_trainer()
    with pytest.raises(DataError, match="empty"):
        trainer.evaluate((X[:0], Y[:0]))
    with pytest.raises(ShapeError):
        trainer.evaluate((X[:, :2], Y))
    assert trainer.model.training


def test_nan_in_the_inputs_is_noticed_as_a_bad_loss():
    x = X.copy()
    x[0, 0] = np.nan
    trainer = make_trainer(data=(x, Y), batch_size=4, stop_on_nonfinite=True)
    with np.errstate(invalid="ignore"), pytest.warns(fv.errors.NonFiniteLossWarning):
        trainer.fit(1, progress=False)
    assert trainer.status == "stopped"
