"""Batch and layer normalisation."""

import math
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.autodiff import stop_gradient
from freezeviz.errors import ShapeError
from freezeviz.nn import init
from freezeviz.nn._layers._checks import last_axis, sizes, where
from freezeviz.nn._module import Module

__all__ = ["BatchNorm", "LayerNorm"]


class BatchNorm(Module):
    """Normalises each channel over the batch, or by running statistics in eval mode.

    Parameters
    ----------
    num_features : int
        Number of channels.
    eps : float
    momentum : float
        Weight of a new batch in the running statistics.
    affine : bool
        Scale and shift by `weight` and `bias`.
    track_running_stats : bool
        Without, every batch is normalised by its own statistics, in eval mode, too.

    Attributes
    ----------
    weight, bias : array of shape (num_features,)
    running_mean, running_var : array of shape (num_features,)
        Buffers. Freezing does not stop them; ``freeze(hold=True)`` and ``eval()`` do.

    Raises
    ------
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    S. Ioffe, C. Szegedy: Batch Normalization. arXiv:1502.03167. Arguments are those of
    ``mlx.nn.BatchNorm``. As in PyTorch and Lux, the batch is normalised by its biased variance
    and the running one takes the unbiased.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> layer = nn.BatchNorm(3)
    >>> layer(np.ones((4, 3), np.float32)).shape
    (4, 3)
    >>> [path for path, _ in layer.named_buffers()]
    ['running_mean', 'running_var']
    """

    depends_on = ("training",)
    _scale = "weight"  # the name of the scale; Lux's is another (`explicit.BatchNorm`)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        super().__init__()
        sizes(self, 0, num_features=num_features)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self._affine = affine
        self._tracks = track_running_stats
        self._initialise()

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return first values."""
        shape = (self.num_features,)
        values = {self._scale: init.constant(1.0)(shape), "bias": init.constant(0.0)(shape)}
        return values if self._affine else {}

    def initial_buffers(self) -> dict[str, Any]:
        """Return first values."""
        shape = (self.num_features,)
        mean, var = init.constant(0.0)(shape), init.constant(1.0)(shape)
        return {"running_mean": mean, "running_var": var} if self._tracks else {}

    def __call__(self, x: Any) -> Any:
        """Return `x` normalised.

        Parameters
        ----------
        x : array of shape (batch, ..., num_features)

        Raises
        ------
        ShapeError
            If the last axis is not the channels, or a training batch has a single value each.
        """
        last_axis(self, x, "num_features", self.num_features)
        weight = getattr(self, self._scale) if self._scale in self else None
        bias = self.bias if "bias" in self else None
        tracked = "running_mean" in self
        if tracked and not self.training:
            return self._by_running_statistics(x, weight, bias)
        n = math.prod(x.shape[:-1])
        if n < 2 and self.training:
            raise ShapeError(
                f"{where(self)} needs more than one value per channel to train on, got x of shape "
                f"{tuple(x.shape)}: use a larger batch, eval() or freeze(hold=True)"
            )
        out, mean, var = autodiff.batch_norm(x, weight, bias, eps=self.eps)
        if tracked:
            m = self.momentum
            self.running_mean = _mix(self.running_mean, mean, m)
            self.running_var = _mix(self.running_var, var * (n / (n - 1)), m)
        return out

    def _by_running_statistics(self, x: Any, weight: Any, bias: Any) -> Any:
        scale = 1.0 / (stop_gradient(self.running_var) + self.eps) ** 0.5
        out = (x - self.running_mean) * scale
        out = out if weight is None else out * weight
        return out if bias is None else out + bias

    def _extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self._scale in self}, track_running_stats={'running_mean' in self}"
        )


def _mix(running: Any, new: Any, momentum: float) -> Any:
    mixed = running * (1.0 - momentum) + new * momentum
    return mixed if mixed.dtype == running.dtype else mixed.astype(running.dtype)


class LayerNorm(Module):
    """Normalises over the last axis.

    Parameters
    ----------
    dims : int
    eps : float
    affine : bool
        Scale by `weight` and shift by `bias`.
    bias : bool
        Whether an affine layer shifts.

    Attributes
    ----------
    weight, bias : array of shape (dims,)

    Raises
    ------
    ValueError
        If a size is no int, or too small.

    Notes
    -----
    J. L. Ba, J. R. Kiros, G. E. Hinton: Layer Normalization. arXiv:1607.06450. Arguments are
    those of ``mlx.nn.LayerNorm``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.LayerNorm(3)(np.array([[1.0, 2.0, 3.0]])).round(3)
    array([[-1.225,  0.   ,  1.225]])
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = True, bias: bool = True):
        super().__init__()
        sizes(self, 0, dims=dims)
        self.dims = dims
        self.eps = eps
        self._affine = affine
        self._has_bias = affine and bias
        self._initialise()

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return first values."""
        values = {"weight": init.constant(1.0)((self.dims,))} if self._affine else {}
        return values | {"bias": init.constant(0.0)((self.dims,))} if self._has_bias else values

    def __call__(self, x: Any) -> Any:
        """Return `x` normalised.

        Parameters
        ----------
        x : array of shape (..., dims)

        Raises
        ------
        ShapeError
            If the last axis is not of size `dims`.
        """
        last_axis(self, x, "dims", self.dims)
        weight = self.weight if "weight" in self else None
        bias = self.bias if "bias" in self else None
        return autodiff.layer_norm(x, weight, bias, eps=self.eps)

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"
