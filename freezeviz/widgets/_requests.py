"""Questions of the page, answered beside the loop: only what changes something is done in it."""

from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from freezeviz.errors import FreezevizError
from freezeviz.explorer import Controller, PlotLook, Structure
from freezeviz.explorer._export import export
from freezeviz.train import Run
from freezeviz.widgets._curves import part
from freezeviz.widgets._messages import Message
from freezeviz.widgets._worker import Worker

Send = Callable[[dict[str, Any], list[bytes]], object]
Answer = tuple[dict[str, Any], list[bytes]]

TREND_POINTS = 48
NO_RUN = "there is no run yet: this comes with one"


class Requests:
    """Answers what views ask. A question that the same view asked anew meanwhile is left out.

    Parameters
    ----------
    controller : Controller
    shown : callable
        Returns the structure that pages have, and its version.
    run : callable
        Returns the run, or None.
    worker : Worker
    send : callable
        Sends a message with buffers to the page; called in the worker's thread.
    """

    def __init__(
        self,
        controller: Controller,
        shown: Callable[[], tuple[Structure, int]],
        run: Callable[[], Run | None],
        worker: Worker,
        send: Send,
    ) -> None:
        self._controller = controller
        self._shown = shown
        self._run = run
        self._worker = worker
        self._send = send
        self._newest: dict[tuple[str, str], int] = {}
        self._answers: dict[str, Callable[[Message], Answer]] = {
            "preview": self._preview,
            "details": self._details,
            "code": self._code,
            "policy": self._policy,
            "trends": self._trends,
            "curves": self._curves,
            "export": self._export,
        }

    def ask(self, message: Message) -> None:
        """Have a question answered."""
        key = message.view, message.about
        if message.seq < self._newest.get(key, -1):
            return  # it came late: the page waits for the newer one
        self._newest[key] = message.seq
        self._worker.do(lambda: self._answer(message))

    def forget(self, view: str) -> None:
        """Leave out what a view asked that is gone."""
        for key in [key for key in self._newest if key[0] == view]:
            del self._newest[key]

    def _answer(self, message: Message) -> None:
        if self._newest.get((message.view, message.about)) != message.seq:
            return
        try:
            content, buffers = self._answers[message.about](message)
        except FreezevizError as error:
            content, buffers = {"error": str(error)}, []
        except Exception as error:  # shown where it was asked; a page cannot end a kernel's thread
            content, buffers = {"error": f"{type(error).__name__}: {error}"}, []
        head = {"type": "answer", "view": message.view, "seq": message.seq, "about": message.about}
        self._send(content | head, buffers)

    # ---- about the tree ------------------------------------------------------------------------

    def _preview(self, message: Message) -> Answer:
        found = self._controller.preview(message.selector, message.action)
        if found.error is not None:
            return {"error": found.error}, []
        structure, version = self._shown()
        numbers = {
            "matches": len(found.paths),
            "changes": len(found.changes),
            "locked": len(found.locked),
            "n_parameters": found.n_parameters,
            "n_bytes": found.n_bytes,
            "version": version,
        }
        return numbers, [_rows(structure, found.paths), _rows(structure, found.changes)]

    def _details(self, message: Message) -> Answer:
        return {"details": plain(self._controller.details(message.paths[0]))}, []

    def _code(self, message: Message) -> Answer:
        return {"text": self._controller.code()}, []

    def _policy(self, message: Message) -> Answer:
        return {"text": self._controller.policy().to_json()}, []

    # ---- about a run ---------------------------------------------------------------------------

    def _trends(self, message: Message) -> Answer:
        structure, version = self._shown()
        run = self._run()
        if run is None or message.version != version:
            return {"rows": [], "version": version}, [b""]
        rows = [row for row in message.rows if row < len(structure)]
        lines = [self._trend(run, structure.paths[row]) for row in rows]
        return {"rows": rows, "version": version}, [np.array(lines, "<f4").tobytes()]

    def _trend(self, run: Run, path: str) -> np.ndarray:
        try:
            _, norms = run.measures.trend(path)
        except KeyError:  # the model changed since it was measured
            return np.full(TREND_POINTS, np.nan, np.float32)
        if len(norms) == 0:
            return np.full(TREND_POINTS, np.nan, np.float32)
        # As many points for all rows, whatever was measured: the newest last.
        at = np.linspace(0, len(norms) - 1, TREND_POINTS).round().astype(int)
        with np.errstate(over="ignore"):
            return norms[at].astype(np.float32)

    def _curves(self, message: Message) -> Answer:
        run = self._run()
        if run is None:
            return {"error": NO_RUN}, []
        buffers: list[bytes] = []
        return _lifted(part(run.history, message.first, message.last), buffers), buffers

    def _export(self, message: Message) -> Answer:
        run = self._run()
        if run is None:
            return {"error": NO_RUN}, []
        look = PlotLook(**message.look).checked()
        name, mime, data = export(run.history, message.format, look)
        return {"name": name, "mime": mime}, [data]


def plain(value: Any) -> Any:
    """Return a value as JSON has it; numbers that are not finite as None: a browser has none."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def _rows(structure: Structure, paths: tuple[str, ...]) -> bytes:
    index = structure.index
    return np.array([index[path] for path in paths if path in index], "<i4").tobytes()


def _lifted(value: Any, buffers: list[bytes]) -> Any:
    """Put bytes into buffers: ``{"buffer": 3}`` stands for the fourth."""
    if isinstance(value, bytes):
        buffers.append(value)
        return {"buffer": len(buffers) - 1}
    if isinstance(value, dict):
        return {name: _lifted(item, buffers) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_lifted(item, buffers) for item in value]
    return value
