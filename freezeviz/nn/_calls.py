"""Hearing of the calls of modules, for as long as somebody listens.

While nobody does, classes are as they were written, and a call costs what it costs. `listened`
puts a function around the ``__call__`` of the classes of a model and takes it away again; it asks
for the `Listener` of its own context, so calls in other threads, and of other models of the same
classes, go their way.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType
from typing import Any, Protocol

from freezeviz.nn._members import Entry


class Listener(Protocol):
    """What hears of calls and of gradients."""

    def is_open(self) -> bool:
        """Whether it wants to hear of what this thread computes."""
        ...

    def call(
        self, function: Callable[..., Any], module: Any, args: tuple[Any, ...], options: Any
    ) -> Any:
        """Return ``function(module, *args, **options)``."""
        ...

    def gradients(self, entries: Iterable[Entry]) -> None:
        """Hear of gradients: each is the value of the entry of its parameter."""
        ...


# What is told of calls that have values of some types among their arguments, instead of a listener:
# ``handler(function, module, args, options, value)``. Such values do not exist while it is empty.
stand_ins: dict[type, Callable[..., Any]] = {}

current: ContextVar[Listener | None] = ContextVar("freezeviz_listener", default=None)


def listening() -> Listener | None:
    """Return the listener in force, if it is of this thread."""
    listener = current.get()
    return listener if listener is not None and listener.is_open() else None


class _Ear:
    """What stands around the ``__call__`` of a class, and how many want it there."""

    __slots__ = ("count", "function", "silent", "wrapper")

    def __init__(self) -> None:
        self.count = self.silent = 0  # how many there are, and how many of them do not listen
        self.function: Any = None
        self.wrapper: Any = None


# Reentrant: what listened may be given up by the garbage collector, in the middle of this.
_lock = threading.RLock()
_ears: dict[type, _Ear] = {}


@contextmanager
def listened(modules: Iterable[Any], *, silent: bool = False) -> Iterator[None]:
    """Let calls of these modules be heard within the block, in whatever thread they are made.

    With `silent`, for `stand_ins` alone: `call_of` looks through that.
    """
    classes = {cls for kind in {type(m) for m in modules} if (cls := _defining(kind)) is not None}
    put: list[type] = []
    try:
        with _lock:
            for cls in classes:
                _put(cls, silent)
                put.append(cls)
        yield
    finally:
        with _lock:
            for cls in put:
                _take(cls, silent)


def call_of(cls: type) -> Any:
    """Return what calls instances of a class, without what stands around it for nobody to hear."""
    ear = _ears.get(cls)
    if ear is not None and ear.count == ear.silent and cls.__call__ is ear.wrapper:
        return ear.function
    return cls.__call__


def _defining(kind: type) -> type | None:
    """Return the class that a module's ``__call__`` stands in, if it is a plain function."""
    cls = next((c for c in kind.__mro__ if "__call__" in vars(c)), None)
    return cls if cls is not None and type(vars(cls)["__call__"]) is FunctionType else None


def _put(cls: type, silent: bool) -> None:
    ear = _ears.get(cls) or _Ear()
    ear.count += 1
    ear.silent += silent
    _ears[cls] = ear
    # Also if somebody gave the class another function meanwhile: then around that one.
    if vars(cls)["__call__"] is not ear.wrapper:
        ear.function = vars(cls)["__call__"]
        ear.wrapper = _around(ear.function)
        cls.__call__ = ear.wrapper


def _take(cls: type, silent: bool) -> None:
    ear = _ears[cls]
    ear.count -= 1
    ear.silent -= silent
    if ear.count == 0:
        del _ears[cls]
        if vars(cls).get("__call__") is ear.wrapper:
            cls.__call__ = ear.function


def _around(function: FunctionType) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: Any, /, *args: Any, **options: Any) -> Any:
        if stand_ins:
            for value in (*args, *options.values()):
                handler = stand_ins.get(type(value))
                if handler is not None:
                    return handler(function, self, args, options, value)
        listener = current.get()
        if listener is None and len(args) == 1 and not options:
            return function(self, args[0])  # a third of the time of passing on whatever comes
        if listener is None or not listener.is_open():
            return function(self, *args, **options)
        return listener.call(function, self, args, options)

    return call
