"""Gradients in a model's trainable parameters."""

from collections.abc import Callable
from typing import Any

from freezeviz import autodiff
from freezeviz.nn import _bind, _calls, _updating
from freezeviz.nn._members import Tree
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

    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        tree = Tree(model)
        trainable = [entry for entry in tree.parameters if not entry.frozen]
        scope = _bind.Scope(tree.paths)

        def bound(values: list[Any]) -> Any:
            for entry, value in zip(trainable, values, strict=True):
                for slot in entry.slots:
                    scope.bind_slot(slot, value)
            with _bind.entered(scope):
                return fn(*args, **kwargs)

        value, gradients = autodiff.value_and_grad(bound)([entry.value for entry in trainable])
        scope.commit()
        for entry, gradient in zip(trainable, gradients, strict=True):
            entry.value = gradient
        listener = _calls.listening()
        if listener is not None:
            listener.gradients(trainable)
        return value, _updating.nested(model, trainable) if trainable else {}

    return value_and_gradient
