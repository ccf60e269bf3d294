"""What a page may ask for. A page can send anything: every field is checked before it is used."""

from dataclasses import dataclass
from typing import Any, TypeGuard

MOST_EPOCHS = 1_000_000
MOST_CLICKS = 10_000
ACTIONS = frozenset(
    {"hello", "size", "bye", "toggle", "freeze_all", "unfreeze_all", "undo", "redo"}
    | {"start", "pause", "resume", "stop"}
)


@dataclass(frozen=True, slots=True)
class Message:
    """A checked message: who sent it (`view`, `seq`), what it asks for, and its one argument."""

    type: str
    view: str
    seq: int
    clicks: tuple[tuple[int, str], ...] = ()  # row and path of each
    epochs: int = 0
    width: int = 0
    ratio: float = 1.0


def parse_message(content: Any) -> Message:
    """Return the checked message.

    Raises
    ------
    ValueError
        If a field is missing or is not what it should be; the message names it.
    """
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, got {type(content).__name__}")
    kind = content.get("type")
    if not isinstance(kind, str) or kind not in ACTIONS:
        raise ValueError(f"unknown type {_brief(kind)}")
    view, seq = content.get("view"), content.get("seq")
    if not isinstance(view, str) or not 0 < len(view) <= 64:
        raise ValueError(f"{kind}: 'view' must be a short string, got {_brief(view)}")
    if not _is_int(seq) or seq < 0:
        raise ValueError(f"{kind}: 'seq' must be a number from 0 on, got {_brief(seq)}")
    if kind == "toggle":
        clicks = content.get("clicks")
        if not isinstance(clicks, list) or not 0 < len(clicks) <= MOST_CLICKS:
            raise ValueError(f"toggle: 'clicks' must be a list, got {_brief(clicks)}")
        return Message(kind, view, seq, clicks=tuple(_click(click) for click in clicks))
    if kind == "start":
        epochs = content.get("epochs")
        if not _is_int(epochs) or not 1 <= epochs <= MOST_EPOCHS:
            raise ValueError(
                f"start: 'epochs' must be a whole number from 1 to {MOST_EPOCHS:,}, "
                f"got {_brief(epochs)}"
            )
        return Message(kind, view, seq, epochs=epochs)
    if kind in ("hello", "size"):
        width, ratio = content.get("width"), content.get("ratio")
        if not _is_int(width) or not 0 <= width <= 100_000:
            raise ValueError(f"{kind}: 'width' must be a number of pixels, got {_brief(width)}")
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < 100:
            raise ValueError(f"{kind}: 'ratio' must be a positive number, got {_brief(ratio)}")
        return Message(kind, view, seq, width=width, ratio=float(ratio))
    return Message(kind, view, seq)


def _click(click: Any) -> tuple[int, str]:
    row, path = (click.get("id"), click.get("path")) if isinstance(click, dict) else (None, None)
    if not _is_int(row) or not isinstance(path, str):
        raise ValueError(f"toggle: a click needs 'id' and 'path', got {_brief(click)}")
    return row, path


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
