"""The bridge between a run and its widget: what is pushed, from where, and how often."""

import asyncio
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from freezeviz import nn, optim
from freezeviz.errors import FreezevizWarning
from freezeviz.explorer import explore
from freezeviz.train import FreezeChanged, Trainer
from freezeviz.widgets._bridge import Bridge
from freezeviz.widgets._loop import MainLoop

TRAINABLE, FROZEN, MIXED, NONE = range(4)


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def make_trainer(loss="cross_entropy", batches=10):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8 * batches, 6), dtype=np.float32)
    y = rng.integers(0, 3, len(x))
    return Trainer(mlp(), optim.SGD(0.01), loss=loss, data=(x, y), batch_size=8, seed=0)


class Page:
    """Plays the page: sends messages, keeps the answers, and runs the kernel's loop."""

    def __init__(self, target, *, with_loop=True):
        self.loop = asyncio.new_event_loop() if with_loop else None
        self.explorer = explore(target)
        self.bridge = Bridge(self.explorer, MainLoop(self.loop, threading.get_ident()))
        self.widget = self.bridge.widget
        self.seq = 0
        self.sent = []
        self.widget.send = lambda content, buffers=None: self.sent.append(content)

    def say(self, kind, view="v", **rest):
        self.seq += 1
        self.bridge.receive({"type": kind, "view": view, "seq": self.seq, **rest})

    def hello(self, view="v"):
        self.say("hello", view=view, width=640, ratio=1.0)

    def toggle(self, path):
        index = self.explorer.controller.structure.index
        self.say("toggle", clicks=[{"id": index.get(path, 0), "path": path, "t": 0.0}])

    def run(self, seconds=0.0):
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def run_until(self, condition, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            self.run(0.005)

    def state(self, path):
        return self.widget.state[self.explorer.controller.structure.index[path]] & 3

    @property
    def note(self):
        return self.widget.info["note"]


@pytest.fixture
def pages():
    made = []

    def make(target, **options):
        made.append(Page(target, **options))
        return made[-1]

    yield make
    for page in made:
        if page.explorer.trainer is not None:
            page.explorer.trainer.stop()
            if page.explorer.trainer.status != "failed":
                page.explorer.trainer.wait(20)
        page.widget.close()
        if page.loop is not None:
            page.loop.close()


def test_the_widget_begins_with_the_whole_state(pages):
    model = mlp()
    model.layers[0].freeze()
    page = pages(model)
    assert page.widget.tree["labels"][:2] == ["Sequential", "layers.0"]
    assert page.state("") == MIXED
    assert page.state("layers.0") == FROZEN
    assert page.state("layers.1") == NONE
    assert page.widget.run is None
    assert repr(page.widget) == repr(page.explorer)


def test_a_click_on_a_model_is_applied_shown_and_answered(pages):
    page = pages(mlp())
    page.hello()
    page.run(0.12)
    page.sent.clear()
    page.toggle("layers.0")
    page.run(0.12)
    assert page.state("layers.0") == FROZEN
    assert page.note["text"] == "Freeze layers.0."
    assert page.widget.info["undo"] == "freeze layers.0"
    assert page.sent == [{"type": "ack", "view": "v", "seq": page.seq}]


def test_an_answer_comes_after_the_state_that_it_is_about(pages):
    page = pages(mlp())
    order = []
    page.widget.observe(lambda change: order.append("state"), "state")
    page.widget.send = lambda content: order.append(content["type"])
    page.toggle("layers.0")
    page.run(0.12)
    assert order == ["state", "ack"]


def test_buttons_freeze_all_and_undo(pages):
    page = pages(mlp())
    page.say("freeze_all")
    page.run(0.11)
    assert page.state("") == FROZEN
    page.say("unfreeze_all")
    page.say("undo")
    page.run(0.11)
    assert page.state("") == FROZEN
    page.say("redo")
    page.run(0.11)
    assert page.state("") == TRAINABLE


@pytest.mark.parametrize(
    "content",
    [None, 5, {"type": "toggle"}, {"type": "evil", "view": "v", "seq": 1}, {"type": "toggle",
     "view": "v", "seq": 1, "clicks": [{"id": [], "path": {}}]}],
)  # fmt: skip
def test_a_malformed_message_is_a_warning_and_the_state_is_pushed_again(pages, content):
    page = pages(mlp())
    page.run(0.11)
    page.explorer.controller._tree.adapter.set_frozen(["layers.0.weight"], True)
    page.explorer.controller._tree.read()
    with pytest.warns(FreezevizWarning, match="a message of the page was ignored"):
        page.bridge.receive(content)
    page.run(0.11)
    assert page.note["level"] == "warning"
    assert page.state("layers.0") == MIXED


def test_a_click_on_a_row_that_is_gone_is_a_warning(pages):
    page = pages(mlp())
    with pytest.warns(FreezevizWarning, match="no 'layers.9' "):
        page.say("toggle", clicks=[{"id": 99, "path": "layers.9"}])
    page.run(0.11)
    assert page.state("") == TRAINABLE
    assert page.sent[-1]["type"] == "ack"


def test_a_click_on_a_row_that_moved_means_its_path(pages):
    page = pages(mlp())
    page.say("toggle", clicks=[{"id": 0, "path": "layers.2"}])
    page.run(0.11)
    assert page.state("layers.2") == FROZEN
    assert page.state("layers.0") == TRAINABLE


def test_a_model_alone_cannot_be_started(pages):
    page = pages(mlp())
    with pytest.warns(FreezevizWarning, match="a Trainer can"):
        page.say("start", epochs=1)


def test_start_pause_resume_and_stop(pages):
    trainer = make_trainer()
    page = pages(trainer)
    page.hello()
    page.say("start", epochs=10_000)
    page.run_until(lambda: page.widget.run["status"] == "running" and page.widget.run["step"] > 5)
    assert page.widget.run["planned"] == 100_000
    page.say("pause")
    page.run_until(lambda: page.widget.run["status"] == "paused")
    assert page.widget.run["step"] == trainer.step
    page.say("resume")
    page.run_until(lambda: page.widget.run["status"] == "running")
    page.say("stop")
    page.run_until(lambda: page.widget.run["status"] == "stopped")
    assert page.widget.run["step"] == trainer.step
    recent = trainer.history.steps["loss"][-20:]
    assert page.widget.run["loss"] == pytest.approx(recent.mean())


def test_what_cannot_be_done_is_said_next_to_the_tree(pages):
    page = pages(make_trainer())
    page.hello()
    page.say("pause")
    page.run(0.11)
    assert page.note["level"] == "error"
    assert "no run to pause" in page.note["text"]


def test_a_click_while_training_is_pending_then_applied(pages):
    trainer = make_trainer()
    page = pages(trainer)
    page.hello()
    page.say("start", epochs=10_000)
    page.run_until(lambda: trainer.step > 5)
    page.toggle("layers.0")
    page.run_until(lambda: page.state("layers.0") == FROZEN)
    page.run_until(lambda: not page.explorer.controller.pending)
    assert page.note["text"].startswith("Freeze layers.0 after step ")


def test_traits_are_touched_in_the_loops_thread_only(pages):
    trainer = make_trainer()
    page = pages(trainer)
    threads = set()
    page.widget.observe(lambda change: threads.add(threading.get_ident()))
    page.hello()
    page.say("start", epochs=10_000)
    for path in ("layers.0", "layers.2", "layers.0.bias"):
        page.toggle(path)
        trainer.toggle(path)
        page.run(0.15)
    page.say("stop")
    page.run_until(lambda: page.widget.run["status"] == "stopped")
    assert threads == {threading.get_ident()}


def test_a_fast_run_is_pushed_a_few_times_a_second_and_whole_at_the_end(pages):
    trainer = make_trainer()
    page = pages(trainer)
    page.hello()
    pushes = []
    page.widget.observe(lambda change: pushes.append(time.monotonic()), "run")
    page.say("start", epochs=100_000)
    page.run(1.0)
    assert 2 <= len(pushes) <= 12
    trainer.stop()
    trainer.wait(20)
    page.run(0.05)
    assert page.widget.run["step"] == trainer.step
    assert page.widget.plot_alt.startswith(f"Loss plot after {trainer.step:,} steps")
    assert page.widget.plot.startswith(b"\x89PNG")


def test_a_hundred_clicks_are_all_applied_and_all_answered(pages):
    trainer = make_trainer()
    page = pages(trainer)
    page.hello()
    page.say("start", epochs=100_000)
    page.run_until(lambda: trainer.step > 5)
    for i in range(100):
        page.toggle("layers.0" if i % 2 else "layers.2")
        page.run(0.001)
    page.run_until(lambda: not page.explorer.controller.pending)
    page.run_until(lambda: page.sent and page.sent[-1]["seq"] == page.seq)
    events = [event for event in trainer.events if isinstance(event, FreezeChanged)]
    assert len(events) == 100
    page.run_until(lambda: page.state("") == TRAINABLE)


def test_without_a_view_nothing_is_pushed_until_the_end(pages):
    trainer = make_trainer()
    page = pages(trainer)
    page.hello()
    page.say("bye")
    page.run(0.2)
    trainer.start(epochs=100_000)
    page.run(0.3)
    pushes = []
    page.widget.observe(lambda change: pushes.append(change.name), ["run", "plot"])
    page.run(0.6)
    assert pushes == []
    trainer.stop()
    trainer.wait(20)
    page.run(0.05)
    assert {"run", "plot"} <= set(pushes)


def test_clicks_in_one_message_are_each_applied(pages):
    trainer = make_trainer()
    page = pages(trainer)
    page.say("toggle", clicks=[{"id": 1, "path": "layers.0"}] * 99)
    page.run(0.11)
    assert len([event for event in trainer.events if isinstance(event, FreezeChanged)]) == 99
    assert page.state("layers.0") == FROZEN


def test_each_of_two_views_gets_its_answers(pages):
    page = pages(mlp())
    page.hello("a")
    page.hello("b")
    page.say("freeze_all", view="a")
    page.say("undo", view="b")
    page.run(0.11)
    assert {(m["view"], m["seq"]) for m in page.sent} == {("a", 1), ("b", 2), ("a", 3), ("b", 4)}


def test_a_run_in_the_loops_own_thread_is_shown_while_it_goes(pages):
    trainer = make_trainer(batches=400)
    page = pages(trainer)
    page.hello()
    steps = []
    page.widget.observe(lambda change: steps.append(change.new["step"]), "run")
    trainer.fit(4, progress=False)
    assert len([step for step in steps if 0 < step < 1600]) >= 1
    assert steps[-1] == 1600
    assert page.widget.run["status"] == "finished"


def test_in_plain_python_a_command_is_pushed_at_once(pages):
    page = pages(make_trainer(), with_loop=False)
    page.toggle("layers.0")
    assert page.state("layers.0") == FROZEN
    page.toggle("layers.0")
    assert page.state("layers.0") == TRAINABLE


def test_a_failed_run_is_told_and_leaves_everything_usable(pages):
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        if len(calls) > 4:
            raise ValueError("boom <b>")
        return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    trainer = make_trainer(loss)
    page = pages(trainer)
    page.hello()
    page.say("start", epochs=5)
    page.run_until(lambda: page.widget.run["status"] == "failed")
    assert page.widget.run["error"] == "After step 4: ValueError: boom <b>"
    assert page.note == {"n": page.note["n"], "level": "error",
                         "text": "The run failed: ValueError: boom <b>"}  # fmt: skip
    page.toggle("layers.0")
    page.run(0.11)
    assert page.state("layers.0") == FROZEN
    assert page.widget.plot.startswith(b"\x89PNG")


def test_the_next_run_takes_the_error_away(pages):
    failing = [True]

    def loss(outputs, targets):
        if failing:
            raise ValueError("boom")
        return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    trainer = make_trainer(loss)
    page = pages(trainer)
    page.hello()
    page.say("start", epochs=1)
    page.run_until(lambda: page.widget.run["error"] is not None)
    failing.clear()
    page.say("start", epochs=1)
    page.run_until(lambda: page.widget.run["status"] == "finished")
    assert page.widget.run["error"] is None


def test_a_loss_that_is_not_finite_is_told_and_is_no_number(pages):
    def loss(outputs, targets):
        return nn.losses.cross_entropy(outputs, targets, reduction="mean") * np.float32("nan")

    trainer = make_trainer(loss)
    page = pages(trainer)
    page.hello()
    with pytest.warns(UserWarning, match="the loss is nan"):
        trainer.fit(1, progress=False)
    page.run(0.11)
    assert "became nan at step 1." in page.widget.run["not_finite"]
    assert page.widget.run["loss"] is None


def test_closing_the_widget_leaves_the_run_alone(pages):
    trainer = make_trainer()
    page = pages(trainer)
    page.hello()
    page.say("start", epochs=100_000)
    page.run_until(lambda: trainer.step > 5)
    page.widget.close()
    step = trainer.step
    page.run(0.2)
    assert trainer.status == "running"
    assert trainer.step > step
    assert not page.bridge.is_open
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page.toggle("layers.0")  # a message that was on its way
        page.run(0.2)


def test_a_plot_that_cannot_be_drawn_is_given_up_and_the_run_goes_on(pages):
    trainer = make_trainer()
    page = pages(trainer)
    page.bridge._painter._plot.png = lambda *size: 1 / 0
    with pytest.warns(FreezevizWarning, match="cannot be drawn any more: ZeroDivisionError"):
        trainer.fit(1, progress=False)
    assert page.widget.run["status"] == "finished"
    assert page.note["level"] == "warning"
    trainer.fit(1, progress=False)
    assert page.widget.run["step"] == 20


def test_without_matplotlib_all_but_the_plot_works(pages, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    monkeypatch.delitem(sys.modules, "freezeviz.widgets._plot", raising=False)
    trainer = make_trainer()
    page = pages(trainer)
    assert "needs matplotlib" in page.note["text"]
    page.hello()
    trainer.fit(1, progress=False)
    assert page.widget.run["status"] == "finished"
    assert page.widget.plot == b""


def test_an_explorer_made_after_a_run_shows_it(pages):
    trainer = make_trainer()
    trainer.fit(2, progress=False)
    page = pages(trainer)
    assert page.widget.run["step"] == 20
    recent = trainer.history.steps["loss"][-20:]
    assert page.widget.run["loss"] == pytest.approx(recent.mean())
    page.hello()
    page.run_until(lambda: page.widget.plot.startswith(b"\x89PNG"))


def test_the_picture_is_drawn_for_the_widest_view(pages):
    trainer = make_trainer()
    trainer.fit(1, progress=False)
    page = pages(trainer)
    page.say("hello", view="a", width=400, ratio=1.0)
    page.say("hello", view="b", width=500, ratio=2.0)
    page.run_until(lambda: int.from_bytes(page.widget.plot[16:20]) == 1000)
    page.say("size", view="b", width=700, ratio=2.0)
    page.run_until(lambda: int.from_bytes(page.widget.plot[16:20]) == 1400)


def test_drawing_slows_down_with_its_cost(pages):
    trainer = make_trainer()
    page = pages(trainer)
    page.hello()
    page.say("start", epochs=100_000)
    page.run_until(lambda: trainer.step > 50)
    drawn = []

    def slow(*size):
        drawn.append(time.monotonic())
        deadline = time.thread_time() + 0.05
        while time.thread_time() < deadline:
            pass
        return b"\x89PNG" + bytes([len(drawn)])

    page.bridge._painter._plot.png = slow
    page.bridge._painter.pace.cost, page.bridge._painter.pace.next = 0.05, 0.0
    page.run(3.0)
    # 2 % of the time: not more than every 2.5 s.
    assert 1 <= len(drawn) <= 3


def test_a_new_structure_gets_a_new_version(pages):
    model = mlp()
    page = pages(model)
    assert page.widget.tree["version"] == 1
    model.layers[1] = nn.Linear(8, 8)
    page.explorer.controller.refresh()
    page.run(0.11)
    assert page.widget.tree["version"] == 2
    assert len(page.widget.state) == len(page.widget.tree["labels"])
