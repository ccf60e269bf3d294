"""Layers under Lux's names."""

from freezeviz import nn

__all__ = ["BatchNorm", "Dense", "Dropout"]

Dense = nn.Linear
Dropout = nn.Dropout


class BatchNorm(nn.BatchNorm):
    """`nn.BatchNorm` with Lux's name for the factor: ``scale`` instead of ``weight``.

    Attributes
    ----------
    scale, bias : array of shape (num_features,)
    running_mean, running_var : array of shape (num_features,)
    """

    _scale = "scale"

    def _picture(self) -> str:
        affine, tracks = self._scale in self, "running_mean" in self
        return f"BatchNorm({self.num_features}, affine={affine}, track_stats={tracks})"
