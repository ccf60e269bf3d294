"""Whether a PyTorch model is still the one that was walked, in a fraction of a walk."""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import torch  # pyright: ignore[reportMissingImports]

from freezeviz.adapters._torch_info import detail, has_sizes

__all__ = ["Standing", "pointer"]

_MEMBERS = tuple(map(attrgetter, ("_modules", "_parameters", "_buffers")))
_SHAPE, _DTYPE = attrgetter("shape"), attrgetter("dtype")


class Standing:
    """What stood in the dicts of all modules, and in which memory.

    Long lists that are compared as a whole, and no loop over modules: of 10,000 it is asked several
    times for one click.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        All of a model.
    """

    def __init__(self, modules: Sequence[Any]) -> None:
        self._modules = modules
        # What scripted modules have instead of dicts is made anew for everyone who asks.
        self._is_plain = not any(isinstance(m, torch.jit.ScriptModule) for m in modules)
        if not self._is_plain:
            return
        self._dicts = [list(map(members, modules)) for members in _MEMBERS]
        self._sizes = [list(map(len, dicts)) for dicts in self._dicts]
        self._names = [list(chain.from_iterable(dicts)) for dicts in self._dicts]
        children, parameters, _ = self._dicts
        self._children, self._parameters = _values(children), _values(parameters)
        self._tensors = [tensor for tensor in self._parameters if tensor is not None]
        self._layouts = self._layouts_now()
        self._spoken = [module for module in modules if not has_sizes(module)]
        self._words = list(map(detail, self._spoken))

    def holds(self) -> bool:
        """Whether it is as it was, but for values, modes and what requires a gradient."""
        return (
            self._is_plain
            and all(map(self._same_members, range(len(_MEMBERS))))
            and _are(self._children, _values(self._dicts[0]))
            and _are(self._parameters, _values(self._dicts[1]))
            and self._layouts == self._layouts_now()
            and self._words == list(map(detail, self._spoken))
        )

    def _same_members(self, i: int) -> bool:
        dicts = self._dicts[i]
        return (
            _are(dicts, map(_MEMBERS[i], self._modules))
            and self._sizes[i] == list(map(len, dicts))
            and self._names[i] == list(chain.from_iterable(dicts))
        )

    def _layouts_now(self) -> list[Any]:
        # `model.to(...)` and `p.data = ...` leave the parameter and put another memory in it.
        # Buffers are put anew by some layers in every call: theirs means nothing.
        tensors = self._tensors
        buffers = [buffer for buffer in _values(self._dicts[2]) if buffer is not None]
        return [
            _pointers(tensors),
            [list(map(look, tensors)) for look in (_SHAPE, _DTYPE)],
            [list(map(look, buffers)) for look in (_SHAPE, _DTYPE)],
        ]


def _pointers(tensors: Sequence[Any]) -> list[int]:

    try:
        return list(map(torch.Tensor.data_ptr, tensors))
    except Exception:
        return list(map(pointer, tensors))


def pointer(tensor: Any) -> int:
    """Return where a tensor's memory begins; 0 where it has none."""
    try:
        return tensor.data_ptr()  # 0: on the meta device, empty, or given away by what shards it
    except Exception:  # subclasses that are spread over machines, or hold no storage, refuse
        return 0


def _values(dicts: list[dict[str, Any]]) -> list[Any]:
    return list(chain.from_iterable(map(dict.values, dicts)))


def _are(before: Sequence[Any], now: Any) -> bool:
    return all(map(is_, before, now))
