"""`Run`: what can be read from a run and asked of it, whoever drives its loop."""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from freezeviz.adapters import ModelAdapter
from freezeviz.errors import RunError
from freezeviz.freezing import select
from freezeviz.train import _commands as commands
from freezeviz.train._core import Door, RunCore
from freezeviz.train._events import Event
from freezeviz.train._history import History
from freezeviz.train._measures import Measures
from freezeviz.train._observers import Observer

_runs: "weakref.WeakSet[Run]" = weakref.WeakSet()
_runs_lock = threading.RLock()  # the collector may end a run's loop in between


def runs_of(model: Any) -> list["Run"]:
    """Return all runs of a model that somebody has."""
    with _runs_lock:
        runs = list(_runs)
    return [run for run in runs if run.adapter.model is model]


class Run:
    """A training that can be watched and steered: a `Trainer`, or a loop of the user's own.

    Everything may be read and called from any thread. Orders (`freeze`, `unfreeze`, `toggle`,
    `pause`, `stop`) wait until the step in hand is done; without a run under way they take effect
    at once.

    Attributes
    ----------
    can_start, can_pause, can_stop : bool
        Whether it can be started, paused and stopped from outside.
    """

    can_start = True
    can_pause = True
    can_stop = True
    _name = "run"

    def __init__(self, loop: RunCore) -> None:
        self._loop: RunCore = loop
        with _runs_lock:
            _runs.add(self)

    # ---- reading -------------------------------------------------------------------------------

    @property
    def model(self) -> Any:
        """The model that is trained."""
        return self._loop.adapter.model

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
    def is_under_way(self) -> bool:
        """Whether it has begun and not ended: it runs, or is paused."""
        return self._loop.status in ("running", "paused")

    @property
    def error(self) -> Exception | None:
        """What ended the last run, if it failed."""
        return self._loop.error

    @property
    def step(self) -> int:
        """Steps done so far, over all runs."""
        return self._loop.step

    @property
    def planned_steps(self) -> int | None:
        """What `step` will be when the run under way, or the last one, is through; None: unknown.

        A `Trainer` always knows; a loop over a loader without a length does not.
        """
        return self._loop.planned_steps

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

    @property
    def measures(self) -> Measures:
        """What was measured of the layers while somebody watched; see `watch_measures`."""
        return self._loop.meter.measures

    def watch_measures(self) -> Callable[[], None]:
        """Have layers measured from now on: a few steps, about 1 % of the time, and after freezes.

        Each measured step is a `Measured` event; `measures` has the newest values and gradients
        over time. No number of the training is changed by it. Where the model's adapter cannot
        measure, nothing is.

        Returns
        -------
        stop : callable
            Ends it, when all who watch have called theirs.

        Examples
        --------
        >>> stop = trainer.watch_measures()
        >>> trainer.fit(epochs=1)
        >>> dict(zip(trainer.measures.modules, trainer.measures.by_module.saved_bytes))
        >>> stop()
        """
        return self._loop.meter.watch()

    def add_door(self, door: Door) -> Callable[[], None]:
        """Let orders in that come another way while a loop keeps its thread busy.

        Parameters
        ----------
        door : callable
            Called when a loop in the foreground begins, in its thread, with whether it blocks that;
            returns a context manager, left at its end, that gives a function to be called between
            steps, or None. Neither may raise.

        Returns
        -------
        remove : callable
        """
        loop = self._loop
        loop.doors = (*loop.doors, door)

        def remove() -> None:
            loop.doors = tuple(other for other in loop.doors if other is not door)

        return remove

    # ---- orders --------------------------------------------------------------------------------

    def freeze(
        self, what: Any, hold: bool = False, *, origin: str = "code", label: str = ""
    ) -> None:
        """Freeze parameters, between two steps if a run is under way.

        Parameters
        ----------
        what : selector
            See `freezeviz.select`; ``""`` is the whole model.
        hold : bool
            Hold their modules, too: no dropout in them, statistics stand still.
        origin : str
            Who asks, for the event.
        label : str
            What the event and plots call it; by default "freeze" and what.

        Raises
        ------
        SelectorError
            If nothing matches; nothing is frozen then.
        """
        self._set_frozen(what, True, hold, False, origin, label)

    def unfreeze(
        self, what: Any, *, origin: str = "code", label: str = "", let_go: bool = True
    ) -> None:
        """Make parameters trainable again and let go what was held.

        Parameters
        ----------
        what : selector
        origin, label : str
        let_go : bool
            False leaves held what is held.

        Raises
        ------
        SelectorError
            If nothing matches.
        """
        self._set_frozen(what, False, False, False, origin, label, let_go)

    def toggle(self, path: Any, hold: bool = False, *, origin: str = "code") -> None:
        """Freeze all below `path` if anything there is trainable, else unfreeze all.

        Which of the two is decided when it is carried out, so two quick toggles undo one another.

        Parameters
        ----------
        path : selector
        hold : bool
            Hold the modules, too, if it comes to freezing.
        origin : str

        Raises
        ------
        SelectorError
            If nothing matches.
        """
        self._set_frozen(path, None, hold, False, origin)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let orders that are given in this block be carried out between the same two steps."""
        with self._loop.mailbox.lock:
            yield

    def _set_frozen(
        self,
        what: Any,
        frozen: bool | None,
        hold: bool,
        reset_state: bool,
        origin: str,
        label: str = "",
        let_go: bool = True,
    ) -> None:
        paths = tuple(select(self.model, what).paths)
        name = commands.describe(what, paths)
        command = commands.SetFrozen(name, paths, frozen, hold, reset_state, origin, label, let_go)
        self._loop.request(command)

    def pause(self) -> None:
        """Make the run wait after the step in hand; orders go on being carried out.

        Raises
        ------
        RunError
            If no run is under way, or it is this very thread that drives it and hears of nothing
            meanwhile: it would wait for itself.
        """
        loop = self._loop
        mine = loop.driver == threading.get_ident() and not loop.is_heard
        if loop.mailbox.is_open and mine:
            raise RunError(
                "pause() from the thread that drives the run would wait for ever; "
                f"leave the loop over steps() instead, or use {self._in_background}"
            )
        if not self._loop.mailbox.put(commands.Pause()):
            raise RunError(f"there is no run to pause: the {self._name} is {self.status}")

    def resume(self) -> None:
        """Let a paused run go on.

        Raises
        ------
        RunError
            If no run is under way.
        """
        if not self._loop.mailbox.put(commands.Resume()):
            raise RunError(
                f"there is no run to resume: the {self._name} is {self.status}. {self._to_go_on}"
            )

    def stop(self) -> None:
        """End the run, paused or not, after the step in hand; without a run, do nothing."""
        self._loop.mailbox.put(commands.Stop())

    # What messages recommend.
    _in_background = "start()"
    _to_go_on = "start() or fit() goes on from where the last one ended."
