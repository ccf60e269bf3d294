"""When something costly may happen again, so that it never takes more than a share of the time."""


class Pace:
    """A rhythm that slows down by itself when what it times gets expensive.

    What cost so many seconds may happen again after ``cost / share`` seconds, but not before
    `shortest`. Something eager may come after half of that; what follows waits the longer.

    Parameters
    ----------
    share : float
        The greatest part of the time to be spent, between 0 and 1.
    shortest : float
        Seconds between two beginnings, however cheap.

    Attributes
    ----------
    next : float
        When it is time again.

    Examples
    --------
    >>> pace = Pace(share=0.04, shortest=0.1)
    >>> pace.spent(began=10.0, cost=0.04)
    >>> pace.ready(10.9), pace.ready(10.6, eager=True), pace.ready(11.1)
    (False, True, True)
    """

    def __init__(self, share: float, shortest: float) -> None:
        self.share = share
        self.shortest = shortest
        self.next = float("-inf")
        self.cost = 0.0

    def ready(self, now: float, *, eager: bool = False) -> bool:
        """Whether it may happen now."""
        return now >= self.next - (self._interval / 2 if eager else 0.0)

    def spent(self, began: float, cost: float) -> None:
        """Note that it happened: began then, took `cost` seconds."""
        # The mean of the last few: one slow turn, on a machine that was busy, passes by.
        self.cost = cost if self.cost == 0.0 else 0.7 * self.cost + 0.3 * cost
        # What came too early is owed: the share holds on average. Owed is one interval at most.
        self.next = min(max(began, self.next), began + self._interval) + self._interval

    @property
    def _interval(self) -> float:
        return max(self.shortest, self.cost / self.share)
