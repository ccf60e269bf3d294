"""Layers around one other layer, which add no level to parameters, states and paths."""

from typing import Any, ClassVar

from freezeviz.nn import Module

__all__ = ["WrapperLayer", "wrapped_name"]


class WrapperLayer(Module):
    """A layer around one other: its parameters and states are those of that one.

    A subclass names the attribute that holds the wrapped layer. In ``ps``, ``st`` and the paths of
    `layer_map` the wrapper is no level; in dotted paths of modules (``named_parameters()``), which
    are made of attributes, it is.

    Attributes
    ----------
    wraps : str
        Name of the attribute.

    Notes
    -----
    Lux's ``AbstractLuxWrapperLayer``.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> class Scaled(lux.WrapperLayer):
    ...     wraps = "model"
    ...
    ...     def __init__(self, model):
    ...         super().__init__()
    ...         self.model = model
    ...
    ...     def __call__(self, x):
    ...         return 2 * self.model(x)
    >>> ps, st = lux.setup(0, Scaled(lux.Dense(2, 1)))
    >>> list(ps)
    ['weight', 'bias']
    """

    wraps: ClassVar[str | None] = None
    _splits: ClassVar[bool] = False  # whether its state holds parameters: `FrozenLayer`

    def _freezes(self, path: tuple[str, ...]) -> bool:
        """Return whether the parameter at a path within the wrapped layer is frozen here."""
        return False

    def _wrapped_name(self) -> str | None:
        """Return the name of the wrapped layer's attribute; None for an ordinary container."""
        return type(self).wraps

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the wrapped layer returns."""
        name = self._wrapped_name()
        if name is None:
            raise NotImplementedError(f"{type(self).__name__} does not say what it computes")
        return getattr(self, name)(*args, **kwargs)


def wrapped_name(layer: Module) -> str | None:
    """Return the name under which a wrapper holds its layer, None if it is no wrapper.

    Raises
    ------
    TypeError
        If the wrapper has arrays or other layers of its own, or none to wrap.
    """
    name = layer._wrapped_name() if isinstance(layer, WrapperLayer) else None
    if name is None:
        return None
    if list(layer._members) != [name] or not isinstance(layer._members[name], Module):
        raise TypeError(
            f"{type(layer).__name__} wraps {name!r} and so has this one layer and nothing else, "
            f"got {list(layer._members)}: what has more is a container, derived from nn.Module"
        )
    return name
