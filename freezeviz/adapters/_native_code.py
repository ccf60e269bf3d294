"""A policy as Python, for freezeviz' own models."""

from collections.abc import Iterable
from typing import Protocol

__all__ = ["native_code"]

WIDTH = 88


class Step(Protocol):
    """What is needed of a `freezing.PolicyStep`, which is at home one room above."""

    @property
    def action(self) -> str: ...
    @property
    def hold(self) -> bool: ...
    @property
    def terms(self) -> tuple[str, ...]: ...


def native_code(steps: Iterable[Step]) -> str:
    """Return lines that carry the steps out on a model by the name ``model``."""
    lines = [_line(step.action, step.terms, step.hold) for step in steps]
    if not lines:
        return "# Nothing is frozen: a fresh model is like this.\n"
    # Only where a line needs it.
    if any(line.startswith("fv.") for line in lines):
        lines = ["import freezeviz as fv", "", *lines]
    return "\n".join(lines) + "\n"


def _line(action: str, terms: tuple[str, ...], hold: bool) -> str:
    holding = "hold=True" if hold else ""
    if terms == ("",):
        return f"model.{action}({holding})"
    arguments = ["model", *map(literal, terms), *([holding] if hold else [])]
    line = f"fv.{action}({', '.join(arguments)})"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"fv.{action}(", *(f"    {argument}," for argument in arguments), ")"])


def literal(text: str) -> str:
    """Return a text as Python writes it, in double quotes where that needs no escapes."""
    plain = text.isprintable() and '"' not in text and "\\" not in text
    return f'"{text}"' if plain else repr(text)
