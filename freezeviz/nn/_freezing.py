"""Freezing by name: MLX's ``Module.freeze`` and ``Module.unfreeze``.

A module keeps the names of its own frozen arrays, so freezing sticks to the name: a new array
under a frozen name is frozen, a new submodule is not.
"""

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from freezeviz.backend import memory_key
from freezeviz.errors import ParameterKeyError, UnmatchedKeyWarning, closest
from freezeviz.nn._members import Slot, Tree, own, own_parameters

if TYPE_CHECKING:
    from freezeviz.nn._attributes import Attributes
    from freezeviz.nn._module import Module


def as_keys(keys: str | Iterable[str] | None) -> list[str] | None:
    """Return the keys as a list; a string is one key, any other iterable a sequence of them.

    Raises
    ------
    TypeError
        If they are no names.
    """
    if keys is None:
        return None
    listed = [keys] if isinstance(keys, str) else list(keys) if isinstance(keys, Iterable) else []
    if any(not isinstance(key, str) for key in listed) or not isinstance(keys, Iterable):
        raise TypeError(
            f"keys are names of parameters, one text or several, got {keys!r}; for modules and "
            "other selectors use freezeviz.freeze(model, ...)"
        )
    return listed


def find(modules: list["Module"], keys: list[str] | None, call: str, strict: bool) -> list[Slot]:
    """Return the slots that the keys name in the modules: all, if there are no keys.

    Raises
    ------
    ParameterKeyError
        With `strict`, if a key names no parameter in any of the modules.
    """
    slots = [slot for module in modules for slot in own_parameters(module)]
    if keys is None:
        return slots
    matched: list[Slot] = []
    for key in keys:
        hits = [s for s in slots if s.name == key or s.name.startswith(key + ".")]
        matched += hits
        if not hits:
            message = _no_match(modules, slots, key, call)
            if strict:
                raise ParameterKeyError(message)
            warnings.warn(message, UnmatchedKeyWarning, stacklevel=3)
    return matched


def _no_match(modules: list["Module"], slots: list[Slot], key: str, call: str) -> str:
    root = modules[0]
    start = f"{type(root).__name__}.{call}(keys=...): {key!r}"
    for module in modules:
        for name, slot, value in own(module):
            if name == key and slot is not None:
                return f"{start} is a buffer, not a parameter: buffers are never trained or frozen"
            if slot is None and (name == key or name.startswith(key + ".")):
                return (
                    f"{start} names a submodule, not a parameter; "
                    f"call {call}() on {type(value).__name__} {name!r} itself"
                )
    names = sorted({slot.name for slot in slots})
    if "." in key:
        return (
            f"{start} matches no parameter: keys are the names of a module's own parameters; "
            f"for a path use freezeviz.{call}(model, {key!r})"
        )
    known = ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
    known = f" Known: {known}." if names else " There are no parameters."
    return f"{start} matches no parameter.{known}{closest(key, names)}"


def freeze(slot: Slot) -> None:
    """Freeze what stands in a slot: remember the name, hand out a read-only view."""
    # Unpacked, here and below: a preset of a large model does this ten thousands of times.
    owner, name, container, key = slot
    value, frozen = container[key], owner._frozen
    if not stands_for(frozen.get(name), value):
        frozen[name] = thawed(value)
    container[key] = read_only(value)


def unfreeze(slot: Slot) -> None:
    """Thaw what stands in a slot; the array that was frozen is writable again."""
    # Even if the name is not frozen: a tied array is frozen by any of its names, and this slot
    # may have got the read-only view of another one.
    owner, name, container, key = slot
    container[key] = original(owner, name, container[key])
    owner._frozen.pop(name, None)


def release(modules: Iterable["Module"], slots: Iterable[Slot]) -> None:
    """Let modules that freeze what lies below them (`Module._governed`) let go of slots."""
    governing = [module for module in modules if module._governed]
    places = {(id(slot.container), slot.key) for slot in slots} if governing else set()
    for module in governing:
        for entry in Tree(module).parameters:
            if any((id(slot.container), slot.key) in places for slot in entry.slots):
                module._governed -= {entry.path, *entry.aliases}


def original(module: "Attributes", name: str, value: Any) -> Any:
    """Return the array that a member was before it was frozen; other arrays as they are."""
    kept = module._frozen.get(name)
    return kept if stands_for(kept, value) else thawed(value)


def stands_for(kept: Any, value: Any) -> bool:
    """Return whether a value is the array that was kept when it was frozen, or a view of it.

    It is neither after something else was put under a frozen name (``model.weights[0] = ...``).
    """
    if kept is None or kept is value:
        return kept is not None
    if getattr(value, "base", None) is kept:  # most are: a view, of all of it or of a part
        layout = value.shape, value.strides, value.dtype
        if layout == (kept.shape, kept.strides, kept.dtype):
            return True
    return memory_key(kept) == memory_key(value)


def read_only(array: Any) -> Any:
    """Return a read-only view of an array (CuPy has none: there the array itself)."""
    if not isinstance(array, np.ndarray) or not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


def thawed(array: Any) -> Any:
    """Return the writable array that a read-only view was taken of, if it was one."""
    if not isinstance(array, np.ndarray) or array.flags.writeable:
        return array
    base = array.base
    if (
        isinstance(base, np.ndarray)
        and base.flags.writeable
        and memory_key(base) == memory_key(array)
    ):
        return base
    return array
