"""Letting primitives and modules meet stand-ins, for as long as there may be any."""

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._tracer import Primitive
from freezeviz.nn import _calls
from freezeviz.train._features_value import StandIn, is_traced, looked_at, stands_in

_lock = threading.RLock()
_users = 0
_before: dict[type, Any] = {}


@contextmanager
def met(modules: Iterable[Any]) -> Iterator[None]:
    """Let primitives, and the calls of some modules, meet stand-ins within the block."""
    with ExitStack() as stack:
        stack.enter_context(_calls.listened(modules, silent=True))
        _install()
        stack.callback(_remove)
        yield


def _install() -> None:
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _calls.stand_ins[StandIn] = _module_meets
            for kind in (Primitive, Fused):
                _before[kind] = kind.__call__
                kind.__call__ = _around(kind.__call__)


def _remove() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            del _calls.stand_ins[StandIn]
            for kind in (Primitive, Fused):
                kind.__call__ = _before.pop(kind)


def _around(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        for value in args:
            if type(value) is StandIn:
                return _primitive_meets(function, self, args, options, value)
        # Of a variadic one in a list, or an option: the indices of an embedding.
        if options and stands_in(options):
            at = next(v for v in options.values() if stands_in(v))
            if type(at) is StandIn:
                return _primitive_meets(function, self, args, options, at)
            options = looked_at(options)
        return function(self, *args, **options)

    return call


def _primitive_meets(
    function: Callable[..., Any], primitive: Any, args: Any, options: Any, stand_in: StandIn
) -> Any:
    if is_traced(args) or is_traced(options):
        return function(primitive, *looked_at(args), **looked_at(options))
    return stand_in.context.apply(primitive, args, options)


def _module_meets(
    function: Callable[..., Any], module: Any, args: Any, options: Any, stand_in: StandIn
) -> Any:
    return stand_in.context.call(function, module, args, options)
