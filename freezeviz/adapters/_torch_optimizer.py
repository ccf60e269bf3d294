"""Parameters that are trainable and in no group of an optimizer: they would never move."""

from typing import Any

from freezeviz.adapters._torch_names import cover, expression
from freezeviz.adapters._torch_tree import TorchTree

__all__ = ["left_out"]

MOST_NAMED = 4


def left_out(tree: TorchTree, optimizer: Any) -> tuple[tuple[str, ...], str]:
    """Return the paths that an optimizer lacks, and the Python that adds them; see the adapter."""
    groups = getattr(optimizer, "param_groups", None)
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        got = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
        raise TypeError(f"expected an optimizer of PyTorch, with param_groups, got {got}")
    known = {id(tensor) for group in groups for tensor in group.get("params", ())}
    missing = tuple(
        entry.path
        for entry in tree.entries
        if not entry.frozen and not any(id(tensor) in known for tensor in entry.tensors)
    )
    return missing, _line(tree, missing) if missing else ""


def _line(tree: TorchTree, paths: tuple[str, ...]) -> str:
    model = tree.places[0].module
    modules = {place.path for place in tree.places}
    parts = cover(tree, paths)
    if len(parts) > MOST_NAMED:
        # Not by name: the ones that require a gradient and are nowhere yet. One expression, as it
        # is shown in one line; `known` is made once.
        return (
            'optimizer.add_param_group({"params": [p for known in [{id(p) for group in '
            'optimizer.param_groups for p in group["params"]}] for p in model.parameters() '
            "if p.requires_grad and id(p) not in known]})"
        )
    terms = [
        f"{expression(model, path)}.parameters()" if path in modules else expression(model, path)
        for path in parts
    ]
    if len(parts) == 1 and parts[0] in modules:
        return f'optimizer.add_param_group({{"params": {terms[0]}}})'
    listed = ", ".join(
        f"*{term}" if path in modules else term for path, term in zip(parts, terms, strict=True)
    )
    return f'optimizer.add_param_group({{"params": [{listed}]}})'
