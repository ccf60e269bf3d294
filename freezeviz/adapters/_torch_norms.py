"""Norms of gradients, weights and updates around one training step of a PyTorch model."""

import math
from collections.abc import Sequence
from typing import Any

import torch  # pyright: ignore[reportMissingImports]

from freezeviz.adapters._protocol import Probe
from freezeviz.adapters._torch_tree import Entry

__all__ = ["Norms"]

# Of the trainable parameters, their values before a step are kept until its end. Where that would
# be more than this many bytes, a device may not have them: what a step changed stays unknown then.
MOST_KEPT = 2**30


class Norms:
    """Looks at the parameters when it is made, hears of their gradients, and finishes later."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        # One tensor is enough: several of one entry are the same memory.
        self._trainable = {e.path: t for e in entries for t in e.tensors if t.requires_grad}
        n_bytes = sum(t.numel() * t.element_size() for t in self._trainable.values())
        self._before: dict[str, Any] = {}
        if n_bytes <= MOST_KEPT:
            self._before = {path: t.detach().clone() for path, t in self._trainable.items()}
        # Many loops drop the gradients right after the optimizer's step.
        self._gradients: dict[str, Any] = {}
        self._handles = [
            tensor.register_post_accumulate_grad_hook(self._hear_of(path))
            for path, tensor in self._trainable.items()
        ]

    def _hear_of(self, path: str) -> Any:
        def heard(tensor: Any) -> None:
            self._gradients[path] = tensor.grad

        return heard

    def finish(self, probe: Probe) -> None:
        """Write the norms down."""
        now = {path: t.detach() for path, t in self._trainable.items() if path in self._before}
        same = {path: t for path, t in now.items() if t.shape == self._before[path].shape}
        gradients = {**self._gradients}
        gradients |= {p: t.grad for p, t in self._trainable.items() if t.grad is not None}
        with torch.no_grad():
            probe.gradient_norm.update(_norms(gradients))
            probe.weight_norm.update(_norms(self._before))
            changes = {p: t - self._before[p].to(t.device, t.dtype) for p, t in same.items()}
            probe.update_norm.update(_norms(changes))

    def close(self) -> None:
        """Hear of nothing any more, and hold on to nothing."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._gradients, self._before, self._trainable = [], {}, {}, {}


def _norms(tensors: dict[str, Any]) -> dict[str, float]:
    """Return Euclidean norms, infinite where something is not finite; one wait for each device."""
    found: dict[str, float] = {}
    by_device: dict[Any, list[tuple[str, Any]]] = {}
    for path, tensor in tensors.items():
        if tensor is not None and not tensor.is_meta:
            by_device.setdefault(tensor.device, []).append((path, _norm(tensor.detach())))
    for pairs in by_device.values():
        values = torch.stack([norm for _, norm in pairs]).tolist()
        for (path, _), value in zip(pairs, values, strict=True):
            found[path] = value if math.isfinite(value) else math.inf
    return found


def _norm(tensor: Any) -> Any:
    if tensor.layout != torch.strided:
        tensor = (
            tensor.coalesce().values() if tensor.layout == torch.sparse_coo else tensor.to_dense()
        )
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    # Half precision would overflow at 65,504.
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    return torch.linalg.vector_norm(tensor, dtype=dtype).to(torch.float32)
