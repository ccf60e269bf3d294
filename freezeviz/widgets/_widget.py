"""The widget itself: traits that hold what the page shows, and a door for its messages."""

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from freezeviz.widgets._assets import script, style


class ExplorerWidget(anywidget.AnyWidget):
    """The tree and the dashboard of one explorer; `static/js/wire.js` tells what the traits hold.

    All views of an explorer, in however many cells, are views of one widget: they show the same.
    """

    _esm = script()
    _css = style()

    tree = traitlets.Dict().tag(sync=True)
    state = traitlets.Bytes().tag(sync=True)
    folds = traitlets.Bytes().tag(sync=True)
    measures = traitlets.Bytes().tag(sync=True)
    roles = traitlets.Bytes().tag(sync=True)
    info = traitlets.Dict().tag(sync=True)
    run = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)
    curves = traitlets.Dict().tag(sync=True)
    marks = traitlets.Dict().tag(sync=True)
    heat = traitlets.Dict().tag(sync=True)

    def __init__(self, text: Callable[[], str], **traits: Any) -> None:
        self._text = text
        self._on_close: Callable[[], object] = lambda: None
        super().__init__(**traits)

    @traitlets.observe("comm")
    def _route_to_the_main_thread(self, change: Any) -> None:
        """Have the kernel give the page's messages to its main thread.

        ipykernel 7.4 gives them to the subshell for which it last sent something, also where that
        one was deleted, as by a second browser while it opens: those messages were lost.
        """
        if hasattr(change.new, "_reply_subshell_for"):
            change.new._reply_subshell_for = lambda _data, _subshell: None

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have `callback` called when the widget is closed."""
        self._on_close = callback

    def __repr__(self) -> str:
        # anywidget's own prints a memory address, which differs from run to run and says nothing.
        return self._text()

    def close(self) -> None:
        """Close all views. What they show goes on without them."""
        super().close()
        self._on_close()
