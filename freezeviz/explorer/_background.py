"""What `Explorer.run` gives back."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from freezeviz.errors import RunError
from freezeviz.train import BackgroundRun, OwnRun, StopRun

R = TypeVar("R")

# Calling one of these only makes an object, which somebody has to go through or to await.
_LATE = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)


class Background(Generic[R]):
    """A function that trains in the background.

    Attributes
    ----------
    result : object or None
        What the function returned; None before, and if it did not come to its end.
    """

    def __init__(
        self,
        run: OwnRun,
        function: Callable[..., R],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        if not callable(function):
            raise TypeError(
                "run() takes a function that trains and what to call it with, got "
                f"{type(function).__name__}"
            )
        self._name = getattr(function, "__qualname__", type(function).__name__)
        if any(is_late(function) for is_late in _LATE):
            raise TypeError(
                f"run() takes a function that trains when it is called; {self._name} is "
                "async or a generator, and would do nothing. Await it in a cell, or leave out its "
                "'async' or 'yield'"
            )
        self.result: R | None = None
        self._run = run
        self._status = "running"
        run.begin(owner="run", background=True)

        def work() -> None:
            run.take_over()
            try:
                self.result = function(*args, **kwargs)
            except StopRun:
                self._end("stopped")
            except Exception as error:
                self._end("failed", error)
                raise
            except BaseException:
                self._end("stopped")
                raise
            else:
                self._end("stopped" if run.is_stopping else "finished")

        try:
            self._thread = BackgroundRun(work, "wait() on what run() returned raises it.")
        except RuntimeError:  # the system gives no more threads
            self._end("stopped")
            raise

    def _end(self, status: str, error: Exception | None = None) -> None:
        self._status = status
        self._run.end(status, error)

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return self._thread.join(0)

    @property
    def error(self) -> BaseException | None:
        """What the function raised, if it did."""
        return self._thread.error

    @property
    def status(self) -> str:
        """``running``, ``paused``, ``finished``, ``stopped`` or ``failed``."""
        return self._run.status if self._status == "running" else self._status

    def wait(self, timeout: float | None = None) -> str:
        """Wait for the end, and return the status then.

        An interrupt ends the waiting, not the run.

        Parameters
        ----------
        timeout : float, optional
            Give up waiting after so many seconds; the status tells.

        Raises
        ------
        RunError
            If the function raised, with its exception as the cause.
        """
        try:
            self._thread.join(timeout)
        except KeyboardInterrupt:
            print(
                f"Stopped waiting. The run goes on (step {self._run.step}); "
                "explorer.run_view.stop() ends it."
            )
            return self.status
        if self.error is not None:
            kind = type(self.error).__name__
            raise RunError(
                f"{self._name} failed after step {self._run.step}: {kind}: {self.error}"
            ) from self.error
        return self.status

    def __repr__(self) -> str:
        return f"Background({self._name}, {self.status}, step {self._run.step})"
