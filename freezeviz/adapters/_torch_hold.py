"""Holding a PyTorch module: eval mode that no later ``train()`` undoes."""

from collections.abc import Callable
from typing import Any

__all__ = ["Held", "held", "hold", "mode", "release"]


class Held:
    """Stands in for the ``train`` method of one module as long as that is held.

    1. ``parent.train()`` calls ``child.train(mode)`` on the instance, so an attribute of the
       instance is asked wherever the call began; `eval` goes the same way.
    2. The module's own method still runs, as the modules below it may not be held, and as it may
       do more than set a flag. Only then the flag is put back: ``training`` stays False, for layers
       that read their own, for parents that read a child's, and for `torch.compile`, whose code
       would have to be thrown away if a hook turned it back and forth.
    3. A class and no closure: models with it are pickled and deep-copied, and the copy's is the
       copy's. A ``state_dict`` knows nothing of it.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.mode = bool(module.training)
        # A stand-in that somebody else has put there is asked, too, and is put back at the end.
        self.before: Callable[..., Any] | None = vars(module).get("train")

    def __call__(self, mode: bool = True) -> Any:
        self.mode = bool(mode)
        if self.before is not None:
            self.before(mode)
        else:
            type(self.module).train(self.module, mode)
        self.module.training = False
        return self.module


def held(module: Any) -> Any:
    """Return what holds a module, with the `mode` it would have; None if it is not held.

    That is a `Held`, or one of the class in exported code (`_torch_code`), which freezes and holds
    a model without us: who runs it and opens the model here can let go of what it holds.
    """
    found = vars(module).get("train")
    if found is None or isinstance(found, Held):
        return found
    of = getattr(found, "module", None)
    return found if of is module and isinstance(getattr(found, "mode", None), bool) else None


def hold(module: Any) -> None:
    """Hold a module, without those below it; nothing happens if it is held."""
    if held(module) is None:
        module.train = Held(module)
        module.training = False


def release(module: Any) -> None:
    """Let a module go: it gets the mode that it would have had all along."""
    holding = held(module)
    if holding is not None:
        del module.train
        before = getattr(holding, "before", None)
        if before is not None:
            module.train = before
        module.training = holding.mode


def mode(module: Any) -> bool:
    """Return whether a module is in train mode, or would be if it were not held."""
    holding = held(module)
    return bool(module.training if holding is None else holding.mode)
