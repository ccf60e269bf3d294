"""Small parameters side by side in one array, so that one pass updates them all.

For an array of a few hundred entries, calling NumPy costs more than what NumPy then computes. So
the values of small parameters, and their states, are kept as views of flat arrays: nothing is
gathered from step to step but the gradients. A rule that treats each entry by itself gives the
same bits in a row and alone.

Nobody has to know of rows: what a model and `Optimizer.state` hold are arrays like others. Before
each step a row looks whether they still hold its own. Whatever else was put there (by loading,
resetting, freezing, casting) ends the row, and a new one is made of what is there.

The entries of a row are made when somebody wants to see them: see `Row.settled`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, repeat
from math import prod
from operator import is_
from typing import Any, NamedTuple

import numpy as np

from freezeviz.autodiff import _pool
from freezeviz.optim._kernels import Job, Kernel, run, takes

# Entries of the largest array that is small: beyond it, copying its gradient takes longer than
# a pass of its own.
SMALL = 1 << 13

Entry = dict[str, Any]

_PLAIN = {np.ndarray}


class _Owner(np.ndarray):
    """The memory of a row's values.

    A class of its own, because the base of a view of a view is the first array of the same class.
    So the base of a read-only view of a parameter is the parameter, as without rows.
    """


class Layout(NamedTuple):
    """What stands where in the flat arrays of a row."""

    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    offsets: tuple[int, ...]  # in bytes
    dtype: np.dtype[Any]
    size: int
    record: np.dtype[Any]  # a record with a field for each: getting a field makes a view
    names: tuple[str, ...]  # of the fields

    def views(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return the array of each path as a view."""
        record = np.ndarray((), self.record, flat)
        return list(map(record.__getitem__, self.names))

    def parameters(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return new memory for values: flat, and the array of each path."""
        owner = _Owner((self.size,), self.dtype)
        flat = owner.view(np.ndarray)
        if _pool.poisoned:
            flat.fill(np.nan)
        views = map(np.ndarray, self.shapes, repeat(self.dtype), repeat(owner), self.offsets)
        return flat, list(views)


def _layout(paths: Sequence[str], parameters: Sequence[np.ndarray]) -> Layout:
    dtype = parameters[0].dtype
    shapes = tuple(p.shape for p in parameters)
    ends = list(accumulate(map(prod, shapes), initial=0))
    offsets = tuple(end * dtype.itemsize for end in ends[:-1])
    record = np.dtype(
        {
            "names": [str(i) for i in range(len(paths))],
            # NumPy knows no field with an array of no axes; a plain number comes out as one.
            "formats": [(dtype, shape) if shape else dtype for shape in shapes],
            "offsets": list(offsets),
            "itemsize": ends[-1] * dtype.itemsize,
        }
    )
    return Layout(tuple(paths), shapes, offsets, dtype, ends[-1], record, record.names or ())


class Row(NamedTuple):
    """Parameters side by side after an update.

    Attributes
    ----------
    step : int
        The count of updates of each.
    flat, values :
        Their values, flat and as views.
    flat_states : dict
        Their states by name, flat.
    entries : list of dict
        Their entries when they were last made.
    states : dict or None
        If that is now: by name the states as views, which are in the entries.
    """

    layout: Layout
    step: int
    flat: np.ndarray
    values: list[np.ndarray]
    flat_states: dict[str, np.ndarray]
    entries: list[Entry]
    states: dict[str, list[np.ndarray]] | None

    def holds(
        self,
        kernel: Kernel,
        gradients: Sequence[Any],
        parameters: Sequence[Any],
        entries: Mapping[str, Entry],
    ) -> bool:
        """Return whether all that the row is made of is still in its place.

        Parameters
        ----------
        kernel : Kernel
            The one of the next step.
        gradients, parameters : sequence
            One for each path.
        entries : mapping by path
        """
        # map and sets: this is done in every step, and a step of a tiny model takes microseconds.
        return (
            set(map(type, gradients)) == _PLAIN
            and {g.dtype for g in gradients} == {self.layout.dtype}
            and kernel.states == tuple(self.flat_states)
            and len(self.values) == len(parameters)
            and all(map(is_, parameters, self.values))
            and all(map(is_, map(entries.get, self.layout.paths), self.entries))
            and self._untouched()
        )

    def _untouched(self) -> bool:
        """Return whether nobody has written into the entries, which are the user's to write into.

        Entries that have not been made yet were not seen by anybody.
        """
        return self.states is None or (
            [entry.get("step") for entry in self.entries] == [self.step] * len(self.entries)
            and all(
                all(map(is_, [entry.get(name) for entry in self.entries], views))
                for name, views in self.states.items()
            )
        )

    def settled(self) -> "Row":
        """Return the row with its entries made."""
        if self.states is not None:
            return self
        states = {name: self.layout.views(flat) for name, flat in self.flat_states.items()}
        entries = [{**entry, "step": self.step} for entry in self.entries]
        for name, views in states.items():
            for entry, view in zip(entries, views, strict=True):
                entry[name] = view
        return self._replace(entries=entries, states=states)

    def __reduce__(self) -> tuple[type["Row"], tuple[Any, ...]]:
        # Copied, views are arrays of their own. So a copy holds nothing; it only has the states.
        nothing = np.empty(0, self.layout.dtype)
        return Row, (
            self.layout, self.step, nothing, [], self.flat_states, self.entries, self.states,
        )  # fmt: skip


def _advanced(
    kernel: Kernel,
    layout: Layout,
    step: int,
    flat: np.ndarray,
    gradients: Sequence[np.ndarray],
    flat_states: Iterable[np.ndarray],
    entries: list[Entry],
) -> Row:
    """Return the row after an update, whose number is `step`, of what the other arguments say."""
    new, values = layout.parameters()
    states = [_pool.empty((layout.size,), layout.dtype) for _ in kernel.states]
    old = (flat, np.concatenate(gradients, axis=None), *flat_states)
    run(Job(kernel, old, (new, *states)))
    by_name = dict(zip(kernel.states, states, strict=True))
    return Row(layout, step, new, values, by_name, entries, None)


def following(row: Row, kernel: Kernel, gradients: Sequence[np.ndarray]) -> Row:
    """Return a row, which `holds`, after its next update."""
    states = row.flat_states.values()
    return _advanced(kernel, row.layout, row.step + 1, row.flat, gradients, states, row.entries)


def gathered(
    kernel: Kernel,
    step: int,
    paths: Sequence[str],
    gradients: Mapping[str, Any],
    parameters: Mapping[str, Any],
    entries: Mapping[str, Entry],
) -> Row:
    """Return a new row after its first update, of parameters with the same dtype and step."""
    arrays = [parameters[path] for path in paths]
    own = [entries[path] for path in paths]
    states = [np.concatenate([entry[name] for entry in own], axis=None) for name in kernel.states]
    wanted = [gradients[path] for path in paths]
    flat = np.concatenate(arrays, axis=None)
    return _advanced(kernel, _layout(paths, arrays), step, flat, wanted, states, own)


def fits(kernel: Kernel, gradient: Any, parameter: Any, entry: Entry) -> bool:
    """Return whether a parameter can be part of a row.

    One without entries cannot: which of them are tied is seen by what they are views of.
    """
    return 0 < parameter.size <= SMALL and takes(kernel, gradient, parameter, entry)
