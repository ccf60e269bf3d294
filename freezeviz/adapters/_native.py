"""The adapter of freezeviz' own models."""

import inspect
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any
from weakref import ref

import array_api_compat
import numpy as np

from freezeviz import backend
from freezeviz.adapters._native_code import native_code
from freezeviz.adapters._native_probe import native_probe
from freezeviz.adapters._native_tree import NativeTree
from freezeviz.adapters._protocol import LayerInfo, Probe
from freezeviz.errors import SelectorError, closest
from freezeviz.nn import Module, _calls
from freezeviz.nn._freezing import freeze, release, unfreeze

__all__ = ["NativeAdapter"]


class _Look:
    """What a block was entered with in which the model is looked at once; None after its end."""

    def __init__(self, tree: NativeTree) -> None:
        self.tree: NativeTree | None = tree


class NativeAdapter:
    """The adapter of an `nn.Module`."""

    framework = "freezeviz"

    def __init__(self, model: Module):
        self.model = model
        self._known: NativeTree | None = None
        self._looked = threading.local()

    def snapshot(self) -> LayerInfo:
        """Return the model's structure as it is now; the same object as long as it is the same."""
        return self._tree().snapshot

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let this thread look only once, within the block, whether the model is another."""
        if self._looked_at() is not None:  # within another such block
            yield
            return
        look = _Look(self._tree())
        # Weakly: an interrupt may come where nothing would set it back any more.
        self._looked.latest = ref(look)
        try:
            yield
        finally:
            look.tree = None

    def _looked_at(self) -> NativeTree | None:
        latest: ref[_Look] | None = getattr(self._looked, "latest", None)
        look = None if latest is None else latest()
        return None if look is None else look.tree

    def _tree(self) -> NativeTree:
        tree = self._looked_at()
        if tree is not None:
            return tree
        tree = self._known
        if tree is None or not tree.holds():
            tree = self._known = NativeTree(self.model)
        return tree

    def prepare(self) -> None:
        """Work out what `set_frozen` needs, before somebody waits for it."""
        self._tree().prepare()

    def frozen(self) -> frozenset[str]:
        """Return the paths of the parameters that are frozen now."""
        tree = self._tree().tree
        if not any(module._frozen or module._governed for _, module in tree.modules):
            return frozenset()  # of a large model, what is asked for first and most often
        return frozenset([e.path for e in tree.parameters if e.frozen])

    def held(self) -> frozenset[str]:
        """Return the paths of the layers that are held now."""
        return frozenset(path for path, module in self._tree().tree.modules if module._held)

    def training(self) -> bool:
        """Return whether the model is in train mode."""
        return bool(vars(self.model)["_training"])

    def set_frozen(self, paths: Iterable[str], frozen: bool, hold: bool | None = None) -> None:
        """Freeze or unfreeze parameters by path; a tied array by any of its paths.

        Raises
        ------
        SelectorError
            If the model has no such parameter; nothing changes then.
        """
        known = self._tree()
        entries = known.entries
        try:
            # By path: an array that was named twice is changed once.
            wanted = {entry.path: entry for entry in map(entries.__getitem__, paths)}
        except KeyError as error:
            path = error.args[0]
            hint = closest(path, entries)
            raise SelectorError(f"no parameter {path!r} in the model.{hint}") from None
        change = freeze if frozen else unfreeze
        slots = list(chain.from_iterable(entry.slots for entry in wanted.values()))
        for slot in slots:
            change(slot)
        known.take(slots)
        if not frozen:
            release((module for _, module in known.tree.modules), slots)
        if hold is not None:
            index = known.index
            # Only letting go asks what is frozen still.
            still = index.mask(() if hold else (e.path for e in known.tree.parameters if e.frozen))
            meant = index.meant(known.carriers, index.mask(wanted), still, hold)
            for i in np.flatnonzero(meant).tolist():
                vars(known.tree.modules[i][1])["_held"] = hold

    def read(self, path: str) -> np.ndarray:
        """Return a copy of a parameter or buffer on the host.

        Raises
        ------
        SelectorError
            If the model has none of that path.
        """
        return np.array(backend.to_numpy(self._array(path)))

    def _array(self, path: str) -> Any:
        value = _at(self.model, path)
        if value is not None:
            return value
        tree = self._tree().tree
        arrays = tree.parameters + tree.buffers
        for entry in arrays:
            if path in (entry.path, *entry.aliases):
                return entry.slots[0].value
        known = [entry.path for entry in arrays]
        raise SelectorError(f"no array {path!r} in the model.{closest(path, known)}")

    def probe(self) -> AbstractContextManager[Probe]:
        """Return a context manager that measures the training step made within it."""
        return native_probe(self.model)

    def listen(self) -> AbstractContextManager[None]:
        """Return a context manager within which probes have nothing to install."""
        return _calls.listened(self.model.modules())

    def device(self, path: str) -> str:
        """Return where a parameter or buffer lies: ``"cpu"`` or ``"gpu"``.

        Raises
        ------
        SelectorError
            If the model has none of that path.
        """
        return "gpu" if array_api_compat.is_cupy_array(self._array(path)) else "cpu"

    def describe(self, path: str) -> tuple[str, str]:
        """Return a layer's docstring and where its class is written: ``"file.py:12"``.

        Empty where there is none.

        Raises
        ------
        SelectorError
            If the model has no such layer.
        """
        tree = self._tree().tree
        known = dict(tree.modules)
        known |= {also: known[p] for p, names in tree.module_aliases.items() for also in names}
        if path not in known:
            raise SelectorError(f"no layer {path!r} in the model.{closest(path, known)}")
        kind = type(known[path])
        doc = inspect.cleandoc(vars(kind).get("__doc__") or "")
        try:
            return doc, f"{inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}"
        except (OSError, TypeError):  # typed into a notebook that is gone, or made by a program
            return doc, ""

    def code(self, policy: Any) -> str:
        """Return Python that does what a policy says, to a model called ``model``."""
        return native_code(policy.steps)


def _at(model: Module, path: str) -> Any:
    """Return the array that a path leads to, without walking the whole model; None if unclear."""
    here: Any = model
    for name in path.split("."):
        if name.startswith("_") and isinstance(here, Module):
            return None
        inside = here._members if isinstance(here, Module) else here
        if isinstance(inside, list) and name.isdecimal() and int(name) < len(inside):
            here = inside[int(name)]
        elif isinstance(inside, dict) and name in inside:
            here = inside[name]
        else:
            return None
    return here if backend.is_array(here) else None
