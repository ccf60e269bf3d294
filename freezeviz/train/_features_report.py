"""What the feature cache saved, in numbers that were measured, and in words."""

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Features:
    """What is cached of a run's samples, or why nothing is.

    Attributes
    ----------
    layers : str
        Whose outputs need not be computed any more; empty if nothing is cached.
    nbytes : int
        What the rows take.
    hits : float
        The share of rows that were known, in the last epoch or since its beginning.
    faster : float or None
        How many times as long a step took that had to compute all rows, on average; None before
        there were steps of both kinds.
    spilled : bool
        The rows are in a temporary file.
    exact : bool
        The rows of a batch were computed in other batches, too, and were the same bit for bit. If
        not, they were to rounding.
    reason : str or None
        Why nothing, or not more, is cached.
    """

    layers: str
    nbytes: int
    hits: float
    faster: float | None
    spilled: bool
    exact: bool
    reason: str | None

    def fields(self) -> dict[str, Any]:
        """Return the attributes by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __bool__(self) -> bool:
        return bool(self.layers)

    def __str__(self) -> str:
        if not self:
            return f"no features cached: {self.reason}" if self.reason else "no features cached"
        size = (
            f"{self.nbytes / 1e6:,.0f} MB" if self.nbytes >= 1e7 else f"{self.nbytes / 1e6:.1f} MB"
        )
        place = " in a temporary file" if self.spilled else ""
        text = f"features of {self.layers} cached, {size}{place}, {100 * self.hits:.0f} % hits"
        if self.faster is not None:
            much = f"{self.faster:.1f}x" if self.faster >= 1.05 else "no"
            text += f"; epoch {much} faster"
        text += f"; in another batch the same {'bit for bit' if self.exact else 'to rounding'}"
        return f"{text}. Not more: {self.reason}" if self.reason else text


class Pace:
    """Measures steps that had to compute all rows, and steps that had to compute none."""

    def __init__(self) -> None:
        self._seconds = [0.0, 0.0]  # of steps that computed, and of steps that did not
        self._steps = [0, 0]
        self._rows = [0, 0]  # known and computed, in this epoch
        self._kind: int | None = None
        self._last: float | None = None

    @property
    def hits(self) -> float:
        """The share of rows that were known, in this epoch, or the one that has just ended."""
        if self._last is not None:
            return self._last
        return self._rows[0] / max(1, sum(self._rows))

    @property
    def faster(self) -> float | None:
        if not all(self._steps):
            return None
        computed, known = (s / n for s, n in zip(self._seconds, self._steps, strict=True))
        return computed / known if known > 0 else None

    def plain(self) -> None:
        """Note that the step in hand has nothing to do with rows."""
        self._kind = None

    def batch(self, hits: int, misses: int) -> None:
        """Note how many rows were known for the step in hand."""
        self._last = None
        self._rows[0] += hits
        self._rows[1] += misses
        self._kind = None if hits and misses else 0 if misses else 1 if hits else None

    def took(self, seconds: float) -> None:
        """Note how long the step in hand took."""
        if self._kind is not None:
            self._seconds[self._kind] += seconds
            self._steps[self._kind] += 1

    def epoch_ends(self) -> None:
        """Begin to count hits anew."""
        if any(self._rows):
            self._last = self._rows[0] / sum(self._rows)
            self._rows = [0, 0]
