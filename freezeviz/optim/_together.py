"""One update of many parameters: small ones in rows, others one by one."""

from collections.abc import Mapping, Sequence
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

from freezeviz.optim._kernels import Kernel, kernel_of, prepared, run, takes
from freezeviz.optim._rows import Entry, Row, fits, following, gathered

if TYPE_CHECKING:
    from freezeviz.optim._base import Optimizer

# A row of more would make a record that NumPy may not be able to address.
_MOST = 1024


class Updated(NamedTuple):
    """What an update came to; the optimizer has not moved on yet.

    Attributes
    ----------
    values : list of array
        In the order of the parameters.
    entries : dict
        By path; of parameters in rows, only the entries of new rows are there.
    rows : list of Row
    """

    values: list[Any]
    entries: dict[str, Entry]
    rows: list[Row]


def updated(
    optimizer: "Optimizer",
    paths: list[str],
    gradients: Sequence[Any],
    parameters: Sequence[Any],
) -> Updated:
    """Return the new values and entries of the parameters that have a gradient.

    Parameters
    ----------
    optimizer : Optimizer
        Its entries and rows are read.
    paths : list of str
    gradients, parameters : sequence
        One for each parameter.
    """
    kernel_at, rows = kernel_of(optimizer), optimizer._rows
    # As in the step before, one row with all of them: a tiny model's step takes microseconds.
    if kernel_at is not None and len(rows) == 1 and rows[0].layout.paths == tuple(paths):
        kernel = kernel_at(optimizer, rows[0].step + 1)
        if rows[0].holds(kernel, gradients, parameters, optimizer._state):
            row = following(rows[0], kernel, gradients)
            return Updated(row.values, {}, [row])
    update = _Update(
        optimizer,
        dict(zip(paths, gradients, strict=True)),
        dict(zip(paths, parameters, strict=True)),
    )
    if kernel_at is None:
        update.one_by_one()
    else:
        update.with_kernels(kernel_at)
    return Updated([update.values[path] for path in paths], update.entries, update.rows)


class _Update:
    def __init__(
        self, optimizer: "Optimizer", gradients: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> None:
        self.optimizer, self.gradients, self.parameters = optimizer, gradients, parameters
        self.values: dict[str, Any] = {}
        self.entries: dict[str, Entry] = {}
        self.rows: list[Row] = []

    def one_by_one(self) -> None:
        self.optimizer._settle()
        for path in self.gradients:
            self._alone(path, self._entry(path))

    def _entry(self, path: str) -> Entry:
        self.entries[path] = entry = self.optimizer._entry_for(path, self.parameters[path])
        entry["step"] += 1
        return entry

    def _alone(self, path: str, entry: Entry) -> None:
        gradient, parameter = self.gradients[path], self.parameters[path]
        self.values[path] = self.optimizer._apply(gradient, parameter, entry)

    def _large(self, path: str, kernel: Kernel, entry: Entry) -> None:
        job, (value, *states) = prepared(kernel, self.gradients[path], self.parameters[path], entry)
        run(job)
        self.values[path] = value
        entry.update(zip(kernel.states, states, strict=True))

    def _take(self, row: Row) -> None:
        self.rows.append(row)
        self.values.update(zip(row.layout.paths, row.values, strict=True))

    def with_kernels(self, kernel_at: Any) -> None:
        gradients, parameters = self.gradients, self.parameters
        self._go_on(kernel_at)
        if len(self.values) == len(gradients):
            return
        small: dict[Any, list[str]] = {}
        for path, gradient in gradients.items():
            if path in self.values:
                continue
            parameter, entry = parameters[path], self._entry(path)
            kernel = kernel_at(self.optimizer, entry["step"])
            if fits(kernel, gradient, parameter, entry):
                small.setdefault((parameter.dtype, entry["step"]), []).append(path)
            elif takes(kernel, gradient, parameter, entry):
                self._large(path, kernel, entry)
            else:
                self._alone(path, entry)
        for (_, step), paths in small.items():
            kernel = kernel_at(self.optimizer, step)
            for start in range(0, len(paths), _MOST):
                some = paths[start : start + _MOST]
                if len(some) == 1:
                    self._large(some[0], kernel, self.entries[some[0]])
                else:
                    new = gathered(kernel, step, some, gradients, parameters, self.entries)
                    self._take(new.settled())
                    self.entries.update(zip(some, self.rows[-1].entries, strict=True))

    def _go_on(self, kernel_at: Any) -> None:
        """Update the rows of the step before that still hold, and keep those that rest."""
        optimizer, gradients, parameters = self.optimizer, self.gradients, self.parameters
        before = optimizer._rows
        rests = [gradients.keys().isdisjoint(row.layout.paths) for row in before]
        going: list[tuple[Kernel, list[Any]] | None] = []
        for row in before:
            kernel = kernel_at(optimizer, row.step + 1)
            own = [gradients.get(path) for path in row.layout.paths]
            known = [parameters.get(path) for path in row.layout.paths]
            holds = row.holds(kernel, own, known, optimizer._state)
            going.append((kernel, own) if holds else None)
        if not all(map(or_, map(bool, going), rests)):
            optimizer._settle()  # before anything is made of a row: those that end leave entries
        for row, on, pauses in zip(optimizer._rows, going, rests, strict=True):
            if on is not None:
                self._take(following(row, *on))
            elif pauses:
                self.rows.append(row)  # its parameters may be back in the next step
