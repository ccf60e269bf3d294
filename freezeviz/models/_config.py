"""The numbers that make an architecture, read from ``config.json`` and checked one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from freezeviz.errors import WeightsError
from freezeviz.models._activations import ACTIVATIONS

_LARGEST = 2**31 - 1

Check = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the configurations have in common; names and defaults are those of transformers.

    Attributes
    ----------
    model_type : str
        What ``config.json`` calls the architecture.
    fixed : dict
        Values that would make a different model if they were others.
    """

    model_type: ClassVar[str]
    fixed: ClassVar[dict[str, Any]] = {}

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            try:
                object.__setattr__(self, each.name, each.metadata["check"](value))
            except ValueError as error:
                raise self._error(f"{each.name} is {error}, got {_short(value)}") from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration that the contents of a ``config.json`` describe.

        Entries that do not touch the computation, such as ``transformers_version``, are passed
        over.

        Raises
        ------
        WeightsError
            If a value is not what it has to be, or asks for what is not supported.
        """
        for name, only in cls.fixed.items():
            if values.get(name, only) != only:
                raise cls._error(f"{name}={_short(values[name])} is not supported, only {only!r}")
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    @classmethod
    def _error(cls, problem: str) -> WeightsError:
        return WeightsError(f"{cls.__name__}: {problem}")

    def _multiple(self, name: str, of: str) -> None:
        """Raise unless one value is a multiple of another."""
        if getattr(self, name) % getattr(self, of):
            raise self._error(
                f"{name}={getattr(self, name)} is no multiple of {of}={getattr(self, of)}"
            )


def labels(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the number of labels, which files give by the labels' names."""
    names = values.get("id2label")
    if names is None:
        return dict(values)
    if not isinstance(names, dict):
        raise WeightsError(f"id2label is a name for each label, got {_short(names)}")
    return {**values, "num_labels": len(names)}


def size(default: int, least: int = 1) -> Any:
    """Return a field for a whole number."""
    return _field(default, lambda value: _size(value, least))


def optional(of: Any, default: Any = None) -> Any:
    """Return a field that may be None."""
    check = of.metadata["check"]
    return _field(default, lambda value: None if value is None else check(value))


def probability(default: float) -> Any:
    """Return a field for a share of what is dropped."""

    def check(value: Any) -> float:
        if not _is_number(value) or not 0 <= value < 1:
            raise ValueError("a number from 0 up to, but not, 1")
        return float(value)

    return _field(default, check)


def positive(default: float) -> Any:
    """Return a field for a positive number."""

    def check(value: Any) -> float:
        if not _is_number(value) or not 0 < value < 1e6:
            raise ValueError("a positive number")
        return float(value)

    return _field(default, check)


def flag(default: bool) -> Any:
    """Return a field for true or false."""

    def check(value: Any) -> bool:
        if type(value) is not bool:
            raise ValueError("true or false")
        return value

    return _field(default, check)


def choice(default: str, *known: str) -> Any:
    """Return a field for one of some words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"one of {', '.join(map(repr, known))}")
        return value

    return _field(default, check)


def activation(default: str) -> Any:
    """Return a field for the name of an activation."""
    return choice(default, *sorted(ACTIVATIONS))


def sizes(default: tuple[int, ...]) -> Any:
    """Return a field for some whole numbers, kept as a tuple."""

    def check(value: Any) -> tuple[int, ...]:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError("a list of whole numbers")
        return tuple(_size(n, 1) for n in value)

    return _field(default, check)


def extent(default: int) -> Any:
    """Return a field for height and width: a number for both, or a pair."""

    def check(value: Any) -> tuple[int, int]:
        both = value if isinstance(value, list | tuple) else (value, value)
        if len(both) != 2:
            raise ValueError("a whole number, or a height and a width")
        return _size(both[0], 1), _size(both[1], 1)

    return _field(default, check)


def _field(default: Any, check: Check) -> Any:
    return field(default=default, metadata={"check": check})


def _size(value: Any, least: int) -> int:
    if type(value) is not int or not least <= value <= _LARGEST:
        raise ValueError(f"a whole number from {least} to {_LARGEST}")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, dict | list) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
