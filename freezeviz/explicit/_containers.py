"""Containers with named layers."""

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, overload

import numpy as np

from freezeviz.errors import ParameterKeyError, ShapeError, closest
from freezeviz.explicit._display import block, described, function_name, picture
from freezeviz.explicit._wrapper import WrapperLayer
from freezeviz.nn import Module, Sequential

__all__ = ["Chain", "Parallel", "SkipConnection", "WrappedFunction"]


class WrappedFunction(Module):
    """A function as a layer without parameters and states.

    Parameters
    ----------
    function : callable

    Notes
    -----
    Source: ``Lux.WrappedFunction``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import explicit as lux
    >>> lux.setup(0, lux.WrappedFunction(np.tanh))
    ({}, {})
    """

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the function returns."""
        return self.function(*args, **kwargs)

    def _extra_repr(self) -> str:
        return function_name(self.function)


def as_layer(value: Any, container: str) -> Any:
    """Return a module as it is, and a function as a layer.

    Raises
    ------
    TypeError
        If the value is neither.
    """
    if isinstance(value, Module):
        return value
    if isinstance(value, type):
        raise TypeError(
            f"{container} got the class {value.__name__}; make a layer of it: {value.__name__}()"
        )
    if not callable(value):
        raise TypeError(f"{container} takes layers and functions, got {value!r}")
    return WrappedFunction(value)


def named_layers(
    cls: type[Module], layers: tuple[Any, ...], named: dict[str, Any]
) -> dict[str, Any]:
    """Return layers by name: ``layer_1``, ``layer_2``, ... for those without one.

    Raises
    ------
    ValueError
        If a name is given twice, or cannot be an attribute.
    """
    kind = cls.__name__
    found = {f"layer_{i}": layer for i, layer in enumerate(layers, 1)}
    for name, layer in named.items():
        if name in found:
            raise ValueError(f"{kind}: {name!r} is the name of a layer given without one")
        if not name.isidentifier() or name[0] == "_" or hasattr(cls, name):
            raise ValueError(
                f"{kind}: a layer cannot be named {name!r}: names are identifiers, without a "
                f"leading underscore, and no attributes of {kind}"
            )
        found[name] = layer
    return {name: as_layer(layer, kind) for name, layer in found.items()}


class Chain(Sequential):
    """Calls its layers one after the other: a `Sequential` whose layers have names.

    Parameters
    ----------
    *layers : Module or callable
        Named ``layer_1``, ``layer_2``, ...
    **named : Module or callable
        Named as given.

    Notes
    -----
    ``chain[1]`` and ``chain["layer_2"]`` are the bare layer; ``chain[1:3]`` is a chain of the same
    layers with the same names, and ``chain.layers`` a list of them. Source: ``Lux.Chain``.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> lux.Chain(lux.Dense(3, 4), lux.Dropout(0.5), lux.Dense(4, 1))[1:]
    Chain(
        layer_2 = Dropout(p=0.5),
        layer_3 = Dense(4 => 1),  # 5 parameters
    )  # Total: 5 parameters, plus 2 states
    """

    def __init__(self, *layers: Any, **named: Any):
        Module.__init__(self)
        for name, layer in named_layers(type(self), layers, named).items():
            setattr(self, name, layer)

    @property
    def layers(self) -> list[Module]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The layers, in order."""
        return list(self._members.values())

    def __call__(self, x: Any) -> Any:
        """Return the output of the last layer; `x` itself of an empty chain."""
        for layer in self._members.values():
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: slice) -> "Chain": ...
    @overload
    def __getitem__(self, index: int | str) -> Any: ...
    def __getitem__(self, index: int | str | slice) -> Any:
        if isinstance(index, slice):
            return Chain(**dict(list(self._members.items())[index]))
        if isinstance(index, str):
            if index not in self._members:
                known = ", ".join(map(repr, self._members)) or "none"
                raise ParameterKeyError(
                    f"Chain has no layer {index!r}. Known: {known}.{closest(index, self._members)}"
                )
            return self._members[index]
        layers = self.layers
        if not -len(layers) <= index < len(layers):
            raise IndexError(f"Chain has {len(layers)} layers, numbered from 0; got {index}")
        return layers[index]

    def _picture(self) -> str:
        return block(type(self).__name__, [], self._members)

    def __repr__(self) -> str:
        return described(self)


class Parallel(Module):
    """Gives its input to each of its layers and combines their outputs.

    Parameters
    ----------
    connection : callable, Module or None
        Called with the outputs. A ufunc of two arguments (``np.add``) combines them one after the
        other. With None, the outputs are returned as a tuple.
    *layers : Module or callable
        Named ``layer_1``, ``layer_2``, ...
    **named : Module or callable
        Named as given.

    Notes
    -----
    If the input is a tuple, each layer gets its own entry. With a layer as connection, parameters
    and states are nested in ``layers`` and ``connection``. Source: ``Lux.Parallel``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import explicit as lux
    >>> model = lux.Parallel(np.add, lux.Dense(3, 2), lux.Dense(3, 2))
    >>> ps, st = lux.setup(0, model)
    >>> lux.apply(model, np.ones((4, 3), np.float32), ps, st)[0].shape
    (4, 2)
    """

    def __init__(self, connection: Any, *layers: Any, **named: Any):
        super().__init__()
        found = named_layers(type(self), layers, named)
        if isinstance(connection, Module):
            self._names = None
            self.layers = found
        else:
            if connection is not None:
                as_layer(connection, "Parallel")
            self._names = tuple(found)
            for name, layer in found.items():
                setattr(self, name, layer)
        self.connection: Any = connection

    def _layers(self) -> dict[str, Any]:
        if self._names is None:
            return self._members["layers"]
        return {name: self._members[name] for name in self._names}

    def __call__(self, x: Any) -> Any:
        """Return the combined outputs.

        Parameters
        ----------
        x : array, or tuple of one array for each layer

        Raises
        ------
        ShapeError
            If a tuple has another length than there are layers.
        """
        layers = self._layers()
        inputs = x if isinstance(x, tuple) else (x,) * len(layers)
        if len(inputs) != len(layers):
            raise ShapeError(
                f"Parallel has {len(layers)} layers ({', '.join(layers)}), got a tuple of "
                f"{len(inputs)} inputs"
            )
        outputs = tuple(f(value) for f, value in zip(layers.values(), inputs, strict=True))
        if self.connection is None:
            return outputs
        if isinstance(self.connection, np.ufunc) and self.connection.nin == 2:
            return reduce(self.connection, outputs)  # a third argument would be the output array
        return self.connection(*outputs)

    def _picture(self) -> str:
        return block(type(self).__name__, [_connection(self.connection)], self._layers())

    def __repr__(self) -> str:
        return described(self)


class SkipConnection(WrapperLayer):
    """Combines the output of a layer with its input.

    Parameters
    ----------
    layers : Module or callable
    connection : callable or Module
        Called with the output and the input: ``np.add`` makes a residual block.

    Notes
    -----
    With a function as connection, parameters and states are those of `layers`, as if there was no
    skip connection; with a layer, they are nested in ``layers`` and ``connection``. Source:
    ``Lux.SkipConnection``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import explicit as lux
    >>> model = lux.SkipConnection(lux.Dense(3, 3), np.add)
    >>> list(lux.setup(0, model)[0])
    ['weight', 'bias']
    """

    def __init__(self, layers: Any, connection: Any):
        super().__init__()
        self.layers = as_layer(layers, "SkipConnection")
        as_layer(connection, "SkipConnection")
        self.connection = connection

    def _wrapped_name(self) -> str | None:
        return None if isinstance(self.connection, Module) else "layers"

    def __call__(self, x: Any) -> Any:
        """Return ``connection(layers(x), x)``."""
        return self.connection(self.layers(x), x)

    def _picture(self) -> str:
        return block(type(self).__name__, [_connection(self.connection)], {"layers": self.layers})

    def __repr__(self) -> str:
        return described(self)


def _connection(connection: Any) -> str:
    if connection is None:
        return "None"
    return picture(connection) if isinstance(connection, Module) else function_name(connection)
