"""`Trainer`: a run that can be watched and steered while it goes."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

from freezeviz.errors import RunError
from freezeviz.nn import Module
from freezeviz.optim import Optimizer
from freezeviz.train import _commands as commands
from freezeviz.train._background import BackgroundRun
from freezeviz.train._batches import Batches, whole_number
from freezeviz.train._engine import Engine
from freezeviz.train._events import StepDone
from freezeviz.train._interrupt import interrupt_calls
from freezeviz.train._loop import Loop
from freezeviz.train._modes import modes_restored
from freezeviz.train._progress import progress_bar
from freezeviz.train._run import Run


class Trainer(Run):
    """Trains a model, in the foreground or in the background, and takes orders meanwhile.

    Orders (`freeze`, `unfreeze`, `toggle`, `set_learning_rate`, `pause`, `stop`) may come from any
    thread. While a run is under way they wait until the step in hand is done, so a step sees one
    freeze state; otherwise they take effect at once. Each becomes an event with its step number.

    Parameters
    ----------
    model : nn.Module
    optimizer : optim.Optimizer
    loss : str or callable
        Name of a loss of `freezeviz.nn.losses`, or a function ``(outputs, targets) -> scalar``.
    data : pair (x, y)
        Arrays of the same length: inputs and targets. They are not copied, except to bring them to
        the device where the model is: as a whole, or, if they would take more than a quarter of
        its free memory, batch by batch, each while the GPU computes with the one before.
    validation : pair (x, y), optional
        Evaluated at the end of every epoch.
    batch_size : int
        The last batch of an epoch may be smaller.
    seed : int
        Of the shuffling and of what the model draws. Two runs with the same seed, data and events
        are the same, bit for bit.
    shuffle : bool
        Another order in every epoch.
    stop_on_nonfinite : bool
        End the run when the loss becomes NaN or infinite, before that step changes the model. A GPU
        has to be waited for in every step then; without, `NonFiniteLoss` is told there when the
        next step has been launched, at the latest.
    metrics : mapping of str to callable, optional
        What else to measure, by name: functions ``(outputs, targets) -> float`` of a batch. They
        are columns of the history, of training and of validation. On a GPU, those that give an
        array of one element there make nobody wait for it.
    feature_cache : bool or int
        What frozen layers compute of a sample, before anything that trains, is computed once and
        kept, where that saves time: nothing may be random in it, or move, or depend on the other
        samples of the batch. An int is how many bytes may lie in memory (True: a gibibyte); more
        go into a temporary file. Losses and weights are the same to rounding.
        `History.features` says what is kept and what it saved, or why nothing is.

    Raises
    ------
    DataError
        If data, batch size, seed, the name of the loss or that of a metric cannot be used; at the
        first step, if a metric is not a single number.
    TypeError
        If the model is no `nn.Module`, or optimizer, loss or metrics are nothing of the kind.

    Examples
    --------
    >>> trainer = Trainer(model, optim.Adam(1e-3), data=digits.train, validation=digits.validation)
    >>> trainer.start(epochs=20)
    >>> trainer.freeze("layers.0")
    >>> trainer.wait()
    'finished'
    """

    _name = "trainer"

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: str | Callable[[Any, Any], Any] = "cross_entropy",
        data: Any = None,
        validation: Any = None,
        batch_size: int = 32,
        seed: int = 0,
        shuffle: bool = True,
        *,
        stop_on_nonfinite: bool = False,
        metrics: Mapping[str, Callable[[Any, Any], Any]] | None = None,
        feature_cache: bool | int = True,
    ) -> None:
        engine = Engine(
            model,
            optimizer,
            loss,
            data,
            validation,
            batch_size,
            seed,
            shuffle,
            metrics or {},
            feature_cache,
        )
        self._loop: Loop = Loop(engine, stop_on_nonfinite)
        super().__init__(self._loop)
        self._background: BackgroundRun | None = None

    @property
    def model(self) -> Module:
        """The model that is trained."""
        return self._loop.model

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer."""
        return self._loop.engine.optimizer

    @property
    def planned_steps(self) -> int:
        """What `step` will be when the run under way, or the last one, is through."""
        return self._loop.planned_steps or 0

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches."""
        return self._loop.steps_per_epoch

    # ---- driving ---------------------------------------------------------------------------

    def fit(self, epochs: int, *, progress: bool = True) -> None:
        """Train in the foreground.

        An epoch that an earlier run left unfinished counts as the first. An interrupt (Ctrl-C, or a
        notebook's stop button) ends the run cleanly after the step in hand; a second one raises
        KeyboardInterrupt at once.

        Parameters
        ----------
        epochs : int
        progress : bool
            Show a progress bar on the error stream.

        Raises
        ------
        RunError
            If a run is under way.
        Exception
            Whatever the model, the loss or the optimizer raises, after the run was ended. Model,
            history and events stay as they were after the last step.
        """
        epochs = whole_number(epochs, "epochs", 1)
        loop = self._loop
        loop.check_free()

        def interrupt() -> None:
            loop.interrupted = True

        with (
            interrupt_calls(interrupt),
            closing(loop.open_and_run(epochs, ahead=True)) as steps,
            progress_bar(progress, loop.end_of(epochs) - loop.step, loop.history) as bar,
        ):
            for event in steps:
                if bar is not None:
                    bar.show(event)
        if loop.interrupted and loop.status == "stopped":
            print(
                f"Interrupted: the run stopped after step {self.step} of {self.planned_steps}. "
                "Model and history are those of that step."
            )

    def start(self, epochs: int) -> None:
        """Train in the background, in a thread of its own; returns at once.

        Parameters
        ----------
        epochs : int
            An epoch that an earlier run left unfinished counts as the first.

        Raises
        ------
        RunError
            If a run is under way.
        """
        epochs = whole_number(epochs, "epochs", 1)
        self._loop.open(self._loop.end_of(epochs), background=True)
        steps = self._loop.run(epochs, ahead=True)
        try:
            self._background = BackgroundRun(
                lambda: deque(steps, maxlen=0), "trainer.wait() raises it."
            )
        except RuntimeError:  # the system gives no more threads
            self._loop.abandon()
            raise

    def steps(self, epochs: int) -> Iterator[StepDone]:
        """Return an iterator that makes a step each time it is asked for the next.

        `fit` and `start` do nothing else than to exhaust it; on a GPU, and while nobody has
        subscribed, they launch a step before they wait for the one before it, which is told of and
        in the history then. The run begins with the first step,
        and is stopped when the iterator is closed: by leaving the loop, that is.

        Parameters
        ----------
        epochs : int
            An epoch that an earlier run left unfinished counts as the first.

        Raises
        ------
        RunError
            At the first step, if a run is under way.

        Examples
        --------
        >>> for done in trainer.steps(epochs=1):
        ...     if done.loss < 0.1:
        ...         break
        """
        return self._loop.open_and_run(whole_number(epochs, "epochs", 1))

    def wait(self, timeout: float | None = None) -> str:
        """Wait until the run in the background is over, and return the status then.

        An interrupt ends the waiting, not the run.

        Parameters
        ----------
        timeout : float, optional
            Give up waiting after so many seconds; the status tells.

        Raises
        ------
        RunError
            If the run failed, with its exception as the cause; or if it is driven by `fit` or
            `steps`, which cannot be waited for.
        """
        if self._loop.driver is not None and self._loop.mailbox.is_open:
            raise RunError("wait() is for runs that start() put into the background")
        try:
            if self._background is not None:
                self._background.join(timeout)
        except KeyboardInterrupt:
            print(
                f"Stopped waiting. The run goes on (step {self.step} of {self.planned_steps}); "
                "trainer.stop() ends it."
            )
            return self.status
        if self.status == "failed" and self.error is not None:
            raise RunError(
                f"the run failed after step {self.step}: {type(self.error).__name__}: {self.error}"
            ) from self.error
        return self.status

    # ---- orders ----------------------------------------------------------------------------

    def unfreeze(
        self,
        what: Any,
        reset_state: bool = False,
        *,
        origin: str = "code",
        label: str = "",
        let_go: bool = True,
    ) -> None:
        """Make parameters trainable again and let go what was held.

        Parameters
        ----------
        what : selector
        reset_state : bool
            Let the optimizer start anew with them, instead of taking up what it knew.
        origin, label : str
        let_go : bool
            False leaves held what is held.

        Raises
        ------
        SelectorError
            If nothing matches.
        """
        self._set_frozen(what, False, False, reset_state, origin, label, let_go)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Give the optimizer another learning rate, between two steps if a run is under way.

        Raises
        ------
        ValueError
            If it is no finite number, or negative.
        """
        rate = float(learning_rate)
        if not 0 <= rate < math.inf:
            raise ValueError(f"learning_rate must be finite and not negative, got {rate}")
        self._loop.request(commands.SetLearningRate(rate))

    def evaluate(self, data: Any = None) -> tuple[float, float | None]:
        """Return mean loss and accuracy (None without classes), computed in eval mode.

        Parameters
        ----------
        data : pair (x, y), optional
            By default the validation data, and without those the training data.

        Raises
        ------
        RunError
            While another thread trains the model.
        DataError
            If the data cannot be used.
        """
        if self._loop.mailbox.is_open and self._loop.driver != threading.get_ident():
            raise RunError("evaluate() needs the model for itself: stop() and wait() first")
        engine = self._loop.engine
        engine.place()
        batches = engine.validation or engine.train
        if data is not None:
            batches = Batches(data, engine.train.batch_size, "data")
            for _, parameter in self.model.named_parameters()[:1]:
                batches.place(parameter)
        try:
            with modes_restored(self.model):
                self.model.eval()
                outcome = engine.evaluate(batches, self.step)
        finally:
            engine.close()
        return outcome.loss, outcome.accuracy

    def __repr__(self) -> str:
        return (
            f"Trainer({type(self.model).__name__}, {type(self.optimizer).__name__}, "
            f"{self.status}, step {self.step} of {self.planned_steps})"
        )
