"""One update of many parameters: small ones in rows, large ones in one run, others singly."""

from collections.abc import Mapping
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

from freezeviz.optim._kernels import Job, Kernel, kernel_of, prepared, run, takes
from freezeviz.optim._rows import Advance, Entry, Row, fits, following, gathered

if TYPE_CHECKING:
    from freezeviz.optim._base import Optimizer

# A row of more would make a record that NumPy may not be able to address.
_MOST = 1024


class Updated(NamedTuple):
    """What an update came to; the optimizer has not moved on yet.

    Attributes
    ----------
    values, entries : dict
        By path; of parameters in rows, only the entries of new rows are there.
    rows : list of Row
    """

    values: dict[str, Any]
    entries: dict[str, Entry]
    rows: list[Row]


def updated(
    optimizer: "Optimizer", gradients: Mapping[str, Any], parameters: Mapping[str, Any]
) -> Updated:
    """Return the new values and entries of the parameters that have a gradient.

    Parameters
    ----------
    optimizer : Optimizer
        Its entries and rows are read.
    gradients, parameters : mapping by path
    """
    return _Update(optimizer, gradients, parameters).result()


class _Update:
    def __init__(
        self, optimizer: "Optimizer", gradients: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> None:
        self.optimizer, self.gradients, self.parameters = optimizer, gradients, parameters
        self.values: dict[str, Any] = {}
        self.entries: dict[str, Entry] = {}
        self.advances: list[Advance] = []
        self.jobs: list[Job] = []
        self.made: list[tuple[str, Kernel, list[Any]]] = []  # by the jobs: path, its new arrays
        self.rows: list[Row] = []

    def result(self) -> Updated:
        kernel = kernel_of(self.optimizer)
        if kernel is None:
            self.optimizer._settle()
            for path in self.gradients:
                self._alone(path, self._entry(path))
        else:
            self._plan(kernel)
            run([*(advance.job for advance in self.advances), *self.jobs])
            self._collect()
        return Updated(self.values, self.entries, self.rows)

    def _entry(self, path: str) -> Entry:
        self.entries[path] = entry = self.optimizer._entry_for(path, self.parameters[path])
        entry["step"] += 1
        return entry

    def _alone(self, path: str, entry: Entry) -> None:
        gradient, parameter = self.gradients[path], self.parameters[path]
        self.values[path] = self.optimizer._apply(gradient, parameter, entry)

    def _job(self, path: str, kernel: Kernel) -> None:
        job, new = prepared(kernel, self.gradients[path], self.parameters[path], self.entries[path])
        self.jobs.append(job)
        self.made.append((path, kernel, new))

    def _plan(self, kernel_at: Any) -> None:
        optimizer, gradients, parameters = self.optimizer, self.gradients, self.parameters
        in_rows: set[str] = set()
        kernels = [kernel_at(optimizer, row.step + 1) for row in optimizer._rows]
        now = [
            row.holds(kernel, gradients, parameters, optimizer._state)
            for row, kernel in zip(optimizer._rows, kernels, strict=True)
        ]
        rests = [gradients.keys().isdisjoint(row.layout.paths) for row in optimizer._rows]
        if not all(map(or_, now, rests)):
            optimizer._settle()  # before anything is made of a row: those that end leave entries
        for row, kernel, goes_on, pauses in zip(optimizer._rows, kernels, now, rests, strict=True):
            if goes_on:
                self.advances.append(following(row, kernel, gradients))
                in_rows.update(row.layout.paths)
            elif pauses:
                self.rows.append(row)  # its parameters may be back in the next step
        if len(in_rows) == len(gradients):
            return
        small: dict[Any, list[str]] = {}
        for path, gradient in gradients.items():
            if path in in_rows:
                continue
            parameter, entry = parameters[path], self._entry(path)
            kernel = kernel_at(optimizer, entry["step"])
            if fits(kernel, gradient, parameter, entry):
                small.setdefault((parameter.dtype, entry["step"]), []).append(path)
            elif takes(kernel, gradient, parameter, entry):
                self._job(path, kernel)
            else:
                self._alone(path, entry)
        for (_, step), paths in small.items():
            kernel = kernel_at(optimizer, step)
            for start in range(0, len(paths), _MOST):
                some = paths[start : start + _MOST]
                if len(some) == 1:
                    self._job(some[0], kernel)
                else:
                    new = gathered(kernel, step, some, gradients, parameters, self.entries)
                    self.advances.append(new)

    def _collect(self) -> None:
        for path, kernel, (value, *states) in self.made:
            self.values[path] = value
            self.entries[path].update(zip(kernel.states, states, strict=True))
        for advance in self.advances:
            row = advance.done()
            paths = row.layout.paths
            self.values.update(zip(paths, row.values, strict=True))
            if paths[0] in self.entries:  # a new one
                row = row.settled()
                self.entries.update(zip(paths, row.entries, strict=True))
            self.rows.append(row)
