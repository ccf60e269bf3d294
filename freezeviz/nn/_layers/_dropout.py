"""Dropout."""

from typing import Any

import numpy as np

from freezeviz.autodiff import stop_gradient
from freezeviz.backend import array_namespace
from freezeviz.nn._module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """Sets each value to zero with probability `p` while training, and scales the rest up.

    Parameters
    ----------
    p : float
        In ``[0, 1)``.

    Raises
    ------
    ValueError
        If `p` is out of range.

    Notes
    -----
    N. Srivastava et al.: Dropout. JMLR 15 (2014). Masks come from the generator in use
    (`freezeviz.random`); a `Trainer` binds one of its own for every step. Source:
    ``mlx.nn.Dropout``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.Dropout(0.5).eval()(np.ones(3))
    array([1., 1., 1.])
    """

    depends_on = ("rng", "training")

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"Dropout's p is in [0, 1), got {p}")
        self.p = p

    def __call__(self, x: Any) -> Any:
        """Return `x` with values dropped, or `x` itself in eval mode.

        Parameters
        ----------
        x : array of any shape
        """
        if self.p == 0 or not self.training:
            return x
        keep = 1.0 - self.p
        xp = array_namespace(stop_gradient(x))
        draws = self.default_rng().random(x.shape, dtype=np.float32)
        return x * xp.asarray((draws < keep).astype(x.dtype) / np.asarray(keep, dtype=x.dtype))

    def _extra_repr(self) -> str:
        return f"p={self.p}"
