"""The progress bar of `Trainer.fit`."""

from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

from freezeviz.train._events import StepDone
from freezeviz.train._history import History


class ProgressBar(AbstractContextManager["ProgressBar"]):
    """A line on the error stream: steps, rate, losses.

    It is tqdm's plain bar in notebooks, too: the one made of widgets warns where ipywidgets is
    missing, and a notebook saved with it shows "model not found" afterwards.
    """

    def __init__(self, steps: int, history: History) -> None:
        from tqdm.std import tqdm

        self._bar: Any = tqdm(total=steps, unit="step", dynamic_ncols=True)
        self._history = history
        self._written = 0.0

    def show(self, event: StepDone) -> None:
        """Count a step; the text follows ten times a second."""
        now = perf_counter()
        if now - self._written > 0.1:
            self._written = now
            self._bar.set_postfix_str(self._text(event), refresh=False)
        self._last = event
        self._bar.update(1)

    def _text(self, event: StepDone) -> str:
        text = f"epoch {event.epoch + 1}, loss {event.loss:.4f}"
        validation = self._history.validation
        if len(validation["loss"]):
            text += f", validation {validation['loss'][-1]:.4f}"
            if validation["accuracy"][-1] == validation["accuracy"][-1]:
                text += f" ({validation['accuracy'][-1]:.1%} right)"
        return text

    def __exit__(self, *exc_info: object) -> None:
        if last := getattr(self, "_last", None):
            self._bar.set_postfix_str(self._text(last), refresh=True)
        self._bar.close()


def progress_bar(
    show: bool, steps: int, history: History
) -> AbstractContextManager[ProgressBar | None]:
    """Return a bar, or nothing that prints nothing."""
    return ProgressBar(steps, history) if show else nullcontext()
