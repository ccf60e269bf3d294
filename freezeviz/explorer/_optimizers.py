"""Whether an optimizer of the user's own has all that is trainable."""

from collections.abc import Callable
from typing import Any

from freezeviz.errors import FreezevizWarning, warn_or_log
from freezeviz.explorer._controller import Change, Controller

MOST_PATHS = 6


def watch_optimizer(controller: Controller, optimizer: Any) -> Callable[[], None]:
    """Warn of every parameter that is trainable and that the optimizer lacks, now and later.

    Where optimizers go by path, as freezeviz' own, there is nothing to lack. Returns a function
    that ends the watch.

    Raises
    ------
    TypeError
        If it is no optimizer of the model's framework.
    """
    left_out = getattr(controller.adapter, "left_out", None)
    if left_out is None:
        return lambda: None
    told: set[str] = set()

    def look(change: Change | None = None) -> None:
        if change is not None and change.kind not in ("state", "structure"):
            return
        paths, line = left_out(optimizer)
        news = set(paths) - told
        told.intersection_update(paths)
        told.update(news)
        if news:
            text = _text(optimizer, paths, line)
            controller.note(text, paths)
            warn_or_log(text, FreezevizWarning)

    look()
    return controller.subscribe(look)


def _text(optimizer: Any, paths: tuple[str, ...], line: str) -> str:
    name = type(optimizer).__name__
    shown = ", ".join(paths[:MOST_PATHS]) + (", ..." if len(paths) > MOST_PATHS else "")
    one = len(paths) == 1
    return (
        f"{name} does not have {len(paths)} trainable parameter{'' if one else 's'} ({shown}): "
        f"{'it' if one else 'they'} will not move until you add {'it' if one else 'them'}, and "
        f"make a learning-rate scheduler anew if you have one:\n{line}"
    )
