"""What the terms of a selector pick in a PyTorch model, and how Python says the same.

Terms are those of `freezeviz.freezing`'s grammar, which is above this room: known here by the name
of their class and what they hold.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from freezeviz.adapters._torch_info import takes_gradient
from freezeviz.adapters._torch_names import quote
from freezeviz.adapters._torch_tree import TorchTree
from freezeviz.paths import compile_glob, glob_regex, is_glob, is_inside

__all__ = ["Condition", "Terms"]


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression in ``name`` or ``module``, and what it needs.

    Attributes
    ----------
    text : str
    holds : callable
        Tells the same of a name or a module.
    imports : frozenset of str
    all_names : bool
        It is right if asked about every name of a tied parameter, not only about the first.
    """

    text: str
    holds: Callable[[Any], bool]
    imports: frozenset[str] = frozenset()
    all_names: bool = False


_RE = frozenset({"import re"})
_NN = frozenset({"from torch import nn"})


class Terms:
    """Answers about the terms of selectors, for one model."""

    def __init__(self, tree: TorchTree) -> None:
        self.tree = tree
        order = (name for p in tree.places for name in (p.path, *(e.path for e in p.entries)))
        self._positions = {name: i for i, name in enumerate(order)}
        self._first = [entry.path for entry in tree.entries]
        self._names = {
            name: entry.path for entry in tree.entries for name in (entry.path, *entry.aliases)
        }
        self._integers = [
            path
            for place in tree.places
            for path, tensor in place.buffers
            if not takes_gradient(tensor) and path.rpartition(".")[2] in place.module._parameters
        ]

    # ---- what is picked --------------------------------------------------------------------

    def parts(self, term: Any) -> tuple[Any, ...]:
        """Return the terms that a term is the union of."""
        return term.parts if type(term).__name__ == "Either" else (term,)

    def place(self, term: Any) -> str | None:
        """Return the path of the module or parameter that a term is; None if it is none."""
        return term.text if type(term).__name__ == "Path" else None

    def position(self, path: str) -> int:
        """Return where in the model a path stands; at the end for a further name."""
        return self._positions.get(path, len(self._positions))

    def paths(self, term: Any) -> set[str]:
        """Return the first paths of the parameters that a term picks."""
        match type(term).__name__:
            case "Path":
                return self._below(lambda path: path == term.text)
            case "Glob":
                return self._below(compile_glob(term.pattern))
            case "Regex":
                return {first for name, first in self._names.items() if term.pattern.search(name)}
            case "Type":
                above = {
                    name for place in self._of_type(term) for name in (place.path, *place.aliases)
                }
                return self._below(above.__contains__)
            case "Others":
                return set(self._first) - self.paths(term.term)
            case "Either":
                return set().union(*map(self.paths, term.parts))
            case "Both":
                return set.intersection(*map(self.paths, term.parts))
            case "Without":
                return self.paths(term.parts[0]).difference(*map(self.paths, term.parts[1:]))
        raise TypeError(f"expected a term of a selector, got {type(term).__name__}")

    def _below(self, matches: Callable[[str], bool]) -> set[str]:
        known: dict[str, bool] = {"": matches("")}

        def picked(path: str) -> bool:
            if path not in known:
                known[path] = matches(path) or picked(path.rpartition(".")[0])
            return known[path]

        return {first for name, first in self._names.items() if picked(name)}

    def _of_type(self, term: Any) -> list[Any]:
        matches = compile_glob(term.name) if term.is_glob else term.name.__eq__
        return [
            place
            for place in self.tree.places
            if any(matches(base.__name__) for base in type(place.module).__mro__)
        ]

    def has_integers(self, path: str) -> bool:
        """Return whether there are integer parameters below a path."""
        return any(is_inside(name, path) for name in self._integers)

    # ---- how Python says it ----------------------------------------------------------------

    def modules(self, term: Any) -> Condition | None:
        """Return a test of ``module`` that tells those of a term; None if it names no type."""
        if type(term).__name__ != "Type":
            return None
        places = self._of_type(term)
        wanted = {id(place.module) for place in places}
        for test in self._type_tests(term, places):
            found = {id(place.module) for place in self.tree.places if test.holds(place.module)}
            if found == wanted:
                return test
        return None

    def _type_tests(self, term: Any, places: list[Any]) -> Iterator[Condition]:
        classes = {base for place in places for base in type(place.module).__mro__}
        for kind in classes:
            if kind.__name__ == term.name and kind.__module__.startswith("torch.nn.modules."):
                text = f"isinstance(module, nn.{kind.__name__})"
                yield Condition(text, lambda module, kind=kind: isinstance(module, kind), _NN)
        if not term.is_glob:
            text = f"type(module).__name__ == {quote(term.name)}"
            yield Condition(text, lambda module: type(module).__name__ == term.name)
            text = f"any(kind.__name__ == {quote(term.name)} for kind in type(module).__mro__)"
            matches = term.name.__eq__
        else:
            end = term.name.removeprefix("*")
            if not is_glob(end):
                text = f"type(module).__name__.endswith({quote(end)})"
                yield Condition(text, lambda module: type(module).__name__.endswith(end))
            regex = glob_regex(term.name)
            matches = compile_glob(term.name)
            text = (
                f"any(re.fullmatch({_raw(regex)}, kind.__name__) for kind in type(module).__mro__)"
            )
        yield Condition(
            text,
            lambda module: any(matches(kind.__name__) for kind in type(module).__mro__),
            _RE if term.is_glob else frozenset(),
        )

    def condition(self, term: Any) -> Condition | None:
        """Return a test of ``name`` that tells what a term picks; None if there is no short one.

        A term that is a path has none: what lies below it is written as a place.
        """
        if type(term).__name__ == "Path":
            return None
        wanted = self.paths(term)
        for test in self._name_tests(term):
            if {name for name in self._first if test.holds(name)} == wanted:
                return test
            if {first for name, first in self._names.items() if test.holds(name)} == wanted:
                return Condition(test.text, test.holds, test.imports, all_names=True)
        return None

    def _name_tests(self, term: Any) -> Iterator[Condition]:
        match type(term).__name__:
            case "Path":
                path = term.text
                yield Condition(f"name.startswith({quote(path + '.')})", _starts(path + "."))
                yield Condition(f"name == {quote(path)}", path.__eq__)
            case "Glob":
                yield from _glob_tests(term.pattern)
            case "Regex":
                search = term.pattern.search
                text = f"re.search({_raw(term.pattern.pattern)}, name)"
                yield Condition(text, lambda name: search(name) is not None, _RE)
            case "Others":
                for inner in self._right(term.term):
                    yield Condition(f"not {_one(inner.text)}", _not(inner.holds), inner.imports)
            case "Either":
                yield from self._joined(term.parts, " or ", any)
            case "Both":
                yield from self._joined(term.parts, " and ", all)
            case "Without":
                first, *others = ([*self._right(part)] for part in term.parts)
                if first and all(others):
                    tests = [first[0], *(other[0] for other in others)]
                    text = " and not ".join(_one(test.text) for test in tests)
                    imports = frozenset().union(*(test.imports for test in tests))
                    yield Condition(
                        text,
                        lambda name: (
                            tests[0].holds(name) and not any(test.holds(name) for test in tests[1:])
                        ),
                        imports,
                    )

    def _joined(
        self, parts: tuple[Any, ...], word: str, how: Callable[[Iterator[bool]], bool]
    ) -> Iterator[Condition]:
        found = [[*self._right(part)] for part in parts]
        if all(found):
            tests = [candidates[0] for candidates in found]
            text = word.join(_one(test.text) for test in tests)
            imports = frozenset().union(*(test.imports for test in tests))
            yield Condition(text, lambda name: how(test.holds(name) for test in tests), imports)

    def _right(self, term: Any) -> Iterator[Condition]:
        """Yield the tests of a part that are right for it."""
        wanted = self.paths(term)
        for test in self._name_tests(term):
            if {name for name in self._first if test.holds(name)} == wanted:
                yield test


def _glob_tests(pattern: str) -> Iterator[Condition]:
    """Yield tests of a glob, the most readable first; not all are right in every model."""
    head, stars, tail = pattern.rpartition("**.")
    if stars and not is_glob(head + tail):
        end = f"name.endswith({quote('.' + tail)})"
        if head:
            text = f"name.startswith({quote(head)}) and {end}"
            yield Condition(text, lambda n: n.startswith(head) and n.endswith("." + tail))
            text = f"name.startswith({quote(head)}) and {quote(f'.{tail}.')} in name"
            yield Condition(text, lambda n: n.startswith(head) and f".{tail}." in n)
        else:
            yield Condition(end, lambda name: name.endswith("." + tail))
            text = f"name.endswith({quote(tail)})"
            yield Condition(text, lambda name: name.endswith(tail))
            for part in (f".{tail}.", f"{tail}."):  # a module's name
                text = f"{quote(part)} in name"
                yield Condition(text, lambda name, part=part: part in name)
    for regex in (glob_regex(pattern), glob_regex(pattern) + r"(\..+)?"):
        full = re.compile(regex).fullmatch
        text = f"re.fullmatch({_raw(regex)}, name)"
        yield Condition(text, lambda name, full=full: full(name) is not None, _RE)


def _one(text: str) -> str:
    """Return an expression, in parentheses if it is made of several."""
    return f"({text})" if re.search(r"\b(and|or|not|==)\b|==", text) else text


def _not(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda name: not holds(name)


def _starts(prefix: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(prefix)


def _raw(text: str) -> str:
    """Return a literal of a regular expression, raw if that says the same."""
    plain = text.isprintable() and '"' not in text and not text.endswith("\\")
    return f'r"{text}"' if plain else repr(text)
