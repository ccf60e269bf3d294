"""A tree as nested lists: what a notebook shows of a summary, and what stays when no kernel runs.

Plain elements and few inline styles: Jupyter's sanitiser lets them through in notebooks that are
not trusted.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

from freezeviz.explorer._structure import Structure
from freezeviz.explorer._text import MARKS, shown_name, totals_line

_LIST = '<ul style="list-style:none;margin:0;padding-left:1.2em">'


def html_tree(
    structure: Structure,
    frozen: np.ndarray,
    held: np.ndarray,
    rows: Sequence[int],
    *,
    limit: int = 2000,
) -> str:
    """Return nested, escaped lists of `rows`; after `limit` rows a line says how many follow."""
    states = structure.states(frozen)
    left_out = max(0, len(rows) - limit)
    rows = rows[: len(rows) - left_out]
    parents = {int(structure.parent[row]) for row in rows}
    out = [_LIST]
    open_levels: list[int] = []
    for row in rows:
        level = int(structure.level[row])
        while open_levels and open_levels[-1] >= level:
            open_levels.pop()
            out.append("</ul></details></li>")
        line = _line(structure, row, int(states[row]), bool(held[row]))
        if row in parents:
            opened = " open" if level < 1 else ""
            out.append(f"<li><details{opened}><summary>{line}</summary>{_LIST}")
            open_levels.append(level)
        else:
            out.append(f"<li>{line}</li>")
    out.extend("</ul></details></li>" for _ in open_levels)
    out.append("</ul>")
    if left_out:
        out.append(f"<p>… {left_out:,} more rows</p>")
    out.append(f"<p>{escape(totals_line(structure, frozen))}</p>")
    return "".join(out)


def _line(structure: Structure, row: int, state: int, held: bool) -> str:
    count = int(structure.n_parameters[row])
    kind = "" if structure.is_parameter[row] else structure.kinds[row]
    parts = [f"<code>{escape(shown_name(structure.labels[row]))}</code>"]
    if about := f"{kind} {structure.details[row]}".strip():
        parts.append(escape(shown_name(about)))
    if count:
        parts.append(f"{count:,}")
        parts.append(MARKS[state] + (", held" if held else ""))
    return " &nbsp; ".join(parts)
