"""Clipping of gradients."""

from typing import Any

import numpy as np

from freezeviz import tree
from freezeviz.backend import array_namespace


def clip_grad_norm(grads: Any, max_norm: float) -> tuple[Any, Any]:
    """Return gradients whose common norm is at most `max_norm`, and the norm they had.

    Parameters
    ----------
    grads : tree of arrays
        As `nn.value_and_grad` gives them: frozen parameters have none, and do not count.
    max_norm : float

    Returns
    -------
    grads : tree of arrays
        Scaled by one factor if their norm was larger, else the same values. A norm that is not
        finite leaves zeros or NaN.
    norm : scalar
        Of all gradients as one vector, before. Computed at least in single precision, and not
        brought to the host: on a GPU it is an array.

    Raises
    ------
    ValueError
        If `max_norm` is negative or NaN.

    Notes
    -----
    R. Pascanu, T. Mikolov, Y. Bengio: On the difficulty of training recurrent neural networks.
    arXiv:1211.5063. After ``mlx.optimizers.clip_grad_norm``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> clipped, norm = optim.clip_grad_norm({"w": np.array([3.0, 4.0])}, 1.0)
    >>> round(float(norm), 3), clipped["w"].round(3).tolist()
    (5.0, [0.6, 0.8])
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm is a number that is not negative, got {max_norm!r}")
    leaves = [g for _, g in tree.tree_flatten(grads) if g is not None]
    if not leaves:
        return grads, np.float32(0.0)
    squares = [_squares(g) for g in leaves]
    xp = array_namespace(*leaves)
    norm = xp.sqrt(sum(squares[1:], squares[0]))
    # A little is added to the norm, as in MLX and PyTorch: of zero gradients, too, it divides.
    factor = xp.minimum(max_norm / (norm + 1e-6), xp.ones_like(norm))
    return tree.tree_map(lambda g: None if g is None else _scaled(g, factor), grads), norm


def _squares(g: Any) -> Any:
    # Half precision holds no square above 65,504.
    wide = g.astype(np.float32) if g.dtype.itemsize < 4 else g
    return (wide * wide).sum()


def _scaled(g: Any, factor: Any) -> Any:
    # asarray: arithmetic on 0-d arrays gives scalars.
    return array_namespace(g).asarray(g * factor, dtype=g.dtype)
