"""How layers of the explicit face print: as in Lux, with the numbers of what they hold."""

import textwrap
from typing import Any

from freezeviz.explicit._count import counts
from freezeviz.explicit._wrapper import WrapperLayer
from freezeviz.nn import Linear, Module


def described(layer: Module) -> str:
    """Return a layer's picture with its numbers of parameters and states behind it."""
    text = picture(layer)
    if not _is_block(layer, text):
        return text + _numbers(layer)
    trainable, states = counts(layer)
    plus = f", plus {states:_} states" if states else ""
    return f"{text}  # Total: {trainable:_} parameters{plus}"


def picture(layer: Any) -> str:
    """Return a layer's picture without numbers behind it."""
    if _freezes(layer):
        inner, which = picture(layer._members["layer"]), layer.which
        return f"FrozenLayer({inner}{'' if which is None else f', {_tuple(which)}'})"
    if type(layer) is Linear:
        outputs, inputs = layer.weight.shape
        activation = "" if layer.activation is None else f", {function_name(layer.activation)}"
        bias = "" if "bias" in layer else ", bias=False"
        return f"Dense({inputs} => {outputs}{activation}{bias})"
    own = getattr(type(layer), "_picture", None)
    return repr(layer) if own is None else own(layer)


def block(name: str, head: list[str], layers: dict[str, Module]) -> str:
    """Return the picture of a container: what it combines with, and a line for each layer."""
    lines = [f"{line}," for line in head]
    for key, layer in layers.items():
        text = picture(layer)
        # Only the whole is summed up, and what is frozen.
        lines.append(f"{key} = {text},{'' if _is_block(layer, text) else _numbers(layer)}")
    body = textwrap.indent("\n".join(lines), "    ")
    return f"{name}(\n{body}\n)" if lines else f"{name}()"


def function_name(function: Any) -> str:
    """Return a function's name; never its address, which no two runs share."""
    return getattr(function, "__name__", type(function).__name__)


def _numbers(layer: Module) -> str:
    trainable, states = counts(layer)
    # Lux leaves them out where nothing is trainable, and so says nothing of what is all frozen.
    if not trainable and not _freezes(layer):
        return ""
    plus = f", plus {states:_} non-trainable" if states else ""
    return f"  # {trainable:_} parameters{plus}"


def _is_block(layer: Module, text: str) -> bool:
    return "\n" in text and not _freezes(layer)


def _freezes(layer: Any) -> bool:
    return isinstance(layer, WrapperLayer) and layer._splits


def _tuple(names: tuple[str, ...]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"({quoted},)" if len(names) == 1 else f"({quoted})"
