"""Images as the models take them."""

from typing import Any

from freezeviz.errors import ShapeError


def pictures(x: Any, channels: int, where: str) -> Any:
    """Return `x` if its shape is (batch, height, width, channels).

    Raises
    ------
    ShapeError
        If it has another shape; channels first gets a hint.
    """
    shape = tuple(getattr(x, "shape", ()))
    if len(shape) == 4 and shape[3] == channels:
        return x
    hint = ""
    if len(shape) == 4 and shape[1] == channels:
        hint = ": channels come last here, x.transpose(0, 2, 3, 1) puts them there"
    raise ShapeError(
        f"{where} expects pixel_values of shape (batch, height, width, channels={channels}), "
        f"got {shape or type(x).__name__}{hint}"
    )
