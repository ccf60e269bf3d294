"""The feature cache: what frozen layers make of a sample is computed once."""

import copy
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from time import perf_counter, time
from typing import Any
from weakref import WeakSet

import numpy as np

from freezeviz.autodiff import Tracer
from freezeviz.nn import Module, _calls
from freezeviz.train._batches import Batches, whole_number
from freezeviz.train._events import FeaturesChanged, StepDone
from freezeviz.train._features_batch import Batch
from freezeviz.train._features_judge import judge
from freezeviz.train._features_pace import Pace
from freezeviz.train._features_plan import Plan
from freezeviz.train._features_purity import Outline
from freezeviz.train._features_store import Rows, Which, free_disk
from freezeviz.train._features_value import StandIn, looked_at

MEMORY = 1 << 30  # bytes of rows in memory; more goes into a temporary file
MOST_LESSONS = 16  # of a model that computes something else in every step
AGAIN = 0.5  # seconds between two looks at a model that could not be helped

NOTHING_FROZEN = "nothing is frozen"


class _Known:
    """Stands for a batch of which all is known: what a model's first layers gave, and the rest."""

    __slots__ = ("rest", "values")

    def __init__(self, rows: Rows, rest: Any, which: Which) -> None:
        self.values = rows.take(which)
        self.rest = rest


class FeatureCache:
    """Answers for the layers whose output follows from the samples alone, batch by batch.

    In a step the model gets, instead of the samples, what stands for them (`StandIn`). What is done
    with it is noted; the values that something wants which trains, or does not compute the same
    every time, are kept by sample. A part of the model counts as such only if on rows of the first
    batch it gave the same again, drew nothing, moved no buffer, and gave each sample what it gives
    it in another batch.

    Parameters
    ----------
    model : Module
    batches : Batches
    memory : int
        Bytes of rows in memory; what does not fit goes into a temporary file.
    sharing : WeakSet of FeatureCache
        Those that have this memory together; this one is added to it.
    """

    def __init__(
        self, model: Module, batches: Batches, memory: int, sharing: "WeakSet[FeatureCache]"
    ) -> None:
        self._model = model
        self._batches = batches
        self._memory = memory
        self._sharing = sharing
        sharing.add(self)
        self._plan: Plan | None = None
        self._impure: dict[int, str] = {}
        self._modules: list[Any] = []  # of the ids in _impure
        self._opened: dict[int, Any] = {}
        self._lessons = 0
        self._careful = False
        self._refused: tuple[Any, ...] | None = None  # under which state there is nothing to do
        self._again = 0.0
        self._told = False
        self.reason: str | None = None
        self.pace = Pace()
        self._last: tuple[Any, ...] = (None,)  # what was told last

    # ---- a batch -------------------------------------------------------------------------------

    def run(self, which: Which, size: int, function: Callable[[Any], Any]) -> Any:
        """Return ``function(x)`` for the samples `which`, or for what stands for them.

        Parameters
        ----------
        which : slice or array
        size : int
            How many samples that are.
        function : callable
            May be called again, if it raised with a stand-in.
        """
        plan = self._plan
        if plan is None or not plan.holds():
            plan = self._plan_anew()
        if plan is None:
            self.pace.plain()
            return function(self._batches.x[which])
        # Nobody may listen: who does is told of the layers that are answered, too.
        shortcut = plan.shortcut if _calls.listening() is None else None
        batch = None
        try:
            if shortcut is not None:
                result = function(_Known(*shortcut, which))
            else:
                batch = Batch(plan, which, size, self._batches.numbers(which))
                result = function(batch.begin())
        except Exception as error:
            failed = f"the model raised {type(error).__name__} with a stand-in: {error}"
        else:
            failed = None
        if failed is not None:
            # Of a model that looks at what it gets in a way that a stand-in cannot answer; an error
            # of the model's own comes again, and is no reason.
            self._drop()
            self._told = True
            result = function(self._batches.x[which])
            self._refuse(failed, plan.outline)
            return result
        if batch is None:
            self.pace.batch(size, 0)
        elif batch.wrote:
            self._refuse("the model writes into its input, or what is computed of it, in place")
        elif batch.looks or not plan.stores:
            self._learn(plan, batch)
            self.pace.batch(batch.hits, batch.misses)
            self.pace.plain()  # what was looked into took its time, too
        else:
            self.pace.batch(batch.hits, batch.misses)
            plan.look_for_shortcut()
        return result

    def forward(self, x: Any) -> Any:
        """Return the model's output for samples, or for what stands for them."""
        if type(x) is _Known:
            return x.rest(x.values)
        if type(x) is not StandIn:
            model: Any = self._model
            return model(x)
        return plain(x.context.plan.forward(x))

    def consider(self) -> None:
        """Look at the model again: something may have been frozen, unfrozen or held."""
        self._check_data()
        self._told = True
        self._impure, self._modules, self._lessons, self._careful = {}, [], 0, False
        self._opened = {}

    def epoch_begins(self) -> None:
        """Look whether the data are the same, and, now and then, at the model."""
        self._check_data()
        if self._plan is None and perf_counter() > self._again:
            self._told = True

    def _check_data(self) -> None:
        if self._plan is not None and not self._plan.same_data(self._batches.x):
            self._drop()
            self._told = True

    def close(self) -> None:
        """Leave classes as they are without a cache. The rows stay for the next run."""
        if self._plan is not None:
            self._plan.close()

    @property
    def settled(self) -> bool:
        """Whether the next step fetches everything, or has nothing to do with rows."""
        plan = self._plan
        if plan is None:
            return not self._told
        if plan.shortcut is not None:
            return True
        stores = [node.store for node in plan.stores]
        return bool(stores) and all(store is not None and store.complete for store in stores)

    # ---- what may be answered ------------------------------------------------------------------

    def _plan_anew(self) -> Plan | None:
        if self._plan is not None:
            self._drop()
        elif not self._told:
            return None
        self._told = False
        self._again = perf_counter() + AGAIN
        outline = Outline(self._model, self._impure, self._opened)
        state = outline.state
        if state == self._refused:
            return None
        self._refused = None
        if not outline.frozen:
            self._refuse(NOTHING_FROZEN, outline)
            return None
        self._plan = Plan(self._model, self._batches.x, outline, self._careful)
        self.reason = None
        return self._plan

    def _drop(self) -> None:
        if self._plan is not None:
            self._plan.close()
            self._plan = None
        self.pace = Pace()

    def _refuse(self, reason: str, outline: Outline | None = None) -> None:
        outline = outline or (self._plan.outline if self._plan is not None else None)
        self._drop()
        self._refused = outline.state if outline is not None else None
        self.reason = reason

    def _learn(self, plan: Plan, batch: Batch) -> None:
        self._lessons += 1
        if self._lessons > MOST_LESSONS:
            self._refuse("what the model computes of the samples is something else in every step")
            return
        if any(key not in self._opened for key in plan.opened):
            self._opened = self._opened | plan.opened
            # Of several layers of a `Sequential` taken as one: which of them gives it.
            self._careful = any(key not in plan.outline.paths for key in plan.opened)
            self._drop()
            self._told = True
            return
        verdict = judge(
            list(batch.looks), batch.value, batch.size, self._sizes(), self._model, plan.name
        )
        fresh = {key: why for key, why in verdict.impure.items() if key in plan.outline.paths}
        if fresh or (verdict.impure and not plan.careful):
            # What was answered, and may not be: from now on, what is in it may.
            self._modules += [m for _, m in plan.outline.modules if id(m) in fresh]
            self._impure |= fresh
            self._careful = not fresh
            self._drop()
            self._told = True
            return
        plan.exact = plan.exact and verdict.exact
        plan.problem = plan.problem or verdict.problem
        if verdict.keep and verdict.work > 0:
            self._keep(plan, batch, verdict.keep)
        if self._plan is not None and not plan.stores:
            self._refuse(self._why_nothing(plan, bool(verdict.keep)))

    def _sizes(self) -> set[int]:
        """Of the batches of an epoch: the last one may be smaller."""
        size, samples = self._batches.batch_size, self._batches.samples
        return {min(size, samples), samples % size or size}

    def _keep(self, plan: Plan, batch: Batch, nodes: list[Any]) -> None:
        samples = len(plan.x)
        values = {node: batch.value(node) for node in nodes}
        needed = samples * sum(v.nbytes // max(1, len(v)) for v in values.values())
        taken = sum(cache._plan.in_memory for cache in self._sharing if cache._plan is not None)
        spilled = taken + needed > self._memory
        try:
            if spilled and needed > free_disk():
                self._refuse(
                    f"the features would take {megabytes(needed)}, more than the memory allowed "
                    f"({megabytes(self._memory)}) and half of the free disk"
                )
                return
            stores = [Rows(samples, value, spilled) for value in values.values()]
        except (OSError, MemoryError) as error:
            self._refuse(f"there is no room for the features, {megabytes(needed)}: {error}")
            return
        for (node, value), store in zip(values.items(), stores, strict=True):
            node.store = store
            node.store.put(batch.which, value, batch.numbers())
            plan.stores.append(node)
            batch.misses += int(batch.size)

    def _why_nothing(self, plan: Plan, is_cheap: bool) -> str:
        if is_cheap:
            return "computing the frozen layers before is no dearer than fetching what they gave"
        return plan.problem or plan.outline.first or "nothing is computed of the samples alone"

    # ---- words ---------------------------------------------------------------------------------

    def news(self, done: StepDone, *, epoch_ended: bool) -> FeaturesChanged | None:
        """Return what there is to tell after a step, if that is something else than before."""
        if epoch_ended:
            self.pace.epoch_ends()
        plan = self._plan
        now = (
            self.reason,
            None if plan is None or not plan.stores else (id(plan), len(plan.stores)),
        )
        if epoch_ended and now[1] is not None and self.pace.hits:
            now += round(self.pace.hits, 2), self.pace.faster is None
        elif now == self._last[:2]:
            return None
        if now == self._last:
            return None
        self._last, before = now, self._last
        is_nothing = now[1] is None and (now[0] is None or now[0] == NOTHING_FROZEN)
        if is_nothing and (len(before) == 1 or before[1] is None):
            return None
        at = done.step, done.epoch, time()
        if plan is None or not plan.stores:
            return FeaturesChanged(*at, reason=self.reason)
        return FeaturesChanged(
            *at,
            plan.layers,
            plan.nbytes,
            self.pace.hits,
            self.pace.faster,
            plan.spilled,
            plan.exact,
            plan.outline.first_moving or plan.problem,
        )


def plain(outputs: Any) -> Any:
    """Return outputs with values for what stands for them."""
    kind = type(outputs)
    if kind is Tracer or kind is np.ndarray:  # nearly always
        return outputs
    if kind is StandIn or kind is tuple or kind is list or kind is dict:
        return looked_at(outputs)
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):  # as our own models give
        return kind(*map(looked_at, outputs))
    if isinstance(outputs, dict):
        new = copy.copy(outputs)
        new.update({key: looked_at(value) for key, value in outputs.items()})
        return new
    if is_dataclass(kind):
        new = copy.copy(outputs)
        for field in fields(kind):
            object.__setattr__(new, field.name, looked_at(getattr(outputs, field.name)))
        return new
    return outputs


def memory_of(option: bool | int) -> int | None:
    """Return how many bytes of rows may lie in memory; None if there is to be no cache."""
    if isinstance(option, bool):
        return MEMORY if option else None
    return whole_number(option, "feature_cache (True, False or a number of bytes)", 1)


def megabytes(count: float) -> str:
    """Return a number of bytes in words."""
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:,.1f} MB"
