"""What a module consists of: its own arrays, its submodules, and the tree below it.

A member is an attribute that can hold arrays or modules: an array, a module, or lists and dicts
of them to any depth. Tuples and other objects are not entered (MLX's rule).
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from freezeviz.backend import array_namespace, is_array, memory_key, surely_apart
from freezeviz.nn import _bind
from freezeviz.paths import join

if TYPE_CHECKING:
    from freezeviz.nn._attributes import Attributes
    from freezeviz.nn._module import Module


_OWN = frozenset({"_members", "_frozen"})  # what a module keeps its parts in
# Counts the changes that a walk depends on and that show in no container; see `_walk`.
generation = 0
_FOREIGN = ("bfloat16", "float8_", "float6_", "float4_")  # not float64


class Slot(NamedTuple):
    """A place in a module where an array stands: ``container[key]``, known there as `name`."""

    owner: "Attributes"
    name: str
    container: Any
    key: Any

    @property
    def value(self) -> Any:
        return self.container[self.key]

    @property
    def frozen(self) -> bool:
        return self.name in self.owner._frozen


class Entry:
    """An array of a model under its first path, with every slot and path that shares it."""

    __slots__ = ("aliases", "governed", "path", "slots", "value")

    def __init__(self, path: str, slot: Slot, value: Any):
        self.path = path
        self.value = value
        self.slots = [slot]
        self.aliases: list[str] = []
        self.governed = False  # frozen by a module above it: `Module._governed`

    @property
    def frozen(self) -> bool:
        if self.governed:
            return True
        # A loop, not any(): asked of every parameter in every step.
        for slot in self.slots:  # noqa: SIM110
            if slot.name in slot.owner._frozen:
                return True
        return False


def parts_changed() -> None:
    """Note that a member is gone, that a name became a buffer, or what a module governs changed."""
    global generation
    generation += 1


def is_module(value: Any) -> bool:
    """Return whether a value is a module."""
    return hasattr(type(value), "_is_freezeviz_module")


def is_parameter(value: Any) -> bool:
    """Return whether an array is learnable: integers and booleans are not."""
    kind = getattr(value.dtype, "kind", None)
    if kind is not None:  # NumPy's and CuPy's; a tenth of what isdtype() takes
        return kind in "fc"
    return array_namespace(value).isdtype(value.dtype, ("real floating", "complex floating"))


def foreign_float(dtype: Any) -> str | None:
    """Return the name of a floating dtype that NumPy does not have itself, None for others.

    Those of ``ml_dtypes``: NumPy takes them for raw bytes, so they would silently be buffers.
    """
    name = getattr(dtype, "name", str(dtype))
    return name if getattr(dtype, "kind", "V") == "V" and name.startswith(_FOREIGN) else None


def is_buffer(module: "Attributes", name: str, value: Any) -> bool:
    """Return whether an array that stands in a module is none of its parameters."""
    return name in module._buffer_names or not is_parameter(value)


def own(module: "Attributes") -> list[tuple[str, Slot | None, Any]]:
    """Return the arrays and modules that a module owns directly: name, slot and value.

    Lists and dicts are entered and give dotted names (``"w.0"``), other modules are not. The slot
    of a module is None.
    """
    found: list[tuple[str, Slot | None, Any]] = []
    _collect(found, module, "", module._members, module._members.items())
    return found


def _collect(
    found: list[Any], owner: "Attributes", prefix: str, container: Any, items: Iterable[Any]
) -> None:
    for key, value in items:
        # First what there is most of, without a call.
        if type(value) is np.ndarray:
            name = f"{prefix}{key}"
            found.append((name, Slot(owner, name, container, key), value))
        elif isinstance(value, dict):
            _collect(found, owner, f"{prefix}{key}.", value, value.items())
        elif isinstance(value, list):
            _collect(found, owner, f"{prefix}{key}.", value, enumerate(value))
        elif is_module(value):  # before the question whether it is an array, which takes longer
            found.append((f"{prefix}{key}", None, value))
        elif is_array(value):
            name = f"{prefix}{key}"
            found.append((name, Slot(owner, name, container, key), value))


def private_modules(module: "Attributes") -> list[tuple[str, Any]]:
    """Return the modules in lists and dicts with a leading underscore, which are no members."""
    found: list[Any] = []
    for name, value in vars(module).items():
        if name[:1] == "_" and name not in _OWN and isinstance(value, dict | list):
            _collect(found, module, "", vars(module), [(name, value)])
    return [(name, value) for name, slot, value in found if slot is None]


def own_parameters(module: "Attributes") -> list[Slot]:
    """Return the slots of the learnable arrays that a module owns directly."""
    return [
        slot
        for name, slot, value in own(module)
        if slot is not None and name[:1] != "_" and not is_buffer(module, name, value)
    ]


class Tree:
    """A model walked once, in the order its members were assigned.

    Within a call that binds values (`_bind`), an entry's value is the bound one.

    Parameters
    ----------
    root : Module
    all_paths : bool
        Also find the further paths of what lies below shared modules: needed where names come
        from outside, not in every training step.
    private : bool
        Also find modules in lists and dicts with a leading underscore: not in every training
        step, for such a list may be long and hold anything.

    Attributes
    ----------
    modules : list of (path, module)
        Each module once, under its first path; the root's is ``""``. Those that only members
        with a leading underscore lead to come last; their arrays are none of the model's.
    module_aliases : dict
        First path of a shared module to its other paths.
    parameters, buffers : list of Entry
        Arrays that share memory are one entry.
    paths : dict
        ``id(module)`` to first path.
    """

    def __init__(self, root: "Attributes", all_paths: bool = False, private: bool = False):
        self._private = private
        self.modules: list[tuple[str, Module]] = []
        self.module_aliases: dict[str, list[str]] = {}
        self.parameters: list[Entry] = []
        self.buffers: list[Entry] = []
        self.paths: dict[int, str] = {}
        self._arrays: list[tuple[str, Slot, Any, bool]] = []  # path, where, which, is a buffer
        self._hidden: list[tuple[str, Module]] = []
        self._walk(cast("Module", root), "", public=True)
        # After all else: a module that has a public path, too, is known by that one.
        for path, module in self._hidden:
            self._visit(module, path, public=False)
        self._enter_arrays()
        governing = [(path, module) for path, module in self.modules if module._governed]
        if self.module_aliases and (all_paths or governing):
            self._spread_aliases()
        for path, module in governing:
            self._govern(path, module._governed)
        scope = _bind.current.get()
        if scope is not None:
            for entry in self.parameters + self.buffers:
                entry.value = scope.value_of(entry.slots[0])

    def _walk(self, module: "Module", path: str, public: bool) -> None:
        self.paths[id(module)] = path
        self.modules.append((path, module))
        prefix = f"{path}." if path else ""
        for name, slot, value in own(module):
            if slot is None:
                if public and name[:1] == "_":
                    self._hidden.append((prefix + name, value))
                else:
                    self._visit(value, prefix + name, public)
            elif public and name[:1] != "_":
                buffer = is_buffer(module, name, value)
                self._arrays.append((prefix + name, slot, value, buffer))
        if self._private:
            for name, value in private_modules(module):
                if public:
                    self._hidden.append((prefix + name, value))
                else:
                    self._visit(value, prefix + name, public)

    def _visit(self, module: "Module", path: str, public: bool) -> None:
        seen = self.paths.get(id(module))
        if seen is None:
            self._walk(module, path, public)
        elif public and seen and not path.startswith(seen + "."):  # else a cycle: its own ancestor
            self.module_aliases.setdefault(seen, []).append(path)

    def _enter_arrays(self) -> None:
        """Make an entry of each array, with all slots that share its memory."""
        arrays, self._arrays = self._arrays, []
        keys: Iterable[Any] = range(len(arrays))
        # Of most models a glance is enough, which takes a tenth of the time of all addresses.
        if not surely_apart([value for _, _, value, _ in arrays]):
            keys = [(memory_key(value), buffer) for _, _, value, buffer in arrays]
        entries: dict[Any, Entry] = {}
        for key, (path, slot, value, buffer) in zip(keys, arrays, strict=True):
            entry = entries.get(key)
            if entry is None:
                entry = entries[key] = Entry(path, slot, value)
                (self.buffers if buffer else self.parameters).append(entry)
            else:
                entry.slots.append(slot)
                entry.aliases.append(path)

    def _govern(self, path: str, names: Iterable[str]) -> None:
        governed = {join(path, name) for name in names}
        for entry in self.parameters:
            if not governed.isdisjoint((entry.path, *entry.aliases)):
                entry.governed = True

    def _spread_aliases(self) -> None:
        """Give what lies below a shared module a path for each of the module's."""
        shared = self.module_aliases
        for entry in self.parameters + self.buffers:
            entry.aliases = _other_paths([entry.path, *entry.aliases], shared)
        below = {path: _other_paths([path], shared) for path, _ in self.modules}
        self.module_aliases = {path: others for path, others in below.items() if others}


def _other_paths(known: list[str], shared: Mapping[str, list[str]]) -> list[str]:
    """Return all paths but the first that lead where the known ones lead."""
    paths = dict.fromkeys(known)
    queue = list(paths)
    for path in queue:  # which grows on the way
        names = path.split(".")
        for n in range(1, len(names) + 1):
            for other in shared.get(".".join(names[:n]), ()):
                further = join(other, *names[n:])
                if further not in paths:
                    paths[further] = None
                    queue.append(further)
    return list(paths)[1:]
