"""Train and eval mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from freezeviz.nn import Module


@contextmanager
def modes_restored(model: Module) -> Iterator[None]:
    """Give every module below `model` back the mode it has now, when the block ends."""
    # The attribute behind `training`: the property is False for a module that is held, whatever
    # mode it is in.
    before = [(module, vars(module)["_training"]) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in before:
            vars(module)["_training"] = mode
