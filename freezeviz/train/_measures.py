"""What was measured of a run's layers: the newest values, and gradients over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from freezeviz.adapters import LayerInfo, Probe
from freezeviz.freezing import roles
from freezeviz.train._gradient_history import GradientHistory


class _Layout:
    """Where in the arrays each module and parameter stands.

    Modules come before those in them, and parameters in the order of their modules: so what
    belongs to a module is a stretch of each.
    """

    def __init__(self, root: LayerInfo) -> None:
        self.layers = tuple(root.walk())
        self.modules = tuple(layer.path for layer in self.layers)
        self.parameters = tuple(info.path for layer in self.layers for info in layer.parameters)
        self.module = {path: i for i, path in enumerate(self.modules)}
        self.parameter = {path: i for i, path in enumerate(self.parameters)}
        for layer in self.layers:  # by any of their names
            for alias in layer.aliases:
                self.module.setdefault(alias, self.module[layer.path])
            for info in layer.parameters:
                for alias in info.aliases:
                    self.parameter.setdefault(alias, self.parameter[info.path])
        sizes = np.array([len(layer.parameters) for layer in self.layers])
        self.end = np.arange(1, len(self.layers) + 1)
        for i in range(len(self.layers) - 1, -1, -1):
            for child in self.layers[i].children:
                self.end[i] = max(self.end[i], self.end[self.module[child.path]])
        first = np.concatenate([[0], np.cumsum(sizes)])
        self.first_parameter, self.past_parameter = first[:-1], first[self.end]

    def of(self, index: Mapping[str, int], values: Mapping[str, float]) -> np.ndarray:
        """Return values by path as an array, NaN where there is none."""
        found = np.full(len(self.modules if index is self.module else self.parameters), np.nan)
        for path, value in values.items():
            if path in index:
                found[index[path]] = value
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """A measured step, as arrays in the order of a layout."""

    step: int
    step_seconds: float
    memory: int | None
    frozen: frozenset[str]
    order: tuple[str, ...]
    needs_gradient: frozenset[str]
    gradient_norm: np.ndarray
    update_norm: np.ndarray
    weight_norm: np.ndarray
    seconds: np.ndarray
    saved_bytes: np.ndarray


class ModuleMeasures(NamedTuple):
    """What was measured of modules, each with all that is in it: arrays of shape (modules,).

    Norms are roots of summed squares, the rest are sums; NaN is unknown.
    """

    gradient_norm: np.ndarray
    update_ratio: np.ndarray
    time_share: np.ndarray
    saved_bytes: np.ndarray


class Measures:
    """What was measured of a run while somebody watched (`Run.watch_measures`).

    Safe to read from any thread. Arrays are in the order of the model's parameters or modules; NaN
    is unknown: never measured, frozen at that step, not called in it.

    Parameters
    ----------
    root : LayerInfo
        The model's structure.
    """

    def __init__(self, root: LayerInfo) -> None:
        layout = _Layout(root)
        # Replaced together, so that a reader never meets a sample of another layout.
        self._now: tuple[_Layout, _Sample | None] = layout, None
        self._history = GradientHistory(len(layout.parameters))
        self.taken = 0
        """How many steps were measured."""

    # ---- growing ---------------------------------------------------------------------------

    def knows(self, probe: Probe) -> bool:
        """Return whether all that a probe names was there when the structure was read."""
        layout = self._now[0]
        return layout.module.keys() >= probe.seconds.keys() and (
            layout.parameter.keys() >= probe.weight_norm.keys() | probe.gradient_norm.keys()
        )

    def restructure(self, root: LayerInfo) -> None:
        """Take in that the model has other modules or parameters; known ones keep their record."""
        old, new = self._now[0], _Layout(root)
        if (new.modules, new.parameters) == (old.modules, old.parameters):
            return
        where = {i: new.parameter[p] for p, i in old.parameter.items() if p in new.parameter}
        self._history = self._history.moved(len(new.parameters), where)
        self._now = new, None

    def take(self, probe: Probe, step: int, step_seconds: float, frozen: frozenset[str]) -> None:
        """Take in a measured step."""
        layout = self._now[0]
        sample = _Sample(
            step,
            step_seconds,
            probe.memory,
            frozen,
            probe.order,
            probe.needs_gradient,
            layout.of(layout.parameter, probe.gradient_norm),
            layout.of(layout.parameter, probe.update_norm),
            layout.of(layout.parameter, probe.weight_norm),
            layout.of(layout.module, probe.seconds),
            layout.of(layout.module, probe.saved_bytes),
        )
        self._history.add(step, sample.gradient_norm)
        self._now = layout, sample
        self.taken += 1

    # ---- reading ---------------------------------------------------------------------------

    @property
    def parameters(self) -> tuple[str, ...]:
        """Paths of the model's parameters."""
        return self._now[0].parameters

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of the model's modules, the model itself (``""``) first."""
        return self._now[0].modules

    @property
    def step(self) -> int | None:
        """The step that was measured last; None if none was."""
        sample = self._now[1]
        return None if sample is None else sample.step

    @property
    def memory(self) -> int | None:
        """Bytes that the process held at the beginning of that step's backward pass."""
        sample = self._now[1]
        return None if sample is None else sample.memory

    @property
    def order(self) -> tuple[str, ...] | None:
        """Modules in the order of their calls in that step; None if none was measured."""
        sample = self._now[1]
        return None if sample is None else sample.order

    @property
    def gradient_norm(self) -> np.ndarray:
        """Norm of each parameter's gradient, shape (parameters,)."""
        layout, sample = self._now
        return _unknown(layout.parameters) if sample is None else sample.gradient_norm.copy()

    @property
    def update_ratio(self) -> np.ndarray:
        """Norm of each parameter's change by that of what it was, shape (parameters,)."""
        layout, sample = self._now
        if sample is None:
            return _unknown(layout.parameters)
        return _ratio(sample.update_norm, sample.weight_norm)

    @property
    def seconds(self) -> np.ndarray:
        """Each module's own seconds, forward and backward, shape (modules,)."""
        layout, sample = self._now
        return _unknown(layout.modules) if sample is None else sample.seconds.copy()

    @property
    def saved_bytes(self) -> np.ndarray:
        """What each module's own operations kept for the backward pass, shape (modules,)."""
        layout, sample = self._now
        return _unknown(layout.modules) if sample is None else sample.saved_bytes.copy()

    @property
    def by_module(self) -> ModuleMeasures:
        """The newest values of each module with all that is in it."""
        layout, sample = self._now
        if sample is None:
            return ModuleMeasures(*(_unknown(layout.modules) for _ in ModuleMeasures._fields))
        return _by_module(layout, sample)

    def rows(self, paths: Sequence[str]) -> np.ndarray:
        """Return the newest values of modules and parameters, shape (paths, 4), as float32.

        The columns are gradient norm, update ratio, share of the step's time, saved bytes; the last
        two are those of modules only.
        """
        layout, sample = self._now
        found = np.full((len(paths), 4), np.nan, np.float32)
        if sample is None:
            return found
        ratio = _ratio(sample.update_norm, sample.weight_norm)
        modules = np.stack(_by_module(layout, sample), axis=1)
        with np.errstate(over="ignore"):  # beyond float32's range: infinite
            for row, path in enumerate(paths):
                if (i := layout.module.get(path)) is not None:
                    found[row] = modules[i]
                elif (i := layout.parameter.get(path)) is not None:
                    found[row, :2] = sample.gradient_norm[i], ratio[i]
        return found

    def roles(self, frozen: frozenset[str]) -> tuple[dict[str, str], bool]:
        """Return what each module does in the backward pass, and whether that is only expected.

        It is expected until a step was measured under this freeze state; see `freezing.roles`.

        Parameters
        ----------
        frozen : frozenset of str
            Paths of the parameters that are frozen now.
        """
        layout, sample = self._now
        if sample is None:
            return roles(layout.layers, None, frozen), True
        expected = sample.frozen != frozen
        measured = None if expected else sample.needs_gradient
        return roles(layout.layers, sample.order, frozen, measured), expected

    # ---- over time -------------------------------------------------------------------------

    @property
    def gradients(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps, shape (c,), and norms of gradients, shape (parameters, c), at most 200 columns.

        Each column is a mean over a stretch of samples, NaN where there was no gradient in it.
        """
        return self._history.read()

    def trend(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        """Return steps, shape (c,), and norms, shape (c,), of a parameter or a whole module.

        Raises
        ------
        KeyError
            If the model has none of that path.
        """
        layout = self._now[0]
        if path in layout.parameter:
            first = layout.parameter[path]
            past = first + 1
        elif path in layout.module:
            i = layout.module[path]
            first, past = int(layout.first_parameter[i]), int(layout.past_parameter[i])
        else:
            raise KeyError(f"the model has no module and no parameter {path!r}")
        steps, norms = self._history.read(slice(first, past))
        known = ~np.isnan(norms)
        held = np.where(known, norms, np.float32(0))
        # In float64, and without an array of squares: that takes sixty times as long.
        squares = np.einsum("pc,pc->c", held, held, dtype=np.float64, casting="same_kind")
        return steps, np.where(known.any(axis=0), np.sqrt(squares), np.nan)

    def __repr__(self) -> str:
        return f"Measures({self.taken} steps, the last of them {self.step})"


def _unknown(paths: Sequence[str]) -> np.ndarray:
    return np.full(len(paths), np.nan)


def _ratio(change: np.ndarray, size: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):  # inf / inf; a parameter of zeros has no ratio
        return np.where(size > 0, change / size, np.nan)


def _by_module(layout: _Layout, sample: _Sample) -> ModuleMeasures:
    stretch = layout.first_parameter, layout.past_parameter
    below = np.arange(len(layout.modules)), layout.end
    with np.errstate(all="ignore"):
        return ModuleMeasures(
            np.sqrt(_sums(sample.gradient_norm**2, *stretch)),
            _ratio(
                np.sqrt(_sums(sample.update_norm**2, *stretch)),
                np.sqrt(_sums(sample.weight_norm**2, *stretch)),
            ),
            _sums(sample.seconds, *below) / sample.step_seconds,
            _sums(sample.saved_bytes, *below),
        )


def _sums(values: np.ndarray, first: np.ndarray, past: np.ndarray) -> np.ndarray:
    """Return the sums over stretches of what is known, NaN where nothing is.

    Not as differences of a cumulative sum: small squares would drown in it.
    """
    edges = np.stack([first, past], axis=1).reshape(-1)
    padded = np.append(values, 0.0)  # a stretch may end with the array
    known = ~np.isnan(padded)
    sums = np.add.reduceat(np.where(known, padded, 0.0), edges)[::2]
    counts = np.add.reduceat(known.astype(int), edges)[::2]
    # reduceat gives the first value of an empty stretch.
    return np.where((past > first) & (counts > 0), sums, np.nan)
