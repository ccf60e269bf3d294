"""Losses of similarity, ranking and margins."""

from typing import Any

import numpy as np

from freezeviz.autodiff import relu
from freezeviz.errors import ShapeError
from freezeviz.nn._losses._reduction import as_float, has_axis, reduce, same_shape


def cosine_similarity_loss(
    x1: Any, x2: Any, axis: int = 1, eps: float = 1e-8, reduction: str = "none"
) -> Any:
    """Return the cosine of the angle between vectors: 1 where they point the same way.

    Parameters
    ----------
    x1, x2 : array of the same shape
    axis : int
        Of the vectors; summed over.
    eps : float
        The product of the norms counts as no less.
    reduction : {'none', 'mean', 'sum'}

    Returns
    -------
    array of the shape of `x1` without `axis`, or a scalar

    Raises
    ------
    ShapeError
        If the shapes differ, or there is no such axis.

    Notes
    -----
    As in MLX, this is the similarity itself, in spite of the name: minimise ``1 -`` it to turn
    vectors towards each other. Source: ``mlx.nn.losses.cosine_similarity_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.losses.cosine_similarity_loss(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])).round(3)
    array([0.707])
    """
    same_shape("cosine_similarity_loss", x1, x2)
    has_axis("cosine_similarity_loss", x1, axis)
    norms = np.linalg.norm(x1, axis=axis) * np.linalg.norm(x2, axis=axis)
    return reduce((x1 * x2).sum(axis=axis) / np.maximum(norms, eps), reduction)


def triplet_loss(
    anchors: Any,
    positives: Any,
    negatives: Any,
    axis: int = -1,
    p: int = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
    reduction: str = "none",
) -> Any:
    """Return by how much anchors are not nearer to the positives than to the negatives.

    ``max(d(anchors, positives) - d(anchors, negatives) + margin, 0)`` with the distance
    ``d(a, b) = (sum(abs(a - b)**p) + eps) ** (1 / p)``.

    Parameters
    ----------
    anchors, positives, negatives : array of the same shape
    axis : int
        Of the vectors; summed over.
    p : int
    margin : float
    eps : float
        Keeps the derivative finite where two vectors are equal.
    reduction : {'none', 'mean', 'sum'}

    Returns
    -------
    array of the shape of `anchors` without `axis`, or a scalar

    Raises
    ------
    ShapeError
        If the shapes differ, or there is no such axis.

    Notes
    -----
    V. Balntas et al.: Learning local feature descriptors with triplets and shallow convolutional
    neural networks. BMVC 2016. The place of `eps` is MLX's; PyTorch adds it to each difference.
    Source: ``mlx.nn.losses.triplet_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> anchor, near, far = np.zeros((1, 2)), np.ones((1, 2)), np.full((1, 2), 3.0)
    >>> nn.losses.triplet_loss(anchor, near, far).round(3)
    array([0.])
    """
    same_shape("triplet_loss's positives", anchors, positives)
    same_shape("triplet_loss's negatives", anchors, negatives)
    has_axis("triplet_loss", anchors, axis)

    def distance(x: Any) -> Any:
        return ((np.abs(anchors - x) ** p).sum(axis=axis) + eps) ** (1.0 / p)

    return reduce(relu(distance(positives) - distance(negatives) + margin), reduction)


def hinge_loss(inputs: Any, targets: Any, reduction: str = "none") -> Any:
    """Return ``max(0, 1 - inputs * targets)``.

    Parameters
    ----------
    inputs : array
        Scores.
    targets : array of the same shape
        1 or -1.
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes differ.

    Notes
    -----
    Source: ``mlx.nn.losses.hinge_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.losses.hinge_loss(np.array([0.5, 2.0]), np.array([1.0, -1.0]))
    array([0.5, 3. ])
    """
    same_shape("hinge_loss", inputs, targets)
    return reduce(relu(1.0 - inputs * as_float(targets, inputs)), reduction)


def margin_ranking_loss(
    inputs1: Any, inputs2: Any, targets: Any, margin: float = 0.0, reduction: str = "none"
) -> Any:
    """Return ``max(0, -targets * (inputs1 - inputs2) + margin)``.

    Parameters
    ----------
    inputs1, inputs2 : array of the same shape
        Scores.
    targets : array of the same shape
        1 where the first is to be the higher one, -1 where the second.
    margin : float
    reduction : {'none', 'mean', 'sum'}

    Raises
    ------
    ShapeError
        If the shapes differ.

    Notes
    -----
    Source: ``mlx.nn.losses.margin_ranking_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> nn.losses.margin_ranking_loss(np.array([0.5]), np.array([1.0]), np.array([1.0]))
    array([0.5])
    """
    if not tuple(inputs1.shape) == tuple(inputs2.shape) == tuple(targets.shape):
        raise ShapeError(
            "margin_ranking_loss expects inputs1, inputs2 and targets of one shape, "
            f"got {tuple(inputs1.shape)}, {tuple(inputs2.shape)} and {tuple(targets.shape)}"
        )
    difference = inputs1 - inputs2
    return reduce(relu(margin - difference * as_float(targets, difference)), reduction)
