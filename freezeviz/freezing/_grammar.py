r"""Selectors as text: what people type into a search box, and what a policy is made of.

::

    encoder.layers.0          a path: the parameter, or all below the layer
    encoder.layers.*.linear1  a glob: * within one level, ** over any number, ? and [0-5], [!ab]
    type:Linear               all below layers of this class or one derived from it; type:*Norm
    re:attention\.\w+_proj    parameters with a path in which the regular expression is found
    "odd name | *"            a path to be taken as it stands: a string of JSON; or '...', raw
    a | b    a & b    a - b   either, both, the first without the second
    ~a    (a | b) & c         all others; parentheses

From the strongest to the weakest: ``~``, ``-``, ``&``, ``|``, as in Python. A ``-`` needs space on
both sides, as names have it inside. A regular expression goes on to the next operator that has
space on both sides, or is quoted: ``re:"a b"``. Quotes may stand for a part of a path, where the
rest is a glob: ``blocks."a*b".**``. The empty text, and ``""``, are the whole model.
"""

import json
import re
from dataclasses import dataclass
from typing import NoReturn

from freezeviz.errors import SelectorError
from freezeviz.paths import compile_glob

__all__ = [
    "Both",
    "Either",
    "Glob",
    "Others",
    "Path",
    "Regex",
    "Term",
    "Type",
    "Without",
    "parse",
    "quoted",
    "union_parts",
]

MOST_NESTED = 50
_JSON = json.JSONDecoder(strict=False)  # any character in a quote
_OPERATOR = re.compile(r"\s+[|&-]\s")


@dataclass(frozen=True, slots=True)
class Path:
    """A path, letter by letter."""

    text: str


@dataclass(frozen=True, slots=True)
class Glob:
    """A glob over paths."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression, searched for in the paths of parameters."""

    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Type:
    """The name of a class, or a glob over such names."""

    name: str
    is_glob: bool


@dataclass(frozen=True, slots=True)
class Either:
    """What any of the parts picks."""

    parts: tuple["Term", ...]


@dataclass(frozen=True, slots=True)
class Both:
    """What all of the parts pick."""

    parts: tuple["Term", ...]


@dataclass(frozen=True, slots=True)
class Without:
    """What the first part picks and none of the others."""

    parts: tuple["Term", ...]


@dataclass(frozen=True, slots=True)
class Others:
    """What a term does not pick."""

    term: "Term"


Term = Path | Glob | Regex | Type | Either | Both | Without | Others


def parse(text: str) -> Term:
    """Return what a selector's text means.

    Raises
    ------
    SelectorError
        If it is malformed; the message names the place.
    """
    if not text.strip():
        return Path("")
    reader = _Reader(text)
    term = reader.either()
    reader.skip_space()
    if reader.at < len(text):
        reader.fail("expected an operator (| & -) or the end")
    return term


def union_parts(text: str) -> tuple[str, ...]:
    """Return the texts of which a text is the union; itself, if it is none.

    Raises
    ------
    SelectorError
        If it is malformed.
    """
    if not text.strip():
        return (text,)
    reader = _Reader(text)
    cuts = [0]
    reader.both()
    while reader.takes("|"):
        cuts.append(reader.at)
        reader.both()
    parse(text)
    ends = [*(cut - 1 for cut in cuts[1:]), len(text)]
    return tuple(text[a:b].strip() for a, b in zip(cuts, ends, strict=True))


_is_plain = re.compile(r"[\w.\-]*\w[\w.\-]*").fullmatch


def quoted(path: str) -> str:
    """Return a path as a text that means exactly this path, or this part of one."""
    if _is_plain(path) or not path:
        return path
    return json.dumps(path, ensure_ascii=False)


class _Reader:
    """A recursive descent, one method for each strength of binding."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.nested = 0

    def fail(self, what: str, at: int | None = None) -> NoReturn:
        at = self.at if at is None else at
        got = repr(self.text[at : at + 12]) if at < len(self.text) else "the end"
        raise SelectorError(f"selector {self.text!r}: {what} at character {at + 1}, got {got}")

    # ---- operators -----------------------------------------------------------------------------

    def either(self) -> Term:
        parts = [self.both()]
        while self.takes("|"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def both(self) -> Term:
        parts = [self.without()]
        while self.takes("&"):
            parts.append(self.without())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def without(self) -> Term:
        parts = [self.unary()]
        while self.takes("-"):
            parts.append(self.unary())
        return parts[0] if len(parts) == 1 else Without(tuple(parts))

    def unary(self) -> Term:
        self.skip_space()
        if self.nested >= MOST_NESTED:
            self.fail(f"at most {MOST_NESTED} levels of parentheses and '~', not one more")
        self.nested += 1
        try:
            if self.text.startswith("~", self.at):
                self.at += 1
                return Others(self.unary())
            if self.text.startswith("(", self.at):
                opened = self.at
                self.at += 1
                inner = self.either()
                self.skip_space()
                if not self.text.startswith(")", self.at):
                    self.fail(f"expected ')' for the '(' at character {opened + 1}")
                self.at += 1
                return inner
            return self.atom()
        finally:
            self.nested -= 1

    def takes(self, operator: str) -> bool:
        """Go past an operator, if it is the next thing."""
        before = self.at
        self.skip_space()
        if not self.text.startswith(operator, self.at) or (
            operator == "-" and not (self.at > before and self._space_at(self.at + 1))
        ):
            self.at = before
            return False
        self.at += 1
        return True

    def skip_space(self) -> None:
        while self._space_at(self.at):
            self.at += 1

    def _space_at(self, at: int) -> bool:
        return at < len(self.text) and self.text[at].isspace()

    # ---- what stands between them --------------------------------------------------------------

    def atom(self) -> Term:
        begin = self.at
        if self.text.startswith("re:", begin):
            self.at += 3
            return self._regex()
        if self.text.startswith("type:", begin):
            self.at += 5
        pieces = self._pieces()
        if self.at == begin or (not pieces and begin + 5 == self.at):
            self.fail("expected a path, a glob, type:..., re:... or '('")
        is_glob = any(c in piece for piece, literal in pieces if not literal for c in "*?[")
        pattern = "".join(_escaped(p) if literal and is_glob else p for p, literal in pieces)
        if self.text.startswith("type:", begin):
            return Type(pattern, is_glob)
        if not is_glob:
            return Path(pattern)
        compile_glob(pattern)  # raises what is wrong with it
        return Glob(pattern)

    def _pieces(self) -> list[tuple[str, bool]]:
        """Read up to space, an operator or a parenthesis: texts, and whether each was quoted."""
        pieces: list[tuple[str, bool]] = []
        text = self.text
        while self.at < len(text):
            c = text[self.at]
            if c in "\"'":
                pieces.append((self._quote(), True))
                continue
            if c.isspace() or c in "|&()":
                break
            closed = text.find("]", self.at + 2) + 1 if c == "[" else 0
            end = closed or self.at + 1
            pieces.append((text[self.at : end], False))
            self.at = end
        return pieces

    def _quote(self) -> str:
        begin = self.at
        if self.text[begin] == "'":
            end = self.text.find("'", begin + 1)
            if end < 0:
                self.fail("a quote without its end", begin)
            self.at = end + 1
            return self.text[begin + 1 : end]
        try:
            value, self.at = _JSON.raw_decode(self.text, begin)
        except json.JSONDecodeError as error:
            self.fail(f"a quote that is no string of JSON ({error.msg})", begin)
        return value

    def _regex(self) -> Regex:
        begin = self.at
        if self.text.startswith('"', begin):
            pattern = self._quote()
        else:
            self.at = self._regex_end()
            pattern = self.text[begin : self.at].rstrip()
        if not pattern:
            self.fail("expected a regular expression after 're:'", begin)
        try:
            return Regex(re.compile(pattern))
        except (re.error, OverflowError, RecursionError) as error:
            self.fail(f"a malformed regular expression ({error})", begin)

    def _regex_end(self) -> int:
        text, at, depth, in_set = self.text, self.at, 0, False
        while at < len(text):
            c = text[at]
            if c == "\\":
                at += 1
            elif in_set:
                in_set = c != "]"  # one that comes first is a member: see below
            elif c == "[":
                in_set = True
                first = at + 1 + text.startswith("^", at + 1)
                at = first if text.startswith("]", first) else at
            elif c == "(":
                depth += 1
            elif c == ")":
                if not depth:
                    return at
                depth -= 1
            elif c.isspace() and not depth and _OPERATOR.match(text, at):
                return at
            at += 1
        return len(text)


def _escaped(literal: str) -> str:
    return re.sub(r"[*?\[]", r"[\g<0>]", literal)
