"""Between an explorer and its widget.

1. Events come in the training thread, once a step. They are noted there, the newest of each kind,
   and no more.
2. Only the kernel's loop touches traits. It is asked to come by with `call_soon_threadsafe`, at
   most ten times a second, and less often where pushing would take more than a small share of the
   time.
3. The end of a run, a pause and a failure push everything, a new drawing included.
4. Pictures are drawn in a thread of their own: see `Painter`.
5. Messages of the page may come in the loop's thread or in one of ipykernel's subshells. What they
   ask for goes to the controller and the trainer, which may be used from any thread.
"""

import time
import warnings
from collections import deque
from typing import Any

from freezeviz.errors import FreezevizError, FreezevizWarning, MissingExtraError
from freezeviz.explorer import Change, Explorer, Structure
from freezeviz.train import (
    Event,
    Failed,
    Finished,
    FreezeChanged,
    Paused,
    RunStarted,
    StepDone,
    Stopped,
    Validated,
)
from freezeviz.widgets._columns import columns, state_bytes
from freezeviz.widgets._loop import MainLoop, running_kernel
from freezeviz.widgets._messages import Message, parse_message
from freezeviz.widgets._numbers import Numbers
from freezeviz.widgets._pace import Pace
from freezeviz.widgets._painter import Painter
from freezeviz.widgets._static import StaticCopies
from freezeviz.widgets._widget import ExplorerWidget

# Of the time while a run goes on. It takes twice of what can be timed here: ipykernel sends in a
# thread of its own. tests/benchmarks/bench_plot_overhead.py measures what a run loses by it.
PUSH_SHARE = 0.005
SHORTEST_PUSH = 0.1
SHORTEST_NUMBERS = 0.25  # nobody reads faster
NEVER = float("inf")


class Bridge:
    """Keeps one widget in step with one explorer, and carries out what the page asks for."""

    def __init__(self, explorer: Explorer, loop: MainLoop | None = None) -> None:
        self.explorer = explorer
        self.controller = explorer.controller
        self.trainer = explorer.trainer
        self.loop = loop or MainLoop.find()
        self.copies = StaticCopies(explorer)
        self.views: dict[str, Message] = {}  # what each view said last of its size
        self._numbers = None if self.trainer is None else Numbers.of(self.trainer)
        self._painter: Painter | None = None
        self._note = {"n": 0, "level": "info", "text": ""}
        self._structure: Structure | None = None
        self._version = 0
        self._pushing = Pace(PUSH_SHARE, SHORTEST_NUMBERS)
        # Set by any thread; the loop clears each before it reads what it is about.
        self._answers: deque[tuple[str, int]] = deque()
        self._news = self._state_news = self._curve_news = self._all_news = True
        self._urgent = self._mark_news = False
        self._pushed = float("-inf")
        self._asked = self._timer = False  # the loop is going to come by, soon or later
        self._due = NEVER  # wall time from which on a step is worth it

        self._open_painter()
        self.widget = ExplorerWidget(lambda: repr(explorer), **self._traits())
        self.widget.on_msg(lambda _widget, content, _buffers: self.receive(content))
        self.widget.on_close(self.close)
        self._endings = [self.controller.subscribe(self._changed)]
        if self.trainer is not None:
            self._endings.append(self.trainer.subscribe(self._heard))
        self._look_after_cells()

    @property
    def is_open(self) -> bool:
        """Whether the widget can still be shown."""
        return bool(self._endings)

    def display(self) -> Any:
        """Return the widget's MIME bundle, and leave a static copy in the cell's output."""
        self._all_news = self._news = True
        if self.loop.is_here:
            self._visit()
        self.copies.add(self.widget.plot, self.widget.plot_alt)
        return self.widget._repr_mimebundle_()

    def close(self) -> None:
        """Stop listening; a run goes on."""
        self.controller.is_watched = False
        endings, self._endings = self._endings, []
        for end in endings:
            end()
        if self._painter is not None:
            self._painter.close()
        self.views.clear()
        self._due = NEVER

    # ---- from the run and the controller, in any thread --------------------------------------

    def _heard(self, event: Event) -> None:
        if self._numbers is not None:
            self._numbers.take(event)
        lazy = isinstance(event, StepDone | Validated)
        if lazy and event.time < self._due:
            return  # the usual case, once a step
        self._curve_news = True
        self._mark_news = self._mark_news or isinstance(event, FreezeChanged)
        if isinstance(event, Finished | Stopped | Failed | Paused):
            self._all_news = True
        if isinstance(event, RunStarted) and self._painter is not None:
            self._painter.run_begins()
        if isinstance(event, Failed):
            self._say("error", f"The run failed: {event.message}")
        self._ask(urgent=not lazy)

    def _changed(self, change: Change) -> None:
        self._state_news = True
        if change.kind == "state" and change.label:
            when = "" if self.trainer is None else f" after step {self.trainer.step:,}"
            self._say("info", f"{change.label[:1].upper()}{change.label[1:]}{when}.")
        self._ask()

    def _ask(self, *, urgent: bool = True) -> None:
        """Have the loop come by."""
        self._news = True
        self._urgent = self._urgent or urgent
        if self.loop.is_here:
            # Also where a visit is on its way: a cell that runs `fit` keeps the loop from it.
            self._visit()
        elif not self._asked:
            # Before asking: the loop may have come and gone before `soon` returns.
            self._asked, self._due = True, time.time() + SHORTEST_PUSH
            if not self.loop.soon(self._visit_as_asked):
                self._asked = False

    # ---- in the loop -------------------------------------------------------------------------

    def _visit_as_asked(self) -> None:
        self._asked = False
        self._visit()

    def _visit_in_time(self) -> None:
        self._timer = False
        self._visit()

    def _visit(self) -> None:
        if not self._news or not self.is_open:
            return
        # What was asked for is shown soon, if not more than ten times a second. Numbers that move
        # with every step have to be cheap; when it is their time the next step will tell.
        ready = self._pushed + SHORTEST_PUSH if self._urgent else self._pushing.next
        wait = ready - time.perf_counter()
        if wait <= 0 or self._all_news or self.loop.loop is None:
            self._push()
            return
        self._due = time.time() + wait
        if self._urgent:
            self._come_back(wait)

    def _come_back(self, wait: float) -> None:
        if not self._timer:
            self._timer = self.loop.later(wait, self._visit_in_time)

    def _push(self) -> None:
        began = self._pushed = time.perf_counter()
        self._news = self._urgent = False
        everything, self._all_news = self._all_news, False
        self._paint(everything)
        drawn = time.perf_counter()
        traits = self._traits()
        with self.widget.hold_sync():
            for name, value in traits.items():
                setattr(self.widget, name, value)
        while self._answers:
            view, seq = self._answers.popleft()
            self.widget.send({"type": "ack", "view": view, "seq": seq})
        if everything:
            self.copies.update(self.widget.plot, self.widget.plot_alt)
        self._pushing.spent(began, time.perf_counter() - drawn)
        self._due = NEVER
        if self.views and self._runs:
            self._due = time.time() + self._pushing.next - time.perf_counter()

    @property
    def _runs(self) -> bool:
        return self.trainer is not None and self.trainer.status == "running"

    def _traits(self) -> dict[str, Any]:
        traits: dict[str, Any] = {
            "info": {
                "note": self._note,
                "undo": self.controller.undoable,
                "redo": self.controller.redoable,
            }
        }
        if self._state_news:
            self._state_news = False
            structure, frozen, held, pending = self.controller.masks()
            traits["state"] = state_bytes(structure.states(frozen), held, pending)
            if structure is not self._structure:
                self._structure = structure
                self._version += 1
                traits["tree"] = columns(structure, self._version)
        if self.trainer is not None and self._numbers is not None:
            traits["run"] = self._numbers.as_trait(self.trainer)
        if self._painter is not None and (picture := self._painter.take()) is not None:
            traits["plot"], traits["plot_alt"] = picture
        return traits

    # ---- the picture -------------------------------------------------------------------------

    def _open_painter(self) -> None:
        if self.trainer is None:
            return
        try:
            self._painter = Painter(self.trainer.history, self._ask)
        except MissingExtraError as error:
            self._say("warning", str(error))

    def _paint(self, everything: bool) -> None:
        """Have the curve drawn if it is other than in the last picture, and if it is time to."""
        painter = self._painter
        if painter is None:
            return
        if self._curve_news and (self.views or everything):
            views = list(self.views.values())
            width = max((view.width for view in views), default=0)
            ratio = max((view.ratio for view in views), default=1.0)
            if everything or self.loop.loop is None:
                self._curve_news = self._mark_news = False
                painter.draw(width, ratio)
            # A new mark is worth an early picture: somebody waits for it.
            elif not painter.busy and (not self._runs or painter.in_time(eager=self._mark_news)):
                self._curve_news = self._mark_news = False
                painter.draw_soon(width, ratio)
        if painter.problem is not None:
            self._painter = None
            name = type(painter.problem).__name__
            self._warn(f"the loss plot cannot be drawn any more: {name}: {painter.problem}")

    # ---- from the page -----------------------------------------------------------------------

    def receive(self, content: Any) -> None:
        """Carry out a message of the page. A bad one is a warning, and the page gets the state."""
        self._state_news = True
        try:
            message = parse_message(content)
        except ValueError as error:
            self._warn(f"a message of the page was ignored: {error}")
            self._ask()
            return
        try:
            self._carry_out(message)
        except FreezevizError as error:
            self._say("error", str(error))
        except Exception as error:
            self._say("error", f"{type(error).__name__}: {error}")
        self._answers.append((message.view, message.seq))
        self._ask()

    def _carry_out(self, message: Message) -> None:
        match message.type:
            case "hello" | "size":
                self.views[message.view] = message
                self._curve_news = self._mark_news = True
            case "bye":
                self.views.pop(message.view, None)
            case "toggle":
                for row, path in message.clicks:
                    self._toggle(row, path)
            case "freeze_all":
                self.controller.freeze("")
            case "unfreeze_all":
                self.controller.unfreeze("")
            case "undo":
                self.controller.undo()
            case "redo":
                self.controller.redo()
            case "start" | "pause" | "resume" | "stop":
                self._steer(message)

    def _toggle(self, row: int, path: str) -> None:
        structure = self.controller.structure
        known = 0 <= row < len(structure) and structure.paths[row] == path
        # The structure may have changed since the page got it: then the path is what was meant.
        if known or path in structure.index:
            self.controller.toggle(path)
        else:
            self._warn(f"a click was ignored: the model has no {path!r} (any more)")

    def _steer(self, message: Message) -> None:
        if self.trainer is None:
            self._warn(f"{message.type!r} was ignored: a model alone cannot run, a Trainer can")
        elif message.type == "start":
            self.trainer.start(message.epochs)
        else:
            getattr(self.trainer, message.type)()

    # ---- small things ------------------------------------------------------------------------

    def _say(self, level: str, text: str) -> None:
        self._note = {"n": self._note["n"] + 1, "level": level, "text": text}

    def _warn(self, text: str) -> None:
        self._say("warning", f"{text[:1].upper()}{text[1:]}.")
        warnings.warn(text, FreezevizWarning, stacklevel=3)

    def _look_after_cells(self) -> None:
        """After every cell, look whether it changed the model, and show what it kept from showing.

        While a cell waits for a run, the loop stands still. What is sent here still counts as the
        cell's own output, which is all that `nbconvert --execute` collects.
        """
        kernel = running_kernel()
        if kernel is None:
            return
        events = kernel.shell.events

        def after_cell(_result: Any) -> None:
            self.controller.refresh()
            if self._news and self.loop.is_here:
                self._push()

        events.register("post_run_cell", after_cell)
        self._endings.append(lambda: events.unregister("post_run_cell", after_cell))
        self.controller.is_watched = True
