"""The first parameters and states of a model."""

from typing import Any

import numpy as np

from freezeviz import random
from freezeviz.backend import array_namespace, to_numpy
from freezeviz.errors import TiedParameterError
from freezeviz.explicit._layout import Buffer, Items, Layout, Node, Parameter, as_list
from freezeviz.explicit._split import map_leaves, partition
from freezeviz.explicit._ties import conflicts, refusal
from freezeviz.nn import Module
from freezeviz.nn._freezing import read_only, thawed

__all__ = ["setup"]

_ABSENT = object()


def setup(rng: np.random.Generator | int | None, model: Module) -> tuple[Any, Any]:
    """Return the parameters and the states of a model, to be given to `apply`.

    Parameters
    ----------
    rng : numpy.random.Generator, int or None
        Draws the values of the layers that can draw theirs (the library's: see
        `nn.Module.initial_parameters`); an int is a seed. Other layers' parameters are copies of
        what they hold, and so are all with None.
    model : Module
        Stays as it is.

    Returns
    -------
    ps : dict
        Trainable parameters, nested as ``model.parameters()``, with ``{}`` for layers without.
        Wrappers are no level. Of what has several names, it holds the first.
    st : dict
        States: buffers, ``rng`` and ``training`` of the layers whose call depends on it, and the
        frozen parameters of frozen layers (`FrozenLayer`). Modes are those of the model.

    Raises
    ------
    TiedParameterError
        If an array is frozen under one of its names and not under another.
    TypeError
        If `model` is no model, or `rng` no generator or seed.

    Notes
    -----
    The same seed gives the same numbers whether anything in the model is frozen or not: frozen
    values are drawn in their turn. Source: ``LuxCore.setup``, where they are drawn later.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> ps, st = lux.setup(0, lux.Chain(lux.Dense(3, 4), lux.Dropout(0.5)))
    >>> ps["layer_1"]["weight"].shape
    (4, 3)
    >>> list(st["layer_2"])
    ['rng', 'training']
    """
    if not isinstance(model, Module):
        raise TypeError(f"setup(rng, model) takes a model, got {type(model).__name__}")
    if not (rng is None or isinstance(rng, np.random.Generator | int | np.integer)):
        raise TypeError(
            f"setup(rng, model): rng is a numpy.random.Generator, an int or None, got {rng!r}"
        )
    layout = Layout(model)
    found = conflicts(layout)
    if found:
        raise TiedParameterError(refusal("setup", found[0]))
    draws = _Draws(rng)
    draws.parameters(layout.root)
    return _trees(layout.root, draws)


class _Draws:
    """First values: of parameters all at once, so that states cannot come between."""

    def __init__(self, rng: np.random.Generator | int | None):
        self.anew = rng is not None
        self.rng = random.default_rng() if rng is None else np.random.default_rng(rng)
        self.values: dict[int, Any] = {}

    def parameters(self, part: Any) -> None:
        """Draw or copy the parameters below a part, in order."""
        if isinstance(part, Node):
            drawn = part.module.initial_parameters(self.rng) if self._can_draw(part) else {}
            for key, child in part.parts.items():
                if isinstance(child, Parameter):
                    self.values[id(child.entry)] = _like(child.entry.value, drawn.get(key))
                else:
                    self.parameters(child)
        elif isinstance(part, Items):
            for child in part.parts.values():
                self.parameters(child)
        elif isinstance(part, Parameter):
            self.values[id(part.entry)] = _like(part.entry.value, None)

    def buffers(self, node: Node) -> dict[str, Any]:
        """Return new values of a layer's own buffers."""
        return node.module.initial_buffers() if self._can_draw(node) else {}

    def generator(self) -> np.random.Generator:
        """Return a generator for a layer, which depends on the seed and on the layer's turn."""
        return np.random.default_rng(int(self.rng.integers(2**63)))

    def _can_draw(self, node: Node) -> bool:
        """Return whether a layer's class says how its own `__init__` draws.

        A subclass with an `__init__` of its own may hold other values than its base class draws.
        """
        if not self.anew or node.shared is not None:
            return False
        classes = type(node.module).__mro__
        draws = next(i for i, c in enumerate(classes) if "initial_parameters" in vars(c))
        makes = next(i for i, c in enumerate(classes) if "__init__" in vars(c))
        return draws <= makes


def _like(held: Any, drawn: Any) -> Any:
    """Return drawn values in the type of the held ones; a copy of those if none fit."""
    held = thawed(held)
    xp = array_namespace(held)
    if drawn is None or tuple(drawn.shape) != tuple(held.shape):
        return xp.asarray(held, copy=True)
    values = drawn if type(drawn) is type(held) else to_numpy(drawn)
    return xp.asarray(values, dtype=held.dtype)


def _trees(part: Any, draws: _Draws) -> tuple[Any, Any]:
    """Return the parameters and the states of a part."""
    if isinstance(part, Parameter):
        return draws.values[id(part.entry)], _ABSENT
    if isinstance(part, Buffer):
        value = part.slot.value
        return _ABSENT, None if value is None else _like(value, None)
    if isinstance(part, Items):
        pairs = {key: _trees(child, draws) for key, child in part.parts.items()}
        ps, st = (_present(pairs, side) for side in (0, 1))
        if part.length is not None:
            return as_list(ps, part.length), as_list(st, part.length) if st else _ABSENT
        return ps, st or _ABSENT
    if isinstance(part, Node):
        return ({}, {}) if part.shared is not None else _node_trees(part, draws)
    return _ABSENT, _ABSENT


def _node_trees(node: Node, draws: _Draws) -> tuple[Any, Any]:
    pairs = {key: _trees(child, draws) for key, child in node.parts.items()}
    ps, st = (_present(pairs, side) for side in (0, 1))
    for name, value in draws.buffers(node).items():
        if name in st and st[name] is not None:
            st[name] = _like(st[name], value)
    if "rng" in node.needs:
        st["rng"] = draws.generator()
    if "training" in node.needs:
        st["training"] = vars(node.module)["_training"]
    for wrapper in reversed(node.wrappers):
        if wrapper._splits:
            ps, frozen = partition(ps, wrapper._paths)
            st = {"frozen_params": map_leaves(read_only, frozen), "states": st}
    return ps, st


def _present(pairs: dict[Any, tuple[Any, Any]], side: int) -> dict[Any, Any]:
    return {key: pair[side] for key, pair in pairs.items() if pair[side] is not _ABSENT}
