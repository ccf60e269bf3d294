"""What a feature cache saves: how many rows were known, and how long steps took."""


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
