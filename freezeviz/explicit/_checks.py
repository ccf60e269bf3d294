"""Whether parameters and states fit a model: what is wrong, where, and what was expected."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from freezeviz.autodiff import Tracer
from freezeviz.backend import is_array
from freezeviz.errors import ParameterKeyError, ShapeError, WeightsError, closest
from freezeviz.explicit._layout import Buffer, Items, Node, Parameter, Tied, template
from freezeviz.explicit._split import has_leaves, merge
from freezeviz.nn._members import is_parameter

Path = tuple[Any, ...]  # into ps and st, as keys

SPLIT = ("frozen_params", "states")
_MISSING = object()


def entry_of(tree: Any, key: Any) -> Any:
    """Return what stands under a key, or what `checked_parameter` and its like call missing."""
    if isinstance(tree, Mapping):
        return tree.get(key, _MISSING)
    return tree[key] if isinstance(tree, list) and key < len(tree) else _MISSING


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def present(tree: Any) -> Any:
    """Return a tree, an empty one for what is missing: below it, arrays will be."""
    return {} if tree is _MISSING else tree


def checked_parameter(held: Any, value: Any, path: Path) -> Any:
    """Return a value for a parameter; `held` is the one in the model, for its shape.

    Raises
    ------
    ParameterKeyError, ShapeError, WeightsError
        If there is none, or it has another shape or is no floating array.
    """
    shape = tuple(held.shape)
    # The value of a missing list is a missing list of values: nothing but dicts and lists.
    if value is _MISSING or (isinstance(value, Mapping | list) and not has_leaves(value)):
        raise ParameterKeyError(
            f"ps has no {_dotted(path)!r}, expected an array of shape {shape}. Parameters of a "
            "frozen layer are in its state, and only the layer that freeze() returned looks there"
        )
    value = np.asarray(value) if isinstance(value, np.generic) else value
    if not (is_array(value) or type(value) is Tracer) or not is_parameter(value):
        got = getattr(value, "dtype", type(value).__name__)
        wanted = f"a floating array of shape {shape}"
        raise WeightsError(f"ps: {_dotted(path)!r} expects {wanted}, got {got}")
    _check_shape("ps", path, shape, value)
    return value


def checked_buffer(held: Any, value: Any, path: Path) -> Any:
    """Return a value for a buffer; `held` is the one in the model.

    Raises
    ------
    ParameterKeyError, ShapeError, WeightsError
        If there is none, or it has another shape or is no array. A buffer that was declared
        without a value takes any.
    """
    wanted = "an array or None" if held is None else f"an array of shape {tuple(held.shape)}"
    if value is _MISSING or (isinstance(value, Mapping | list) and not has_leaves(value)):
        raise ParameterKeyError(f"st has no {_dotted(path)!r}, expected {wanted}")
    value = np.asarray(value) if isinstance(value, np.generic) else value
    if held is None and value is None:
        return None
    if not is_array(value) and type(value) is not Tracer:
        raise WeightsError(f"st: {_dotted(path)!r} expects {wanted}, got {type(value).__name__}")
    if held is not None:
        _check_shape("st", path, tuple(held.shape), value)
    return value


def _check_shape(tree: str, path: Path, shape: tuple[int, ...], value: Any) -> None:
    if tuple(value.shape) != shape:
        raise ShapeError(
            f"{tree}: {_dotted(path)!r} expects shape {shape}, got {tuple(value.shape)}"
        )


def checked_mode(st: Any, path: Path) -> bool:
    """Return a layer's mode from its state."""
    mode = entry_of(st, "training")
    if not isinstance(mode, bool | np.bool_):
        raise _wrong_state((*path, "training"), "True or False", mode)
    return bool(mode)


def checked_generator(st: Any, path: Path) -> np.random.Generator:
    """Return a layer's random generator from its state."""
    rng = entry_of(st, "rng")
    if not isinstance(rng, np.random.Generator):
        raise _wrong_state((*path, "rng"), "a numpy.random.Generator", rng)
    return rng


def _wrong_state(path: Path, wanted: str, got: Any) -> Exception:
    if got is _MISSING:
        return ParameterKeyError(f"st has no {_dotted(path)!r}, expected {wanted}")
    return WeightsError(f"st: {_dotted(path)!r} expects {wanted}, got {got!r}")


def check_names(part: Node | Items, ps: Any, st: Any, path: Path) -> None:
    """Raise unless the entries of a dict or list are those of a layer, or of one of its members.

    Raises
    ------
    ParameterKeyError, WeightsError
        If there is an unknown entry, or the tree is no dict or list.
    """
    length = part.length if isinstance(part, Items) else None
    kind = type(part.module).__name__ if isinstance(part, Node) else "the model"
    for name, tree, places, more in (
        ("ps", ps, (Parameter, Node, Items), ()),
        ("st", st, (Buffer, Node, Items), part.needs if isinstance(part, Node) else ()),
    ):
        if length is not None and tree in ([], {}):
            continue  # of a list without parameters, or without states
        where = f"at {_dotted(path)!r}" if path else "itself"
        if not isinstance(tree, Mapping if length is None else list):
            wanted = "dict" if length is None else f"list of {length} entries"
            raise WeightsError(f"{name} {where}: expected a {wanted}, got {type(tree).__name__}")
        if length is not None:
            if len(tree) != length:
                raise WeightsError(
                    f"{name} {where}: expected a list of {length} entries, got {len(tree)}"
                )
            continue
        for key in tree:
            if type(part.parts.get(key)) not in places and key not in more:
                known = [*(k for k, p in part.parts.items() if type(p) in places), *more]
                raise ParameterKeyError(
                    f"{name} has {_dotted((*path, key))!r}, which {kind} has not: "
                    f"{_unknown(part, key, known)}"
                )


def _unknown(part: Node | Items, key: Any, known: list[Any]) -> str:
    if key in SPLIT:
        return "it is the state of a frozen layer; apply it with the layer that freeze() returned"
    if isinstance(part.parts.get(key), Tied):
        entry = part.parts[key].entry
        return f"it is another name of {entry.path!r}, and its value stands there"
    listed = ", ".join(map(repr, known)) or "nothing"
    return f"expected {listed}.{closest(str(key), map(str, known))}"


def joined(node: Node, ps: Any, st: Any, path: Path) -> tuple[Any, Any]:
    """Return a frozen layer's parameters in one tree, and the states of the layer inside.

    Raises
    ------
    WeightsError
        If the state is not split, or a parameter is on both sides.
    """
    where = f"at {_dotted(path)!r}" if path else "itself"
    if not isinstance(st, Mapping) or set(st) != set(SPLIT):
        got = f"{list(st)}" if isinstance(st, Mapping) else type(st).__name__
        raise WeightsError(
            f"st {where}: the layer is frozen, so its state has {SPLIT[0]!r} and {SPLIT[1]!r}, "
            f"got {got}; freeze(layer, ps, st) splits it"
        )
    for name, tree in (("ps", ps), ("st's frozen_params", st["frozen_params"])):
        if not isinstance(tree, Mapping):
            raise WeightsError(f"{name} {where}: expected a dict, got {type(tree).__name__}")
    return merge(ps, st["frozen_params"], template(node), _dotted(path)), st["states"]
