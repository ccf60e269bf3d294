"""Carries out what is asked of a controller: on the model itself, or by way of a run."""

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain

from freezeviz.adapters import ModelAdapter
from freezeviz.errors import FreezevizWarning, RunError, warn_or_log
from freezeviz.explorer._deeds import Deeds, Transition, joined
from freezeviz.explorer._locks import Locks, locked_words
from freezeviz.explorer._notices import Change, Notices
from freezeviz.explorer._orders import Order
from freezeviz.explorer._tree_state import TreeState
from freezeviz.freezing import Selection
from freezeviz.train import (
    Event,
    Failed,
    Finished,
    FreezeChanged,
    Run,
    RunStarted,
    StepDone,
    Stopped,
)
from freezeviz.train._commands import hold_of
from freezeviz.train._run import runs_of


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """What somebody asked for: orders that are done, undone and labelled as one.

    Attributes
    ----------
    orders : tuple of Order
    rows : tuple of int
        Which show that it is on its way.
    label : str
        Empty: what its only order says.
    origin : str
        ``"click"``, ``"undo"`` or ``"redo"``.
    """

    orders: tuple[Order, ...]
    rows: tuple[int, ...] = ()
    label: str = ""
    origin: str = "click"


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """An order that a run has and did not carry out yet."""

    run: Run
    action: Action
    order: Order


class Dispatcher:
    """Gives orders to the run, or carries them out at once where there is none.

    Parameters
    ----------
    adapter : ModelAdapter
    tree : TreeState
    notices : Notices
    locks : Locks
        What undoing leaves alone.

    Attributes
    ----------
    run : Run or None
        Which orders go through: of those that are under way the latest, else the latest of all.
    """

    def __init__(
        self, adapter: ModelAdapter, tree: TreeState, notices: Notices, locks: Locks
    ) -> None:
        self.adapter = adapter
        self.run: Run | None = None
        self.deeds = Deeds()
        self._tree = tree
        self._lock = tree.lock
        self._notices = notices
        self._locks = locks
        self._known: weakref.WeakSet[Run] = weakref.WeakSet()
        self._requests: list[_Request] = []
        self._postponed: list[str] = []  # "undo" and "redo" that wait for requests
        self._look_again = False

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        run = self.run
        return run is not None and run.is_under_way

    def attach(self, run: Run) -> None:
        """Let orders go through a run from now on.

        Raises
        ------
        RunError
            If another is under way.
        """
        self.look_for_run()
        with self._lock:
            if run is not self.run and self.is_running:
                raise RunError("a run of this model is under way: stop() it before another begins")
            self.follow(run)

    def follow(self, run: Run) -> None:
        """Hear of a run from now on, and let orders go through it unless another is under way."""
        with self._lock:
            if not self.is_running:
                self.run = run
            if run in self._known:
                return
            self._known.add(run)
        # Weakly: a run outlives the views of it and must not keep them, nor they all its runs.
        of = weakref.ref(run)
        leave: Callable[[], object] = lambda: None  # noqa: E731  (until there is one)
        self_or_none = weakref.ref(self, lambda _: leave())

        def hear(event: Event) -> None:
            dispatcher = self_or_none()
            if dispatcher is not None:
                dispatcher._heard(event, of())

        leave = run.subscribe(hear)

    def look_for_run(self) -> None:
        """Take in that a run of this model began, whoever made it."""
        if self.is_running:
            return
        for run in runs_of(self.adapter.model):
            if run.is_under_way:
                self.follow(run)
                self._look_again = True  # what it did before nobody told
                return

    def pending_rows(self) -> list[int]:
        """Rows for which something was requested that is not applied yet."""
        with self._lock:
            return list(dict.fromkeys(row for r in self._requests for row in r.action.rows))

    def forget_requests(self) -> None:
        """Show nothing as on its way: the rows are others now."""
        with self._lock:
            self._requests.clear()

    # ---- orders --------------------------------------------------------------------------------

    def give(self, action: Action) -> None:
        """Have an action carried out: between two steps if a run is under way, else at once."""
        run = self.run
        if run is None:
            self._carry_out(action)
            return
        with run.together() if len(action.orders) > 1 else nullcontext():
            for order in action.orders:
                self._request(_Request(run, action, order))

    def _request(self, request: _Request) -> None:
        """Note a request, then make it: its event may come before the call returns."""
        run, action, order = request.run, request.action, request.order
        everything = self._tree.model.index.paths
        what = Selection(self.adapter, everything, order.paths, order.what)
        with self._lock:
            self._requests.append(request)
        try:
            if order.frozen is None:
                run.toggle(what, order.hold, origin=action.origin)
            elif order.frozen:
                run.freeze(what, order.hold, origin=action.origin, label=action.label)
            else:
                run.unfreeze(what, origin=action.origin, label=action.label, let_go=order.let_go)
        except BaseException:
            with self._lock:
                self._requests.remove(request)
            raise
        if request in self._requests:
            paths = tuple(self._tree.structure.paths[row] for row in action.rows)
            self._notices.tell(Change("pending", paths))

    def _carry_out(self, action: Action) -> None:
        """Carry an action out on the model itself."""
        done: list[Transition] = []
        label = action.label
        # Under the lock: what one thread reads, decides and changes, no other changes meanwhile.
        with self._lock, self._tree.still():
            try:
                for order in action.orders:
                    frozen = order.frozen
                    if frozen is None:
                        model, state = self._tree.look()
                        frozen = not state.frozen[model.index.mask(order.paths)].all()
                    hold = hold_of(frozen, order.hold, order.let_go)
                    self.adapter.set_frozen(order.paths, frozen, hold)
                    done.append(self._tree.note(frozen, order.paths, hold))
                    label = action.label or f"{'freeze' if frozen else 'unfreeze'} {order.what}"
            finally:
                transition = joined(done)
                if transition is not None and action.origin == "click":
                    self.deeds.add(label, transition)
        if transition is not None:
            self._notices.tell(Change("state", transition.changed(), label))

    def step_back(self, origin: str) -> None:
        """Undo or redo; while requests are pending it waits until they are applied.

        What nothing is left of but what is locked stays to be undone, or done again.
        """
        with self._lock:
            if self._requests:
                self._postponed.append(origin)
                return
            back = origin == "undo"
            deed = self.deeds.back() if back else self.deeds.again()
            if deed is None:
                return
            model = self._tree.model
            spared = self._locks.mask(model)
            orders, left, unheld = self._tree.orders(
                deed.transition(), back=back, spared=spared, locked=self._locks.layers(model)
            )
            locked = self._locks.concerned(model, left) if left.any() else []
            locked += self._locks.above(model, unheld)
            if locked and not orders:
                _ = self.deeds.again() if back else self.deeds.back()
        if orders:
            rows: tuple[int, ...] = ()
            if self.run is not None:  # rows show what is on its way to it
                index = self._tree.structure.index
                paths = chain.from_iterable(order.paths for order in orders)
                rows = tuple(map(index.__getitem__, paths))
            label = f"{origin} {deed.label}" if len(orders) > 1 else ""
            self.give(Action(tuple(orders), rows, label, origin))
        if locked:
            text = f"{origin} {deed.label}: {locked_words(locked)}"
            self._notices.tell(Change("note", tuple(locked), text))
            warn_or_log(text, FreezevizWarning)

    # ---- what happened -------------------------------------------------------------------------

    def read(self) -> tuple[str, ...] | None:
        """Look what is frozen and held; returns the parameters that differ, None without news."""
        if self.is_running:
            # The events that tell what is frozen are on their way; only the training thread, which
            # sends them, can look at the model without overtaking one.
            self._look_again = True
            return None
        return self._tree.read()

    def _heard(self, event: Event, run: Run | None) -> None:
        """Take in an event of a run; in the training thread, once a step."""
        if isinstance(event, StepDone):
            if self._look_again:
                self._look_again = False
                paths = self._tree.read()
                if paths is not None:
                    self._notices.tell(Change("state", paths, "changed on the model itself"))
        elif isinstance(event, FreezeChanged):
            self._applied(event, self._answered(event, run))
            self._resume_postponed()
        elif isinstance(event, RunStarted):
            with self._lock:  # also where another is under way: this one may be a part of it
                self.run = run or self.run
        elif isinstance(event, Failed | Finished | Stopped):
            with self._lock:
                left = [request for request in self._requests if request.run is not run]
                forgotten, self._requests = len(left) < len(self._requests), left
            self.look_for_run()
            if forgotten:
                self._notices.tell(Change("pending"))
            self._resume_postponed()

    def _applied(self, event: FreezeChanged, action: Action | None) -> None:
        label = event.label if action is None else action.label or event.label
        with self._lock:
            transition = self._tree.note(event.frozen, event.paths, event.hold)
            if event.origin not in ("undo", "redo"):
                self.deeds.add(label, transition, action)
        self._notices.tell(Change("state", transition.changed(), label))

    def _answered(self, event: FreezeChanged, run: Run | None) -> Action | None:
        with self._lock:
            for i, request in enumerate(self._requests):
                asked = request.action.origin, request.order.paths, request.run
                if asked == (event.origin, event.paths, run):
                    del self._requests[i]
                    return request.action
        return None

    def _resume_postponed(self) -> None:
        with self._lock:
            if self._requests:
                return
            waiting, self._postponed = self._postponed, []
        for origin in waiting:
            self.step_back(origin)
