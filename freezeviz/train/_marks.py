"""Where the labels of marked moments go, so that they can be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freezeviz.train._history import Mark

MOST_LABELS = 12
CHARACTER = 0.57  # mean width of a character, as a share of the font size
TOUCHING = 8  # pixels between lines that look like one


@dataclass(frozen=True, slots=True)
class Label:
    """A label above the axes, for one marked moment or for several that lie close together."""

    step: int
    kind: str  # "freeze", "unfreeze", "rate" or "several"
    text: str
    row: int
    left: float  # in pixels from the left end of the axes, like `right`
    right: float


def place_labels(
    marks: "Sequence[Mark]",
    last_step: int,
    pixels: float,
    font: float,
    rows: int = 3,
    beyond: float | None = None,
) -> list[Label]:
    """Return labels for the marks, none of which covers another or is crossed by a line.

    Marks for whose label there is no room are put together with their neighbours: "5 changes".

    Parameters
    ----------
    marks : sequence of Mark
    last_step : int
        What the right end of the axes stands for; the left end is step 0.
    pixels : float
        Width of the axes.
    font : float
        Size of the font in pixels.
    rows : int
        How many rows of labels there may be.
    beyond : float, optional
        How far labels may reach beyond the right end of the axes; by default the font's size.
    """
    per_step = pixels / max(last_step, 1)
    groups = _touching(marks, per_step)
    if len(groups) > MOST_LABELS:
        groups = _slotted(groups, last_step)
    reach = pixels + (font if beyond is None else beyond)
    while True:
        labels, crowded = _try(groups, per_step, font, rows, reach)
        if crowded is None:
            return labels
        _merge_with_nearest(groups, crowded)


def _touching(marks: "Sequence[Mark]", per_step: float) -> "list[list[Mark]]":
    groups: list[list[Mark]] = []
    for mark in marks:
        if groups and (mark.step - groups[-1][0].step) * per_step < TOUCHING:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return groups


def _slotted(groups: "list[list[Mark]]", last_step: int) -> "list[list[Mark]]":
    slots: dict[int, list[Mark]] = {}
    for group in groups:
        slot = min(group[0].step * MOST_LABELS // max(last_step, 1), MOST_LABELS - 1)
        slots.setdefault(slot, []).extend(group)
    return list(slots.values())


def _try(
    groups: "list[list[Mark]]",
    per_step: float,
    font: float,
    rows: int,
    reach: float,
) -> tuple[list[Label], int | None]:
    """Return labels, and the index of the group for which there was no room, if there is one."""
    labels: list[Label] = []
    # From right to left: a label stands right of its line, so it only has to keep clear of what is
    # placed already, and goes above all of it. No line then runs through a label.
    for index in range(len(groups) - 1, -1, -1):
        group = groups[index]
        text = _text(group)
        width = CHARACTER * font * len(text)
        x = group[0].step * per_step
        # Left of the line only where it would leave the figure otherwise.
        left = x + 3 if x + 3 + width <= reach else max(x - 3 - width, 0.0)
        right = left + width + 0.8 * font
        below = [
            other.row
            for other in labels
            if min(left, x) < max(other.right, other.step * per_step) and other.left < right
        ]
        row = max(below, default=-1) + 1
        # The line would run through a label that reaches over to its left.
        crossed = row > 0 and any(o.row < row and o.left < x < o.right for o in labels)
        if row >= rows or crossed:
            return labels, index
        kind = group[0].kind if len({mark.kind for mark in group}) == 1 else "several"
        labels.append(Label(group[0].step, kind, text, row, left, right))
    return labels[::-1], None


def _merge_with_nearest(groups: "list[list[Mark]]", index: int) -> None:
    """Join the group at `index` to its nearer neighbour; there always is one on its right."""
    before = groups[index][0].step - groups[index - 1][-1].step if index else float("inf")
    after = groups[index + 1][0].step - groups[index][-1].step
    first = index - 1 if before < after else index
    groups[first : first + 2] = [groups[first] + groups[first + 1]]


def _text(group: "list[Mark]") -> str:
    if len(group) == 1:
        return _shortened(group[0].label)
    both = " · ".join(mark.label for mark in group)
    return both if len(both) <= 34 else f"{len(group)} changes"


def _shortened(label: str, most: int = 30) -> str:
    """Keep the verb and the end of the path, which tell labels apart."""
    if len(label) <= most:
        return label
    verb, _, path = label.partition(" ")
    return f"{verb} …{path[-(most - len(verb) - 2) :]}"
