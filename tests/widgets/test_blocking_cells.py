"""Clicks in a real kernel while a cell keeps it busy: heard between two steps, by nobody else."""

import json
import time

import pytest

pytest.importorskip("anywidget")
manager = pytest.importorskip("jupyter_client.manager")

SETUP = """
import json, time
import numpy as np
import freezeviz as fv
from freezeviz import nn, optim
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
explorer = fv.explore(model)
display(explorer)
comm_id = explorer.face.bridge.widget.comm.comm_id
def frozen(): return sorted(explorer.controller.adapter.frozen())
"""
LOOP = """
end, n = time.time() + 30, 0
for step, _ in fv.steps(range(100_000), explorer):
    explorer.log(loss=1.0)
    n += 1
    if n == 3:
        print("READY", flush=True)
    time.sleep(0.002)
    if len(frozen()) == 4 or time.time() > end:
        break
print("HEARD", len(frozen()))
"""


class Kernel:
    """A kernel, and a page that clicks."""

    def __init__(self):
        self.manager, self.client = manager.start_new_kernel(kernel_name="python3")
        self.seq = 0
        self.run(SETUP)
        self.comm_id = self.value("comm_id")

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def start(self, code):
        return self.client.execute(code, stop_on_error=False)

    def finish(self, request):
        """Wait for a cell; return what it printed."""
        printed = ""
        while True:
            message = self.client.get_iopub_msg(timeout=20)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                printed += content["text"]
            elif kind == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return printed

    def run(self, code):
        return self.finish(self.start(code))

    def value(self, expression):
        return json.loads(self.run(f"print(json.dumps({expression}))").splitlines()[-1])

    def wait_for(self, request, text):
        """Wait until a cell printed something."""
        while True:
            message = self.client.get_iopub_msg(timeout=20)
            if message["parent_header"].get("msg_id") == request and text in message["content"].get(
                "text", ""
            ):
                return

    def send(self, message, comm_id=None):
        """Send what the page sends when somebody does something."""
        self.seq += 1
        custom = {"view": "v", "seq": self.seq} | message
        content = {
            "comm_id": comm_id or self.comm_id,
            "data": {"method": "custom", "content": custom},
        }
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))

    def click(self, path):
        row = {"layers.0": 1, "layers.2": 5}[path]
        self.send({"type": "toggle", "clicks": [{"id": row, "path": path}]})


@pytest.fixture(scope="module")
def kernel():
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture(autouse=True)
def _nothing_frozen(kernel):
    kernel.run("fv.unfreeze(model, ''); explorer.controller.refresh()")


def test_clicks_during_a_loop_that_blocks_its_cell_are_heard_between_its_steps(kernel):
    request = kernel.start(LOOP)
    kernel.wait_for(request, "READY")
    kernel.click("layers.0")
    kernel.click("layers.2")
    assert "HEARD 4" in kernel.finish(request)
    assert kernel.value("explorer.run_view.status") == "stopped"


def test_so_are_pause_resume_and_stop(kernel):
    request = kernel.start(LOOP)
    kernel.wait_for(request, "READY")
    for action in ("pause", "resume", "pause", "stop"):
        kernel.send({"type": action})
        time.sleep(0.1)
    assert "HEARD 0" in kernel.finish(request)
    told = kernel.value("[type(e).__name__ for e in explorer.run_view.events][-4:]")
    assert told == ["Paused", "Resumed", "Paused", "Stopped"]


def test_a_trainer_that_fits_in_the_cell_hears_them_too(kernel):
    kernel.run(
        "x = np.ones((8, 4), np.float32)\n"
        "trainer = fv.Trainer(nn.Sequential(nn.Linear(4, 2)), optim.SGD(0.1), "
        "data=(x, np.zeros(8, int)))\n"
        "other = fv.explore(trainer)\ndisplay(other)"
    )
    comm_id = kernel.value("other.face.bridge.widget.comm.comm_id")
    request = kernel.start(
        "trainer.subscribe(lambda e: e.step == 3 and print('READY', flush=True))\n"
        "trainer.fit(1_000_000, progress=False)"
    )
    kernel.wait_for(request, "READY")
    kernel.send({"type": "toggle", "clicks": [{"id": 1, "path": "layers.0"}]}, comm_id)
    kernel.send({"type": "stop"}, comm_id)
    kernel.finish(request)
    assert kernel.value("trainer.status") == "stopped"
    assert kernel.value("[e.label for e in trainer.events if hasattr(e, 'label')]") == [
        "freeze layers.0"
    ]


def test_what_is_for_others_waits_for_the_end_of_the_cell_as_ever(kernel):
    kernel.run(
        "import ipywidgets\nother = ipywidgets.Button()\nheard = []\n"
        "other.on_msg(lambda w, c, b: heard.append(time.time()))"
    )
    other = kernel.value("other.comm.comm_id")
    request = kernel.start(LOOP + "\nended = time.time()")
    kernel.wait_for(request, "READY")
    kernel.send({"event": "hello"}, other)
    later = kernel.start("later = 'done'")
    kernel.click("layers.0")
    kernel.click("layers.2")
    assert "HEARD 4" in kernel.finish(request)
    kernel.finish(later)
    assert kernel.value("[later, len(heard), heard[0] >= ended]") == ["done", 1, True]


def test_messages_that_are_broken_disturb_nothing(kernel):
    request = kernel.start(LOOP)
    kernel.wait_for(request, "READY")
    kernel.send({"type": "toggle", "clicks": "all of them"})
    session = kernel.client.session
    for content in ({}, {"comm_id": kernel.comm_id}, {"comm_id": "gone", "data": {}}):
        kernel.client.shell_channel.send(session.msg("comm_msg", content))
    kernel.click("layers.0")
    kernel.click("layers.2")
    printed = kernel.finish(request)
    assert "HEARD 4" in printed
    assert "a message of the page was ignored" in printed


def test_a_click_after_the_last_step_takes_effect_when_the_cell_ends(kernel):
    request = kernel.start("list(fv.steps(range(3), explorer))\nprint('READY')\ntime.sleep(0.5)")
    kernel.wait_for(request, "READY")
    kernel.click("layers.0")
    kernel.finish(request)
    assert kernel.value("frozen()") == ["layers.0.bias", "layers.0.weight"]


@pytest.mark.parametrize(("failing", "status"), [(False, "stopped"), (True, "failed")])
def test_a_cell_that_ends_early_ends_its_loop_even_if_that_is_kept(kernel, failing, status):
    loop = LOOP.replace("in fv.steps(range(100_000), explorer)", "in loop")
    if failing:
        loop = loop.replace("    n += 1", "    n += 1\n    assert n < 9, 'bad batch'")
    request = kernel.start("loop = fv.steps(range(100_000), explorer)" + loop)
    kernel.wait_for(request, "READY")
    if not failing:
        kernel.manager.interrupt_kernel()
    with pytest.raises(RuntimeError, match="bad batch" if failing else "KeyboardInterrupt"):
        kernel.finish(request)
    assert kernel.value("explorer.run_view.status") == status
    kernel.click("layers.0")
    assert kernel.value("frozen()") == ["layers.0.bias", "layers.0.weight"]
    assert kernel.value("explorer.controller.pending") == []


def test_a_loop_in_an_async_cell_hears_them(kernel):
    request = kernel.start(LOOP.replace("for step", "async for step"))
    kernel.wait_for(request, "READY")
    kernel.click("layers.0")
    kernel.click("layers.2")
    assert "HEARD 4" in kernel.finish(request)


def test_a_loop_in_the_background_hears_them_and_its_output_stays_in_its_cell(kernel):
    request = kernel.start(
        "def train():\n"
        + "\n".join("    " + line for line in LOOP.strip().splitlines())
        + "\nbackground = explorer.run(train)\nbackground.wait()"
    )
    kernel.wait_for(request, "READY")
    # The cell waits for the run, which keeps the kernel's loop from hearing: only code helps.
    assert kernel.client.is_alive()
    kernel.manager.interrupt_kernel()
    assert "Stopped waiting. The run goes on" in kernel.finish(request)
    kernel.click("layers.0")
    kernel.click("layers.2")
    assert kernel.value("background.wait(20)") == "finished"
    assert kernel.value("len(frozen())") == 4


def test_a_kernel_of_another_kind_says_so_once_and_hears_them_at_the_end(kernel):
    kernel.run(
        "from freezeviz.widgets import _cells\nreal = _cells.shell_door\n"
        "_cells.shell_door = lambda kernel: None\nexplorer.face.bridge.copies"
    )
    request = kernel.start("list(fv.steps(range(3), explorer))\n" * 2 + "time.sleep(0.3)")
    kernel.click("layers.0")
    printed = kernel.finish(request)
    kernel.run("_cells.shell_door = real")
    assert printed.count("Clicks take effect only when this cell ends") == 1
    assert "explorer.run(function)" in printed
    assert kernel.value("frozen()") == ["layers.0.bias", "layers.0.weight"]
