"""Between an explorer and its widget.

1. Events come in the training thread, once a step. They are noted there, the newest of each kind,
   and no more.
2. Only the kernel's loop touches traits. It is asked to come by with `call_soon_threadsafe`, at
   most ten times a second, and less often where pushing would take more than a small share of the
   time.
3. The end of a run, a pause and a failure push everything, a new drawing included.
4. What takes long (numbers of rows, answers to questions, pictures) is worked out in threads.
5. Messages of the page may come in the loop's thread or in one of ipykernel's subshells. What they
   ask for goes to the controller and the run, which may be used from any thread.
"""

import time
import warnings
from collections import deque
from typing import Any

from freezeviz.errors import FreezevizError, FreezevizWarning
from freezeviz.explorer import Change, Explorer, Structure
from freezeviz.explorer._garbage import no_collection
from freezeviz.train import (
    Event,
    Failed,
    Finished,
    FreezeChanged,
    Measured,
    Paused,
    Run,
    RunStarted,
    StepDone,
    Stopped,
    Validated,
)
from freezeviz.train._pace import Pace
from freezeviz.widgets._loop import MainLoop, running_kernel
from freezeviz.widgets._measures_trait import RowMeasures
from freezeviz.widgets._messages import Message, parse_message
from freezeviz.widgets._orders import Orders
from freezeviz.widgets._requests import Requests
from freezeviz.widgets._run_traits import RunTraits
from freezeviz.widgets._static import StaticCopies
from freezeviz.widgets._tree_traits import TreeTraits
from freezeviz.widgets._turns import Turns
from freezeviz.widgets._widget import ExplorerWidget
from freezeviz.widgets._worker import Worker

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
        self.run: RunTraits | None = None
        self.loop = loop or MainLoop.find()
        self.copies = StaticCopies(explorer)
        self.views: set[str] = set()
        self._turns = Turns()
        self._note = {"n": 0, "level": "info", "text": ""}
        self._pushing = Pace(PUSH_SHARE, SHORTEST_NUMBERS)
        # Set by any thread; the loop clears each before it reads what it is about.
        self._answers: deque[tuple[str, int]] = deque()
        self._news = self._state_news = self._curve_news = self._all_news = True
        self._urgent = self._mark_news = False
        self._pushed = float("-inf")
        self._asked = self._timer = False  # the loop is going to come by, soon or later
        self._due = NEVER  # wall time from which on a step is worth it

        # Apart: a question about large arrays must not keep rows from being brought up to date.
        self._answering, self._measuring = Worker(self.loop, "answers"), Worker(self.loop, "rows")
        self.tree = TreeTraits(self.controller)
        self.rows = RowMeasures(self.controller, self._measuring, self._rows_done)
        self.orders = Orders(self.controller, self._run_now, self._warn)
        self.requests = Requests(
            self.controller, self._shown, self._run_now, self._answering, self._send_soon
        )
        self._is_made = False
        self._end_measuring: Any = None
        self._endings: list[Any] = [lambda: None]
        self._endings.append(explorer.when_run(self._run_begins))
        if self.run is not None:
            self.run.warm()
            self._tell_problem()
        # Said, as it stays in a saved notebook beside a copy that was brought up to date later.
        self.widget = ExplorerWidget(
            lambda: f"When this cell ran:\n{explorer!r}", **self._traits(everything=True)
        )
        self.widget.on_msg(lambda _widget, content, _buffers: self.receive(content))
        self.widget.on_close(self.close)
        self._endings.append(self.controller.subscribe(self._changed))
        self._is_made = True
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
        self.copies.add(*self._picture())
        return self.widget._repr_mimebundle_()

    def close(self) -> None:
        """Stop listening; a run goes on."""
        self.controller.is_watched = False
        endings, self._endings = self._endings, []
        for end in endings:
            end()
        self._watch_measures(False)
        self._answering.close()
        self._measuring.close()
        self.views.clear()
        self._due = NEVER

    # ---- from the run and the controller, in any thread --------------------------------------

    def _run_begins(self, run: Run) -> None:
        """There is a run now: a Trainer from the beginning, a loop of the user's own later."""
        self.run = RunTraits(run)
        self.rows.run = run
        self._endings.append(run.subscribe(self._heard))
        self._watch_measures(bool(self.views))
        self._curve_news = self._mark_news = True
        if self._is_made:
            self._ask()

    def _run_now(self) -> Run | None:
        return None if self.run is None else self.run.run

    def _heard(self, event: Event) -> None:
        run = self.run
        if run is None:
            return
        run.take(event)
        if isinstance(event, Measured):
            self.rows.ask()  # which asks the loop when it is through
            return
        lazy = isinstance(event, StepDone | Validated)
        if lazy and event.time < self._due:
            return  # the usual case, once a step
        self._curve_news = True
        self._mark_news = self._mark_news or isinstance(event, FreezeChanged | RunStarted)
        if isinstance(event, Finished | Stopped | Failed | Paused):
            self._all_news = True
        if isinstance(event, Failed):
            self._say("error", f"The run failed: {event.message}")
        self._ask(urgent=not lazy)

    def _changed(self, change: Change) -> None:
        self._state_news = True
        if change.kind in ("state", "structure"):
            self.rows.ask()
        if change.kind == "state" and change.label:
            run = self._run_now()
            when = "" if run is None else f" after step {run.step:,}"
            self._say("info", f"{change.label[:1].upper()}{change.label[1:]}{when}.")
        elif change.kind == "note":
            self._say("warning", change.label)
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

    def _rows_done(self) -> None:
        """Have the loop push rows that were worked out; from their thread."""
        if self._is_made:
            self.loop.soon(self._push_rows)

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
        if everything and self.copies:
            self.copies.update(*self._picture())
        # The processor's time: the clock would count what training does in between.
        worked = time.thread_time()
        # Before looking: what another thread carries out meanwhile is answered after the next look.
        answers = [self._answers.popleft() for _ in range(len(self._answers))]
        with no_collection():
            traits = self._traits(everything)
            with self.widget.hold_sync():
                for name, value in traits.items():
                    setattr(self.widget, name, value)
        for view, seq in answers:
            self.widget.send({"type": "ack", "view": view, "seq": seq})
        self._pushing.spent(began, time.thread_time() - worked)
        self._due = NEVER
        if self.views and self.run is not None and self.run.runs:
            self._due = time.time() + self._pushing.next - time.perf_counter()

    def _push_rows(self) -> None:
        """Push what was measured, apart from the rest: the next click must not wait for it."""
        if self.is_open and (measured := self.rows.take(self.tree.structure)) is not None:
            with self.widget.hold_sync():
                self.widget.measures, self.widget.roles = measured

    def _traits(self, everything: bool) -> dict[str, Any]:
        traits: dict[str, Any] = {}
        if self._state_news:
            self._state_news = False
            traits |= self.tree.traits()
        if (measured := self.rows.take(self.tree.structure)) is not None:
            traits["measures"], traits["roles"] = measured
        if self.run is not None:
            traits["run"] = self.run.numbers()
            if self._curve_news and (self.views or everything):
                self._curve_news = False
                marks, self._mark_news = self._mark_news or everything, False
                traits |= self.run.plots(marks)
        traits["info"] = {
            "note": self._note,
            "undo": self.controller.undoable,
            "redo": self.controller.redoable,
            "presets": self.tree.presets,
            "selected": self.tree.selected,
            **self.tree.looks,
        }
        return traits

    def _picture(self) -> tuple[bytes, str]:
        """The plot and its text for a page without a kernel."""
        if self.run is None:
            return b"", ""
        picture = self.run.picture()
        self._tell_problem()
        return picture

    def _tell_problem(self) -> None:
        if self.run is not None and self.run.problem is not None:
            self._say("warning", self.run.problem)
            self.run.problem = None

    # ---- from the page -----------------------------------------------------------------------

    def receive(self, content: Any) -> None:
        """Carry out a message of the page. A bad one is a warning, and the page gets the state."""
        if not self.is_open:
            return  # one that was on its way when the widget was closed
        try:
            message = parse_message(content)
        except ValueError as error:
            self._state_news = True
            self._warn(f"a message of the page was ignored: {error}")
            self._ask()
            return
        refusal = self._turns.refusal(message)
        if refusal is None and message.type == "ask":
            self.requests.ask(message)
            return
        self._state_news = True
        if refusal is not None:
            self._answers.append((message.view, message.seq))
            self._warn(f"a message of the page ({message.type!r}) was ignored: {refusal}")
            self._ask()
            return
        try:
            with no_collection():
                self._carry_out(message)
        except FreezevizError as error:
            self._say("error", str(error))
        except Exception as error:
            self._say("error", f"{type(error).__name__}: {error}")
        self._answers.append((message.view, message.seq))
        self._ask()

    def _carry_out(self, message: Message) -> None:
        match message.type:
            case "hello":
                if not self.views:
                    self.rows.ask()  # not before: a large model's take the processor from the page
                self.views.add(message.view)
                self._curve_news = self._mark_news = True
                self._watch_measures(True)
            case "bye":
                self.views.discard(message.view)
                self.requests.forget(message.view)
                self._watch_measures(bool(self.views))
            case "select":
                self.tree.select(message.view, self.orders.known(message.paths))
            case _:
                self.orders.carry_out(message)

    def _watch_measures(self, wanted: bool) -> None:
        """Have steps measured only while somebody looks."""
        run = self._run_now()
        if wanted and run is not None and self._end_measuring is None and self.is_open:
            self._end_measuring = run.watch_measures()
        elif not wanted and self._end_measuring is not None:
            end, self._end_measuring = self._end_measuring, None
            end()

    # ---- small things ------------------------------------------------------------------------

    def tell(self, text: str) -> None:
        """Show a sentence that somebody ought to know."""
        self._say("warning", text)
        self._ask()

    def _shown(self) -> tuple[Structure, int]:
        return self.tree.structure, self.tree.version

    def _send_soon(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Send an answer from the loop; from any thread."""
        if self.loop.loop is None:
            self.widget.send(content, buffers)
        else:
            self.loop.soon(lambda: self.is_open and self.widget.send(content, buffers))

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
            self.controller.is_watched = True  # another view of the model may have been closed
            if self._news and self.loop.is_here:
                self._push()

        events.register("post_run_cell", after_cell)
        self._endings.append(lambda: events.unregister("post_run_cell", after_cell))
        self.controller.is_watched = True
