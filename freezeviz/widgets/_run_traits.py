"""The traits of a run: its numbers, its curves, and the picture of a page without a kernel."""

import time
from typing import Any

from freezeviz.errors import MissingExtraError
from freezeviz.train import Event, Run
from freezeviz.train._heat import heat
from freezeviz.train._pace import Pace
from freezeviz.widgets._curves import Curves, heat_trait
from freezeviz.widgets._numbers import Numbers

HEAT_SHARE, SHORTEST_HEAT = 0.005, 1.0


class RunTraits:
    """Gathers what a run tells; the training thread writes with `take`, the loop reads.

    Parameters
    ----------
    run : Run

    Attributes
    ----------
    problem : str or None
        Why there is no picture; for somebody to tell.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.problem: str | None = None
        self._numbers = Numbers.of(run)
        self._curves = Curves(run.history)
        self._measured = -1  # how many measured steps the heat map has
        self._heating = Pace(HEAT_SHARE, SHORTEST_HEAT)  # dear where there are very many layers
        self._draws = True
        self._plot: Any = None

    @property
    def runs(self) -> bool:
        """Whether steps are made now."""
        return self.run.status == "running"

    def take(self, event: Event) -> None:
        """Note what an event tells."""
        self._numbers.take(event)

    def numbers(self) -> dict[str, Any]:
        """Return the trait `run`."""
        return self._numbers.as_trait(self.run)

    def plots(self, marks: bool) -> dict[str, Any]:
        """Return the traits that plots are drawn from; of marks and heat only with news."""
        traits: dict[str, Any] = {"curves": self._curves.as_trait()}
        if marks:
            traits["marks"] = self._curves.marks()
        taken, now = self.run.measures.taken, time.perf_counter()
        # While steps are made it has to be cheap; when they end, the whole truth.
        in_time = not self.runs or self._heating.ready(now, eager=marks)
        if taken != self._measured and in_time:
            self._measured = taken
            traits["heat"] = heat_trait(heat(*self.run.history.gradients))
            self._heating.spent(now, time.perf_counter() - now)
        return traits

    def warm(self) -> None:
        """Draw for the first time, which loads fonts: now, and not in the middle of training."""
        try:
            self._drawing().png()
        except MissingExtraError as error:
            self._draws = False
            self.problem = str(error)

    def _drawing(self) -> Any:
        if self._plot is None:
            from freezeviz.widgets._plot import Plot

            self._plot = Plot(self.run.history)
        return self._plot

    def picture(self) -> tuple[bytes, str]:
        """Return the curves as a PNG and in words; empty where matplotlib is missing."""
        if not self._draws or not len(self.run.history):
            return b"", ""
        try:
            plot = self._drawing()
            return plot.png(), plot.text()
        except MissingExtraError as error:
            self.problem = str(error)
        except Exception as error:  # a picture is not worth the rest, let alone the run
            name = type(error).__name__
            self.problem = f"the loss plot cannot be drawn any more: {name}: {error}"
        self._draws = False
        return b"", ""
