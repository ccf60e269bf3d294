"""What a computation does besides computing, noticed and taken back."""

import random as python_random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np

from freezeviz import random
from freezeviz.nn import Module, _bind
from freezeviz.nn._members import Tree
from freezeviz.train._features_purity import SMALL

DRAWS = "draws random numbers"
CHANGES = "changes its own attributes"

_GENERATORS = np.random.Generator | np.random.RandomState | python_random.Random


class Guard:
    """Notices what a computation does besides computing, and takes it back.

    That is: it draws, it moves buffers, or a module of a user's changes what it holds.
    """

    def __init__(self) -> None:
        self._drew = False
        self._scope: Any = None
        self._back: dict[int, tuple[str, Callable[[], bool]]] = {}
        self._kept: list[Any] = []  # of the ids in _back

    def _generator(self) -> np.random.Generator:
        self._drew = True
        return np.random.default_rng(0)

    @contextmanager
    def watching(self, model: Module) -> Iterator[None]:
        """Let nothing that is computed in the block have an effect on the model."""
        tree = Tree(model, private=True)
        self._scope = _bind.Scope(tree.paths)
        for everybodys in (np.random, python_random):
            self._remember(everybodys, DRAWS, _drawn(everybodys))
        for _, module in tree.modules:
            if not _is_ours(type(module)):
                self._keep(vars(module))
                for kind in type(module).__mro__:
                    for function in vars(kind).values() if not _is_ours(kind) else ():
                        self._keep(function)
            else:  # a function in a `Sequential`
                self._keep([v for v in vars(module)["_members"].values() if type(v) is list])
        try:
            with _bind.entered(self._scope), random.using(self._generator):
                yield
        finally:
            self._restore()

    def seen(self) -> str | None:
        """Return what was noticed since this was last asked, in words."""
        seen = self._restore()
        if self._scope.buffers:
            seen = "moves its buffers"
        if self._drew:
            seen = DRAWS
        self._drew = False
        self._scope.buffers.clear()
        self._scope.values.clear()
        return seen

    def _restore(self) -> str | None:
        changed = {word for word, back in self._back.values() if back()}
        return DRAWS if DRAWS in changed else next(iter(changed), None)

    def _keep(self, thing: Any) -> None:
        """Remember what is in a thing, and in what it holds; not in other objects."""
        if id(thing) in self._back:
            return
        inside: Any = ()
        if isinstance(thing, _GENERATORS):
            self._remember(thing, DRAWS, _drawn(thing))
        elif isinstance(thing, dict):
            self._remember(thing, CHANGES, _dict_changed(thing))
            inside = [value for key, value in thing.items() if key != "_frozen"]  # not a call's
        elif isinstance(thing, list | deque):
            self._remember(thing, CHANGES, _list_changed(thing))
            inside = thing
        elif isinstance(thing, set):
            self._remember(thing, CHANGES, _set_changed(thing))
        elif isinstance(thing, np.ndarray) and thing.flags.writeable and thing.nbytes <= SMALL:
            self._remember(thing, CHANGES, _array_changed(thing))
        elif isinstance(thing, FunctionType):
            inside = [g for g in _named_in(thing) if isinstance(g, _GENERATORS)]
        for part in inside:
            self._keep(part)

    def _remember(self, thing: Any, word: str, back: Callable[[], bool]) -> None:
        self._back[id(thing)] = word, back
        self._kept.append(thing)


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("freezeviz.") or kind is object


def _named_in(function: FunctionType) -> list[Any]:
    """Return what a function has from around it."""
    known = function.__globals__
    found = [known[name] for name in function.__code__.co_names if name in known]
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # nothing in it yet
            continue
    return found


# Each returns a function that puts back what was there and tells whether it was another.


def _drawn(generator: Any) -> Callable[[], bool]:
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        get, put = partial(getattr, bits, "state"), partial(setattr, bits, "state")
    elif isinstance(generator, python_random.Random) or generator is python_random:
        get, put = generator.getstate, generator.setstate
    else:
        get, put = partial(generator.get_state, legacy=False), generator.set_state
    before = get()

    def back() -> bool:
        if _is_same(get(), before):
            return False
        put(before)
        return True

    return back


def _is_same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return all(_is_same(value, b[key]) for key, value in a.items())
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


def _dict_changed(thing: dict[Any, Any]) -> Callable[[], bool]:
    before = dict(thing)

    def back() -> bool:
        if thing.keys() == before.keys() and all(thing[k] is v for k, v in before.items()):
            return False
        # Never empty: another thread may be reading the model.
        for key in thing.keys() - before.keys():
            del thing[key]
        thing.update(before)
        if [*thing] != [*before]:
            thing.clear()
            thing.update(before)
        return True

    return back


def _list_changed(thing: Any) -> Callable[[], bool]:
    before = list(thing)

    def back() -> bool:
        if len(thing) == len(before) and all(a is b for a, b in zip(thing, before, strict=True)):
            return False
        thing.clear()
        thing.extend(before)
        return True

    return back


def _set_changed(thing: set[Any]) -> Callable[[], bool]:
    before = set(thing)

    def back() -> bool:
        if thing == before:
            return False
        thing.clear()
        thing.update(before)
        return True

    return back


def _array_changed(thing: np.ndarray) -> Callable[[], bool]:
    before = thing.copy()

    def back() -> bool:
        if thing.tobytes() == before.tobytes():
            return False
        thing[...] = before
        return True

    return back
