"""`OwnRun`: a run whose loop the user writes, for a model of any framework."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from freezeviz.adapters import ModelAdapter
from freezeviz.train import _commands as commands
from freezeviz.train import _events as events
from freezeviz.train._core import RunCore
from freezeviz.train._metrics import check_name, single_number
from freezeviz.train._run import Run

_VALIDATION = "validation_"


class StopRun(BaseException):
    """Ends a run that somebody asked to stop, where no loop over `steps` could end by itself.

    No `Exception`, like `KeyboardInterrupt`: code that goes on after failures must not go on here.
    """


class OwnLoop(RunCore):
    """The state of a run whose loop the user writes."""

    def __init__(self, adapter: ModelAdapter) -> None:
        super().__init__(adapter)
        self.epochs_done = 0
        # The thread of a run that began with a `log` outside every loop, whose end nobody tells.
        self.logs_in: threading.Thread | None = None

    @property
    def epoch(self) -> int:
        return self.epochs_done

    def request(self, command: commands.Command) -> None:
        """Have a command carried out: between two steps if a run is under way, else at once."""
        with self.mailbox.lock:
            thread = self.logs_in
            # Such a thread is between two steps when it asks; and when it is gone, so is its run.
            if thread is None or (thread is not threading.current_thread() and thread.is_alive()):
                super().request(command)
                return
            event = self._apply(command)
            if event is not None:
                self._record(event)
        if event is not None:
            self.observers.notify(event)


class OwnRun(Run):
    """A run that is driven from outside, step by step.

    `freezeviz.steps`, `Explorer.log` and `Explorer.run` are made of it; a loop that none of them
    fits calls `begin`, then `step_begins` and `step_done` for each step and `attend` between them,
    and `end`.

    Parameters
    ----------
    adapter : ModelAdapter

    Attributes
    ----------
    turn : int
        How many runs have begun: tells one who drives a run whether it is still the same.

    Examples
    --------
    >>> run = OwnRun(fv.adapters.adapt(model))
    >>> run.begin()
    >>> for x, y in batches:
    ...     run.attend()
    ...     run.step_begins()
    ...     run.log({"loss": train_on(x, y)})
    ...     run.step_done()
    >>> run.end("finished")
    """

    can_start = False
    turn = 0
    _name = "loop"
    _in_background = "explorer.run(function)"
    _to_go_on = "It goes on when its cell is run again."

    def __init__(self, adapter: ModelAdapter) -> None:
        self._loop: OwnLoop = OwnLoop(adapter)
        super().__init__(self._loop)
        self._lock = threading.Lock()  # of what was logged: another thread may do so
        self._logged: dict[str, float] = {}
        self._validated: list[dict[str, float]] = []
        self._owner = ""  # who began the run: "steps", "run", "log", or whoever else
        self._thread: int | None = None  # that of the loop
        self._blocking = self._moved = False  # it keeps its thread; it did something in this cell
        self._has_steps = False  # the run, or the last one, is made of steps that are told

    # ---- the course of a run -------------------------------------------------------------------

    @property
    def owner(self) -> str:
        """Who began the run under way; empty without one."""
        return self._owner if self._loop.mailbox.is_open else ""

    @property
    def is_stopping(self) -> bool:
        """Whether somebody asked for the end of the run."""
        return self._loop.stopping

    @property
    def is_here(self) -> bool:
        """Whether this is the thread of the loop."""
        return self._thread == threading.get_ident()

    def begin(
        self,
        epochs: int = 0,
        planned_steps: int | None = None,
        *,
        owner: str = "code",
        background: bool = False,
        blocking: bool = False,
    ) -> None:
        """Begin a run: from now on orders wait for `attend`.

        Parameters
        ----------
        epochs : int
            How many there will be; 0: unknown.
        planned_steps : int, optional
            How many steps there will be in this run.
        owner : str
        background : bool
            Another thread than this one will drive it: see `take_over`.
        blocking : bool
            This thread will hear of nothing else until the end.

        Raises
        ------
        RunError
            If a run is under way.
        """
        loop = self._loop
        if self._owner == "log":
            self.end("finished")
        planned = None if planned_steps is None else loop.step + planned_steps
        loop.open(planned, background=background or not blocking)
        self.turn += 1
        self._owner = owner
        self._thread = None if background else threading.get_ident()
        self._blocking, self._has_steps = blocking, False
        self._logged = {}
        try:
            if not background:
                loop.enter_doors(blocking)
            loop.begin(epochs)
        except BaseException:
            self.end("stopped")
            raise

    def take_over(self) -> None:
        """Let this thread be the one of the loop."""
        self._thread = threading.get_ident()

    def plan(self, steps: int | None) -> None:
        """Note how many more steps there will be."""
        self._loop.planned_steps = None if steps is None else self._loop.step + steps

    def end(self, status: str, error: Exception | None = None) -> None:
        """End the run, if one is under way: ``finished``, ``stopped``, or ``failed`` by `error`."""
        if not self.owner:
            return
        self.leave_step()
        self._publish_validated()
        loop = self._loop
        if status == "finished" or loop.planned_steps is None:
            loop.planned_steps = loop.step
        self._owner, self._thread = "", None
        loop.logs_in = None
        if error is not None:
            loop.fail(error)
        elif status == "finished":
            loop.end(status, events.Finished)
        else:
            loop.end("stopped", events.Stopped)

    def cell_ended(self, error: BaseException | None) -> None:
        """Take in that a notebook's cell is over: a loop in its thread cannot be in a step now.

        Parameters
        ----------
        error : BaseException or None
            What ended the cell early.
        """
        moved, self._moved = self._moved, False
        if not self.owner:
            self._has_steps = False
        elif self.is_here and self._blocking and moved:
            if isinstance(error, Exception):
                self.end("failed", error)
            elif error is not None:
                self.end("stopped")
            elif self._owner == "log":
                self.end("finished")

    # ---- steps ---------------------------------------------------------------------------------

    def attend(self) -> None:
        """Carry out what was asked for; between steps. A pause is spent in here."""
        self._publish_validated()
        self._loop.attend()

    def attend_once(self) -> bool:
        """Carry out what was asked for, without waiting; returns whether the run is to pause."""
        self._publish_validated()
        return self._loop.attend_once()

    def step_begins(self) -> None:
        """Note that a step begins."""
        self._moved = self._has_steps = True
        self._loop.step_begins()

    def step_done(self) -> events.StepDone:
        """Count the step in hand, with what was logged since it began."""
        with self._lock:
            metrics, self._logged = self._logged, {}
        known = "loss" in metrics
        loss, accuracy = metrics.pop("loss", float("nan")), metrics.pop("accuracy", None)
        done = self._loop.step_done(loss, accuracy, metrics)
        if known:
            self._loop.check_loss(
                loss, "The loop goes on; a smaller learning rate may help when it is run again."
            )
        self._loop.turns.offer()
        return done

    def leave_step(self) -> None:
        """Note that a step was left in the middle; one that had logged something counts."""
        if self._loop.in_step and self._logged:
            self.step_done()
        self._loop.step_left()

    def epoch_done(self) -> None:
        """Count an epoch."""
        self._loop.epochs_done += 1

    # ---- numbers -------------------------------------------------------------------------------

    def log(self, values: Mapping[str, Any]) -> None:
        """Keep numbers of the step in hand; where there is no loop over steps, count one.

        Parameters
        ----------
        values : mapping of str to number
            See `Explorer.log`.

        Raises
        ------
        DataError
            If a name cannot be used or a value is no single number; nothing is kept then.
        StopRun
            Where it counts a step, if somebody asked for the end of the run.
        """
        of_step, validated = _split(values)
        if validated:
            self._validated.append(validated)
            if not self.owner or self.is_here:
                self._publish_validated()
        if not of_step:
            return
        if not self._loop.in_step and self._has_steps and self._loop.step:
            # After a loop, or between two steps: these numbers are about what was done.
            loop = self._loop
            loop.publish(events.Logged(*loop.now(), of_step))
            return
        if not self.owner:
            self.begin(owner="log", blocking=True)
            self._loop.logs_in = threading.current_thread()
        with self._lock:
            self._logged |= of_step
        if not self._loop.in_step and self._owner in ("run", "log") and self.is_here:
            self._moved = True
            self.step_done()
            self.attend()
            if self.is_stopping:
                if self._owner == "log":
                    self.end("stopped")
                raise StopRun("the loop was stopped from outside")
            self._loop.step_may_begin()

    def _publish_validated(self) -> None:
        while self._validated:
            values = self._validated.pop(0)
            loss, accuracy = values.pop("loss", float("nan")), values.pop("accuracy", None)
            loop = self._loop
            # Usually logged when its epoch is over, of which it tells.
            epoch = max(loop.epoch - 1, 0) if not loop.in_step else loop.epoch
            loop.publish(events.Validated(loop.step, epoch, time.time(), loss, accuracy, values))


def _split(values: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the numbers of a step, and those of a validation without their prefix."""
    of_step: dict[str, float] = {}
    validated: dict[str, float] = {}
    for name, value in values.items():
        short = name.removeprefix(_VALIDATION)
        if short not in ("loss", "accuracy"):
            check_name(short)
        if value is None:
            continue
        number = single_number(value, f"log({name}=...)")
        (of_step if short == name else validated)[short] = number
    return of_step, validated
