"""What a PyTorch module or tensor looks like: kind, sizes, dtype; as plain values."""

from typing import Any

import torch  # pyright: ignore[reportMissingImports]

from freezeviz.adapters._protocol import BufferInfo, ParameterInfo

__all__ = [
    "buffer_info",
    "detail",
    "dtype_name",
    "has_sizes",
    "kind",
    "parameter_info",
    "takes_gradient",
]

_MOST_DETAIL = 80
# Pairs of attributes that layers of PyTorch and of the libraries around it keep their sizes in.
_SIZES = (
    ("in_features", "out_features"),
    ("in_channels", "out_channels"),
    ("input_size", "hidden_size"),
    ("nx", "nf"),
)


def takes_gradient(tensor: Any) -> bool:
    """Return whether a tensor of this dtype can be trained at all."""
    return tensor.is_floating_point() or tensor.is_complex()


def dtype_name(tensor: Any) -> str:
    """Return ``"float32"`` for ``torch.float32``."""
    return str(tensor.dtype).removeprefix("torch.")


def parameter_info(path: str, aliases: tuple[str, ...], tensor: Any) -> ParameterInfo:
    """Return what is to be known of a parameter."""
    size = tensor.numel()
    return ParameterInfo(
        path=path,
        shape=tuple(tensor.shape),
        dtype=dtype_name(tensor),
        size=size,
        nbytes=size * tensor.element_size(),
        aliases=aliases,
    )


def buffer_info(path: str, tensor: Any) -> BufferInfo:
    """Return what is to be known of a buffer."""
    nbytes = tensor.numel() * tensor.element_size()
    return BufferInfo(path, tuple(tensor.shape), dtype_name(tensor), nbytes)


def kind(module: Any) -> str:
    """Return the name of a module's class."""
    # A scripted module remembers what it was made of.
    scripted = isinstance(module, torch.jit.ScriptModule)
    return module.original_name if scripted else type(module).__name__


def has_sizes(module: Any) -> bool:
    """Return whether `detail` is about sizes that cannot change without other parameters."""
    known = vars(module)
    return any(names[0] in known and names[1] in known for names in _SIZES)


def detail(module: Any) -> str:
    """Return a few words on a module's sizes: ``"64 → 128"``."""
    known = vars(module)
    for names in _SIZES:
        inputs, outputs = (known.get(name) for name in names)
        if isinstance(inputs, int) and isinstance(outputs, int):
            kernel = known.get("kernel_size", ())
            kernel = kernel if isinstance(kernel, tuple) else ()
            return f"{inputs} → {outputs}{', ' if kernel else ''}{'×'.join(map(str, kernel))}"
    shape = known.get("normalized_shape", known.get("num_features"))
    if shape is not None:
        return "×".join(map(str, shape)) if isinstance(shape, tuple | list) else str(shape)
    if isinstance(module, torch.nn.Dropout):
        return f"p={module.p}"
    try:
        text = " ".join(str(module.extra_repr()).split())
    except Exception:  # a user's own; a tree without this word is better than none
        return ""
    return text if len(text) <= _MOST_DETAIL else f"{text[: _MOST_DETAIL - 1]}…"
