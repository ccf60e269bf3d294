"""Policies: what is frozen, as plain data that fits in a file and on any model with such names."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezeviz.adapters import adapt
from freezeviz.errors import PolicyError, SelectorError
from freezeviz.freezing import _grammar as grammar
from freezeviz.freezing._pick import Picker

__all__ = ["Policy", "PolicyStep"]

FORMAT, VERSION = "freezeviz-policy", 1
ACTIONS = ("freeze", "unfreeze")


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """One step of a policy.

    Attributes
    ----------
    action : str
        ``"freeze"`` or ``"unfreeze"``.
    select : str
        A path, a glob, or any other text that `freezeviz.select` understands.
    hold : bool
        Of a freeze: hold the layers, too. An unfreeze lets go what has nothing frozen any more.

    Raises
    ------
    PolicyError
        If the step makes no sense.
    """

    action: str
    select: str
    hold: bool = False

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise PolicyError(f"action: expected 'freeze' or 'unfreeze', got {self.action!r}")
        if not isinstance(self.select, str):
            raise PolicyError(f"select: expected a text, got {_what(self.select)}")
        if not isinstance(self.hold, bool):
            raise PolicyError(f"hold: expected true or false, got {_what(self.hold)}")
        if self.hold and self.action == "unfreeze":
            raise PolicyError("hold: only a freeze can hold, this is an unfreeze")
        try:
            grammar.parse(self.select)
        except SelectorError as error:
            raise PolicyError(f"select: {error}") from None

    @property
    def term(self) -> grammar.Term:
        """What `select` means, for adapters that write it in their framework's own words."""
        return grammar.parse(self.select)

    @property
    def terms(self) -> tuple[str, ...]:
        """The texts that `select` is the union of."""
        return grammar.union_parts(self.select)


class Policy:
    """What to freeze and unfreeze, step by step: plain data, for any model with such names.

    As a file it is JSON::

        {
          "format": "freezeviz-policy",
          "version": 1,
          "steps": [
            {"action": "freeze", "select": "encoder", "hold": true},
            {"action": "unfreeze", "select": "encoder.layers.11 | **.bias"}
          ]
        }

    ``select`` is any text that `freezeviz.select` understands; ``hold`` may be left out and is
    false then.

    Parameters
    ----------
    steps : iterable of PolicyStep

    Raises
    ------
    PolicyError
        If one of them is no `PolicyStep`.

    Examples
    --------
    >>> from freezeviz.freezing import PolicyStep
    >>> policy = fv.Policy([PolicyStep("freeze", ""), PolicyStep("unfreeze", "head")])
    >>> policy.apply(model)
    >>> fv.Policy.from_json(policy.to_json()) == policy
    True
    """

    __slots__ = ("steps",)

    def __init__(self, steps: Iterable[PolicyStep] = ()) -> None:
        self.steps: tuple[PolicyStep, ...] = tuple(steps)
        for i, step in enumerate(self.steps):
            if not isinstance(step, PolicyStep):
                raise PolicyError(f"steps[{i}]: expected a PolicyStep, got {type(step).__name__}")

    def apply(self, model: Any) -> None:
        """Carry the steps out, one after another, on what the model is now.

        Parameters
        ----------
        model : model of a supported framework

        Raises
        ------
        SelectorError
            If a step matches nothing in the model; nothing is changed then.
        TypeError
            If the model is of no supported framework.
        """
        adapter = adapt(model)
        picker = Picker(adapter)
        chosen: list[tuple[str, ...]] = []
        for i, step in enumerate(self.steps):
            try:
                chosen.append(picker.index.names(picker.pick(step.select)))
            except SelectorError as error:
                raise SelectorError(f"steps[{i}] of the policy: {error}") from None
        for step, paths in zip(self.steps, chosen, strict=True):
            if step.action == "freeze":
                adapter.set_frozen(paths, True, hold=True if step.hold else None)
            else:
                adapter.set_frozen(paths, False, hold=False)

    def to_json(self) -> str:
        """Return the policy as a text of JSON; see `Policy` for the format."""
        steps = [
            {"action": step.action, "select": step.select} | ({"hold": True} if step.hold else {})
            for step in self.steps
        ]
        lines = ",\n".join(f"    {json.dumps(step)}" for step in steps)
        body = f"[\n{lines}\n  ]" if steps else "[]"
        return f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n  "steps": {body}\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> "Policy":
        """Return the policy that a text of JSON describes.

        Parameters
        ----------
        text : str

        Raises
        ------
        PolicyError
            If it is no policy; the message names the place.
        """
        try:
            data = json.loads(text, object_pairs_hook=_without_repeats)
        except PolicyError:
            raise
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError
            raise PolicyError(f"a policy is a text of JSON: {error}") from None
        _check_keys(data, "the policy", {"format", "version", "steps"}, set())
        if data["format"] != FORMAT:
            raise PolicyError(f"format: expected {FORMAT!r}, got {_what(data['format'])}")
        version = data["version"]
        if type(version) is not int or version < 1:
            raise PolicyError(f"version: expected {VERSION}, got {_what(version)}")
        if version > VERSION:
            raise PolicyError(
                f"version: this freezeviz knows {VERSION}, got {version}: a newer one wrote it"
            )
        if not isinstance(data["steps"], list):
            raise PolicyError(f"steps: expected a list, got {_what(data['steps'])}")
        return cls(_step(i, step) for i, step in enumerate(data["steps"]))

    def save(self, path: Any) -> None:
        """Write the policy to a file.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: Any) -> "Policy":
        """Return the policy that a file describes.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        PolicyError
            If it is no policy; the message names file and place.
        OSError
            If the file cannot be read.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise PolicyError(f"{path}: expected a text in UTF-8: {error}") from None
        except PolicyError as error:
            raise PolicyError(f"{path}: {error}") from None

    def __eq__(self, other: object) -> bool:
        return self.steps == other.steps if isinstance(other, Policy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.steps)

    def __repr__(self) -> str:
        lines = [
            f"\n  {step.action} {step.select or 'everything'}{', held' if step.hold else ''}"
            for step in self.steps
        ]
        return f"Policy({''.join(lines) or 'nothing is frozen'})"


def _step(i: int, data: Any) -> PolicyStep:
    place = f"steps[{i}]"
    _check_keys(data, place, {"action", "select"}, {"hold"})
    try:
        return PolicyStep(**data)
    except PolicyError as error:
        raise PolicyError(f"{place}.{error}") from None


def _check_keys(data: Any, place: str, needed: set[str], optional: set[str]) -> None:
    if not isinstance(data, dict):
        raise PolicyError(f"{place}: expected an object, got {_what(data)}")
    for name in sorted(needed - data.keys()):
        raise PolicyError(f"{place}: there is no {name!r}")
    for name in data:
        if name not in needed | optional:
            known = ", ".join(map(repr, sorted(needed | optional)))
            raise PolicyError(f"{place}: unknown key {name!r}; known are {known}")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise PolicyError(f"the key {twice!r} stands twice in one object")
    return found


def _what(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
