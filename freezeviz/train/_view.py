"""What can be read from a run, by whoever watches it."""

from collections.abc import Callable

from freezeviz.adapters import ModelAdapter
from freezeviz.nn import Module
from freezeviz.optim import Optimizer
from freezeviz.train._events import Event
from freezeviz.train._history import History
from freezeviz.train._loop import Loop
from freezeviz.train._observers import Observer


class RunView:
    """The readable side of a `Trainer`; safe to use from any thread while it trains."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    @property
    def model(self) -> Module:
        """The model that is trained."""
        return self._loop.model

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer."""
        return self._loop.engine.optimizer

    @property
    def adapter(self) -> ModelAdapter:
        """The model's adapter."""
        return self._loop.adapter

    @property
    def history(self) -> History:
        """The record of all runs."""
        return self._loop.history

    @property
    def events(self) -> tuple[Event, ...]:
        """All events so far in order, except `StepDone`, which `history` has as columns."""
        return tuple(self._loop.events)

    @property
    def status(self) -> str:
        """``idle``, ``running``, ``paused``, ``stopped``, ``finished`` or ``failed``."""
        return self._loop.status

    @property
    def error(self) -> Exception | None:
        """What ended the last run, if it failed."""
        return self._loop.error

    @property
    def step(self) -> int:
        """Steps done so far, over all runs."""
        return self._loop.step

    @property
    def planned_steps(self) -> int:
        """What `step` will be when the run under way, or the last one, is through."""
        return self._loop.planned_steps

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches."""
        return self._loop.steps_per_epoch

    @property
    def epoch(self) -> int:
        """Complete epochs, which is the number (from 0) of the one that is under way."""
        return self._loop.epoch

    @property
    def rate(self) -> float:
        """Steps per second in the last few seconds of the run; 0 before there were two."""
        times = list(self._loop.times)
        recent = [t for t in times if t > times[-1] - 3] if times else []
        recent = recent if len(recent) > 1 else times[-2:]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Let a function get every event, `StepDone` included; returns a function that ends that.

        It is called in the thread that trains, between steps. If it raises, a warning is given and
        it gets no more events; the run goes on.
        """
        return self._loop.observers.add(observer)
