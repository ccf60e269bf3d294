"""Normalisation of each sample over its places and groups of its channels."""

import math
from typing import Any

import numpy as np

from freezeviz import autodiff
from freezeviz.errors import ShapeError
from freezeviz.nn import init
from freezeviz.nn._layers._checks import last_axis, positive_eps, sizes, where
from freezeviz.nn._module import Module

__all__ = ["GroupNorm", "InstanceNorm"]


class GroupNorm(Module):
    """Normalises each sample over groups of channels and all axes between batch and channels.

    Parameters
    ----------
    num_groups : int
        Divides `dims`.
    dims : int
        Number of channels.
    eps : float
    affine : bool
        Scale and shift by `weight` and `bias`.
    pytorch_compatible : bool
        PyTorch's groups are of neighbouring channels. MLX's, the default, take every
        ``num_groups``-th: channel ``c`` is in group ``c % num_groups``. Weights that were trained
        with the one do not fit the other.

    Attributes
    ----------
    bias, weight : array of shape (dims,)

    Raises
    ------
    ValueError
        If `dims` is no multiple of `num_groups`, or `eps` is not above zero.

    Notes
    -----
    Y. Wu, K. He: Group Normalization. arXiv:1803.08494. Arguments are those of
    ``mlx.nn.GroupNorm``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.GroupNorm(2, 4)(np.ones((1, 3, 3, 4), np.float32)).shape
    (1, 3, 3, 4)
    """

    def __init__(
        self,
        num_groups: int,
        dims: int,
        eps: float = 1e-5,
        affine: bool = True,
        pytorch_compatible: bool = False,
    ):
        super().__init__()
        sizes(self, 1, num_groups=num_groups, dims=dims)
        if num_groups < 1 or dims < 1 or dims % num_groups:
            raise ValueError(
                f"GroupNorm: dims={dims} is no positive multiple of num_groups={num_groups}"
            )
        self.num_groups = num_groups
        self.dims = dims
        self.eps = positive_eps("GroupNorm", eps)
        self.pytorch_compatible = pytorch_compatible
        self._affine = affine
        self._initialise()

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return first values."""
        shape = (self.dims,)
        values = {"bias": init.constant(0.0)(shape), "weight": init.constant(1.0)(shape)}
        return values if self._affine else {}

    def __call__(self, x: Any) -> Any:
        """Return `x` normalised.

        Parameters
        ----------
        x : array of shape (batch, ..., dims)

        Raises
        ------
        ShapeError
            If the last axis is not of size `dims`, or there is no axis before it.
        """
        last_axis(self, x, "dims", self.dims)
        if x.ndim < 2:
            raise ShapeError(
                f"{where(self)} expects x of shape (batch, ..., dims={self.dims}), "
                f"got {tuple(x.shape)}"
            )
        each = self.dims // self.num_groups
        split = (self.num_groups, each) if self.pytorch_compatible else (each, self.num_groups)
        y = _normalised(x, split, 0 if self.pytorch_compatible else 1, self.eps)
        return y * self.weight + self.bias if "weight" in self else y

    def _extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.dims}, eps={self.eps}, affine={'weight' in self}, "
            f"pytorch_compatible={self.pytorch_compatible}"
        )


class InstanceNorm(Module):
    """Normalises each channel of each sample over all axes between batch and channels.

    Parameters
    ----------
    dims : int
        Number of channels.
    eps : float
    affine : bool
        Scale and shift by `weight` and `bias`.

    Attributes
    ----------
    weight, bias : array of shape (dims,)

    Raises
    ------
    ValueError
        If `eps` is not above zero.

    Notes
    -----
    D. Ulyanov, A. Vedaldi, V. Lempitsky: Instance Normalization. arXiv:1607.08022. Arguments are
    those of ``mlx.nn.InstanceNorm``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.InstanceNorm(3)(np.ones((2, 5, 3), np.float32)).shape
    (2, 5, 3)
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = False):
        super().__init__()
        sizes(self, 0, dims=dims)
        self.dims = dims
        self.eps = positive_eps("InstanceNorm", eps)
        self._affine = affine
        self._initialise()

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return first values."""
        shape = (self.dims,)
        values = {"weight": init.constant(1.0)(shape), "bias": init.constant(0.0)(shape)}
        return values if self._affine else {}

    def __call__(self, x: Any) -> Any:
        """Return `x` normalised.

        Parameters
        ----------
        x : array of shape (batch, ..., dims)
            With at least one axis in between.

        Raises
        ------
        ShapeError
            If the last axis is not of size `dims`, or `x` has less than three axes.
        """
        last_axis(self, x, "dims", self.dims)
        if x.ndim < 3:
            raise ShapeError(
                f"{where(self)} expects x of shape (batch, ..., dims={self.dims}) with at least "
                f"one axis in between, got {tuple(x.shape)}"
            )
        y = _normalised(x, (self.dims, 1), 0, self.eps)
        return y * self.weight + self.bias if "weight" in self else y

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"


def _normalised(x: Any, split: tuple[int, int], group_axis: int, eps: float) -> Any:
    """Return `x` normalised over its places and groups of channels.

    The channels are seen as an array of shape `split`, whose `group_axis` counts the groups.
    """
    shape = tuple(x.shape)
    if 0 in shape:
        return x  # no values, and without places a mean of nothing
    places = math.prod(shape[1:-1])
    # To (batch, group, places and channels of the group): a layer norm of each row.
    order = (0, 2, 1, 3) if group_axis == 0 else (0, 3, 1, 2)
    groups = split[group_axis]
    y = x.reshape(shape[0], places, *split).transpose(order)
    turned = y.shape
    y = autodiff.layer_norm(
        y.reshape(shape[0], groups, places * (shape[-1] // groups)), None, None, eps=eps
    ).reshape(turned)
    back = (0, 2, 1, 3) if group_axis == 0 else (0, 2, 3, 1)
    return y.transpose(back).reshape(shape)
