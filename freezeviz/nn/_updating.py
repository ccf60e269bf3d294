"""Reading a module's arrays into nested trees, and giving them new values from such trees."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from freezeviz.autodiff import Tracer
from freezeviz.backend import array_namespace, is_array
from freezeviz.errors import AutodiffError, WeightsError, closest
from freezeviz.nn import _bind, _freezing
from freezeviz.nn._members import Entry, Tree, foreign_float, is_module, is_parameter
from freezeviz.paths import join

if TYPE_CHECKING:
    from freezeviz.nn._attributes import Attributes
    from freezeviz.nn._module import Module


def nested(root: Module, entries: list[Entry]) -> dict[str, Any]:
    """Return arrays in the model's nesting; lists keep their length, with ``{}`` in the gaps."""
    wanted = {(id(e.slots[0].owner), e.slots[0].name): e.value for e in entries}
    seen: set[int] = set()

    def module_tree(module: Module) -> dict[str, Any]:
        if id(module) in seen:
            return {}
        seen.add(id(module))
        public = {name: value for name, value in module._members.items() if name[:1] != "_"}
        return dict_tree(module, "", public)

    def dict_tree(owner: Module, prefix: str, container: dict[Any, Any]) -> dict[Any, Any]:
        tree = {}
        for key, value in container.items():
            if is_array(value):
                array = wanted.get((id(owner), f"{prefix}{key}"))
                if array is not None:
                    tree[key] = array
            elif is_module(value):
                tree[key] = module_tree(value)
            elif isinstance(value, dict):
                tree[key] = dict_tree(owner, f"{prefix}{key}.", value)
            elif isinstance(value, list) and _holds_parts(value):
                tree[key] = list_tree(owner, f"{prefix}{key}.", value)
        return tree

    def list_tree(owner: Module, prefix: str, container: list[Any]) -> list[Any]:
        parts = dict_tree(owner, prefix, dict(enumerate(container)))
        return [parts.get(i, {}) for i in range(len(container))]

    return module_tree(root)


def _holds_parts(value: Any) -> bool:
    """Return whether there is an array or a module in a value: a list of sizes is not nested."""
    if isinstance(value, dict | list):
        return any(map(_holds_parts, value.values() if isinstance(value, dict) else value))
    return is_array(value) or is_module(value)


def filter_and_map(
    module: Module,
    filter_fn: Callable[[Module, str, Any], bool],
    map_fn: Callable[[Any], Any] | None,
    is_leaf_fn: Callable[[Module, str, Any], bool] | None,
) -> dict[str, Any]:
    """See `Module.filter_and_map`."""
    entered: set[int] = set()

    def is_leaf(owner: Module, key: str, value: Any) -> bool:
        if is_leaf_fn is not None:
            return is_leaf_fn(owner, key, value)
        return not (isinstance(value, dict | list) or is_module(value))

    # The filter sees the model's own member, `now` is what a call has bound in its place.
    def unwrap(owner: Module, key: str, value: Any, now: Any) -> Any:
        if is_leaf(owner, key, value):
            return map_fn(now) if map_fn is not None else now
        if is_module(value):
            return enter(value)
        if isinstance(value, dict):
            parts = {k: (f"{key}.{k}", v) for k, v in value.items()}
            return {
                k: unwrap(owner, n, v, now[k])
                for k, (n, v) in parts.items()
                if filter_fn(owner, n, v)
            }
        if isinstance(value, list):
            parts = [(f"{key}.{i}", v, w) for i, (v, w) in enumerate(zip(value, now, strict=True))]
            return [unwrap(owner, n, v, w) if filter_fn(owner, n, v) else {} for n, v, w in parts]
        return {}

    def enter(owner: Module) -> dict[str, Any]:
        if id(owner) in entered:  # its own ancestor: a cycle
            return {}
        entered.add(id(owner))
        now = _bind.members(owner)
        members = owner._members.items()
        tree = {k: unwrap(owner, k, v, now[k]) for k, v in members if filter_fn(owner, k, v)}
        entered.discard(id(owner))
        return tree

    return enter(module)


def checked(entry: Entry, value: Any, where: str) -> Any:
    """Return the array that is to replace an entry's.

    Raises
    ------
    AutodiffError
        If it is traced.
    WeightsError
        If it is no array, or a parameter would become a buffer by its dtype.
    """
    refuse_traced(entry, value)
    # Arithmetic on 0-d arrays gives NumPy's scalars.
    value = np.asarray(value) if isinstance(value, np.generic) else value
    if not is_array(value):
        raise WeightsError(f"{where}: {entry.path!r} expects an array, got {type(value).__name__}")
    refuse_foreign(value.dtype, f"{where}: {entry.path!r}")
    if is_parameter(entry.slots[0].value) and not is_parameter(value):
        raise WeightsError(
            f"{where}: {entry.path!r} expects a floating array, got {value.dtype}: "
            "integers and booleans cannot be trained"
        )
    return value


def refuse_foreign(dtype: Any, where: str) -> None:
    """Raise for bfloat16 and its like, which NumPy does not have itself.

    Raises
    ------
    WeightsError
        If `dtype` is one of those.
    """
    name = foreign_float(dtype)
    if name is not None:
        raise WeightsError(
            f"{where} expects float16, float32 or float64, got {name}, which NumPy does not "
            "have itself; convert with .astype(np.float32)"
        )


def refuse_traced(entry: Entry, value: Any) -> None:
    """Raise AutodiffError if a value that is to be put into a model is traced."""
    if type(value) is Tracer:
        raise AutodiffError(
            f"a traced array cannot be put into the model, at {entry.path!r}; "
            "nn.value_and_grad(model, fn) differentiates with respect to a model's parameters"
        )


def put(entry: Entry, value: Any) -> None:
    """Put an array into every slot of an entry; frozen names stay frozen.

    Raises
    ------
    AutodiffError
        If it is traced.
    """
    refuse_traced(entry, value)
    for slot in entry.slots:
        if slot.frozen:
            slot.owner._frozen[slot.name] = value
            slot.container[slot.key] = _freezing.read_only(value)
        else:
            slot.container[slot.key] = value
    entry.value = entry.slots[0].value


def assign(root: Module, arrays: Mapping[str, Any], where: str) -> None:
    """Give arrays by first path to every slot that shares them: all of them, or none."""
    tree = Tree(root)
    entries = {entry.path: entry for entry in tree.parameters + tree.buffers}
    puts = [(entries[path], checked(entries[path], v, where)) for path, v in arrays.items()]
    for entry, value in puts:
        put(entry, value)


def unfrozen_members(module: Attributes) -> dict[str, Any]:
    """Return a module's members with the arrays themselves in place of read-only views.

    Lists and dicts are copied, so that a shallow copy of the module can be changed by itself.
    """

    def plain(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(f"{name}.{k}", v) for k, v in value.items()}
        if isinstance(value, list):
            return [plain(f"{name}.{i}", v) for i, v in enumerate(value)]
        return _freezing.original(module, name, value) if is_array(value) else value

    return {name: plain(name, value) for name, value in module._members.items()}


def keep_ties(root: Attributes, memo: dict[Any, Any]) -> None:
    """Copy tied arrays once for `copy.deepcopy`, whatever views of them the slots hold."""
    done: set[int] = memo.setdefault("freezeviz", set())
    if id(root) in done:  # a part of a model that is being copied
        return
    tree = Tree(root)
    done.update(tree.paths)
    for entry in tree.parameters + tree.buffers:
        if len(entry.slots) > 1:
            arrays = [_freezing.original(s.owner, s.name, s.value) for s in entry.slots]
            tied = copy.deepcopy(arrays[0], memo)
            memo.update((id(array), tied) for array in arrays)


def update(root: Module, values: Mapping[str, Any], strict: bool) -> None:
    """See `Module.update`: collect first, then change, so that an error changes nothing."""
    tree = Tree(root)
    by_slot: dict[tuple[int, Any], Entry] = {}
    for entry in tree.parameters + tree.buffers:
        for slot in entry.slots:
            by_slot[id(slot.container), slot.key] = entry
    puts: list[tuple[Entry, Any]] = []
    call = f"{type(root).__name__}.update()"

    def visit(target: Any, new: Any, path: str) -> None:
        container, items = _items(target, new, path, strict, call)
        for key, value in items:
            where = join(path, str(key))
            if not _has(container, key):
                if strict:
                    raise _unknown(container, key, f"{call}: the model has no parameter {where!r}")
                continue
            entry = by_slot.get((id(container), key))
            if entry is None:
                if value is not None and (strict or isinstance(value, dict | list)):
                    visit(container[key], value, where)
            elif not (_is_gap(value) and (isinstance(container, list) or not strict)):
                puts.append((entry, checked(entry, value, call)))

    visit(root, values, "")
    for entry, value in puts:
        put(entry, value)


def update_modules(root: Module, modules: Mapping[str, Any], strict: bool) -> None:
    """See `Module.update_modules`: collect first, then change."""
    puts: list[tuple[Any, Any, Any]] = []
    call = f"{type(root).__name__}.update_modules()"

    def visit(target: Any, new: Any, path: str) -> None:
        container, items = _items(target, new, path, strict, call)
        for key, value in items:
            where = join(path, str(key))
            if _is_gap(value):
                continue
            if not _has(container, key):
                if strict:
                    raise _unknown(container, key, f"{call}: the model has no {where!r}")
                continue
            current = container[key]
            if is_module(current) and is_module(value):
                puts.append((target if is_module(target) else container, key, value))
            elif isinstance(value, dict | list) and (
                is_module(current) or isinstance(current, dict | list)
            ):
                visit(current, value, where)
            elif strict:
                if is_module(value):
                    raise WeightsError(
                        f"{call}: {where!r} is no module but a {type(current).__name__}; "
                        "assign it as an attribute"
                    )
                raise WeightsError(
                    f"{call}: {where!r} expects a module, got {type(value).__name__}"
                )

    visit(root, modules, "")
    for container, key, value in puts:
        if is_module(container):
            setattr(container, key, value)
        else:
            container[key] = value


def _is_gap(value: Any) -> bool:
    """Return whether a value is what stands where a tree leaves something out."""
    return value is None or (isinstance(value, dict | list | tuple) and not value)


def _items(target: Any, new: Any, path: str, strict: bool, call: str) -> tuple[Any, Any]:
    """Return a place's container and what a tree has for it: nothing, if they do not fit.

    Raises
    ------
    WeightsError
        With `strict`, if they do not fit.
    """
    container = target._members if is_module(target) else target
    if isinstance(new, dict) and isinstance(container, dict):
        return container, new.items()
    if isinstance(new, list | tuple) and isinstance(container, list):
        return container, enumerate(new)
    if strict and not (_is_gap(new) and path):
        where, got = f"at {path!r}" if path else "given", f"is a {type(new).__name__}"
        if not isinstance(container, dict | list):
            here = f"the model has a {type(target).__name__} there, without parameters"
            raise WeightsError(f"{call}: the tree {where} {got}, but {here}; leave it out")
        wanted = "list" if isinstance(container, list) else "dict"
        raise WeightsError(f"{call}: the tree {where} {got}, expected a {wanted}")
    return container, ()


def _has(container: Any, key: Any) -> bool:
    return key in container if isinstance(container, dict) else key < len(container)


def _unknown(container: Any, key: Any, message: str) -> WeightsError:
    if isinstance(container, list):
        return WeightsError(f"{message}: the list has {len(container)} items")
    return WeightsError(f"{message}.{closest(str(key), [str(k) for k in container])}")


def set_dtype(root: Module, dtype: Any, predicate: Callable[[Any], bool] | None) -> None:
    """See `Module.set_dtype`."""
    refuse_foreign(dtype, f"{type(root).__name__}.set_dtype()")
    tree = Tree(root)
    cast = {}
    for entry in tree.parameters + tree.buffers:
        value = entry.value
        wanted = is_parameter(value) if predicate is None else predicate(value.dtype)
        if wanted:
            cast[entry.path] = array_namespace(value).astype(value, np.dtype(dtype))
    assign(root, cast, f"{type(root).__name__}.set_dtype()")
