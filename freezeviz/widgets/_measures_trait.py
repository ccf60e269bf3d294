"""What was measured of each row, and what backward does there: the traits `measures`, `roles`."""

import time
from collections.abc import Callable

import numpy as np

from freezeviz.adapters import LayerInfo
from freezeviz.explorer import Controller, Structure
from freezeviz.freezing._roles import FLOWS, IDLE, STOPS, TRAINS, roles
from freezeviz.train import Measures, Run
from freezeviz.widgets._worker import Worker

# The same numbers stand in static/js/wire.js.
CODES = {TRAINS: 1, FLOWS: 2, STOPS: 3, IDLE: 4}
BIT_EXPECTED = 8
SHORTEST = 0.1  # seconds from one to the next, however fast somebody clicks
BEHIND = 0.05  # seconds that the state which somebody waits for has the interpreter for itself


class RowMeasures:
    """Both traits, worked out beside the loop: of 10,000 modules it takes a tenth of a second.

    Parameters
    ----------
    controller : Controller
    worker : Worker
    done : callable
        Called, in the worker's thread, when there is something to take.
    """

    def __init__(self, controller: Controller, worker: Worker, done: Callable[[], object]) -> None:
        self.run: Run | None = None
        self._controller = controller
        self._worker = worker
        self._done = done
        self._wanted = False
        self._began = float("-inf")
        self._ready: tuple[Structure, bytes, bytes] | None = None
        self._layers: tuple[Structure, list[LayerInfo]] | None = None
        self._prepared: Structure | None = None

    def ask(self) -> None:
        """Have both worked out again, soon; asked for several times, it is done once."""
        if not self._wanted:
            self._wanted = True
            self._worker.do(self._work)

    def take(self, structure: Structure) -> tuple[bytes, bytes] | None:
        """The newest traits of this structure, if they were not taken already."""
        ready = self._ready
        if ready is None or ready[0] is not structure:
            return None
        self._ready = None
        return ready[1:]

    def _work(self) -> None:
        if self._worker.is_apart:
            time.sleep(max(BEHIND, self._began + SHORTEST - time.monotonic()))
        self._began = time.monotonic()
        self._wanted = False  # before looking: what changes from now on is asked for anew
        structure, frozen, _, _ = self._controller.masks()
        measures = None if self.run is None else self.run.measures
        names = frozenset(structure.paths[i] for i in np.flatnonzero(frozen))
        measured = b""
        if measures is not None and measures.step is not None:
            measured = measures.rows(structure.paths).astype("<f4").tobytes()
        backward = self._roles(structure, measures, names)
        backward = _with_parameters(structure, backward, frozen)
        self._ready = structure, measured, backward.tobytes()
        self._done()
        if self._prepared is not structure:
            self._prepared = structure
            self._controller.prepare()

    def _roles(
        self, structure: Structure, measures: Measures | None, frozen: frozenset[str]
    ) -> np.ndarray:
        if measures is not None:
            found, expected = measures.roles(frozen)
        else:
            found, expected = roles(self._snapshot(structure), None, frozen), True
        mark = BIT_EXPECTED if expected else 0
        codes = {path: CODES[role] | mark for path, role in found.items()}
        n = len(structure)
        return np.fromiter((codes.get(path, 0) for path in structure.paths), np.uint8, n)

    def _snapshot(self, structure: Structure) -> list[LayerInfo]:
        """The layers behind a structure: looked at once."""
        if self._layers is None or self._layers[0] is not structure:
            self._layers = structure, list(self._controller.adapter.snapshot().walk())
        return self._layers[1]


def _with_parameters(structure: Structure, codes: np.ndarray, frozen: np.ndarray) -> np.ndarray:
    """Return the codes with those of parameters, which follow from their layer's and their state.

    The gradient of a trainable one is computed, that of a frozen one is not; what flows through the
    layer flows past it. It is known and expected as its layer's is.

    Parameters
    ----------
    structure : Structure
    codes : uint8 array, shape (rows,)
        Of layers.
    frozen : bool array, shape (rows,)
    """
    layers = codes[structure.parent]
    mark = layers & BIT_EXPECTED
    flows = layers == CODES[FLOWS] | mark
    role = np.where(frozen, np.where(flows, CODES[FLOWS], CODES[IDLE]), CODES[TRAINS])
    known = structure.is_parameter & (layers > 0)
    return np.where(known, role | mark, codes).astype(np.uint8)
