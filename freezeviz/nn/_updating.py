"""Reading a module's arrays into nested trees, and giving them new values from such trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from freezeviz.backend import array_namespace, is_array
from freezeviz.errors import WeightsError, closest
from freezeviz.nn import _freezing
from freezeviz.nn._members import Entry, Tree, is_parameter, own
from freezeviz.paths import join

if TYPE_CHECKING:
    from freezeviz.nn._module import Module


def nested(root: Module, entries: list[Entry]) -> dict[str, Any]:
    """Return arrays in the model's nesting; lists keep their length, with ``{}`` in the gaps."""
    wanted = {(id(e.slots[0].owner), e.slots[0].name): e.value for e in entries}
    seen: set[int] = set()

    def module_tree(module: Module) -> dict[str, Any]:
        if id(module) in seen:
            return {}
        seen.add(id(module))
        tree = {}
        for name, value in module._members.items():
            if name[0] == "_":
                continue
            sub = member_tree(module, name, value)
            if not is_array(value) or not isinstance(sub, dict):
                tree[name] = sub
        return tree

    def member_tree(owner: Module, name: str, value: Any) -> Any:
        if hasattr(type(value), "_is_freezeviz_module"):
            return module_tree(value)
        if isinstance(value, dict):
            parts = {k: member_tree(owner, f"{name}.{k}", v) for k, v in value.items()}
            return {k: v for k, v in parts.items() if not (is_array(value[k]) and v == {})}
        if isinstance(value, list):
            return [member_tree(owner, f"{name}.{i}", v) for i, v in enumerate(value)]
        return wanted.get((id(owner), name), {})

    return {name: sub for name, sub in module_tree(root).items() if _holds(root, name, sub)}


def _holds(module: Module, name: str, sub: Any) -> bool:
    # A list of plain numbers is a member without being part of the model.
    value = module._members[name]
    return not isinstance(value, dict | list) or any(
        n == name or n.startswith(name + ".") for n, _, _ in own(module)
    )


def filter_and_map(
    module: Module,
    filter_fn: Callable[[Module, str, Any], bool],
    map_fn: Callable[[Any], Any] | None,
    is_leaf_fn: Callable[[Module, str, Any], bool] | None,
) -> dict[str, Any]:
    """See `Module.filter_and_map`."""
    from_module = type(module)._is_freezeviz_module

    def is_leaf(owner: Module, key: str, value: Any) -> bool:
        if is_leaf_fn is not None:
            return is_leaf_fn(owner, key, value)
        return not (isinstance(value, dict | list) or hasattr(type(value), "_is_freezeviz_module"))

    def unwrap(owner: Module, key: str, value: Any) -> Any:
        if is_leaf(owner, key, value):
            return map_fn(value) if map_fn is not None else value
        if hasattr(type(value), "_is_freezeviz_module"):
            return enter(value)
        if isinstance(value, dict):
            parts = {k: (f"{key}.{k}", v) for k, v in value.items()}
            return {k: unwrap(owner, n, v) for k, (n, v) in parts.items() if keep(owner, n, v)}
        if isinstance(value, list):
            parts = [(f"{key}.{i}", v) for i, v in enumerate(value)]
            return [unwrap(owner, n, v) if keep(owner, n, v) else {} for n, v in parts]
        return {}

    def keep(owner: Module, key: str, value: Any) -> bool:
        # Members of lists and dicts are no members of the module: only arrays among them are
        # asked about, under their dotted name, so that a frozen "w.0" can be told apart.
        return not is_array(value) or filter_fn(owner, key, value)

    def enter(owner: Module) -> dict[str, Any]:
        members = owner._members.items()
        return {k: unwrap(owner, k, v) for k, v in members if filter_fn(owner, k, v)}

    assert from_module
    return enter(module)


def put(entry: Entry, value: Any) -> None:
    """Put an array into every slot of an entry; frozen names stay frozen."""
    for slot in entry.slots:
        if slot.frozen:
            slot.owner._frozen[slot.name] = value
            slot.container[slot.key] = _freezing.read_only(value)
        else:
            slot.container[slot.key] = value
    entry.value = entry.slots[0].value


def unfrozen_members(module: Module) -> dict[str, Any]:
    """Return a module's members with the arrays themselves in place of read-only views."""

    def plain(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(f"{name}.{k}", v) for k, v in value.items()}
        if isinstance(value, list):
            return [plain(f"{name}.{i}", v) for i, v in enumerate(value)]
        return module._frozen.get(name, value)

    if not module._frozen:
        # Containers are copied all the same, so that a shallow copy can be changed by itself.
        return {k: plain(k, v) for k, v in module._members.items()}
    return {name: plain(name, value) for name, value in module._members.items()}


def update(root: Module, values: Mapping[str, Any], strict: bool) -> None:
    """See `Module.update`: collect first, then change, so that an error changes nothing."""
    tree = Tree(root)
    by_slot: dict[tuple[int, Any], Entry] = {}
    for entry in tree.parameters + tree.buffers:
        for slot in entry.slots:
            by_slot[id(slot.container), slot.key] = entry
    puts: list[tuple[Entry, Any]] = []

    def visit(target: Any, new: Any, path: str) -> None:
        container = target._members if hasattr(type(target), "_is_freezeviz_module") else target
        if isinstance(new, dict) and isinstance(container, dict):
            items = new.items()
        elif isinstance(new, list | tuple) and isinstance(container, list):
            items = enumerate(new)
        elif strict:
            where = f"at {path!r}" if path else "given"
            raise WeightsError(
                f"{type(root).__name__}.update(): the tree {where} is a {type(new).__name__}, "
                f"expected a {'list' if isinstance(container, list) else 'dict'}"
            )
        else:
            return
        for key, value in items:
            known = key in container if isinstance(container, dict) else key < len(container)
            where = join(path, str(key))
            if not known:
                if strict:
                    names = [str(k) for k in container] if isinstance(container, dict) else []
                    raise WeightsError(
                        f"{type(root).__name__}.update(): the model has no parameter {where!r}."
                        f"{closest(str(key), names)}"
                    )
                continue
            entry = by_slot.get((id(container), key))
            if entry is None:
                if value is not None and (strict or isinstance(value, dict | list)):
                    visit(container[key], value, where)
            elif is_array(value):
                puts.append((entry, value))
            elif value is None or value == {}:
                continue  # the placeholder of a gap
            elif strict:
                raise WeightsError(
                    f"{type(root).__name__}.update(): {where!r} expects an array, "
                    f"got {type(value).__name__}"
                )

    visit(root, values, "")
    for entry, value in puts:
        put(entry, value)


def update_modules(root: Module, modules: Mapping[str, Any], strict: bool) -> None:
    """See `Module.update_modules`: collect first, then change."""
    puts: list[tuple[Any, Any, Any]] = []

    def visit(target: Any, new: Any, path: str) -> None:
        module = hasattr(type(target), "_is_freezeviz_module")
        container = target._members if module else target
        items = new.items() if isinstance(new, dict) else enumerate(new)
        for key, value in items:
            where = join(path, str(key))
            known = key in container if isinstance(container, dict) else key < len(container)
            if value is None or value == {}:
                continue
            if not known:
                if strict:
                    raise WeightsError(
                        f"{type(root).__name__}.update_modules(): the model has no {where!r}"
                    )
                continue
            current = container[key]
            is_module = hasattr(type(current), "_is_freezeviz_module")
            if is_module and hasattr(type(value), "_is_freezeviz_module"):
                puts.append((target if module else container, key, value))
            elif isinstance(value, dict | list) and (
                is_module or isinstance(current, dict | list)
            ):
                visit(current, value, where)
            elif strict:
                raise WeightsError(
                    f"{type(root).__name__}.update_modules(): {where!r} expects a module, "
                    f"got {type(value).__name__}"
                )

    visit(root, modules, "")
    for container, key, value in puts:
        if hasattr(type(container), "_is_freezeviz_module"):
            setattr(container, key, value)
        else:
            container[key] = value


def set_dtype(root: Module, dtype: Any, predicate: Callable[[Any], bool] | None) -> None:
    """See `Module.set_dtype`."""
    tree = Tree(root)
    for entry in tree.parameters + tree.buffers:
        value = entry.value
        wanted = is_parameter(value) if predicate is None else predicate(value.dtype)
        if wanted:
            put(entry, array_namespace(value).astype(value, np.dtype(dtype)))
