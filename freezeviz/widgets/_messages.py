"""What a page may ask for. A page can send anything: every field is checked before it is used."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard

MOST_EPOCHS = 1_000_000
MOST_CLICKS = 10_000
MOST_PATHS = 1_000_000
MOST_ROWS = 1_000
MOST_LETTERS = 2_000  # of a selector
PLAIN = frozenset(
    {"hello", "bye", "freeze_all", "unfreeze_all", "undo", "redo", "pause", "resume", "stop"}
)
ON_PATHS = frozenset({"freeze", "unfreeze", "toggle_many", "hold", "release", "lock", "unlock"})
BY_SELECTOR = frozenset({"freeze", "unfreeze"})
FORMATS = frozenset({"png", "svg", "csv"})


@dataclass(frozen=True, slots=True)
class Message:
    """A checked message: who sent it (`view`, `seq`), what it asks for, and its arguments.

    Attributes
    ----------
    type, view, seq
    clicks : tuple of (int, str)
        Of ``toggle``: row and path of each.
    epochs : int
        Of ``start``.
    action : str
        Of ``do``: a method of the controller, or ``"preset"``; of a preview, what it is about.
    paths : tuple of str
        Of ``do``, ``select`` and ``fold``.
    selector : str or None
        Of ``do``, in place of paths, and of a preview.
    name, at : str, str or None
        Of a preset.
    about : str
        Of ``ask``.
    rows : tuple of int
        Of which trends are asked for.
    version : int
        Of the structure whose rows these are.
    first, last : int
        Steps between which finer curves are asked for.
    open : bool
        Of ``fold``: whether the rows of `paths` are unfolded; without paths, all.
    columns : tuple of str
    look : dict
        How plots are shown, or one is exported.
    format : str
        Of an export.
    """

    type: str
    view: str
    seq: int
    clicks: tuple[tuple[int, str], ...] = ()
    epochs: int = 0
    action: str = ""
    paths: tuple[str, ...] = ()
    selector: str | None = None
    name: str = ""
    at: str | None = None
    about: str = ""
    rows: tuple[int, ...] = ()
    version: int = 0
    first: int = 0
    last: int = 0
    open: bool = False
    columns: tuple[str, ...] = ()
    look: dict[str, Any] = field(default_factory=dict)
    format: str = ""


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
    if not isinstance(kind, str) or not (kind in PLAIN or kind in _ARGUMENTS):
        raise ValueError(f"unknown type {_brief(kind)}")
    view, seq = content.get("view"), content.get("seq")
    if not isinstance(view, str) or not 0 < len(view) <= 64:
        raise ValueError(f"{kind}: 'view' must be a short string, got {_brief(view)}")
    if not _is_int(seq) or seq < 0:
        raise ValueError(f"{kind}: 'seq' must be a number from 0 on, got {_brief(seq)}")
    try:
        arguments = _ARGUMENTS[kind](content) if kind in _ARGUMENTS else {}
    except ValueError as error:
        raise ValueError(f"{kind}: {error}") from None
    return Message(kind, view, seq, **arguments)


# ---- the arguments of each type ------------------------------------------------------------------


def _toggle(content: dict[str, Any]) -> dict[str, Any]:
    clicks = content.get("clicks")
    if not isinstance(clicks, list) or not 0 < len(clicks) <= MOST_CLICKS:
        raise ValueError(f"'clicks' must be a list, got {_brief(clicks)}")
    return {"clicks": tuple(_click(click) for click in clicks)}


def _click(click: Any) -> tuple[int, str]:
    row, path = (click.get("id"), click.get("path")) if isinstance(click, dict) else (None, None)
    if not _is_int(row) or not isinstance(path, str):
        raise ValueError(f"a click needs 'id' and 'path', got {_brief(click)}")
    return row, path


def _start(content: dict[str, Any]) -> dict[str, Any]:
    epochs = content.get("epochs")
    if not _is_int(epochs) or not 1 <= epochs <= MOST_EPOCHS:
        raise ValueError(
            f"'epochs' must be a whole number from 1 to {MOST_EPOCHS:,}, got {_brief(epochs)}"
        )
    return {"epochs": epochs}


def _do(content: dict[str, Any]) -> dict[str, Any]:
    action = content.get("action")
    if action == "preset":
        at = content.get("at")
        if at is not None and not isinstance(at, str):
            raise ValueError(f"'at' must be a path, got {_brief(at)}")
        return {"action": "preset", "name": _text(content, "name", 64), "at": at}
    if not isinstance(action, str) or action not in ON_PATHS:
        raise ValueError(f"unknown action {_brief(action)}")
    if "selector" in content and action in BY_SELECTOR:
        return {"action": action, "selector": _text(content, "selector", MOST_LETTERS)}
    paths = _paths(content)
    if not paths:
        raise ValueError("'paths' must name something, got []")
    return {"action": action, "paths": paths}


def _select(content: dict[str, Any]) -> dict[str, Any]:
    return {"paths": _paths(content)}


def _fold(content: dict[str, Any]) -> dict[str, Any]:
    opened = content.get("open")
    if not isinstance(opened, bool):
        raise ValueError(f"'open' must be true or false, got {_brief(opened)}")
    return {"open": opened, "paths": _paths(content)}


def _columns(content: dict[str, Any]) -> dict[str, Any]:
    columns = content.get("columns")
    if not _is_names(columns):
        raise ValueError(f"'columns' must be a list of names, got {_brief(columns)}")
    return {"columns": tuple(columns)}


def _plots(content: dict[str, Any]) -> dict[str, Any]:
    plot, x, metrics, smooth = (content.get(name) for name in ("plot", "x", "metrics", "smooth"))
    for name, value in (("plot", plot), ("x", x)):
        if not isinstance(value, str) or not 0 < len(value) <= 32:
            raise ValueError(f"{name!r} must be a short string, got {_brief(value)}")
    if metrics is not None and not _is_names(metrics):
        raise ValueError(f"'metrics' must be a list of names, got {_brief(metrics)}")
    if isinstance(smooth, bool) or not isinstance(smooth, int | float) or not 0 <= smooth < 1e9:
        raise ValueError(f"'smooth' must be a number from 0 on, got {_brief(smooth)}")
    look = {"plot": plot, "x": x, "metrics": metrics, "smooth": smooth}
    return {"look": look | {name: content.get(name) is True for name in ("log", "table")}}


def _paths(content: dict[str, Any]) -> tuple[str, ...]:
    paths = content.get("paths")
    if (
        not isinstance(paths, list)
        or len(paths) > MOST_PATHS
        or not all(isinstance(path, str) for path in paths)
    ):
        raise ValueError(f"'paths' must be a list of paths, got {_brief(paths)}")
    return tuple(paths)


def _text(content: dict[str, Any], name: str, most: int) -> str:
    text = content.get(name)
    if not isinstance(text, str) or len(text) > most:
        raise ValueError(f"{name!r} must be a text of at most {most} letters, got {_brief(text)}")
    return text


def _whole(content: dict[str, Any], name: str) -> int:
    value = content.get(name)
    if not _is_int(value) or not 0 <= value < 2**53:
        raise ValueError(f"{name!r} must be a number from 0 on, got {_brief(value)}")
    return value


# ---- questions -----------------------------------------------------------------------------------


def _ask(content: dict[str, Any]) -> dict[str, Any]:
    about = content.get("about")
    if not isinstance(about, str) or about not in _QUESTIONS:
        raise ValueError(f"unknown question {_brief(about)}")
    return {"about": about, **_QUESTIONS[about](content)}


def _preview(content: dict[str, Any]) -> dict[str, Any]:
    action = content.get("action")
    if not isinstance(action, str) or action not in ("freeze", "unfreeze", "toggle"):
        raise ValueError(f"unknown action {_brief(action)}")
    return {"action": action, "selector": _text(content, "selector", MOST_LETTERS)}


def _details(content: dict[str, Any]) -> dict[str, Any]:
    path = content.get("path")
    if not isinstance(path, str):
        raise ValueError(f"'path' must be a path, got {_brief(path)}")
    return {"paths": (path,)}


def _trends(content: dict[str, Any]) -> dict[str, Any]:
    rows = content.get("rows")
    if (
        not isinstance(rows, list)
        or len(rows) > MOST_ROWS
        or not all(_is_int(row) and row >= 0 for row in rows)
    ):
        raise ValueError(f"'rows' must be a list of numbers, got {_brief(rows)}")
    return {"rows": tuple(rows), "version": _whole(content, "version")}


def _curves(content: dict[str, Any]) -> dict[str, Any]:
    return {"first": _whole(content, "first"), "last": _whole(content, "last")}


def _export(content: dict[str, Any]) -> dict[str, Any]:
    format_ = content.get("format")
    if not isinstance(format_, str) or format_ not in FORMATS:
        raise ValueError(f"'format' must be one of {sorted(FORMATS)}, got {_brief(format_)}")
    return {"format": format_, **_plots(content)}


def _nothing(content: dict[str, Any]) -> dict[str, Any]:
    return {}


_Check = Callable[[dict[str, Any]], dict[str, Any]]
_QUESTIONS: dict[str, _Check] = {
    "preview": _preview,
    "details": _details,
    "code": _nothing,
    "policy": _nothing,
    "trends": _trends,
    "curves": _curves,
    "export": _export,
}
_ARGUMENTS: dict[str, _Check] = {
    "toggle": _toggle,
    "start": _start,
    "do": _do,
    "select": _select,
    "fold": _fold,
    "columns": _columns,
    "plots": _plots,
    "ask": _ask,
}


def _is_names(value: Any) -> TypeGuard[list[str]]:
    return (
        isinstance(value, list)
        and len(value) <= MOST_ROWS
        and all(isinstance(name, str) for name in value)
    )


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
