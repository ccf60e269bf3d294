"""How a place in a PyTorch model is written in Python: ``model.encoder.layer[3].weight``."""

import re
from collections.abc import Collection, Sequence
from keyword import iskeyword
from typing import Any

import torch  # pyright: ignore[reportMissingImports]

from freezeviz.adapters._torch_tree import TorchTree

__all__ = ["cover", "expression", "expressions", "is_slice", "quote"]

_LISTS = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ParameterList)
_SLICED = (torch.nn.Sequential, torch.nn.ModuleList)
_DICTS = (torch.nn.ModuleDict, torch.nn.ParameterDict)


def expression(model: Any, path: str) -> str:
    """Return Python for the module or parameter at a path, with the model as ``model``."""
    text, here = "model", model
    for name in path.split(".") if path else ():
        if isinstance(here, _LISTS) and _position(here, name) is not None:
            text += f"[{name}]"
        elif isinstance(here, _DICTS):
            text += f"[{quote(name)}]"
        elif name.isidentifier() and not iskeyword(name):
            text += f".{name}"
        else:
            text = f"getattr({text}, {quote(name)})"
        here = _module(here, name)
    return text


def expressions(model: Any, paths: Sequence[str]) -> list[str]:
    """Return Python for several modules and parameters, neighbours in a list as one slice."""
    found: list[str] = []
    i = 0
    while i < len(paths):
        parent, _, name = paths[i].rpartition(".")
        here = _module(model, parent)
        first = _position(here, name) if type(here) in _SLICED and paths[i] else None
        end = i + 1
        if first is not None:
            prefix = f"{parent}." if parent else ""
            while end < len(paths) and paths[end] == f"{prefix}{first + end - i}":
                end += 1
        if first is None or end == i + 1:
            found.append(expression(model, paths[i]))
            i += 1
            continue
        last = first + end - i
        begin_text, end_text = first or "", "" if last == len(here) else last
        found.append(f"{expression(model, parent)}[{begin_text}:{end_text}]")
        i = end
    return found


def is_slice(text: str) -> bool:
    """Return whether an expression is a slice of a list: a list that is made for the occasion."""
    return re.search(r"\[\d*:\d*\]$", text) is not None


def quote(text: str) -> str:
    """Return a literal of a string, in double quotes where they do."""
    return repr(text) if '"' in text or repr(text)[1:-1] != text else f'"{text}"'


def _module(model: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        members = model._modules if model is not None else {}
        model = members[name] if name in members else None  # noqa: SIM401 (a scripted one's)
    return model


def _position(here: Any, name: str) -> int | None:
    """Return the index of a member of a list; None if its name is another (after a slice, say)."""
    if not name.isdecimal():
        return None
    members = here._parameters if isinstance(here, torch.nn.ParameterList) else here._modules
    names = list(members)
    return int(name) if int(name) < len(names) and names[int(name)] == name else None


def cover(tree: TorchTree, paths: Collection[str]) -> list[str]:
    """Return the fewest modules and parameters that are exactly these parameters, without overlap.

    Parameters
    ----------
    paths : collection of str
        First paths of parameters.

    Returns
    -------
    list of str
        Paths, in the order of the model: of modules all of whose parameters are wanted, and of
        single parameters. A tied parameter stands where it comes first.
    """
    wanted = set(paths)
    owned: dict[str, set[str]] = {place.path: set() for place in tree.places}
    for entry in tree.entries:
        for name in (entry.path, *entry.aliases):
            # A shared module has one place; by its other names it is part of what is above it.
            owner = name.rpartition(".")[0]
            while owner not in owned:
                owner = owner.rpartition(".")[0]
            owned[owner].add(entry.path)
    inside = {path: set(own) for path, own in owned.items()}
    for place in reversed(tree.places):
        if place.path:
            inside[place.parent] |= inside[place.path]
    found: list[str] = []
    taken: set[str] = set()  # modules that are covered, or lie in one that is
    for place in tree.places:
        path = place.path
        if path and place.parent in taken:
            taken.add(path)
        elif inside[path] and inside[path] <= wanted:
            taken.add(path)
            found.append(path)
            wanted -= inside[path]
        else:
            own = [entry.path for entry in place.entries if entry.path in wanted]
            found += own
            wanted -= set(own)
    return found
