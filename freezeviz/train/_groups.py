"""Parameters that were frozen at the same times, put together under the name of their module."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freezeviz.train._history import Span


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that were frozen during the same stretches.

    Attributes
    ----------
    label : str
        The module that holds them; of several modules the first one and how many more there are.
    size : int
        Number of parameter arrays.
    spans : tuple of Span
    """

    label: str
    size: int
    spans: "tuple[Span, ...]"


def frozen_groups(
    parameters: Sequence[str], spans: "Mapping[str, tuple[Span, ...]]"
) -> tuple[Group, ...]:
    """Return the groups in the model's order; what was never frozen is in none.

    Parameters
    ----------
    parameters : sequence of str
        Paths of all parameters: a group gets a module's name only if it is the whole module.
    spans : mapping of path to spans
    """
    if not any(spans.values()):
        return ()
    found: list[tuple[str, int, tuple[Span, ...]]] = []
    _split("", [tuple(path.split(".")) for path in parameters], 0, spans, found)
    by_spans: dict[tuple[Span, ...], list[tuple[str, int]]] = {}
    for name, size, times in found:
        by_spans.setdefault(times, []).append((name, size))
    return tuple(
        Group(
            members[0][0] + (f" +{len(members) - 1}" if len(members) > 1 else ""),
            sum(size for _, size in members),
            times,
        )
        for times, members in by_spans.items()
    )


def _split(
    prefix: str,
    paths: list[tuple[str, ...]],
    depth: int,
    spans: "Mapping[str, tuple[Span, ...]]",
    found: "list[tuple[str, int, tuple[Span, ...]]]",
) -> None:
    times = {spans.get(".".join(path), ()) for path in paths}
    if len(times) == 1:
        (only,) = times
        if only:
            found.append((prefix or "whole model", len(paths), only))
        return
    children: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        children.setdefault(path[depth], []).append(path)
    for name, below in children.items():
        _split(f"{prefix}.{name}" if prefix else name, below, depth + 1, spans, found)
