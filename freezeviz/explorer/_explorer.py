"""`explore`: a model or a run, to look at and to act on."""

import threading
import weakref
from collections.abc import Callable
from html import escape
from typing import Any, TypeVar

from freezeviz.adapters import adapt
from freezeviz.errors import RunError
from freezeviz.explorer._background import Background
from freezeviz.explorer._controller import Controller
from freezeviz.explorer._garbage import no_collection
from freezeviz.explorer._html import html_tree
from freezeviz.explorer._idle import watch_idle
from freezeviz.explorer._optimizers import watch_optimizer
from freezeviz.explorer._text import shown_rows, text_tree, totals_line, unfolded
from freezeviz.train import OwnRun, Run, Trainer

MOST_LINES = 80

# One explorer a target, so that all views of a run are of one controller and one drawing of the
# curve. By id, as models need not be hashable; an explorer keeps its target, so no id is reused.
_known: "weakref.WeakValueDictionary[int, Explorer]" = weakref.WeakValueDictionary()
# One controller a model, whoever shows it: rows, locks and what can be undone are the model's, and
# one click is seen in all of its views. It keeps its adapter, which keeps the model.
_controllers: "weakref.WeakValueDictionary[int, Controller]" = weakref.WeakValueDictionary()
_making = threading.RLock()  # two threads may explore a model for the first time

Face = Callable[["Explorer"], dict[str, Any] | None]
R = TypeVar("R")


class Explorer:
    """A model, or the run that trains it, as a tree to look at and to act on.

    Printed, it is a text; in a notebook, with the extra `notebook`, a tree to click on and, for a
    `Trainer`, a dashboard. Everything that can be clicked is a method of the `controller`.

    Attributes
    ----------
    target : model or Trainer
    controller : Controller
        The same for all explorers of a model: the model's own, and those of what trains it.
    trainer : Trainer or None
    """

    def __init__(self, target: Any) -> None:
        self.target = target
        self.trainer = target if isinstance(target, Trainer) else None
        self.controller = _controller_of(target)
        self.face: Face | None = None
        self.hint = ""  # a line below what is printed, from whoever gives the face
        self._lock = threading.Lock()  # two threads may want the run for the first time
        self._waiting: tuple[Callable[[Run], object], ...] = ()

    # ---- a run ---------------------------------------------------------------------------------

    @property
    def run_view(self) -> Run | None:
        """The run that is shown: the `Trainer`; of a model alone, its own loop once there is one.

        A loop is known from the first of `freezeviz.steps`, `log` and `run` on.
        """
        return self.trainer or self.controller.own_run

    def when_run(self, callback: Callable[[Run], object]) -> Callable[[], None]:
        """Have `callback` called with the run as soon as there is one, at once if there is.

        Returns a function that ends the waiting.
        """
        with self._lock:
            run = self.run_view
            if run is None:
                self._waiting = (*self._waiting, callback)
        if run is not None:
            callback(run)

        def stop() -> None:
            with self._lock:
                self._waiting = tuple(other for other in self._waiting if other is not callback)

        return stop

    def own_run(self) -> OwnRun:
        """Return the run of the user's own loops, which is made when it is first asked for.

        Raises
        ------
        RunError
            If this explorer shows a `Trainer`, or another run of the model is under way.
        """
        if self.trainer is not None:
            raise RunError(
                "this explorer shows a Trainer, which has a loop of its own: use trainer.steps(), "
                "Trainer(metrics=...) and trainer.start(), or explore the model alone"
            )
        with self._lock:
            if self.controller.own_run is not None:
                return self.controller.own_run
            run = OwnRun(self.controller.adapter)
            self.controller.attach(run)
            self.controller.own_run = run
            waiting, self._waiting = self._waiting, ()
        watch_idle(self.controller)
        for callback in waiting:
            callback(run)
        return run

    def log(self, /, **values: Any) -> None:
        """Keep numbers of the step in hand, for the plots.

        In the body of a loop over `freezeviz.steps` they belong to its step; after it, to its last
        step. In a loop of another kind every call counts as a step, and what was clicked takes
        effect in it.

        Parameters
        ----------
        **values : number, array or tensor of one element
            ``loss`` and ``accuracy`` are drawn as a `Trainer`'s; so is, with the prefix
            ``validation_``, what was measured of validation data. Any other name is a metric of
            your own. None is left out.

        Raises
        ------
        DataError
            If a name is taken or a value is no single number; nothing is kept then.
        RunError
            If this explorer shows a `Trainer`.
        StopRun
            Where the call counts as a step: if somebody asked for the end of the run.

        Examples
        --------
        >>> explorer.log(loss=loss, accuracy=right / len(y), gradient=norm)
        """
        self.own_run().log(values)

    def run(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> "Background[R]":
        """Run a function that trains in the background, in a thread of its own; returns at once.

        The notebook stays free meanwhile, so clicks arrive in any front end. Loops over
        `freezeviz.steps` in the function pause and stop when asked to.

        Parameters
        ----------
        function : callable
        *args, **kwargs
            What to call it with.

        Returns
        -------
        background : Background
            ``wait()``, ``done``, ``error``, ``result``.

        Raises
        ------
        RunError
            If a run is under way, or if this explorer shows a `Trainer`.
        TypeError
            If it is no function, or one that does nothing when it is called: async, a generator.

        Examples
        --------
        >>> def train():
        ...     for step, (x, y) in fv.steps(loader, explorer):
        ...         explorer.log(loss=train_on(x, y))
        >>> running = explorer.run(train)
        """
        return Background(self.own_run(), function, args, kwargs)

    # ---- what trains it ------------------------------------------------------------------------

    @property
    def optimizer(self) -> Any:
        """What the user trains the model with, if `explore` was told; a `Trainer` has its own."""
        return self.controller.optimizer

    def watch(self, optimizer: Any) -> None:
        """Have it looked after that an optimizer of your own has all that is trainable.

        An optimizer of PyTorch moves what it was given when it was made: a parameter that was
        frozen then, and left out, does not move when it is unfrozen later. A `FreezevizWarning`
        names such parameters, now and after every change, and the line that adds them.

        Parameters
        ----------
        optimizer : object
            Takes the place of one that was watched before.

        Raises
        ------
        TypeError
            If it is no optimizer of the model's framework.

        Examples
        --------
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
        >>> explorer = fv.explore(model)
        >>> explorer.controller.freeze("0")
        >>> explorer.watch(torch.optim.AdamW(model[1].parameters()))
        >>> with warnings.catch_warnings(record=True, action="always") as told:
        ...     explorer.controller.unfreeze("0")
        >>> print(str(told[0].message).splitlines()[-1])
        optimizer.add_param_group({"params": model[0].parameters()})
        """
        controller = self.controller
        end = watch_optimizer(controller, optimizer)
        controller.end_watch, before = end, controller.end_watch
        before()
        controller.optimizer = optimizer

    # ---- looking -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        structure, frozen, held, _ = self.controller.masks()
        states = structure.states(frozen)
        rows = shown_rows(structure, states, parameters=False)
        rows = unfolded(structure, rows, self.controller.collapsed)
        tree = text_tree(structure, states, held, rows, limit=MOST_LINES)
        lines = [tree, totals_line(structure, frozen), self._features(), self.hint]
        return "\n".join(line for line in lines if line)

    def html(self, *, limit: int = 500) -> str:
        """The tree as nested lists, escaped: modules, and parameters of those partly frozen."""
        structure, frozen, held, _ = self.controller.masks()
        rows = shown_rows(structure, structure.states(frozen), parameters=False)
        tree = html_tree(structure, frozen, held, rows, limit=limit)
        return tree + "".join(f"<p>{escape(t)}</p>" for t in (self._features(), self.hint) if t)

    def _features(self) -> str:
        """What the run says of its feature cache, as far as there is anything to say."""
        run = self.run_view
        told = run.history.features if run is not None else ()
        return told[-1].text if told else ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        with no_collection(keep=True):  # it is on its way to the page first
            self.controller.refresh()
            bundle = self.face(self) if self.face is not None else None
            return bundle or {"text/plain": repr(self), "text/html": self.html()}


def explore(target: Any, optimizer: Any = None, *, face: Face | None = None) -> Explorer:
    """Return the explorer of a model or a run; always the same one as long as somebody has it.

    Parameters
    ----------
    target : model of a supported framework, or Trainer
    optimizer : object, optional
        What your own loop trains the model with; see `Explorer.watch`.
    face : callable, optional
        Makes what a notebook shows: given the explorer, returns a MIME bundle, or None for text and
        HTML. `freezeviz.widgets`, which stands above this room, gives its own.

    Raises
    ------
    TypeError
        If no adapter is registered for the model.

    Examples
    --------
    >>> explorer = fv.explore(model)
    >>> explorer.controller.toggle("layers.0")
    >>> print(explorer)
    name        type           parameters  state
    Net         Net                    32  ◐ mixed
    ├ layers.0  Linear  3 → 3          12  ❄ frozen
    ├ layers.1  Linear  3 → 3          12  ○ trainable
    └ head      Linear  3 → 2           8  ○ trainable
    32 parameters: 20 trainable, 12 frozen (37.5 %)
    >>> explorer.controller.undo()
    """
    with _making:
        known = _known.get(id(target))
        explorer = known or Explorer(target)
        _known[id(target)] = explorer
    if known is not None:
        if known.trainer is not None:
            known.controller.follow(known.trainer)
        known.controller.refresh()
    if face is not None:
        explorer.face = face
    if optimizer is not None:
        explorer.watch(optimizer)
    return explorer


def _controller_of(target: Any) -> Controller:
    """Return the controller of a model, or of the model that a Trainer trains."""
    trainer = target if isinstance(target, Trainer) else None
    adapter = adapt(target) if trainer is None else trainer.adapter
    with _making:
        controller = _controllers.get(id(adapter.model))
        is_known = controller is not None
        if controller is None:
            controller = _controllers[id(adapter.model)] = Controller(adapter)
    if trainer is not None:
        controller.follow(trainer)
    if is_known:
        controller.refresh()
    return controller
