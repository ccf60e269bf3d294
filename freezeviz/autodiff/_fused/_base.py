"""What a fused primitive is."""

import inspect
from collections.abc import Callable
from typing import Any

from freezeviz.autodiff import _sets
from freezeviz.autodiff._primitives import unbroadcast
from freezeviz.autodiff._tracer import Like, Tape, Tracer
from freezeviz.errors import AutodiffError

FUSED: dict[str, "Fused"] = {}


class Fused:
    """A primitive whose derivatives share work, with kernels of its own.

    Parameters
    ----------
    forward : callable
        ``forward(needs, *args, **options) -> (out, residual)``, where `needs` says of each array
        argument whether its derivative will be asked for, and `residual` is what `backward`
        will want. If `out` is a tuple, its first entry is differentiable and the others are
        plain by-products.
    backward : callable
        ``backward(g, needs, residual) -> cotangents``, one per array argument, None where
        `needs` is false. An argument that was broadcast or cast may get the cotangent of what it
        was broadcast or cast to.
    reference : callable
        The same function composed of primitives: used under nested traces, where kernels would
        have to be differentiated themselves, and by the tests as the kernels' oracle.

    Notes
    -----
    `forward` and `backward` are the portable kernels, for any array library. `add` brings faster
    ones for some calls.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        reference: Callable[..., Any],
    ):
        self.name = self.__name__ = name
        self.forward = forward
        self.backward = backward
        self.reference = reference
        self.__doc__ = reference.__doc__
        parameters = inspect.signature(reference).parameters.values()
        self.arguments = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        if name in FUSED:
            raise ValueError(f"{name} is defined already")
        FUSED[name] = self
        self.kernels: list[_sets.Kernels] = []
        self._asked: tuple[_sets.Kernels, ...] = ()
        _sets.on_change(self._choose)

    def add(self, kernels: _sets.Kernels) -> None:
        """Add a set's kernels for this primitive."""
        self.kernels.append(kernels)
        self._choose()

    def _choose(self) -> None:
        self._asked = _sets.chosen(self.kernels)

    def _pair(self, needs: Any, args: Any, options: Any) -> tuple[Any, Any]:
        """Return forward and backward of the first kernels that accept a call."""
        for kernels in self._asked:
            if kernels.accepts(needs, *args, **options):
                return kernels.forward, kernels.backward
        return self.forward, self.backward

    def __call__(self, *args: Any, **options: Any) -> Any:
        if options:
            if len(args) < len(self.arguments):
                for name in self.arguments[len(args) :]:
                    if name not in options:
                        break
                    args = (*args, options.pop(name))
            for option in options.values():
                if type(option) is Tracer:
                    # A learned mask, say: kernels know no derivative in an option, primitives do.
                    return self.reference(*args, **options)
        # All about the arguments in one pass: the kernels of a small layer take less than this.
        tape: Tape | None = None
        values: list[Any] = []
        needed: list[bool] = []
        parents: list[Any] = []
        likes: list[tuple[Any, Any] | None] = []
        for a in args:
            if type(a) is Tracer:
                if tape is None:
                    tape = a.tape
                parents.append(a.node)
                value = a.value
                if a.tape is not tape or type(value) is Tracer:
                    return self.reference(*args, **options)
                values.append(value)
                needed.append(True)
                likes.append((value.shape, value.dtype))
            else:
                values.append(a)
                needed.append(False)
                likes.append(None)
        needs = tuple(needed)
        if tape is None:
            forward, _ = self._pair(needs, args, options)
            return forward(needs, *args, **options)[0]
        if tape.nested:
            return self.reference(*args, **options)
        forward, backward = self._pair(needs, values, options)
        out, residual = forward(needs, *values, **options)
        pull = FusedPull(self.name, backward, needs, residual, likes)
        if type(out) is tuple:
            return tape.record(self.name, tuple(parents), pull, out[0]), *out[1:]
        return tape.record(self.name, tuple(parents), pull, out)


class FusedPull:
    """The pullback of one call: from the cotangent of its value to those of its arguments.

    Attributes
    ----------
    kept : anything
        What the kernels keep for it.
    """

    __slots__ = ("_backward", "_likes", "_name", "_needs", "kept")

    def __init__(self, name: str, backward: Callable[..., Any], needs: Any, kept: Any, likes: Any):
        self._name = name
        self._backward = backward
        self._needs = needs
        self.kept = kept
        self._likes = likes

    def __call__(self, g: Any) -> list[Any]:
        # Only a pullback that was made outside of the trace that differentiates it gets
        # here with a tracer; kernels take plain arrays only.
        if type(g) is Tracer:
            raise AutodiffError(
                f"the pullback of {self._name}() cannot be differentiated by itself; "
                "call vjp() within the function that is differentiated"
            )
        found: list[Any] = []
        cotangents = self._backward(g, self._needs, self.kept)
        for c, like in zip(cotangents, self._likes, strict=True):
            if like is not None:
                if c.shape != like[0] or c.dtype != like[1]:
                    c = unbroadcast(c, Like(*like))
                found.append(c)
        return found
