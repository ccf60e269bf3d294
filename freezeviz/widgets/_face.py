"""`explore`, with what a notebook shows."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from freezeviz.explorer import Explorer
from freezeviz.explorer import explore as explore_without_face
from freezeviz.widgets._cells import look_after_cells
from freezeviz.widgets._loop import running_kernel

if TYPE_CHECKING:
    from freezeviz.widgets._bridge import Bridge

INSTALL = "To have this as a tree to click on, install the extra: pip install 'freezeviz[notebook]'"


class NotebookFace:
    """Makes the widget of an explorer when it is shown for the first time, and keeps it."""

    def __init__(self) -> None:
        self.bridge: Bridge | None = None

    def __call__(self, explorer: Explorer) -> Any:
        """Return a MIME bundle with the widget; None where none can be shown."""
        if running_kernel() is None:
            return None
        if explorer.hint:
            return None
        if self.bridge is None or not self.bridge.is_open:
            from freezeviz.widgets._bridge import Bridge

            self.bridge = Bridge(explorer)
        return self.bridge.display()


def explore(target: Any, optimizer: Any = None) -> Explorer:
    """Return an explorer of a model or a run: a tree whose nodes are frozen by a click.

    In a notebook it shows as a widget; for a `Trainer` with buttons, numbers and the loss plot.
    Without the extra ``notebook``, and outside notebooks, it shows as text. Everything that can be
    clicked is a method of its `controller`. The same target gets the same explorer as long as it is
    in use, so what is shown twice stays in step.

    Parameters
    ----------
    target : model of a supported framework, or Trainer
    optimizer : object, optional
        What your own loop trains the model with: a warning tells when it lacks something that is
        trainable, and how to add it. See `Explorer.watch`.

    Raises
    ------
    TypeError
        If no adapter is registered for the model, or if it is no optimizer of its framework.

    Examples
    --------
    >>> explorer = fv.explore(trainer)
    >>> explorer.controller.toggle("layers.0")
    """
    explorer = explore_without_face(target, optimizer)
    explorer.hint = "" if find_spec("anywidget") is not None else INSTALL
    if explorer.face is None:
        explorer.face = NotebookFace()
        look_after_cells(explorer)
    return explorer
