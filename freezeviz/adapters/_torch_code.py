"""A policy as plain PyTorch: lines that do the same to a fresh model, and need no freezeviz.

What a step selects is worked out on the model at hand. Of the ways to write it, the first is taken
that selects exactly this, so a short form that is right by the names of this model may be taken
where the general one is long.
"""

from collections.abc import Collection, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from freezeviz.adapters._torch_names import cover, expression, expressions, is_slice, quote
from freezeviz.adapters._torch_terms import Condition, Terms
from freezeviz.adapters._torch_tree import TorchTree

__all__ = ["torch_code"]

SHORT = 2  # lines that are better than a loop
MOST_LINES = 12  # above these, names in a set
EVERY_NAME = "remove_duplicate=False"
# PyTorch refuses a gradient for integers, such as quantised weights.
NO_INTEGERS = "parameter.is_floating_point()"

# What `_torch_hold.Held` does, and what that takes for one of its own: by the two attributes.
HELD = """
# Held: no dropout, and statistics stand still, though model.train() is called.
class Held:  # a class: a model with a lambda in it cannot be pickled
    def __init__(self, module):
        self.module, self.mode = module, getattr(module.train, "mode", module.training)
        module.train, module.training = self, False

    def __call__(self, mode=True):  # in the place of module.train
        type(self.module).train(self.module, mode)
        self.module.training, self.mode = False, mode
        return self.module


""".splitlines()


def torch_code(tree: TorchTree, policy: Any) -> str:
    """Return the lines. `policy` has steps as `freezeviz.Policy`'s, of which `term` is parsed."""
    writer = _Writer(tree)
    lines = [*writer.steps(policy.steps), *writer.holds()]
    if not lines:
        return "# Nothing is frozen: a fresh model is like this.\n"
    imports = [line for line in ("import re", "from torch import nn") if line in writer.imports]
    return "\n".join([*imports, *([""] if imports else []), *lines]) + "\n"


class _Writer:
    def __init__(self, tree: TorchTree) -> None:
        self.tree = tree
        self.model = tree.places[0].module
        self.terms = Terms(tree)
        self.imports: set[str] = set()
        self._frozen: set[str] = set()
        self._held: set[str] = set()

    # ---- a step ----------------------------------------------------------------------------

    def steps(self, steps: Sequence[Any]) -> Iterator[str]:
        """Yield what freezes and unfreezes, and note what is held, of which `holds` tells."""
        chosen = [self.terms.paths(step.term) for step in steps]
        for i, step in enumerate(steps):
            freeze = step.action == "freeze"
            self._note(chosen[i], freeze, step.hold)
            # A step may be there only for what it holds: another freezes or unfreezes the same.
            if not chosen[i] <= set().union(*chosen[i + 1 :]):
                yield from self._step(step, chosen[i], freeze)

    def _step(self, step: Any, chosen: set[str], freeze: bool) -> Iterator[str]:
        lines = self._shortest(step.term, chosen, freeze)
        yield from lines
        yield from (x for x in self._further_tensors(chosen, freeze) if x not in lines)

    def _shortest(self, term: Any, chosen: set[str], freeze: bool) -> list[str]:
        parts = self.terms.parts(term)
        listed = self._listed(parts, chosen, freeze)
        if len(listed) <= SHORT:
            return listed
        lines: list[str] = []
        imports: set[str] = set()
        by_path: set[str] = set()
        others = []
        conditions: dict[bool, list[Condition]] = {False: [], True: []}
        for part in parts:
            if (modules := self.terms.modules(part)) is not None:
                imports |= modules.imports
                lines += [
                    "for module in model.modules():",
                    f"    if {modules.text}:",
                    *(f"        {line}" for line in self._set_in("module", freeze)),
                ]
            elif (condition := self.terms.condition(part)) is not None:
                imports |= condition.imports
                conditions[condition.all_names].append(condition)
            else:
                by_path |= self.terms.paths(part)
                others.append(part)
        for all_names, tests in conditions.items():
            if tests:
                text = " or ".join(test.text for test in tests)
                lines += self._loop(text, freeze, all_names=all_names)
        if by_path:
            lines = [*self._listed(others, by_path, freeze), *lines]
        if len(listed) <= min(len(lines), MOST_LINES):
            return listed
        if len(lines) > MOST_LINES and by_path:
            return self._named(chosen, freeze)
        self.imports |= imports
        return lines

    def _listed(self, parts: Sequence[Any], chosen: set[str], freeze: bool) -> list[str]:
        """Return lines for places: those that the parts name and what covers the rest, or all."""
        rest, named = set(chosen), set()
        for part in parts:
            if (path := self.terms.place(part)) is not None:
                named.add(path)
                rest -= self.terms.paths(part)
        found = []
        for paths in (named.union(cover(self.tree, rest)), cover(self.tree, chosen)):
            ordered = sorted(paths, key=self.terms.position)
            found.append(self._set(ordered, freeze))
        return min(found, key=len)

    def _set(self, paths: list[str], freeze: bool) -> list[str]:
        if freeze or not any(map(self.terms.has_integers, paths)):
            places = expressions(self.model, paths)
            return [f"{place}.requires_grad_({not freeze})" for place in places]
        lines: list[str] = []
        for path in paths:
            place = expression(self.model, path)
            if self.terms.has_integers(path):
                lines += self._set_in(place, freeze)
            else:
                lines.append(f"{place}.requires_grad_(True)")
        return lines

    def _set_in(self, module: str, freeze: bool) -> list[str]:
        if freeze or not self.terms.has_integers(""):
            return [f"{module}.requires_grad_({not freeze})"]
        return [
            f"for parameter in {module}.parameters():",
            f"    parameter.requires_grad_({NO_INTEGERS})",
        ]

    def _loop(self, test: str, freeze: bool, *, all_names: bool = False) -> list[str]:
        value = NO_INTEGERS if not freeze and self.terms.has_integers("") else str(not freeze)
        return [
            f"for name, parameter in model.named_parameters({EVERY_NAME if all_names else ''}):",
            f"    if {test}:",
            f"        parameter.requires_grad_({value})",
        ]

    def _named(self, paths: set[str], freeze: bool) -> list[str]:
        ordered = [entry.path for entry in self.tree.entries if entry.path in paths]
        return [
            "names = {",
            *(f"    {quote(path)}," for path in ordered),
            "}",
            *self._loop("name in names", freeze),
        ]

    def _further_tensors(self, chosen: set[str], freeze: bool) -> Iterator[str]:
        """Yield lines for tensors that share memory, which PyTorch does not know of."""
        if len(chosen) == len(self.tree.entries):
            return  # the whole model has them all
        for entry in self.tree.entries:
            if entry.path in chosen and len(entry.tensors) > 1:
                for name in (entry.path, *entry.aliases):
                    yield f"{expression(self.model, name)}.requires_grad_({not freeze})"

    # ---- holding ---------------------------------------------------------------------------

    def _note(self, chosen: set[str], freeze: bool, hold: bool) -> None:
        if freeze:
            self._frozen |= chosen
        else:
            self._frozen -= chosen
        if freeze and not hold:
            return
        index = self.tree.index
        meant = index.meant(
            self.tree.carriers, index.mask(chosen), index.mask(self._frozen), freeze
        )
        layers = {self.tree.places[i].path for i in np.flatnonzero(meant).tolist()}
        self._held = self._held | layers if freeze else self._held - layers

    def holds(self) -> Iterator[str]:
        """Yield what holds the modules that are held in the end."""
        if not self._held:
            return
        held = {id(place.module) for place in self.tree.places if place.path in self._held}
        whole: list[str] = []  # all in them are held
        with_parts: list[str] = []  # and there is something in them
        around: list[str] = []  # something in them is not held
        covered: set[int] = set()
        for place in self.tree.places:
            if id(place.module) not in held or id(place.module) in covered:
                continue
            inside = _inside(place.module, held)
            if inside is not None:
                covered |= inside
                whole.append(place.path)
                with_parts += [place.path] if len(inside) > 1 else []
            elif _asks_mode(type(place.module)):
                around.append(place.path)
        if not whole and not around:
            return
        if len(with_parts) < SHORT:  # else one loop does for all
            around += (path for path in whole if path not in with_parts)
            whole = with_parts
        yield from HELD
        yield from _hold_each(expressions(self.model, around))
        yield from _hold_wholes(expressions(self.model, whole))


def _inside(module: Any, held: Collection[int]) -> set[int] | None:
    """Return the ids of a module and of all in it; None if one of them is not held.

    Not recursive, as models may be deeper than the stack.
    """
    found: set[int] = set()
    todo = [module]
    while todo:
        here = todo.pop()
        if id(here) in found:
            continue
        if id(here) not in held:
            return None
        found.add(id(here))
        todo += [child for _, child in here._modules.items() if child is not None]
    return found


def _asks_mode(kind: type) -> bool:
    """Return whether a module's own code asks for the mode. A container's does not."""
    bases = kind.__mro__[: kind.__mro__.index(torch.nn.Module)]
    codes = [
        value.__code__
        for base in bases
        for value in vars(base).values()
        if isinstance(value, FunctionType)
    ]
    while codes:
        code = codes.pop()
        if "training" in code.co_names:
            return True
        codes += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    return False


def _hold_each(places: list[str]) -> Iterator[str]:
    slices = [place for place in places if is_slice(place)]
    if not slices and len(places) <= SHORT:
        yield from (f"Held({place})" for place in places)
        return
    if len(places) == 1:
        yield f"for module in {places[0]}:"
    else:
        yield "for module in ("
        yield from (f"    {'*' if place in slices else ''}{place}," for place in places)
        yield "):"
    yield "    Held(module)"


def _hold_wholes(places: list[str]) -> Iterator[str]:
    if len(places) == 1:
        yield f"for module in {places[0]}.modules():"
        yield "    Held(module)"
    elif places:
        yield "for part in ("
        yield from (f"    {place}," for place in places)
        yield "):"
        yield "    for module in part.modules():"
        yield "        Held(module)"
