"""The tracer, the tape and the table of derivative rules.

Reverse mode by tracing, as in HIPS/autograd: a `Tracer` stands for an array in a computation, and
a `Primitive` that meets one writes a node to the tracer's tape. A primitive that meets plain
arrays only is the raw function: what is not traced costs nothing and leaves nothing behind.
"""

import inspect
import itertools
from collections.abc import Callable
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple

from freezeviz.autodiff import _count, _watch
from freezeviz.autodiff._pool import summed
from freezeviz.errors import AutodiffError

RULES: dict[str, "Primitive"] = {}

# Across threads, too: two tapes of one age could not say which of them is the inner one.
_ages = itertools.count(1)


class Like(NamedTuple):
    """Shape and dtype of an argument: what a rule may keep of it without keeping its values."""

    shape: tuple[int, ...]
    dtype: Any


class Node:
    """One recorded call: its traced arguments' nodes, and what its rules asked to keep."""

    __slots__ = ("__weakref__", "cotangent", "name", "parents", "pull")

    def __init__(
        self,
        name: str,
        parents: tuple["Node | Leaf", ...],
        pull: Callable[[Any], tuple[Any, ...]] | None,
    ):
        self.name = name
        self.parents = parents
        self.pull = pull
        self.cotangent: Any = None


class Leaf:
    """The node of what a trace began with. Made for every parameter in every step."""

    name = "leaf"
    parents = ()
    pull = None
    # Of the class until something arrives: an instance without __init__ takes a third of the time.
    cotangent: Any = None


class Tape:
    """The nodes of one trace in the order of their creation, which is a topological order.

    Traces nest (a derivative of a derivative). An inner trace is begun after the outer one, so the
    youngest among the tapes of a primitive's arguments is the one that records. `nested` tapes
    were begun within another trace. A tape that is not `open` any more records nothing. One with a
    `watch` keeps the owner of each node beside it.
    """

    __slots__ = ("age", "nested", "nodes", "open", "owners", "watch")

    def __init__(self, nested: bool):
        self.age = next(_ages)
        self.nested = nested
        self.open = True
        self.nodes: list[Node] = []
        self.watch = None if nested else _watch.watching()
        self.owners: list[Any] = []

    def leaf(self, value: Any) -> "Tracer":
        return Tracer(value, Leaf(), self)

    def record(
        self, name: str, parents: tuple[Node | Leaf, ...], pull: Any, value: Any
    ) -> "Tracer":
        if not self.open:
            raise AutodiffError(
                f"{name}() got a traced array whose function has returned already; return the "
                "array from that function, or keep freezeviz.stop_gradient(...) of it"
            )
        node = Node(name, parents, pull)
        self.nodes.append(node)
        if self.watch is not None:
            self.owners.append(self.watch.owner())
        counts = _count._counts.get()
        if counts is not None:
            counts.nodes[name] += 1
        return Tracer(value, node, self)

    def backward(self, output: "Tracer", cotangent: Any) -> None:
        """Push `cotangent` from `output` to the leaves; consumes the tape."""
        output.node.cotangent = cotangent
        watch, owners, nodes = self.watch, self.owners, self.nodes
        if watch is not None:
            watch.begin_backward([node.pull for node in nodes], owners)
        while nodes:
            node = nodes.pop()
            if watch is not None:
                watch.work_for(owners.pop())
            g, pull = node.cotangent, node.pull
            node.cotangent = node.pull = None  # frees what the rules kept, as early as possible
            if g is None or pull is None:
                continue
            for parent, contribution in zip(node.parents, pull(g), strict=True):
                seen = parent.cotangent
                parent.cotangent = contribution if seen is None else summed(seen, contribution)
        if watch is not None:
            watch.end_backward()


class Tracer:
    """Stands for an array while a function is being differentiated.

    It has the array's `shape`, `ndim`, `size` and `dtype`, its operators and methods, and answers
    NumPy's functions. Operators are attached in ``_operators.py``.
    """

    __slots__ = ("__weakref__", "node", "tape", "value")
    # For arrays on the left of an operator that know no __array_ufunc__ (NumPy's and CuPy's do).
    __array_priority__ = 1000.0

    def __init__(self, value: Any, node: Node | Leaf, tape: Tape):
        self.value = value
        self.node = node
        self.tape = tape

    # Without a Python frame each: layers and losses ask for them in every call.
    shape = property(attrgetter("value.shape"))
    ndim = property(attrgetter("value.ndim"))
    size = property(attrgetter("value.size"))
    dtype = property(attrgetter("value.dtype"))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Tracer(shape={self.shape}, dtype={self.dtype})"


def raw(x: Any) -> Any:
    """Return the plain array under any number of tracers."""
    while type(x) is Tracer:
        x = x.value
    return x


def innermost(args: tuple[Any, ...]) -> Tape | None:
    """Return the tape that records a call with these arguments, None where nothing is traced."""
    tape = None
    for a in args:
        # Exact type, not isinstance: this runs once per operand of every operation.
        if type(a) is Tracer and (tape is None or a.tape.age > tape.age):
            tape = a.tape
    return tape


class _Arguments(tuple[Any, ...]):
    """Arguments of a variadic primitive."""

    @cached_property
    def likes(self) -> tuple[Like, ...]:
        # Once for all arguments: the rule of each asks for those of all. A stack of 200 arrays
        # would make 40,000.
        return tuple(map(_like, self))


class Primitive:
    """A function with derivative rules, one per differentiable argument.

    Parameters
    ----------
    fun : callable
        The raw function. Positional parameters are arrays, keyword-only ones options; a
        ``*args`` parameter makes it variadic.
    """

    def __init__(self, fun: Callable[..., Any], name: str):
        self.fun = fun
        self.name = name
        self.__name__ = name
        self.__doc__ = fun.__doc__
        parameters = inspect.signature(fun).parameters.values()
        self.arguments = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.rules: list[tuple[Callable[..., Any], tuple[Any, ...]] | None] = []

    def __call__(self, *args: Any, **options: Any) -> Any:
        tape = innermost(args)
        if tape is None:
            return self.fun(*args, **options)
        values: Any = []
        places: list[int] = []
        parents: list[Node | Leaf] = []
        outer = False
        for i, a in enumerate(args):
            if type(a) is Tracer:
                if a.tape is tape:
                    places.append(i)
                    parents.append(a.node)
                    a = a.value
                # Values may be tracers of an outer trace: the call below records there.
                outer = outer or type(a) is Tracer
            values.append(a)
        out = (self if outer else self.fun)(*values, **options)
        values = _Arguments(values) if self.variadic else tuple(values)
        pulls = [self._bind(i, values, out, options) for i in places]
        return tape.record(self.name, tuple(parents), _Pull(pulls), out)

    def _bind(self, i: int, values: tuple[Any, ...], out: Any, options: dict[str, Any]) -> Any:
        rule = self.rules[0] if self.variadic else self.rules[i]
        if rule is None:
            raise AutodiffError(
                f"{self.name}() has no derivative for its argument {self.arguments[i]!r}; "
                "pass freezeviz.stop_gradient(...) of it if none is wanted"
            )
        fn, sources = rule
        kept = tuple([source(i, values, out, options) for source in sources])
        return fn, kept


class _Pull:
    __slots__ = ("pulls",)

    def __init__(self, pulls: list[tuple[Callable[..., Any], tuple[Any, ...]]]):
        self.pulls = pulls

    def __call__(self, g: Any) -> tuple[Any, ...]:
        return tuple([fn(g, *kept) for fn, kept in self.pulls])


def primitive(fun: Callable[..., Any]) -> Primitive:
    """Make a primitive of a raw function, under the function's name."""
    return Primitive(fun, fun.__name__.strip("_"))


def defvjp(prim: Primitive, *variadic: Callable[..., Any], **rules: Callable[..., Any]) -> None:
    """Give a primitive its vector-Jacobian products and enter it in the table.

    A rule is written like the calculus. Its first parameter is the cotangent ``g``; by the names
    of the others it asks for what it needs, and the tape keeps exactly that:

    - ``out``: the value of the call,
    - an argument's name: the value of that argument,
    - an argument's name + ``_like``: its shape and dtype only,
    - an option's name: that option.

    For a variadic primitive there is one rule, which may ask for ``i`` (the position of the
    argument), ``likes`` (of all arguments) and ``others`` (the values of the other ones).
    """
    if prim.name in RULES:
        raise ValueError(f"{prim.name} has its rules already")
    if prim.variadic:
        (fn,) = variadic
        prim.rules = [(fn, _sources(prim, fn))]
    else:
        unknown = set(rules) - set(prim.arguments)
        if variadic or unknown:
            raise ValueError(f"{prim.name} has no arguments {sorted(unknown)}")
        prim.rules = [
            (rules[name], _sources(prim, rules[name])) if name in rules else None
            for name in prim.arguments
        ]
    RULES[prim.name] = prim


def _like(x: Any) -> Like:
    return Like(x.shape, x.dtype)


def _sources(prim: Primitive, fn: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    _, *names = inspect.signature(fn).parameters
    return tuple(_source(prim, name) for name in names)


def _source(prim: Primitive, name: str) -> Callable[..., Any]:
    if name == "out":
        return lambda i, values, out, options: out
    if prim.variadic and name == "i":
        return lambda i, values, out, options: i
    if prim.variadic and name == "others":
        return lambda i, values, out, options: (*values[:i], *values[i + 1 :])
    if prim.variadic and name == "likes":
        return lambda i, values, out, options: values.likes
    if name in prim.arguments:
        index = prim.arguments.index(name)
        return lambda i, values, out, options: values[index]
    if name.endswith("_like") and name[:-5] in prim.arguments:
        index = prim.arguments.index(name[:-5])
        return lambda i, values, out, options: _like(values[index])
    if name in prim.defaults:
        default = prim.defaults[name]
        return lambda i, values, out, options: options.get(name, default)
    raise ValueError(f"the rule of {prim.name} asks for {name!r}, which the primitive has not")
