"""Gradients in a model's trainable parameters."""

import copy
from collections.abc import Callable
from typing import Any

from freezeviz import autodiff
from freezeviz.autodiff._grad import value_and_gradients
from freezeviz.nn import _bind, _calls, _walk
from freezeviz.nn._members import Entry
from freezeviz.nn._module import Module

__all__ = ["value_and_grad"]


def value_and_grad(model: Module, fn: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """Return a function that gives ``fn``'s value and its gradient in the model's parameters.

    Parameters
    ----------
    model : Module
    fn : callable
        Computes with the model and returns a scalar, or a tuple whose first entry is the scalar
        to differentiate.

    Returns
    -------
    callable
        ``(*args, **kwargs) -> (value, gradients)`` with the arguments of `fn`. Gradients are
        nested as the model is and hold trainable parameters only: ``{}`` when all is frozen.
        Buffers (running statistics) that `fn` moved have their new values in the model
        afterwards; if `fn` raises, the model is as it was.

    Raises
    ------
    TypeError
        If `model` is no module.
    AutodiffError
        If `fn` does not return a scalar.

    Notes
    -----
    ``mlx.nn.value_and_grad``. Frozen parameters are never traced.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> model = nn.Linear(3, 1).freeze(keys="weight")
    >>> loss, grads = nn.value_and_grad(model, lambda x: (model(x) ** 2).mean())(np.ones((2, 3)))
    >>> list(grads)
    ['bias']
    """
    if not isinstance(model, Module):
        raise TypeError(
            f"nn.value_and_grad(model, fn) takes a model first, got {type(model).__name__}"
        )
    autodiff.prepare_kernels()

    keeper = _walk.keeper(model)

    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        walk = keeper.get()
        plan = walk.plan()
        scope = _bind.Scope(walk.tree.paths)

        def bound(values: list[Any]) -> Any:
            plan.bind(scope, values)
            token = _bind.current.set(scope)
            try:
                return fn(*args, **kwargs)
            finally:
                _bind.current.reset(token)

        value, gradients = value_and_gradients(bound, [entry.value for entry in plan.entries])
        if scope.buffers:
            scope.commit()
        listener = _calls.listening()
        if listener is not None:
            listener.gradients(map(_carrying, plan.entries, gradients))
        return value, plan.nest(gradients)

    return value_and_gradient


def _carrying(entry: Entry, gradient: Any) -> Entry:
    """Return a copy of an entry, which others keep, with a gradient for its value."""
    carrier = copy.copy(entry)
    carrier.value = gradient
    return carrier
