"""A tree as aligned plain text: what stands where no browser is."""

from collections.abc import Collection, Sequence

import numpy as np

from freezeviz.explorer._structure import FROZEN, MIXED, NONE, TRAINABLE, Structure

LONGEST_NAME = 60

# Shape and word, so that neither colour nor a font decides what is understood.
MARKS = {TRAINABLE: "○ trainable", MIXED: "◐ mixed", FROZEN: "❄ frozen", NONE: "–"}


def unfolded(structure: Structure, rows: Sequence[int], collapsed: Collection[str]) -> list[int]:
    """Those of the rows that are not below one that is collapsed."""
    hidden = np.zeros(len(structure), bool)
    for path in collapsed:
        row = structure.index.get(path)
        if row is not None:
            hidden[row + 1 : structure.end[row]] = True
    return [row for row in rows if not hidden[row]]


def shown_rows(structure: Structure, states: np.ndarray, *, parameters: bool) -> list[int]:
    """Rows to print: the modules, and the parameters where their module alone would not tell."""
    if parameters:
        return list(range(len(structure)))
    keep = ~structure.is_parameter
    rows = np.flatnonzero(structure.is_parameter)
    above, own = structure.parent[rows], states[rows]
    least, most = np.full(len(structure), 255, np.uint8), np.zeros(len(structure), np.uint8)
    np.minimum.at(least, above, own)
    np.maximum.at(most, above, own)
    keep[rows[least[above] < most[above]]] = True
    return np.flatnonzero(keep).tolist()


def text_tree(
    structure: Structure,
    states: np.ndarray,
    held: np.ndarray,
    rows: Sequence[int],
    *,
    limit: int | None = None,
) -> str:
    """Return the lines of `rows`, aligned; after `limit` rows a line says how many follow."""
    left_out = 0 if limit is None else max(0, len(rows) - limit)
    rows = rows[: len(rows) - left_out]
    guides = _guides(structure, rows)
    table = [("name", "type", "parameters", "state")]
    for row, guide in zip(rows, guides, strict=True):
        kind = structure.kinds[row]
        detail = structure.details[row]
        count = int(structure.n_parameters[row])
        table.append(
            (
                guide + shown_name(structure.labels[row]),
                shown_name(detail if structure.is_parameter[row] else f"{kind}  {detail}".rstrip()),
                f"{count:,}" if count else "–",
                MARKS[int(states[row])] + (", held" if held[row] else ""),
            )
        )
    widths = [max(len(line[k]) for line in table) for k in range(3)]
    lines = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {count:>{widths[2]}}  {state}"
        for name, kind, count, state in table
    ]
    if left_out:
        lines.append(f"… {left_out:,} more rows")
    return "\n".join(lines)


def totals_line(structure: Structure, frozen: np.ndarray) -> str:
    """Return the line under a tree: how many numbers train, how many are frozen."""
    sizes = np.where(structure.is_parameter, structure.n_parameters, 0)
    total = int(sizes.sum())
    still = int(sizes[frozen].sum())
    share = f" ({100 * still / total:.1f} %)" if total else ""
    return f"{total:,} parameters: {total - still:,} trainable, {still:,} frozen{share}"


def shown_name(name: str) -> str:
    """Return a name fit for one line: control characters replaced, a long one shortened."""
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    if len(name) > LONGEST_NAME:
        half = LONGEST_NAME // 2
        name = f"{name[:half]}…{name[-half + 1 :]}"
    return name or "(empty name)"


def _guides(structure: Structure, rows: Sequence[int]) -> list[str]:
    """Branches before each name: a row is the last below its parent if no later one has it."""
    last_of: dict[int, int] = {}
    for row in rows:
        last_of[int(structure.parent[row])] = row
    guides = []
    stems: dict[int, str] = {}
    for row in rows:
        above = int(structure.parent[row])
        if above < 0:
            guides.append("")
            stems[row] = ""
            continue
        last = last_of[above] == row
        stem = stems[above]
        guides.append(stem + ("└ " if last else "├ "))
        stems[row] = stem + ("  " if last else "│ ")
    return guides
