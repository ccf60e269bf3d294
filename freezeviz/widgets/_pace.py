"""When something costly may happen again, so that it never takes more than a share of the time."""


class Pace:
    """A rhythm that slows down by itself when what it times gets expensive.

    What took `cost` seconds may happen again after ``cost / share`` seconds, but not before `shortest`.

    Parameters
    ----------
    share : float
        The greatest part of the time to be spent, between 0 and 1.
    shortest : float
        Seconds between two beginnings, however cheap.

    Examples
    --------
    >>> pace = Pace(share=0.04, shortest=0.1)
    >>> pace.ready(now=10.0)
    True
    >>> pace.spent(began=10.0, cost=0.02)
    >>> pace.ready(now=10.4), pace.ready(now=10.6)
    (False, True)
    """

    def __init__(self, share: float, shortest: float) -> None:
        self.share = share
        self.shortest = shortest
        self.next = float("-inf")
        self.cost = 0.0

    def ready(self, now: float) -> bool:
        """Whether it may happen now."""
        return now >= self.next

    def spent(self, began: float, cost: float) -> None:
        """Note that it happened: began then, took `cost` seconds."""
        # The mean of the last few: one slow turn (a first import, a busy machine) passes by.
        self.cost = cost if self.cost == 0.0 else 0.7 * self.cost + 0.3 * cost
        self.next = began + max(self.shortest, self.cost / self.share)
