"""What a kernel imports while nobody waits."""

import time

import pytest

pytest.importorskip("anywidget")
manager = pytest.importorskip("jupyter_client.manager")

BRIDGE = "'freezeviz.widgets._bridge' in sys.modules"


@pytest.fixture(scope="module")
def value():
    """Return a function that gives the value of an expression in a fresh kernel."""
    kernel, client = manager.start_new_kernel(kernel_name="python3")

    def ask(expression, code=""):
        request = client.execute(code, user_expressions={"asked": expression}, silent=False)
        while (reply := client.get_shell_msg(timeout=30))["parent_header"]["msg_id"] != request:
            pass
        return reply["content"]["user_expressions"]["asked"]["data"]["text/plain"]

    yield ask
    client.stop_channels()
    kernel.shutdown_kernel(now=True)


def test_importing_loads_no_widgets_but_the_idle_kernel_does(value):
    assert value(BRIDGE, code="import sys, freezeviz") == "False"
    end = time.monotonic() + 20
    while value(BRIDGE) == "False" and time.monotonic() < end:
        time.sleep(0.02)
    assert value(BRIDGE) == "True"
    assert value("'matplotlib.pyplot' in sys.modules") == "False"
    assert value("freezeviz.explore(freezeviz.nn.Linear(2, 2)).hint") == "''"
