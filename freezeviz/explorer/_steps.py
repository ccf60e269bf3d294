"""`steps`: a loop that the user writes, between whose steps clicks take effect."""

import asyncio
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Generic, Literal, TypeVar, cast

from freezeviz.errors import DataError, RunError
from freezeviz.explorer._explorer import Explorer, explore
from freezeviz.train import StopRun

_POLL = 0.02  # seconds between looks while an async loop is paused

B = TypeVar("B")
Course = Generator[tuple[int, B] | Literal["wait"], None, None]


class Steps(Generic[B]):
    """An iterator over the batches of a loader; see `steps`.

    It is an iterator for ``for`` and for ``async for``. A run begins when the first batch is asked
    for, and is over when the loader is exhausted, when somebody asked for its end, and when the
    loop is left: by ``break``, by an exception, or with `close`.

    Attributes
    ----------
    explorer : Explorer
    """

    def __init__(self, loader: Iterable[B], explorer: Explorer, epochs: int) -> None:
        self.explorer = explorer
        self._loader = loader
        self._epochs = epochs
        self._course: Course[B] | None = None

    def __iter__(self) -> "Steps[B]":
        return self

    def __next__(self) -> tuple[int, B]:
        course = self._course or self._open(blocking=True)
        while (step := next(course)) == "wait":
            self.explorer.own_run().attend()
        return cast(tuple[int, B], step)

    def __aiter__(self) -> "Steps[B]":
        return self

    async def __anext__(self) -> tuple[int, B]:
        course = self._course or self._open(blocking=False)
        # Whoever waits in the event loop has a turn between every two steps.
        await asyncio.sleep(0)
        while (step := next(course, None)) == "wait":
            await asyncio.sleep(_POLL)
        if step is None:
            raise StopAsyncIteration
        return cast(tuple[int, B], step)

    def close(self) -> None:
        """Leave the loop."""
        if self._course is not None:
            self._course.close()

    def __del__(self) -> None:
        self.close()

    def _open(self, *, blocking: bool) -> "Course[B]":
        # Not a method: its frame would hold this object, which would then not be gone when its
        # loop is left.
        self._course = _drive(self._loader, self.explorer, self._epochs, blocking)
        return self._course


def _drive(loader: Iterable[B], explorer: Explorer, epochs: int, blocking: bool) -> "Course[B]":
    """Yield the steps of a loop, and "wait" where the run is to pause."""
    run = explorer.own_run()
    inside = run.owner == "run" and run.is_here
    length = _length(loader)
    planned = None if length is None else length * epochs
    if inside:
        if run.is_stopping:
            raise StopRun("the run was stopped from outside")
        run.plan(planned)
    elif run.owner == "steps":
        raise RunError(
            "another loop over steps() of this explorer is under way: leave it, or call its "
            "close(), before the next"
        )
    else:
        run.begin(epochs, planned, owner="steps", blocking=blocking)
    turn = run.turn
    status = "stopped"
    try:
        for _ in range(epochs):
            for batch in loader:
                while run.attend_once():
                    yield "wait"
                if run.is_stopping:
                    return
                run.step_begins()
                yield run.step, batch
                if run.turn != turn or not run.owner:
                    return  # a cell that failed has ended it meanwhile
                run.step_done()
                while run.attend_once():
                    yield "wait"
                if run.is_stopping:
                    return
            run.epoch_done()
        status = "finished"
    except Exception as error:  # the loader's, or a warning that is an error
        if not inside and run.turn == turn:
            run.end("failed", error)
        raise
    finally:
        if run.turn == turn:
            run.leave_step()
            if not inside:
                run.end(status)


def steps(loader: Iterable[B], target: Any, epochs: int = 1) -> Steps[B]:
    """Return an iterator of ``(step, batch)`` between whose steps clicks take effect.

    For those who write their own loop, for a model of any framework. ``step`` is the number of
    steps done before, over all loops of this explorer; ``batch`` is whatever the loader gives.
    With ``async for``, in an async cell, the notebook stays free between the steps.

    Parameters
    ----------
    loader : iterable
        Of batches: a list, a `DataLoader`, a generator (which gives only one epoch).
    target : Explorer or model
    epochs : int
        How many times to go through the loader.

    Raises
    ------
    DataError
        If the loader is no iterable or `epochs` no whole number.
    RunError
        If the explorer shows a `Trainer`, which has a loop of its own. At the first step: if
        another loop of this explorer is under way.

    Examples
    --------
    >>> explorer = fv.explore(model)
    >>> for step, (x, y) in fv.steps(loader, explorer, epochs=3):
    ...     loss = train_on(x, y)
    ...     explorer.log(loss=loss)
    """
    if not isinstance(loader, Iterable):
        kind = type(loader).__name__
        also = " (an async iterable cannot be one)" if hasattr(loader, "__aiter__") else ""
        raise DataError(f"loader is an iterable of batches, got {kind}{also}")
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise DataError(f"epochs is a whole number of at least 1, got {epochs!r}")
    if epochs > 1 and isinstance(loader, Iterator):
        raise DataError(
            f"loader is a {type(loader).__name__}, which is used up after one epoch, and epochs is "
            f"{epochs}: give something that can be gone through again, such as a list"
        )
    explorer = target if isinstance(target, Explorer) else explore(target)
    explorer.own_run()  # refuses a Trainer now, not at the first step
    return Steps(loader, explorer, epochs)


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except (TypeError, NotImplementedError, AttributeError):
        return None  # a generator; a DataLoader over an iterable data set
