"""The layer that freezes another."""

from contextlib import nullcontext
from typing import Any, Literal

from freezeviz.errors import TiedParameterError
from freezeviz.explicit._display import described
from freezeviz.explicit._layout import Layout, template
from freezeviz.explicit._split import as_names, prefixes, resolve
from freezeviz.explicit._ties import conflicts, refusal
from freezeviz.explicit._wrapper import WrapperLayer
from freezeviz.nn import Module, _bind
from freezeviz.nn._members import Tree
from freezeviz.paths import KeyPath

__all__ = ["FrozenLayer"]

Tied = Literal["refuse", "all"]


class FrozenLayer(WrapperLayer):
    """A layer with some or all of its parameters frozen; made by `freeze`.

    Parameters
    ----------
    layer : Module
        Stays as it is. If it is a `FrozenLayer` already, the names are united.
    which : str or iterable of str, optional
        Names of the layer's own parameters; of a container's, names of its children. Dotted
        names (``"layer_1.weight"``) lead further down. All parameters by default.
    tied : {"refuse", "all"}
        What to do if one of the frozen arrays has another name in the layer which is not among
        `which`: raise, or freeze it under all its names.
    hold : bool
        Also hold the layer: running statistics do not move and dropout is off inside it, whatever
        the mode.

    Attributes
    ----------
    layer : Module
    which : tuple of str or None

    Raises
    ------
    ParameterKeyError
        If the layer has no parameter of a name.
    TiedParameterError
        If only one of two names of an array would be frozen.
    TypeError
        If `layer` is no layer, or a name no text.
    ValueError
        If `tied` is neither of the two.

    Notes
    -----
    In the explicit face, ``ps`` holds what is still trainable, and ``st`` is
    ``{"frozen_params": ..., "states": ...}``: the frozen values and the states of the layer inside.
    Source: ``Lux.Experimental.FrozenLayer``.

    In the stateful face, the frozen names are frozen in every model that the wrapper is part of
    (``trainable_parameters()``, `nn.value_and_grad`, optimizers, the explorer), and not in others
    that hold the same layer. ``unfreeze()`` of such a model thaws them there, as any others. The
    wrapper reads and writes attributes of the layer as its own, so that it can stand in for it.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> lux.FrozenLayer(lux.Dense(2, 2), ("weight",))
    FrozenLayer(Dense(2 => 2), ("weight",))  # 2 parameters, plus 4 non-trainable
    """

    wraps = "layer"
    _splits = True

    def __init__(
        self, layer: Module, which: Any = None, *, tied: Tied = "refuse", hold: bool = False
    ):
        super().__init__()
        if not isinstance(layer, Module):
            raise TypeError(f"FrozenLayer takes a layer, got {type(layer).__name__}")
        if tied not in ("refuse", "all"):
            raise ValueError(f"tied is 'refuse' or 'all', got {tied!r}")
        if which is not None and not (which := as_names(which)):
            raise ValueError("FrozenLayer(layer, ()) freezes nothing: use the layer as it is")
        if isinstance(layer, FrozenLayer):
            which = None if None in (which, layer.which) else (*(which or ()), *(layer.which or ()))
            tied = "all" if "all" in (tied, layer.tied) else "refuse"
            hold = hold or layer._held
            layer = layer.layer
        known = template(Layout(layer).root)
        paths = None if which is None else resolve(layer, known, which, "freeze")
        self.layer: Any = layer
        self.tied: Tied = tied
        self._held = hold
        self._elsewhere: set[KeyPath] = set()
        self._set_paths(paths)
        self._settle_ties(known)
        self._governed = frozenset(_frozen_members(self))

    def _set_paths(self, paths: list[KeyPath] | None) -> None:
        self._paths = paths
        self.which = None if paths is None else tuple(str(path) for path in paths)

    def _settle_ties(self, known: Any) -> None:
        found = conflicts(Layout(self))
        if found and self.tied == "refuse":
            raise TiedParameterError(refusal("freeze", found[0]))
        if found and self._paths is not None:
            others = {conflict.trainable for conflict in found}
            placed = others & set(prefixes(known))
            # A layer that comes twice has its arrays in one place, and two paths.
            self._elsewhere = others - placed
            self._set_paths(resolve(self.layer, known, [*self._paths, *placed], "freeze"))

    def _freezes(self, path: tuple[str, ...]) -> bool:
        """Return whether the parameter at a path within the layer is frozen here."""
        if self._paths is None or path in self._elsewhere:
            return True
        return any(path[: len(names)] == names for names in self._paths)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the layer's output."""
        with _bind.held(self.layer.modules()) if self._held else nullcontext():
            return self.layer(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            inner = vars(self).get("_members", {}).get("layer")
            if inner is None or name[0] == "_":
                raise
            return getattr(inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("layer", "tied", "which") or name[0] == "_":
            super().__setattr__(name, value)
        else:
            setattr(self.layer, name, value)

    def __contains__(self, name: str) -> bool:
        return name in self._members or name in self.layer

    def _extra_repr(self) -> str:
        return "all" if self.which is None else ", ".join(self.which)

    def __repr__(self) -> str:
        return described(self)


def _frozen_members(layer: FrozenLayer) -> list[str]:
    """Return the dotted attribute paths, from the wrapper, of what it freezes."""
    occurrences = [o for o in Layout(layer).occurrences() if o.freezing is layer]
    places = {(id(slot.container), slot.key) for o in occurrences for slot in o.entry.slots}
    return [
        entry.path
        for entry in Tree(layer).parameters
        if any((id(slot.container), slot.key) in places for slot in entry.slots)
    ]
