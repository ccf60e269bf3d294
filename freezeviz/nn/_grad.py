"""Gradients in a model's trainable parameters."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from freezeviz import autodiff
from freezeviz.nn import _bind, _updating
from freezeviz.nn._members import Entry, Tree
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

    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        tree = Tree(model)
        trainable = [entry for entry in tree.parameters if not entry.frozen]
        committed: list[_bind.Scope] = []

        def bound(values: dict[str, Any]) -> Any:
            scope = scope_of(tree)
            for entry in trainable:
                bind_entry(scope, entry, values[entry.path])
            with entered(scope):
                result = fn(*args, **kwargs)
            committed.append(scope)
            return result

        value, gradients = autodiff.value_and_grad(bound)({e.path: e.value for e in trainable})
        committed[0].commit()
        for entry in trainable:
            entry.value = gradients[entry.path]
        return value, _updating.nested(model, trainable) if trainable else {}

    return value_and_gradient


def scope_of(tree: Tree) -> _bind.Scope:
    """Return an empty scope over the modules of a tree."""
    return _bind.Scope({id(module): module for _, module in tree.modules}, tree.paths)


def entered(scope: _bind.Scope) -> AbstractContextManager[_bind.Scope]:
    """Put a scope in force for a block."""
    return _bind.entered(scope)


def bind_entry(scope: _bind.Scope, entry: Entry, value: Any) -> None:
    """Let `value` stand for an array in every slot that shares it."""
    for slot in entry.slots:
        top = slot.name.partition(".")[0]
        if slot.container is slot.owner._members:
            scope.bind(slot.owner, top, value)
            continue
        bound = scope.values.get(id(slot.owner), {})
        member = bound.get(top, slot.owner._members[top])
        scope.bind(slot.owner, top, _replaced(member, slot.name.split(".")[1:], value))


def _replaced(container: Any, keys: list[str], value: Any) -> Any:
    """Return nested lists and dicts with one leaf replaced, the rest shared."""
    if not keys:
        return value
    if isinstance(container, list):
        index = int(keys[0])
        changed = _replaced(container[index], keys[1:], value)
        return [changed if i == index else item for i, item in enumerate(container)]
    # Keys of a dict may contain dots or be no strings: find the one that the name spells.
    for key, item in container.items():
        spelt = str(key).split(".")
        if keys[: len(spelt)] == spelt:
            return container | {key: _replaced(item, keys[len(spelt) :], value)}
    raise KeyError(keys[0])
