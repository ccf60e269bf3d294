"""A selection: some parameters of one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from freezeviz.adapters import ModelAdapter

__all__ = ["Selection"]


class Selection:
    """Some parameters of a model, in the order of its tree: a layer's own, then those below it.

    Selections of one model combine: ``a | b`` (either), ``a & b`` (both), ``a - b`` (the first
    without the second), ``~a`` (all others).

    Attributes
    ----------
    paths : tuple of str
        The parameters' first paths.
    label : str or None
        What to call it, on a plot say. One that has such a name was made of the model as it is
        now: it is taken as it stands.
    """

    __slots__ = ("_adapter", "_all", "label", "paths")

    def __init__(
        self,
        adapter: ModelAdapter,
        everything: tuple[str, ...],
        chosen: Iterable[str],
        label: str | None = None,
    ) -> None:
        wanted = set(chosen)
        self.label = label
        self._adapter = adapter
        self._all = everything
        self.paths = tuple(path for path in everything if path in wanted)

    def freeze(self, *, hold: bool = False) -> Selection:
        """Freeze the selected parameters and return this selection.

        Parameters
        ----------
        hold : bool
            Also hold the layers all of whose parameters are selected.
        """
        self._adapter.set_frozen(self.paths, True, hold=True if hold else None)
        return self

    def unfreeze(self) -> Selection:
        """Make the selected parameters trainable and return this selection.

        Layers that were held and have nothing frozen any more are let go.
        """
        self._adapter.set_frozen(self.paths, False, hold=False)
        return self

    def check_model(self, adapter: ModelAdapter) -> None:
        """Raise ValueError if this is a selection of another model than the adapter's."""
        if self._adapter.model is not adapter.model:
            raise ValueError("a selection of another model selects nothing here")

    def _combined(self, other: object, combine: Callable[[set[str], set[str]], set[str]]) -> Any:
        if not isinstance(other, Selection):
            return NotImplemented
        if other._adapter.model is not self._adapter.model:
            raise ValueError("selections of two different models cannot be combined")
        return Selection(self._adapter, self._all, combine(set(self.paths), set(other.paths)))

    def __or__(self, other: Selection) -> Selection:
        return self._combined(other, set.union)

    def __and__(self, other: Selection) -> Selection:
        return self._combined(other, set.intersection)

    def __sub__(self, other: Selection) -> Selection:
        return self._combined(other, set.difference)

    def __invert__(self) -> Selection:
        return Selection(self._adapter, self._all, set(self._all) - set(self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __contains__(self, path: object) -> bool:
        return str(path) in self.paths

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Selection):
            return NotImplemented
        return self._adapter.model is other._adapter.model and self.paths == other.paths

    def __hash__(self) -> int:
        return hash(self.paths)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.paths[:6])) + (", ..." if len(self.paths) > 6 else "")
        return f"Selection({len(self.paths)} of {len(self._all)} parameters: {shown})"
