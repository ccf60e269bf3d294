"""Carrying out what a page asks for: on the controller and the run, which any thread may use."""

from collections.abc import Callable
from typing import Any

from freezeviz.explorer import Controller
from freezeviz.explorer._looks import COLUMNS
from freezeviz.train import Run
from freezeviz.widgets._messages import Message


class Orders:
    """What messages of a page do. Rows that no longer exist are left out, with a warning.

    Parameters
    ----------
    controller : Controller
    run : callable
        Returns the run, or None.
    warn : callable
        Given a sentence, tells it on the page and as a warning.
    """

    def __init__(
        self,
        controller: Controller,
        run: Callable[[], Run | None],
        warn: Callable[[str], object],
    ) -> None:
        self._controller = controller
        self._run = run
        self._warn = warn

    def carry_out(self, message: Message) -> None:
        """Do it.

        Raises
        ------
        FreezevizError
            If it cannot be done.
        """
        match message.type:
            case "toggle":
                for row, path in message.clicks:
                    self._toggle(row, path)
            case "freeze_all":
                self._controller.freeze("")
            case "unfreeze_all":
                self._controller.unfreeze("")
            case "undo":
                self._controller.undo()
            case "redo":
                self._controller.redo()
            case "do":
                self._do(message)
            case "fold":
                self._fold(message)
            case "columns":
                # What a browser kept may be of another version.
                known = [name for name in message.columns if name in COLUMNS]
                self._controller.show_columns(known)
            case "plots":
                self._controller.show_plots(**message.look)
            case "start" | "pause" | "resume" | "stop":
                self._steer(message)

    def _toggle(self, row: int, path: str) -> None:
        structure = self._controller.structure
        known = 0 <= row < len(structure) and structure.paths[row] == path
        # The structure may have changed since the page got it: then the path is what was meant.
        if known or path in structure.index:
            self._controller.toggle(path)
        else:
            self._warn(f"a click was ignored: the model has no {path!r} (any more)")

    def _do(self, message: Message) -> None:
        controller = self._controller
        if message.action == "preset":
            controller.apply_preset(message.name, at=message.at)
            return
        if message.selector is not None:
            getattr(controller, message.action)(message.selector)
            return
        paths = self.known(message.paths)
        if not paths:
            return
        match message.action:
            case "toggle_many":
                controller.toggle_many(paths)
            case "lock" | "unlock":
                for path in paths:
                    getattr(controller, message.action)(path)
            case "freeze" | "unfreeze" | "hold" | "release":
                getattr(controller, message.action)(paths)

    def _fold(self, message: Message) -> None:
        controller = self._controller
        if not message.paths:
            controller.expand() if message.open else controller.collapse_all()
        for path in self.known(message.paths):
            if message.open:
                controller.expand(path, deep=False)
            else:
                controller.collapse(path)

    def known(self, paths: tuple[str, ...]) -> list[str]:
        """Those of the paths that the model has; a warning names the others."""
        index = self._controller.structure.index
        gone = [path for path in paths if path not in index]
        if gone:
            more = f" and {len(gone) - 1:,} more" if len(gone) > 1 else ""
            name = gone[0] if len(gone[0]) <= 60 else gone[0][:57] + "..."
            self._warn(f"rows were left out: the model has no {name!r}{more} (any more)")
        return [path for path in paths if path in index]

    def _steer(self, message: Message) -> None:
        run: Any = self._run()
        if run is None:
            self._warn(f"{message.type!r} was ignored: a model alone cannot run, a Trainer can")
        elif message.type == "start":
            if run.can_start:
                run.start(message.epochs)
            else:
                self._warn("'start' was ignored: this run is started by its own loop")
        else:
            getattr(run, message.type)()
