"""Dotted paths into a model, and globs over them."""

import re
from collections.abc import Callable
from functools import lru_cache

from freezeviz.errors import SelectorError

__all__ = ["KeyPath", "compile_glob", "glob_pattern", "glob_regex", "is_glob", "is_inside", "join"]


class KeyPath(tuple[str, ...]):
    """A path into a model, as the names on the way.

    Parameters
    ----------
    *names : str
        One name a level; indices of lists are written as strings. No names is the model itself.

    Notes
    -----
    Counterpart of Julia's ``Functors.KeyPath``, which Lux's ``layer_map`` hands out.

    Examples
    --------
    >>> KeyPath("layer_2", "layer_1")
    KeyPath('layer_2', 'layer_1')
    >>> str(KeyPath.parse("encoder.layers.0"))
    'encoder.layers.0'
    """

    __slots__ = ()

    def __new__(cls, *names: str) -> "KeyPath":  # noqa: D102 (described in its class)
        return super().__new__(cls, (str(name) for name in names))

    @classmethod
    def parse(cls, dotted: str) -> "KeyPath":
        """Return the path that `dotted` writes down.

        Parameters
        ----------
        dotted : str
            Empty for the path of the model itself.
        """
        return cls(*dotted.split(".")) if dotted else cls()

    def __getnewargs__(self) -> tuple[str, ...]:
        return tuple(self)

    def child(self, name: str) -> "KeyPath":
        """Return the path of the member `name` of this path.

        Parameters
        ----------
        name : str
        """
        return KeyPath(*self, name)

    def __str__(self) -> str:
        return ".".join(self)

    def __repr__(self) -> str:
        return f"KeyPath({', '.join(map(repr, self))})"


def join(*parts: str) -> str:
    """Return the dotted path of `parts`, of which empty ones are left out."""
    return ".".join(part for part in parts if part)


def is_inside(path: str, ancestor: str) -> bool:
    """Return whether `path` is `ancestor` or lies below it; everything lies below ``""``."""
    return not ancestor or path == ancestor or path.startswith(ancestor + ".")


def is_glob(pattern: str) -> bool:
    """Return whether `pattern` has a wildcard: ``*``, ``?`` or ``[``."""
    return any(c in pattern for c in "*?[")


@lru_cache(maxsize=256)
def compile_glob(pattern: str) -> Callable[[str], bool]:
    """Return a function that tells whether a dotted path matches a glob.

    In the pattern, ``*`` stands for any characters within one level, ``?`` for one of them,
    ``[abc]`` and ``[!abc]`` for one of a set, and a level that is ``**`` for any number of
    levels, none included.

    Raises
    ------
    SelectorError
        If the pattern is malformed.

    Examples
    --------
    >>> matches = compile_glob("layers.*.weight")
    >>> matches("layers.0.weight"), matches("layers.0.attention.weight")
    (True, False)
    """
    fullmatch = glob_pattern(pattern).fullmatch
    return lambda path: fullmatch(path) is not None


@lru_cache(maxsize=256)
def glob_pattern(pattern: str) -> re.Pattern[str]:
    """Return the compiled regular expression (to match in full) of a glob; see `compile_glob`.

    Raises
    ------
    SelectorError
        If the pattern is malformed.
    """
    return re.compile(glob_regex(pattern), re.DOTALL)


def glob_regex(pattern: str) -> str:
    """Return the text of the regular expression (to match in full) of a glob.

    Parameters
    ----------
    pattern : str

    Raises
    ------
    SelectorError
        If the pattern is malformed.
    """
    regex = ""
    levels = pattern.split(".")
    for i, level in enumerate(levels):
        last = i == len(levels) - 1
        if level == "**":
            regex += r".*" if last else r"(?:[^.]+\.)*"
            continue
        if level == "":
            raise SelectorError(f"glob {pattern!r} has an empty level: '..', or a dot at an end")
        regex += _level_regex(level, pattern) + ("" if last else r"\.")
    if len(levels) > 1 and levels[-1] == "**":
        # "encoder.**" is everything below encoder: never encoder itself, never "encoder_2.x".
        regex = regex.removesuffix(".*") + ".+"
    return regex


def _level_regex(level: str, pattern: str) -> str:
    regex, i = "", 0
    while i < len(level):
        c = level[i]
        if c == "*":
            if level[i : i + 2] == "**":
                raise SelectorError(f"glob {pattern!r}: '**' must be a level of its own")
            regex += r"[^.]*"
        elif c == "?":
            regex += r"[^.]"
        elif c == "[":
            end = level.find("]", i + 2)
            if end < 0:
                raise SelectorError(f"glob {pattern!r}: '[' without ']'")
            members = level[i + 1 : end]
            negate = members.startswith("!")
            # "-" makes ranges in globs, too; "--" and the like are warned about in a regex.
            escaped = re.sub(r"[\\\[\]^&~|]", r"\\\g<0>", members[negate:]).replace("--", r"-\-")
            try:
                re.compile(f"[{escaped}]")
            except re.error as error:
                raise SelectorError(f"glob {pattern!r}: {error}") from None
            # A negated set must not match the dot: a glob never crosses a level by accident.
            regex += f"[^.{escaped}]" if negate else f"[{escaped}]"
            i = end
        else:
            regex += re.escape(c)
        i += 1
    return regex
