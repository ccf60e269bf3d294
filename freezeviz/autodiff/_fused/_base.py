"""What a fused primitive is."""

import inspect
from collections.abc import Callable
from typing import Any

from freezeviz.autodiff import _sets
from freezeviz.autodiff._primitives import unbroadcast
from freezeviz.autodiff._tracer import Like, Tracer, innermost
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
        for name in self.arguments[len(args) :]:
            if name not in options:
                break
            args = (*args, options.pop(name))
        if any(type(option) is Tracer for option in options.values()):
            # A learned mask, say: kernels know no derivative in an option, primitives do.
            return self.reference(*args, **options)
        tape = innermost(args)
        if tape is None:
            needs = (False,) * len(args)
            forward, _ = self._pair(needs, args, options)
            return forward(needs, *args, **options)[0]
        values = tuple([a.value if type(a) is Tracer and a.tape is tape else a for a in args])
        if tape.nested or any(type(v) is Tracer for v in values):
            return self.reference(*args, **options)
        needs = tuple(type(a) is Tracer for a in args)
        forward, backward = self._pair(needs, values, options)
        out, residual = forward(needs, *values, **options)
        parents = tuple(a.node for a in args if type(a) is Tracer)
        likes = tuple(Like(a.shape, a.dtype) if type(a) is Tracer else None for a in args)
        name = self.name

        def pull(g: Any) -> tuple[Any, ...]:
            # Only a pullback that was made outside of the trace that differentiates it gets
            # here with a tracer; kernels take plain arrays only.
            if type(g) is Tracer:
                raise AutodiffError(
                    f"the pullback of {name}() cannot be differentiated by itself; "
                    "call vjp() within the function that is differentiated"
                )
            cotangents = backward(g, needs, residual)
            pairs = zip(cotangents, likes, strict=True)
            return tuple([unbroadcast(c, like) for c, like in pairs if like is not None])

        if type(out) is tuple:
            return tape.record(name, parents, pull, out[0]), *out[1:]
        return tape.record(name, parents, pull, out)
