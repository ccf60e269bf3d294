"""What a controller selects, finds and starts, by name."""

import numpy as np
import pytest

from freezeviz import nn, optim
from freezeviz.errors import RunError, SelectorError
from freezeviz.explorer import explore
from freezeviz.train import Trainer
from tests.explorer.test_controller_training import running as running  # a fixture
from tests.explorer.test_controller_training import wait_for


def model():
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))


def test_all_and_none_are_selected():
    controller = explore(model()).controller
    changes = []
    controller.subscribe(changes.append)
    controller.select_all()
    assert controller.selected == tuple(row.path for row in controller.rows())
    controller.select_none()
    assert controller.selected == ()
    assert [change.kind for change in changes] == ["selection", "selection"]


def test_found_rows_are_gone_through_round_and_round():
    controller = explore(model()).controller
    assert controller.search("weight") == ["layers.0.weight", "layers.2.weight"]
    found = [controller.next_found() for _ in range(3)]
    assert found == ["layers.0.weight", "layers.2.weight", "layers.0.weight"]
    assert controller.selected == ("layers.0.weight",)
    assert controller.previous_found() == "layers.2.weight"
    assert controller.previous_found("relu") == "layers.1"
    assert controller.next_found() == "layers.1"  # the text is a new one: it stays that
    controller.select_rows(["layers.0"])
    assert controller.next_found("weight") == "layers.0.weight"


def test_what_is_not_found_leaves_the_selection():
    controller = explore(model()).controller
    with pytest.raises(SelectorError, match="nothing to find"):
        controller.next_found()
    controller.select_rows(["layers.1"])
    assert controller.previous_found("no such") is None
    assert controller.selected == ("layers.1",)


def test_a_run_is_started_paused_and_stopped():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 2), dtype=np.float32)
    trainer = Trainer(model(), optim.SGD(0.01), data=(x, rng.integers(0, 2, 64)), batch_size=8)
    controller = explore(trainer).controller
    controller.start(epochs=100_000)
    with pytest.raises(RunError, match="under way"):
        controller.start(epochs=1)
    controller.pause()
    wait_for(lambda: trainer.status == "paused")
    controller.resume()
    wait_for(lambda: trainer.status == "running")
    controller.stop()
    assert trainer.wait(20) == "stopped"
    controller.stop()
    with pytest.raises(RunError, match="no run to pause"):
        controller.pause()


@pytest.mark.parametrize("order", ["start", "pause", "resume", "stop"])
def test_a_model_alone_has_no_run(order):
    controller = explore(model()).controller
    with pytest.raises(RunError, match=f"there is no run to {order}: .*Trainer"):
        getattr(controller, order)(*[1] * (order == "start"))


def test_a_loop_of_the_users_own_is_not_started_from_outside():
    explorer = explore(model())
    explorer.log(loss=1.0)
    with pytest.raises(RunError, match="its own loop does that"):
        explorer.controller.start(1)


def test_rows_are_filtered_by_what_is_on_its_way(running):
    trainer, gate = running
    controller = explore(trainer).controller
    assert controller.filter(state="pending") == []
    controller.toggle("layers.1")
    assert controller.filter(state="pending") == ["layers.1"]
    assert controller.filter(state=["pending", "frozen"]) == ["layers.1"]
    gate._open.set()
    wait_for(lambda: not controller.pending)
    assert controller.filter(state="pending") == []
