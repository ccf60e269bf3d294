"""Texts that stand for many paths: ``**.bias``, ``type:LayerNorm``, ``layers.[0-5]``."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from freezeviz.adapters._index import ParameterIndex
from freezeviz.errors import SelectorError
from freezeviz.explorer._cover import TERM
from freezeviz.freezing._grammar import quoted
from freezeviz.freezing._pick import Picker

# What gives the parameters that texts pick, together, as a bool array.
Pick = Callable[[Sequence[str]], np.ndarray]
_NUMBER = re.compile(r"(?<=\.)[0-9]+(?=\.)")


class Pattern(NamedTuple):
    """A text, and the nodes that it is about."""

    text: str
    nodes: np.ndarray


def patterns_of(picker: Picker) -> list[Pattern]:
    """Return patterns for names that several nodes end with, types, and lists of the same."""
    nodes = picker.index.nodes
    ends: dict[tuple[str, ...], list[int]] = defaultdict(list)
    lists: dict[str, list[str]] = defaultdict(list)
    for path, node in nodes.items():
        before, _, last = path.rpartition(".")
        if not last or last.isdecimal():
            continue
        ends[last,].append(node)
        above = before.rpartition(".")[2]
        if above and not above.isdecimal():
            ends[above, last].append(node)
        starred = _NUMBER.sub("*", path)
        if starred != path and ".." not in path:  # no glob has an empty level
            lists[starred].append(path)
    groups: dict[str, list[int]] = defaultdict(list)
    for names, found in ends.items():
        groups[".".join(("**", *map(quoted, names)))] += found
    for paths in lists.values():
        groups[_glob(paths[0].split("."))] += map(nodes.__getitem__, paths)
    kinds = {layer.kind for layer in picker.layers}
    for layers in picker.classes:
        layer = layers[0]
        known = [nodes[path] for x in layers for path in (x.path, *x.aliases) if path in nodes]
        for kind in {layer.kind, *(base.__name__ for base in layer.bases)} & kinds:
            groups[f"type:{quoted(kind)}"] += known
    return [Pattern(text, np.array(found)) for text, found in groups.items() if len(found) > 1]


def _glob(names: Sequence[str]) -> str:
    inner = ("*" if name.isdecimal() else quoted(name) for name in names[1:-1])
    return ".".join((quoted(names[0]), *inner, quoted(names[-1])))


def merged(index: ParameterIndex, pick: Pick, paths: Iterable[str]) -> list[str]:
    """Return texts that pick what these paths pick: those that differ in a number are joined."""
    left = dict.fromkeys(paths)
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for path in left:
        names = tuple(path.split("."))
        for i, name in enumerate(names):
            if name.isdecimal() and name.isascii() and str(int(name)) == name:
                groups[names[:i], names[i + 1 :]].append(path)
    texts: list[tuple[str, list[str]]] = []
    for (before, after), alike in sorted(groups.items(), key=lambda item: -len(item[1])):
        alike = [path for path in alike if path in left]
        if len(alike) < 2 or "" in (*before, *after):
            continue
        joined = _joined(index, pick, before, alike, after)
        if _cost(joined) < _cost(map(quoted, alike)):
            texts += [(text, alike) for text in joined]
            for path in alike:
                del left[path]
    texts += [(quoted(path), [path]) for path in left]
    nodes, start = index.nodes, index.start
    texts.sort(key=lambda item: start[[nodes[path] for path in item[1]]].min())
    return [text for text, _ in texts]


def _joined(
    index: ParameterIndex,
    pick: Pick,
    before: tuple[str, ...],
    paths: Sequence[str],
    after: tuple[str, ...],
) -> list[str]:
    numbers = [path.split(".")[len(before)] for path in paths]
    meant = index.covered(index.nodes[path] for path in paths)
    for wildcards in (["*"], number_globs(numbers)):
        start, end = map(quoted, before), list(map(quoted, after))
        start = list(start)
        texts = [".".join((*start, wildcard, *end)) for wildcard in wildcards]
        try:
            if np.array_equal(pick(texts), meant):
                return texts
        except SelectorError:  # a name that no glob can have in it
            pass
    return [quoted(path) for path in paths]


def _cost(texts: Iterable[str]) -> float:
    return sum(TERM + len(text) for text in texts)


def number_globs(numbers: Iterable[str]) -> list[str]:
    """Return globs that match exactly these numbers: ``["[0-9]", "1[0-2]"]``."""
    last_digits: dict[str, set[str]] = defaultdict(set)
    for number in numbers:
        last_digits[number[:-1]].add(number[-1])
    tens: dict[tuple[str, str, bool], set[str]] = defaultdict(set)
    for start, digits in last_digits.items():
        tens[start[:-1], _digits(digits), bool(start)].add(start[-1:])
    return [
        f"{start}{_digits(middle) if has_tens else ''}{last}"
        for (start, last, has_tens), middle in sorted(
            tens.items(), key=lambda item: (len(item[0][0]) + item[0][2], item[0], min(item[1]))
        )
    ]


def _digits(digits: set[str]) -> str:
    inside = "".join(sorted(digits))
    if len(inside) == 1:
        return inside
    if len(inside) > 2 and ord(inside[-1]) - ord(inside[0]) == len(inside) - 1:
        return f"[{inside[0]}-{inside[-1]}]"
    return f"[{inside}]"
