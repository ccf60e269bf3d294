"""Containers."""

from collections.abc import Callable
from typing import Any

from freezeviz.nn._layers import _joining
from freezeviz.nn._layers._chains import chained
from freezeviz.nn._layers._linear import Linear
from freezeviz.nn._module import Module

__all__ = ["Sequential"]


class Sequential(Module):
    """Calls its layers one after the other.

    Parameters
    ----------
    *modules : Module or callable

    Attributes
    ----------
    layers : list

    Raises
    ------
    TypeError
        If something is a class, or cannot be called.

    Notes
    -----
    Source: ``mlx.nn.Sequential``.

    Examples
    --------
    >>> from freezeviz import nn
    >>> [path for path, _ in nn.Sequential(nn.Linear(4, 3), nn.ReLU()).named_parameters()]
    ['layers.0.weight', 'layers.0.bias']
    """

    def __init__(self, *modules: Callable[..., Any]):
        super().__init__()
        for module in modules:
            if isinstance(module, type):
                name = module.__name__
                raise TypeError(f"Sequential got the class {name}; make a layer of it: {name}()")
            # A module without a call holds parts alone; it can be frozen and saved with the rest.
            if not (callable(module) or isinstance(module, Module)):
                raise TypeError(f"Sequential takes modules and callables, got {module!r}")
        self.layers = list(modules)

    def __call__(self, x: Any) -> Any:
        """Return the output of the last layer."""
        return _joining.call(self.layers, x)


_joining.add_joint(Linear, chained)
