"""What one training step of a freezeviz model costs, layer by layer."""

import importlib
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

import array_api_compat
import numpy as np

from freezeviz.adapters._memory import resident_bytes
from freezeviz.adapters._protocol import Probe
from freezeviz.autodiff import Tracer, _watch
from freezeviz.backend import array_namespace
from freezeviz.nn import Module, _calls
from freezeviz.nn._members import Entry, Tree


@contextmanager
def native_probe(model: Module) -> Iterator[Probe]:
    """Measure the step that is made within the block; see `Probe`."""
    tree = Tree(model)
    recorder = _Recorder(tree)
    with ExitStack() as stack:
        stack.enter_context(_calls.listened(module for _, module in tree.modules))
        stack.callback(recorder.close)
        stack.enter_context(_in_force(recorder))
        yield recorder.probe
        recorder.finish()


@contextmanager
def _in_force(recorder: "_Recorder") -> Iterator[None]:
    outer = _calls.current.get(), _watch.current.get()
    _calls.current.set(recorder)
    _watch.current.set(recorder)
    try:
        yield
    finally:
        # Not by tokens: a loop of the user's may be left in another context than it was begun in
        # (a generator that is closed elsewhere), where a recorder that is closed does no harm.
        if _calls.current.get() is recorder:
            _calls.current.set(outer[0])
        if _watch.current.get() is recorder:
            _watch.current.set(outer[1])


class _Recorder:
    """Hears of calls, of nodes and of gradients, with one clock that runs for one layer at a time.

    What it does itself is nobody's time.
    """

    def __init__(self, tree: Tree):
        self.probe = Probe()
        self._open = True
        self._thread = threading.get_ident()
        self._paths = tree.paths
        self._modules = tree.modules  # alive, so that their ids stay theirs
        self._names = {(id(s.owner), s.name): e.path for e in tree.parameters for s in e.slots}
        self._before = [(entry, entry.value) for entry in tree.parameters if not entry.frozen]
        # What the model holds anyway is not kept by the tape.
        self._known = {_start(entry.value) for entry in tree.parameters + tree.buffers}
        self._gradients: dict[str, Any] = {}
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._calls = 0
        self._gets_gradient: set[str] = set()
        self._wait = _waiter(tree.parameters)
        self._path: str | None = None  # whose time it is
        self._outer: str | None = None  # whose it was before backward
        self._since = 0.0

    # ---- the clock -------------------------------------------------------------------------

    def _stop(self) -> None:
        if self._wait is not None:
            self._wait()
        if self._path is not None:
            seconds = self.probe.seconds
            seconds[self._path] = seconds.get(self._path, 0.0) + perf_counter() - self._since

    def _go_on_for(self, path: str | None) -> None:
        self._path = path
        self._since = perf_counter()

    # ---- what it is told -------------------------------------------------------------------

    def is_open(self) -> bool:
        return self._open and threading.get_ident() == self._thread

    def call(
        self, function: Callable[..., Any], module: Any, args: tuple[Any, ...], options: Any
    ) -> Any:
        path = self._paths.get(id(module))
        if path is None or path == self._path:  # of another model; or super().__call__
            return function(module, *args, **options)
        self._stop()
        outer = self._path
        self._enter(path, (args, options))
        self._go_on_for(path)
        try:
            return function(module, *args, **options)
        finally:
            self._stop()
            self._go_on_for(outer)

    def _enter(self, path: str, inputs: Any) -> None:
        self._first.setdefault(path, self._calls)
        self._last[path] = self._calls
        self._calls += 1
        self.probe.saved_bytes.setdefault(path, 0)
        self.probe.seconds.setdefault(path, 0.0)
        if path not in self._gets_gradient and _is_traced(inputs):
            self._gets_gradient.add(path)

    def gradients(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            slot = entry.slots[0]
            path = self._names.get((id(slot.owner), slot.name))
            if path is not None:
                self._gradients[path] = entry.value

    def owner(self) -> str | None:
        return self._path

    def begin_backward(self, pulls: Sequence[Any], owners: Sequence[str | None]) -> None:
        if not self.is_open():
            return
        self._stop()
        self._outer = self._path
        self.probe.memory = resident_bytes()
        # By the address where an array starts: a reshaped one is the same memory.
        counted: dict[Any, int] = {}
        for pull, path in zip(pulls, owners, strict=True):
            for array in _watch.kept(pull):
                start = _start(array)
                more = _extent(array) - counted.get(start, 0)
                if start not in self._known and more > 0:
                    counted[start] = counted.get(start, 0) + more
                    if path is not None:
                        self.probe.saved_bytes[path] += more
        self._go_on_for(None)

    def work_for(self, owner: str | None) -> None:
        if self.is_open():
            self._stop()
            self._go_on_for(owner)

    def end_backward(self) -> None:
        self.work_for(self._outer)

    # ---- the end ---------------------------------------------------------------------------

    def finish(self) -> None:
        """Work out what is left when the step was made."""
        probe = self.probe
        if probe.memory is None:
            probe.memory = resident_bytes()
        calls = {number: path for path, number in self._first.items()}
        calls |= {number: path for path, number in self._last.items()}
        probe.order = tuple(calls[number] for number in sorted(calls))
        probe.needs_gradient = frozenset(self._gets_gradient)
        with np.errstate(all="ignore"):
            for path, gradient in self._gradients.items():
                probe.gradient_norm[path] = norm(gradient)
            for entry, before in self._before:
                after = entry.slots[0].value
                probe.weight_norm[entry.path] = norm(before)
                if after is before:
                    probe.update_norm[entry.path] = 0.0
                elif after.shape == before.shape and type(after) is type(before):
                    probe.update_norm[entry.path] = norm(after - before)

    def close(self) -> None:
        """Hear of nothing any more, and hold on to nothing."""
        self._open = False
        self._gradients, self._before = {}, []
        self._modules, self._paths, self._names = [], {}, {}


def norm(array: Any) -> float:
    """Return the Euclidean norm of an array; infinite if anything in it is not finite.

    It is summed in the array's own precision where that is enough. NumPy's warnings are the
    caller's to turn off: once for all arrays, which takes longer than the norm of a small one.
    """
    if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.itemsize >= 4:
        flat = array.reshape(-1)
        found = math.sqrt(square) if (square := float(np.dot(flat, flat))) >= 0 else math.nan
        if 1e-15 < found < 1e15 or not array.size:  # else squares may have left float32's range
            return found
    xp = array_namespace(array)
    wide = xp.complex128 if xp.isdtype(array.dtype, "complex floating") else xp.float64
    found = float(xp.linalg.vector_norm(xp.astype(array, wide)))
    return found if math.isfinite(found) else math.inf


def _is_traced(value: Any, depth: int = 5) -> bool:
    """Return whether an input, or something in it, carries a gradient."""
    if type(value) is Tracer:
        return True
    if depth and isinstance(value, tuple | list | dict):
        items = value.values() if isinstance(value, dict) else value
        return any(_is_traced(item, depth - 1) for item in items)
    return False


def _start(array: Any) -> Any:
    """Return where an array's memory starts, or the array's identity where that is not shown."""
    if isinstance(array, np.ndarray):
        return array.__array_interface__["data"][0] if array.size else None
    if array_api_compat.is_cupy_array(array):
        return array.data.ptr
    return id(array)


def _extent(array: Any) -> int:
    """Return the bytes of memory behind an array, which a broadcast has fewer of than numbers."""
    strides = getattr(array, "strides", None) or (1,) * len(array.shape)
    sizes = [n for n, stride in zip(array.shape, strides, strict=True) if stride]
    return math.prod(sizes) * array.dtype.itemsize if math.prod(array.shape) else 0


def _waiter(parameters: list[Entry]) -> Callable[[], object] | None:
    """Return what waits for a GPU: its times are those of launching, otherwise."""
    if any(array_api_compat.is_cupy_array(entry.value) for entry in parameters):
        return importlib.import_module("cupy").cuda.get_current_stream().synchronize
    return None
