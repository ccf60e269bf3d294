"""A JupyterLab of our own on the loopback interface, and a notebook in it, driven by Chromium.

"Idle" on the page is not readiness: a notebook is ready when its context, its session and its
kernel have said so. Lab is started with its application object exposed, and asked through that.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "tests" / "_artifacts"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_LOCAL = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "about:")
_STARTUP_SECONDS = 90
_OPTIONS = {
    "lab": [
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=",
        "--LabApp.extension_manager=readonly",
    ],
    "notebook": ["--JupyterNotebookApp.expose_app_in_browser=True"],
}

# Cells of a small notebook: a trainer, its explorer, a run that lasts.
SETUP = """
import numpy as np
import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.train import FreezeChanged
fv.seed(0)
rng = np.random.default_rng(0)
model = nn.Sequential(
    nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
)
x = rng.standard_normal((1280, 64), dtype=np.float32)
y = rng.integers(0, 10, len(x))
trainer = fv.Trainer(
    model, optim.Adam(1e-4), data=(x, y), validation=(x[:200], y[:200]), batch_size=64
)
changes = lambda: [e for e in trainer.events if isinstance(e, FreezeChanged)]
"""
SHOW = "explorer = fv.explore(trainer)\nexplorer"
START = "trainer.start(epochs=100_000)"


class LabServer(AbstractContextManager):
    """A JupyterLab (or Notebook, or Voila) with its own home: no setting of the user takes part.

    Its Python, and that of its kernels, is FREEZEVIZ_LAB_PYTHON or the one of the tests.
    """

    def __init__(self, home: Path, root: Path, app: str = "lab") -> None:
        self.root = root
        self.app = app
        self.log = home / "server.log"
        named = os.environ.get("FREEZEVIZ_LAB_PYTHON")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        settings = home / "settings"
        popup = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        popup.parent.mkdir(parents=True)
        popup.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
        places = {
            "HOME": home,
            "IPYTHONDIR": home / "ipython",
            "JUPYTER_CONFIG_DIR": home / "config",
            "JUPYTER_DATA_DIR": home / "data",
            "JUPYTER_RUNTIME_DIR": home / "runtime",
            "JUPYTERLAB_SETTINGS_DIR": settings,
            "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
            "MPLCONFIGDIR": home / "matplotlib",
        }
        env = os.environ | {name: str(path) for name, path in places.items()}
        # Two threads on two cores make step rates erratic.
        env |= {"OPENBLAS_NUM_THREADS": "1", "FREEZEVIZ_DEVICE": "cpu"}
        env.pop("PYTHONPATH", None)
        if named is None:
            env["PYTHONPATH"] = str(ROOT)
        options = [
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            "--IdentityProvider.token=",
            "--ServerApp.password=",
            f"--ServerApp.root_dir={root}",
            "--ServerApp.disable_check_xsrf=True",
            *_OPTIONS.get(app, []),
        ]
        modules = ["jupyter", app]
        if app == "voila":  # a program of its own
            modules = ["voila", str(root)]
            options = [f"--port={self.port}", "--Voila.ip=127.0.0.1"]
        command = [named or sys.executable, "-m", *modules, "--no-browser", *options]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=env, cwd=root, start_new_session=True
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _STARTUP_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"JupyterLab ended at once:\n{self.log.read_text()[-3000:]}")
            place = "" if self.app == "voila" else "api/status"
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/{place}", timeout=2):
                return
            time.sleep(0.2)
        raise RuntimeError(f"JupyterLab did not come up:\n{self.log.read_text()[-3000:]}")

    def end_kernels(self) -> None:
        """End all kernels: a model that goes on training would slow down the next test."""
        with suppress(OSError):
            with urllib.request.urlopen(f"{self.url}/api/kernels", timeout=5) as answer:
                kernels = json.load(answer)
            for kernel in kernels:
                request = urllib.request.Request(
                    f"{self.url}/api/kernels/{kernel['id']}", method="DELETE"
                )
                urllib.request.urlopen(request, timeout=10).close()

    def stop(self) -> None:
        """End the kernels, then the server: our own process, by its id."""
        if self._process.poll() is not None:
            return
        if self.app != "voila":  # which shows no list of its kernels, and ends them itself
            self.end_kernels()
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __exit__(self, *exc: object) -> None:
        self.stop()


def write_notebook(path: Path, cells: list[str]) -> Path:
    """Write a notebook of code cells."""
    import nbformat

    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, path)
    return path


def watched_page(context: Any) -> Any:
    """Return a page that reaches nothing but this machine and remembers what went wrong on it."""
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.problems = []

    def route(request: Any) -> None:
        if request.request.url.startswith(_LOCAL):
            request.continue_()
        else:
            request.abort()

    context.route("**/*", route)
    page.on("pageerror", lambda error: page.problems.append(f"page error: {error}"))
    page.on("console", lambda message: _note(page, message))
    return page


# Lab's own complaints, which a plain notebook has as well: blocked look-ups of the outside world.
_NOT_OURS = ("net::ERR_FAILED", "net::ERR_BLOCKED", "favicon", "/api/me", "404 (Not Found)")


def _note(page: Any, message: Any) -> None:
    if message.type == "error" and not any(part in message.text for part in _NOT_OURS):
        page.problems.append(f"console: {message.text}")


class LabNotebook:
    """A notebook open in Lab, or in Notebook 7, which is made of the same parts."""

    def __init__(self, page: Any, server: LabServer, name: str) -> None:
        self.page = page
        place = f"lab/tree/{name}?reset" if server.app == "lab" else f"notebooks/{name}"
        page.goto(f"{server.url}/{place}")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext !== undefined"
        )
        self.wait_for_kernel()

    def wait_for_kernel(self) -> None:
        """Wait until context, session and kernel have all said that they are ready."""
        self.page.evaluate(
            """async () => {
              const panel = window.jupyterapp.shell.currentWidget;
              await panel.context.ready;
              await panel.sessionContext.ready;
              const kernel = panel.sessionContext.session.kernel;
              await kernel.info;
              for (let i = 0; i < 400; i++) {
                if (kernel.connectionStatus === "connected" && kernel.status === "idle") return;
                await new Promise((done) => setTimeout(done, 50));
              }
              throw new Error(`kernel: ${kernel.connectionStatus}, ${kernel.status}`);
            }"""
        )

    def run_all(self) -> None:
        """Run all cells; returns when every one has finished."""
        ok = self.page.evaluate(
            "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
        )
        assert ok is not False

    def run_cell(self, index: int) -> None:
        """Run one cell and wait for it."""
        self.page.evaluate(
            """async (index) => {
              const panel = window.jupyterapp.shell.currentWidget;
              panel.content.activeCellIndex = index;
              await window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            index,
        )

    def python(self, code: str) -> Any:
        """Evaluate an expression in the kernel, past the notebook, and return its value (JSON)."""
        wrapped = f"import json as _json; print(_json.dumps({code}))"
        result = self.page.evaluate(
            """async (code) => {
              const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
              const future = kernel.requestExecute({code, store_history: false});
              let text = "", error = null;
              future.onIOPub = (message) => {
                if (message.header.msg_type === "stream" && message.content.name === "stdout")
                  text += message.content.text;
                if (message.header.msg_type === "error")
                  error = `${message.content.ename}: ${message.content.evalue}`;
              };
              await future.done;
              return {text, error};
            }""",
            wrapped,
        )
        if result["error"]:
            raise RuntimeError(f"{code}: {result['error']}")
        return json.loads(result["text"])

    def until(self, code: str, seconds: float = 20.0) -> Any:
        """Evaluate an expression in the kernel until it is true; return its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.python(code)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"still not true after {seconds} s: {code}")
            self.page.wait_for_timeout(50)
        return value

    def row(self, path: str) -> Any:
        """The tree's row of a path."""
        return self.page.locator(f'.freezeviz-live .fz-row[data-path="{path}"]')

    def restart_kernel(self) -> None:
        """Restart the kernel without asking, and wait until it is back."""
        self.page.evaluate(
            """async () => {
              const session = window.jupyterapp.shell.currentWidget.sessionContext.session;
              await session.kernel.restart();
            }"""
        )
        self.wait_for_kernel()

    def save(self) -> None:
        """Save the notebook."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def screenshot(self, name: str, selector: str | None = None) -> None:
        """Leave a picture in tests/_artifacts."""
        ARTIFACTS.mkdir(exist_ok=True)
        target = self.page if selector is None else self.page.locator(selector).first
        target.screenshot(path=str(ARTIFACTS / f"{name}.png"))
