"""What a layer's call depends on besides input, parameters and buffers."""

from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from freezeviz.nn import Module

_found: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()
_ORDER = ("rng", "training")  # Lux's order of a layer's states


def needs(layer: Module) -> tuple[str, ...]:
    """Return which of ``"rng"`` and ``"training"`` are states of a layer.

    What the class declares (`Module.depends_on`), else ``("training",)`` if a method of it reads
    ``self.training``: so that `testmode` reaches users' layers, which need not know of all this.
    """
    cls = type(layer)
    if cls not in _found:
        declared = cls.depends_on
        if declared is None:
            declared = ("training",) if _reads(cls, "training") else ()
        unknown = set(declared) - set(_ORDER)
        if unknown:
            raise ValueError(
                f"{cls.__name__}.depends_on names {', '.join(map(repr, _ORDER))} or nothing, "
                f"got {declared!r}"
            )
        _found[cls] = tuple(name for name in _ORDER if name in declared)
    return _found[cls]


def _reads(cls: type, attribute: str) -> bool:
    classes = cls.__mro__[: cls.__mro__.index(Module)]
    functions = (f for c in classes for value in vars(c).values() for f in _functions(value))
    return any(attribute in code.co_names for f in functions for code in _codes(f.__code__))


def _functions(value: Any) -> Iterator[FunctionType]:
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "__func__", value)  # of a static or class method
    value = getattr(value, "__wrapped__", value)  # of a decorated one
    if isinstance(value, FunctionType):
        yield value


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a function within the function
            yield from _codes(constant)
