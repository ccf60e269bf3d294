"""What one training step of a PyTorch model costs, module by module.

How it is found, without a change to what is computed:

1. Hooks around the forward of every module, for as long as the block lasts.
2. No backward hooks of modules: they wrap what a module returns, so that an in-place operation on
   it (``ReLU(inplace=True)``) raises. Instead, the nodes of the graph get an owner: what is found
   behind a module's outputs, and had none yet, was made by the module itself; what is found behind
   its inputs was made by the module that calls it. Hooks on nodes tell their time.
3. Bytes kept for backward come from `saved_tensors_hooks`, in force while the model is called and
   only there: code that cannot bear them (`torch.func`, CUDA graphs) mostly stands around models.
   Where something else has hooks of its own (activation checkpointing, offloading), those are
   asked and not ours: what they keep is not known, and is mostly nothing.
"""

import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from time import perf_counter
from typing import Any

import torch  # pyright: ignore[reportMissingImports]

from freezeviz.adapters._memory import resident_bytes
from freezeviz.adapters._protocol import Probe
from freezeviz.adapters._torch_norms import Norms
from freezeviz.adapters._torch_tree import TorchTree

__all__ = ["torch_probe"]


@contextmanager
def torch_probe(tree: TorchTree) -> Iterator[Probe]:
    """Measure the step that is made within the block; see `Probe`."""
    norms = Norms(tree.entries)
    recorder = _Recorder(tree)
    try:
        yield recorder.probe
        recorder.finish()
        norms.finish(recorder.probe)
    finally:
        recorder.close()
        norms.close()


class _Clock:
    """Runs for one module at a time, in one thread; what the hooks do is nobody's time."""

    def __init__(self, seconds: dict[str, float], wait: Any) -> None:
        self._seconds = seconds
        self._wait = wait
        self._owners: list[str | None] = [None]
        self._since = 0.0

    @property
    def owner(self) -> str | None:
        return self._owners[-1]

    @property
    def depth(self) -> int:
        return len(self._owners) - 1

    def stop(self) -> None:
        if self._wait is not None:
            self._wait()
        owner = self._owners[-1]
        if owner is not None:
            self._seconds[owner] = self._seconds.get(owner, 0.0) + perf_counter() - self._since

    def go_on(self) -> None:
        self._since = perf_counter()

    def enter(self, owner: str | None) -> None:
        self._owners.append(owner)

    def leave(self, depth: int) -> None:
        """Go back to where `depth` modules were entered: one may have raised before its end."""
        del self._owners[depth + 1 :]


class _Recorder:
    def __init__(self, tree: TorchTree) -> None:
        self.probe = Probe()
        self._thread = threading.get_ident()
        # Buffers as they are now: some layers put new ones there in every call.
        tensors = [tensor for entry in tree.entries for tensor in entry.tensors]
        tensors += [b for p in tree.places for b in p.module._buffers.values() if b is not None]
        self._devices = {tensor.device for tensor in tensors if tensor.device.type != "cpu"}
        self._known = {_storage(tensor) for tensor in tensors}
        self._clocks: dict[int, _Clock] = {}
        self._depths: list[int] = []  # of the calls that are open, in the probing thread
        self._calls = 0
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._gets_gradient: set[str] = set()
        self._owned: dict[Any, str | None] = {}  # nodes of the graph
        self._kept: dict[Any, weakref.ref[Any]] = {}
        self._saving: Any = None
        self._handles: list[Any] = []
        for place in tree.places:
            if isinstance(place.module, torch.jit.ScriptModule):
                continue  # has a graph of its own, and no hooks of Python's
            self._handles += self._around(place.module, place.path)

    def _around(self, module: Any, path: str) -> list[Any]:
        def before(_module: Any, args: Any, options: Any) -> None:
            if not torch.compiler.is_compiling() and threading.get_ident() == self._thread:
                self._begin(path, (args, options))

        def after(_module: Any, _args: Any, result: Any) -> None:
            if not torch.compiler.is_compiling() and threading.get_ident() == self._thread:
                self._end(path, result)

        return [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after, always_call=True),
        ]

    # ---- forward ---------------------------------------------------------------------------

    def _clock(self) -> _Clock:
        clock = self._clocks.get(threading.get_ident())
        if clock is None:
            wait = self._wait if self._devices else None
            clock = self._clocks[threading.get_ident()] = _Clock(self.probe.seconds, wait)
        return clock

    def _wait(self) -> None:
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            return
        for device in self._devices:
            if device.type != "meta":
                torch.accelerator.synchronize(device)

    def _begin(self, path: str, inputs: Any) -> None:
        clock = self._clock()
        clock.stop()
        if not self._depths:
            self._begin_saving()
        self._first.setdefault(path, self._calls)
        self._last[path] = self._calls
        self._calls += 1
        self.probe.saved_bytes.setdefault(path, 0)
        self.probe.seconds.setdefault(path, 0.0)
        if torch.is_grad_enabled():
            found = [tensor for tensor in _tensors(inputs) if tensor.requires_grad]
            if found:
                self._gets_gradient.add(path)
                self._claim(found, clock.owner)
        self._depths.append(clock.depth)
        clock.enter(path)
        clock.go_on()

    def _end(self, path: str, result: Any) -> None:
        if not self._depths:
            return
        clock = self._clock()
        clock.stop()
        self._claim([tensor for tensor in _tensors(result) if tensor.requires_grad], path)
        clock.leave(self._depths.pop())
        if not self._depths:
            self._end_saving()
        clock.go_on()

    # ---- the graph -------------------------------------------------------------------------

    def _claim(self, tensors: Iterable[Any], owner: str | None) -> None:
        """Give the nodes behind tensors, as far as they have none yet, an owner."""
        nodes = [tensor.grad_fn for tensor in tensors]
        while nodes:
            node = nodes.pop()
            if node is None or node in self._owned or hasattr(node, "variable"):
                continue  # `variable`: where a gradient arrives; nothing is computed there
            self._owned[node] = owner
            nodes.extend(after for after, _ in node.next_functions)
            if owner is not None:
                self._handles += self._around_node(node, owner)

    def _around_node(self, node: Any, owner: str) -> list[Any]:
        depths: list[int] = []  # a node is entered again where a graph is kept for a second time

        def before(_gradients: Any) -> None:
            clock = self._clock()
            clock.stop()
            if self.probe.memory is None:
                self.probe.memory = self._memory()
            depths.append(clock.depth)
            clock.enter(owner)
            clock.go_on()

        def after(_inputs: Any, _outputs: Any) -> None:
            clock = self._clock()
            clock.stop()
            if depths:
                clock.leave(depths.pop())
            clock.go_on()

        return [node.register_prehook(before), node.register_hook(after)]

    def _memory(self) -> int | None:
        on_cuda = [device for device in self._devices if device.type == "cuda"]
        if on_cuda:
            return sum(torch.cuda.memory_allocated(device) for device in on_cuda)
        return resident_bytes()

    # ---- what is saved ---------------------------------------------------------------------

    def _begin_saving(self) -> None:
        if _others_save():
            return
        self._saving = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept)
        self._saving.__enter__()

    def _end_saving(self) -> None:
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.__exit__(None, None, None)

    def _pack(self, tensor: Any) -> Any:
        # Detached: a result that its own node holds as it is would be a cycle in C++, never freed.
        kept = tensor.detach()
        owner = self._clock().owner
        if owner is not None and tensor.layout == torch.strided:
            storage = _storage(tensor)
            memory = (storage, tensor.storage_offset())
            before = self._kept.get(memory)
            if storage not in self._known and (before is None or before() is None):
                self._kept[memory] = weakref.ref(kept)
                self.probe.saved_bytes[owner] += _extent(tensor)
        return kept

    # ---- the end ---------------------------------------------------------------------------

    def finish(self) -> None:
        probe = self.probe
        if probe.memory is None:
            probe.memory = self._memory()
        calls = {number: path for path, number in self._first.items()}
        calls |= {number: path for path, number in self._last.items()}
        probe.order = tuple(calls[number] for number in sorted(calls))
        probe.needs_gradient = frozenset(self._gets_gradient)

    def close(self) -> None:
        """Take every hook back, and hold on to nothing."""
        self._end_saving()
        for handle in self._handles:
            handle.remove()
        self._handles, self._owned, self._kept = [], {}, {}


def _others_save() -> bool:
    """Return whether saved tensors are somebody else's matter here.

    Only the innermost hooks are asked. Put inside those of a checkpoint, around a whole model or
    in its second forward, ours would keep from it what it has to have; and `torch.func` forbids
    any. PyTorch tells neither in public; where it does not tell at all, all is left alone.
    """
    asked: Any = getattr(torch._C, "_autograd", None)
    try:
        return (
            not asked._saved_tensors_hooks_is_enabled()
            or asked._top_saved_tensors_default_hooks(False) is not None
        )
    except AttributeError:
        return True


def _tensors(value: Any, depth: int = 4) -> Iterator[Any]:
    """Yield the tensors among the inputs or outputs of a module."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth:
        items: Iterable[Any] = ()
        if isinstance(value, tuple | list):
            items = value
        elif isinstance(value, Mapping):
            items = value.values()
        elif is_dataclass(value) and not isinstance(value, type):
            items = vars(value).values() if hasattr(value, "__dict__") else ()
        for item in items:
            yield from _tensors(item, depth - 1)


def _storage(tensor: Any) -> Any:
    """Return where the memory begins that a tensor is part of."""
    try:
        return tensor.untyped_storage().data_ptr() or id(tensor)
    except Exception:  # sparse tensors, and subclasses that hold no storage, refuse
        return id(tensor)


def _extent(tensor: Any) -> int:
    """Return the bytes of memory behind a tensor, which an expanded one has fewer of."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    numbers = 1
    for size, stride in sizes:
        numbers *= size if stride or not size else 1
    return numbers * tensor.element_size()
