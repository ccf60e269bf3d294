"""Layers under Lux's names."""

from freezeviz import nn

__all__ = ["BatchNorm", "Dense", "Dropout"]

Dense = nn.Linear
Dropout = nn.Dropout


class BatchNorm(nn.BatchNorm):
    """`nn.BatchNorm` with Lux's name for the factor: ``scale`` instead of ``weight``.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats
        As in `nn.BatchNorm`.

    Attributes
    ----------
    scale, bias : array of shape (num_features,)
    running_mean, running_var : array of shape (num_features,)

    Notes
    -----
    Source: ``Lux.BatchNorm``.

    Examples
    --------
    >>> from freezeviz import explicit as lux
    >>> [path for path, _ in lux.BatchNorm(3).named_parameters()]
    ['scale', 'bias']
    """

    _scale = "scale"

    def _picture(self) -> str:
        affine, tracks = self._scale in self, "running_mean" in self
        return f"BatchNorm({self.num_features}, affine={affine}, track_stats={tracks})"
