"""The adapter of PyTorch's models. Imported when the first one comes along: it needs torch."""

import inspect
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from freezeviz.adapters import _torch_hold as holding
from freezeviz.adapters._protocol import LayerInfo, Probe
from freezeviz.adapters._torch_code import torch_code
from freezeviz.adapters._torch_info import dtype_name
from freezeviz.adapters._torch_optimizer import left_out
from freezeviz.adapters._torch_probe import torch_probe
from freezeviz.adapters._torch_tree import Entry, TorchTree
from freezeviz.errors import ModelError, SelectorError, closest

__all__ = ["TorchAdapter"]


class TorchAdapter:
    """The adapter of a `torch.nn.Module`. A model that `torch.compile` wraps is unwrapped.

    What PyTorch makes easy to get wrong is handled here:

    - A ``.grad`` left from the last step still moves a parameter that was frozen since, so it is
      dropped on freezing.
    - Tied parameters are one, with aliases: tied by being the same object, or by having the same
      memory (``b.weight.data = a.weight.data``).
    - ``.eval()`` on the frozen part is undone by the next ``model.train()``. What is held is not.
    - A parameter that takes no gradient (integers: quantised weights) is listed as a buffer.
    """

    framework = "torch"
    when_all_frozen = (
        "loss.backward() raises then ('does not require grad'): unfreeze something before the next "
        "step, or write  if loss.requires_grad: loss.backward()"
    )

    def __init__(self, model: Any) -> None:
        self.model = unwrapped(model)
        self._known: TorchTree | None = None

    def _tree(self) -> TorchTree:
        tree = self._known
        if tree is None or not tree.holds():
            tree = self._known = TorchTree(self.model)
        return tree

    def snapshot(self) -> LayerInfo:
        """Return the model's structure as it is now; the same object as long as it is the same.

        Raises
        ------
        ModelError
            If a lazy layer has not seen a batch yet.
        """
        return self._tree().snapshot

    def frozen(self) -> frozenset[str]:
        """Return the paths of the parameters that do not require a gradient."""
        return frozenset(e.path for e in self._tree().entries if e.frozen)

    def held(self) -> frozenset[str]:
        """Return the paths of the modules that are held now."""
        places = self._tree().places
        return frozenset(place.path for place in places if holding.held(place.module))

    def training(self) -> bool:
        """Return whether the model is in train mode."""
        return holding.mode(self.model)

    def set_frozen(self, paths: Iterable[str], frozen: bool, hold: bool | None = None) -> None:
        """Freeze or unfreeze parameters by path; a tied one by any of its paths.

        Raises
        ------
        SelectorError
            If the model has no such parameter; nothing changes then.
        ModelError
            If ``requires_grad`` of one cannot be set; nothing changes then.
        """
        tree = self._tree()
        by_name = tree.by_name
        chosen: dict[str, Entry] = {}
        for path in paths:
            if path not in by_name:
                raise _no_parameter(tree, path)
            entry = by_name[path]
            chosen[entry.path] = entry
        for entry in chosen.values():
            for tensor in entry.tensors:
                _check_changeable(entry.path, tensor, frozen)
        for entry in chosen.values():
            for tensor in entry.tensors:
                tensor.requires_grad_(not frozen)
                if frozen:
                    tensor.grad = None
        if hold is not None:
            index = tree.index
            still = index.mask(e.path for e in tree.entries if e.frozen)
            meant = index.meant(tree.carriers, index.mask(chosen), still, hold)
            for i in np.flatnonzero(meant).tolist():
                (holding.hold if hold else holding.release)(tree.places[i].module)

    def read(self, path: str) -> np.ndarray:
        """Return a copy of a parameter or buffer on the host; 8- and 16-bit floats as float32.

        Raises
        ------
        SelectorError
            If the model has none of that path.
        ModelError
            If it has no values (on the meta device) or NumPy has no such dtype.
        """
        tensor = self._tensor(path).detach()
        if tensor.is_meta:
            raise ModelError(
                f"{path!r} is on the meta device: it has a shape and no values; load its weights "
                "first, or give it memory with to_empty()"
            )
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
        if tensor.is_floating_point() and tensor.element_size() < 4:
            tensor = tensor.to(torch.float32)
        try:
            host = tensor.cpu().resolve_conj().resolve_neg().numpy()
        except (RuntimeError, TypeError) as error:
            name = dtype_name(tensor)
            raise ModelError(f"{path!r} of dtype {name} has no NumPy equal: {error}") from error
        return np.array(host)

    def device(self, path: str) -> str:
        """Return where a parameter or buffer lies: ``"cpu"``, ``"cuda:0"``.

        Raises
        ------
        SelectorError
            If the model has none of that path.
        """
        return str(self._tensor(path).device)

    def describe(self, path: str) -> tuple[str, str]:
        """Return a module's docstring and where its class is written: ``"file.py:12"``.

        Of a parameter, those of the module that owns it. Empty where there is none.

        Raises
        ------
        SelectorError
            If the model has no such module or parameter.
        """
        tree = self._tree()
        places = {name: p for p in tree.places for name in (p.path, *p.aliases)}
        place = places.get(path)
        if place is None and path:
            self._tensor(path)
            place = places[path.rpartition(".")[0]]
        assert place is not None  # _tensor raises
        kind = type(place.module)
        doc = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
        try:
            _, line = inspect.getsourcelines(kind)
            return doc, f"{inspect.getsourcefile(kind)}:{line}"
        except (OSError, TypeError):  # typed into a notebook that is gone, or made by a program
            return doc, ""

    def code(self, policy: Any) -> str:
        """Return plain PyTorch that does what a policy says, to a model called ``model``."""
        return torch_code(self._tree(), policy)

    def probe(self) -> AbstractContextManager[Probe]:
        """Return a context manager that measures the training step made within it."""
        return torch_probe(self._tree())

    def left_out(self, optimizer: Any) -> tuple[tuple[str, ...], str]:
        """Return the trainable parameters that an optimizer lacks, and Python that adds them.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            Or anything with `param_groups` like its.

        Returns
        -------
        paths : tuple of str
        line : str
            It calls the optimizer ``optimizer`` and the model ``model``; empty if none is missing.

        Raises
        ------
        TypeError
            If it is no such optimizer.
        """
        return left_out(self._tree(), optimizer)

    def _tensor(self, path: str) -> Any:
        """Return a parameter or buffer, without walking the whole model."""
        *modules, name = path.split(".")
        here = self.model
        for step in modules:
            here = _member(here._modules, step)
            if here is None:
                break
        else:
            tensor = _member(here._parameters, name)
            tensor = _member(here._buffers, name) if tensor is None else tensor
            if tensor is not None:
                return tensor
        known = [name for name, _ in self._tree().tensors()]
        raise SelectorError(f"no array {path!r} in the model.{closest(path, known)}")


def unwrapped(model: Any) -> Any:
    """Return the model that `torch.compile` has wrapped; any other as it is.

    Both are the same parameters, but only the model's own paths are those of its checkpoints; and
    the wrapper notices a change of ``requires_grad`` or of the mode, and compiles anew.
    """
    original = getattr(model, "_orig_mod", None)
    return original if isinstance(original, torch.nn.Module) else model


def _member(members: Any, name: str) -> Any:
    # Those of a scripted module are no dict: they have `in` and [], and no `get`.
    return members[name] if name in members else None  # noqa: SIM401


def _no_parameter(tree: TorchTree, path: str) -> SelectorError:
    for name, tensor in tree.tensors():
        if name == path:
            return SelectorError(
                f"no parameter {path!r} in the model: it is a buffer ({dtype_name(tensor)}), which "
                "is never trained, so that there is nothing to freeze or unfreeze"
            )
    return SelectorError(f"no parameter {path!r} in the model.{closest(path, tree.by_name)}")


def _check_changeable(path: str, tensor: Any, frozen: bool) -> None:
    if tensor.requires_grad is not frozen:
        return
    if not tensor.is_leaf:
        raise ModelError(
            f"{path!r} is the result of a computation ({tensor.grad_fn.name()}), no leaf of its "
            "own: PyTorch allows to freeze leaves only. Freeze what it is computed from"
        )
    if not frozen and tensor.is_inference():
        raise ModelError(
            f"{path!r} was made in torch.inference_mode(), which keeps it from ever being trained; "
            "build or load the model outside of that block"
        )
