"""What a module is made of: attributes that hold arrays and modules, their copies and picture."""

from __future__ import annotations

import copy
import textwrap
from reprlib import recursive_repr
from typing import Any, Self

import numpy as np

from freezeviz import backend
from freezeviz.autodiff import Tracer, stop_gradient
from freezeviz.backend import is_array
from freezeviz.errors import AutodiffError, closest
from freezeviz.nn import _bind, _calls, _freezing, _updating
from freezeviz.nn._members import (
    is_module,
    is_parameter,
    own,
    own_parameters,
    parts_changed,
)

__all__ = ["Attributes"]

_in_force = _bind.current.get  # asked for every array that a layer reads
_NO_MEMBERS: dict[str, Any] = {}


class Attributes:
    """The part of `Module` that sorts what is assigned into parameters, buffers and submodules.

    Members are kept apart from the other attributes, so that a call can let other values stand
    for them (`_bind`).
    """

    _is_freezeviz_module = True
    _members: dict[str, Any]
    _buffer_names: set[str]
    _frozen: dict[str, Any]
    _training: bool
    _held: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Not in __init__: a subclass that assigns before super().__init__() works all the same.
        self = super().__new__(cls)
        vars(self).update(_members={}, _buffer_names=set(), _frozen={}, _training=True, _held=False)
        return self

    def __init__(self) -> None:
        pass

    # ------------------------------------------------------------ attributes

    def __getattr__(self, name: str) -> Any:
        # Called for what is not in __dict__: members, which a scope may stand in for.
        scope = _in_force()
        if scope is not None:
            bound = scope.values.get(id(self))
            if bound is not None and name in bound:
                return bound[name]
        members = self.__dict__.get("_members", _NO_MEMBERS)
        if name in members:
            return members[name]
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}.{closest(name, members)}"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if _calls.stand_ins and type(value) in _calls.stand_ins:
            value = value.look()  # it may outlive the step that it belongs to
        if isinstance(value, np.generic) and is_array(self._members.get(name)):
            value = np.asarray(value)  # arithmetic on a 0-d array gave a scalar: it stays an array
        if name in self._buffer_names:
            self._set_buffer(name, value)
        elif type(value) is Tracer:
            raise AutodiffError(
                f"{type(self).__name__}.{name} = ... would keep a traced array in the model; "
                "assign freezeviz.stop_gradient(...) of it"
            )
        elif self._is_member(name, value) and not hasattr(
            getattr(type(self), name, None), "__set__"
        ):
            self._check_name(name)
            if is_array(value):
                _updating.refuse_foreign(value.dtype, f"{type(self).__name__}.{name}")
            vars(self).pop(name, None)
            scope = _bind.current.get()
            if scope is not None and id(self) in scope.paths and self._counts(name, value):
                scope.set_buffer(self, name, value)
            else:
                self._set_member(name, value)
        else:
            object.__setattr__(self, name, value)
            if name == "_governed" or name in self._members:
                self._members.pop(name, None)
                parts_changed()

    @staticmethod
    def _is_member(name: str, value: Any) -> bool:
        if is_module(value):
            return True
        return name[:1] != "_" and (isinstance(value, dict | list) or is_array(value))

    def _counts(self, name: str, value: Any) -> bool:
        """Return whether an array of integers gets new ones: a buffer that nobody registered."""
        return all(is_array(x) and not is_parameter(x) for x in (self._members.get(name), value))

    def _check_name(self, name: str) -> None:
        if hasattr(type(self), name):
            raise AttributeError(
                f"{type(self).__name__}.{name} = ...: the class has an attribute of this name, "
                f"which would hide the new one; set a default in __init__, or rename one of them"
            )

    def _set_member(self, name: str, value: Any) -> None:
        if is_array(value):
            value = _freezing.thawed(value)
        self._members[name] = value
        if is_array(value) and name in self._frozen:
            self._frozen[name] = value
            self._members[name] = _freezing.read_only(value)
            return
        for frozen in [n for n in self._frozen if n.startswith(name + ".") or n == name]:
            # The name now stands for something else than an array: its freezing goes with it,
            # unless the new lists and dicts have arrays there, too.
            del self._frozen[frozen]
            for slot in own_parameters(self):
                if slot.name == frozen or slot.name.startswith(frozen + "."):
                    _freezing.freeze(slot)

    def _set_buffer(self, name: str, value: Any) -> None:
        scope = _bind.current.get()
        value, old = stop_gradient(value), self._members.get(name)
        if isinstance(value, bool | int | float | np.generic) and is_array(old):
            value = backend.array_namespace(old).asarray(value, dtype=old.dtype)  # pyright: ignore[reportOptionalMemberAccess]
        if value is not None and not is_array(value):
            raise TypeError(
                f"{type(self).__name__}.{name} is a buffer and holds an array or None, "
                f"got {type(value).__name__}"
            )
        if scope is not None and id(self) in scope.paths:
            scope.set_buffer(self, name, value)
        else:
            self._members[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self._members:
            object.__delattr__(self, name)
            return
        del self._members[name]
        self._buffer_names.discard(name)
        parts_changed()
        for frozen in self._frozen:
            if frozen == name or frozen.startswith(name + "."):
                self._frozen[frozen] = None  # the name stays frozen, for the next array

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._members})

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def register_buffer(self, name: str, value: Any) -> None:
        """Add an array that is saved with the weights but never trained.

        Parameters
        ----------
        name : str
        value : array or None
            None declares the buffer without a value yet.

        Raises
        ------
        TypeError
            If `value` is neither.
        """
        self._check_name(name)
        self._set_buffer(name, value)
        self._buffer_names.add(name)
        parts_changed()
        vars(self).pop(name, None)
        self._frozen.pop(name, None)

    # ------------------------------------------------------------ copies and pictures

    def __getstate__(self) -> dict[str, Any]:
        # The arrays themselves, not the read-only views of them: what is shared stays shared.
        state = dict(vars(self))
        state["_members"] = _updating.unfrozen_members(self)
        state["_buffer_names"] = set(self._buffer_names)
        state["_frozen"] = dict.fromkeys(self._frozen)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        parts_changed()
        for name, slot, _ in own(self):
            if slot is not None and name in self._frozen:
                _freezing.freeze(slot)

    def __deepcopy__(self, memo: dict[Any, Any]) -> Self:
        _updating.keep_ties(self, memo)
        new = memo[id(self)] = type(self).__new__(type(self))
        new.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return new

    @recursive_repr("...")
    def __repr__(self) -> str:
        lines = [
            textwrap.indent(f"({name}): {value!r}", "  ")
            for name, slot, value in own(self)
            if slot is None
        ]
        head = f"{type(self).__name__}({self._extra_repr()}"
        return head + ("\n" + "\n".join(lines) + "\n)" if lines else ")")

    def _extra_repr(self) -> str:
        return ""
