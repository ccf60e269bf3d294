"""Finding rows: by text, type, state."""

from collections import Counter
from collections.abc import Collection

import numpy as np

from freezeviz.explorer._structure import STATES, Structure

_BETWEEN = "\0"


class Finder:
    """Finds rows of a structure.

    What is searched in is put in small letters once, when it is needed first: of 20,000 rows a
    search takes milliseconds then.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self._texts: list[str] | None = None

    def search(self, text: str) -> list[int]:
        """Rows with `text`, whatever the case, in a path or the type."""
        wanted = text.casefold()
        s = self.structure
        if _BETWEEN in wanted:  # or it would be found between two names
            return [
                row
                for row, names in enumerate(zip(s.paths, s.kinds, s.aliases, strict=True))
                if any(wanted in name.casefold() for name in (*names[:2], *names[2]))
            ]
        if self._texts is None:
            columns = zip(s.paths, s.kinds, s.aliases, strict=True)
            self._texts = [_BETWEEN.join((p, k, *also)).casefold() for p, k, also in columns]
        return [row for row, known in enumerate(self._texts) if wanted in known]

    def kinds(self) -> dict[str, int]:
        """How many modules there are of each type, the most frequent first."""
        s = self.structure
        layers = np.flatnonzero(~s.is_parameter).tolist()
        return dict(Counter(s.kinds[row] for row in layers).most_common())

    def filter(
        self,
        states: np.ndarray,
        flags: dict[str, np.ndarray],
        *,
        state: str | Collection[str] | None,
        kind: str | Collection[str] | None,
        statistics: bool | None,
        text: str | None,
    ) -> list[int]:
        """Rows that pass all filters; `states` and `flags` are of shape (rows,)."""
        s = self.structure
        keep = np.ones(len(s), bool)
        if state is not None:
            keep &= _any_state(_names(state), states, flags)
        if kind is not None:
            wanted = _names(kind)
            keep &= np.fromiter((k in wanted for k in s.kinds), bool, len(s))
        if statistics is not None:
            keep &= s.has_buffers == statistics
        if text:
            found = np.zeros(len(s), bool)
            found[self.search(text)] = True
            keep &= found
        return np.flatnonzero(keep).tolist()


def _names(what: str | Collection[str]) -> set[str]:
    return {what} if isinstance(what, str) else set(what)


def _any_state(wanted: set[str], states: np.ndarray, flags: dict[str, np.ndarray]) -> np.ndarray:
    unknown = wanted - {*STATES, *flags}
    if unknown:
        known = ", ".join(map(repr, (*STATES, *flags)))
        raise ValueError(f"state: expected one of {known}, got {min(unknown)!r}")
    found = np.isin(states, [i for i, name in enumerate(STATES) if name in wanted])
    for name in wanted & flags.keys():
        found |= flags[name]
    return found
