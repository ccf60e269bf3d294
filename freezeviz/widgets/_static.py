"""What stays in a saved notebook: the tree as lists and the last plot, as plain HTML.

A notebook is saved without its widgets' state, so a page without a kernel shows none of them. The
static copy is a second output of the cell; the widget's style sheet hides it beside a live view of
the same cell.
"""

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freezeviz.explorer import Explorer

# The same name stands in static/css/theme.css.
CLASS = "freezeviz-static"


def static_html(explorer: "Explorer", png: bytes, alt: str) -> str:
    """Return the static copy: picture (if there is one) and tree. Every name in it is escaped."""
    picture = ""
    if png:
        data = b64encode(png).decode()
        picture = (
            f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" '
            'style="max-width:100%;height:auto;background:#fff">'
        )
    return f'<div class="{CLASS}">{picture}{explorer.html()}</div>'


class StaticCopies:
    """The static copies in the outputs of cells, brought up to date together."""

    def __init__(self, explorer: "Explorer") -> None:
        self._explorer = explorer
        self._handles: list[Any] = []

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._handles)

    def add(self, png: bytes, alt: str) -> None:
        """Put a copy into the output of the cell that is being run."""
        from IPython.display import display

        handle = display(self._bundle(png, alt), raw=True, display_id=True)
        if handle is not None:
            self._handles.append(handle)

    def update(self, png: bytes, alt: str) -> None:
        """Bring all copies up to date."""
        if not self._handles:
            return
        bundle = self._bundle(png, alt)
        for handle in self._handles:
            handle.update(bundle, raw=True)

    def _bundle(self, png: bytes, alt: str) -> dict[str, str]:
        # The text is that of the explorer, which stands in the widget's own output already.
        return {
            "text/plain": "A copy of the explorer for pages without a kernel",
            "text/html": static_html(self._explorer, png, alt),
        }
