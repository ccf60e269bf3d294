"""Presets: freeze states that people ask for by name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from freezeviz.errors import SelectorError, closest
from freezeviz.explorer._structure import Structure
from freezeviz.explorer._tree_state import TreeModel

# "Only" says what trains; all else is frozen.
LABELS = {
    "head_only": "Only the head trains",
    "all_but_head": "All but the head trains",
    "biases_only": "Only biases train",
    "norms_only": "Only norms train",
    "up_to": "Freeze everything up to here",
    "after": "Freeze everything after here",
    "invert": "Invert: what is frozen trains, what trains is frozen",
}
NEED_PLACE = ("up_to", "after")
# What the libraries around call the last layers of a model that was trained before.
HEADS = {
    "classifier",
    "cls",
    "decoder_head",
    "fc",
    "head",
    "heads",
    "lm_head",
    "logits",
    "qa_outputs",
    "score",
}


class Wanted(NamedTuple):
    """What a preset freezes and makes trainable, as bool arrays in the index's order."""

    freeze: np.ndarray
    unfreeze: np.ndarray


def labels(model: TreeModel) -> dict[str, str]:
    """The presets' names and what they do, in words for a menu."""
    head = head_of(model)
    if head is None:
        return dict(LABELS)
    name = model.structure.paths[head]
    named = {key: f"{LABELS[key]} ({name})" for key in ("head_only", "all_but_head")}
    return LABELS | named


def wanted(
    name: str,
    model: TreeModel,
    frozen: np.ndarray,
    at: int | None,
    order: Sequence[str] | None,
) -> Wanted:
    """What a preset asks for.

    Parameters
    ----------
    name : str
    model : TreeModel
    frozen : bool array, shape (parameters,)
        What is frozen now.
    at : int or None
        The row that `up_to` and `after` are about.
    order : sequence of str, optional
        Paths of layers in the order in which they are called; else that of definition.

    Raises
    ------
    SelectorError
        If there is no such preset, or nothing of what it is about.
    """
    everything = np.ones(len(model.index), bool)
    if name in _ONLY:
        find, what = _ONLY[name]
        trains = find(model)
        if not trains.any():
            raise SelectorError(f"{name}: {model.structure.kinds[0]} has no {what}")
        if name == "all_but_head":
            trains = ~trains
        return Wanted(~trains, trains)
    if name == "invert":
        return Wanted(~frozen, frozen)
    if name in NEED_PLACE:
        if at is None:
            raise SelectorError(f"{name}: expected a path in at=..., or one selected row")
        before = up_to(model, at, order)
        chosen = before if name == "up_to" else ~before
        if not chosen.any():
            where = "up to" if name == "up_to" else "after"
            raise SelectorError(f"{name}: no parameter comes {where} {model.structure.paths[at]!r}")
        return Wanted(chosen, ~everything)
    hint = closest(str(name), LABELS)
    raise SelectorError(f"no preset {name!r}.{hint} Known: {', '.join(LABELS)}.")


def head_of(model: TreeModel) -> int | None:
    """The row of the model's head, or None where there is no telling.

    The highest module with the name of a head; else, of the highest module with several parts that
    have parameters, the last of these parts.
    """
    s = model.structure
    has = s.n_parameters > 0
    if len(s.tied):
        has[s.tied[:, 0]] = True  # a head may have nothing but the embedding's weight
    named = [
        row
        for row in np.flatnonzero(~s.is_parameter & has).tolist()
        if s.paths[row].rpartition(".")[2].casefold() in HEADS
    ]
    if named:
        return min(named, key=lambda row: (int(s.level[row]), -row))
    row = 0
    while True:
        parts = [c for c in _children(s, row) if has[c] and not s.is_parameter[c]]
        if len(parts) == 1 and not any(s.is_parameter[c] for c in _children(s, row)):
            row = parts[0]
            continue
        return parts[-1] if parts else None


def up_to(model: TreeModel, at: int, order: Sequence[str] | None) -> np.ndarray:
    """The parameters of a row and of all that comes before it when the model is called."""
    s, rows = model.structure, model.parameter_rows
    if order is None:
        return rows < s.end[at]
    times = _times(s, order)
    here = times[at : int(s.end[at])].max()
    # A parameter is used when its layer is called.
    return (times[s.parent[rows]] <= here) | model.parameters_of([at])


def _times(s: Structure, order: Sequence[str]) -> np.ndarray:
    """When the layer of each row was called first; rows of none are with what was before them."""
    times = np.full(len(s), -1, np.int64)
    for i, path in enumerate(order):
        row = s.index.get(path)
        if row is not None and times[row] < 0:
            times[row] = i
    known = times >= 0
    latest = np.maximum.accumulate(np.where(known, np.arange(len(s)), 0))
    return np.where(known, times, times[latest])


def _head(model: TreeModel) -> np.ndarray:
    row = head_of(model)
    return model.parameters_of([] if row is None else [row])


def _biases(model: TreeModel) -> np.ndarray:
    names = (path.rpartition(".")[2].casefold() for path in model.index.paths)
    return np.fromiter((_is_bias(name) for name in names), bool, len(model.index))


def _is_bias(name: str) -> bool:
    return name == "bias" or name.startswith("bias_") or name.endswith("_bias")


def _norms(model: TreeModel) -> np.ndarray:
    s = model.structure
    # Own parameters: a block that is called PreNorm has a norm and much else in it.
    owners = s.parent[model.parameter_rows].tolist()
    return np.fromiter(("norm" in s.kinds[row].casefold() for row in owners), bool, len(owners))


def _children(s: Structure, row: int) -> list[int]:
    found, child = [], row + 1
    while child < s.end[row]:
        found.append(child)
        child = int(s.end[child])
    return found


_ONLY: dict[str, tuple[Callable[[TreeModel], np.ndarray], str]] = {
    "head_only": (_head, "head that could be told from the rest"),
    "all_but_head": (_head, "head that could be told from the rest"),
    "biases_only": (_biases, "biases"),
    "norms_only": (_norms, "norms with parameters"),
}
