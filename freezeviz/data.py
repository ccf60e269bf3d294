"""Real data sets that come inside packages, so that nothing has to be downloaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from freezeviz.errors import DataError, MissingExtraError

__all__ = ["Digits", "digits"]

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True, repr=False)
class Digits:
    """Handwritten digits, split in two.

    Attributes
    ----------
    train, validation : (x, y)
        `x` float32 from 0 to 1, of shape (n, 64) or (n, 8, 8, 1); `y` int64 of shape (n,).
    classes : tuple of int
        The digit that each label stands for: label ``i`` is the digit ``classes[i]``.
    """

    train: Pair
    validation: Pair
    classes: tuple[int, ...]

    def __repr__(self) -> str:
        shape = ", ".join(["n", *map(str, self.train[0].shape[1:])])
        return (
            f"Digits({len(self.train[0])} to train on, {len(self.validation[0])} to validate, "
            f"x ({shape}), classes {', '.join(map(str, self.classes))})"
        )


def digits(
    seed: int = 0,
    classes: Sequence[int] | None = None,
    validation: float = 0.25,
    *,
    flat: bool = True,
) -> Digits:
    """Return scikit-learn's 1,797 scanned digits of 8x8 pixels, split into two sets.

    Every class gives the same share to validation. The same arguments give the same arrays, byte
    for byte.

    Parameters
    ----------
    seed : int
        Of the split and of the order.
    classes : sequence of int, optional
        Only these digits, labelled 0, 1, … in the order given. Default: all ten.
    validation : float
        Share of the samples kept for validation, from 0 to less than 1.
    flat : bool
        ``x`` of shape (n, 64); otherwise (n, 8, 8, 1), as convolutions want it.

    Raises
    ------
    MissingExtraError
        If scikit-learn, which brings the data, is not installed.
    DataError
        If a class is not a digit or given twice, or `validation` is out of range.

    Examples
    --------
    >>> old = digits(classes=range(5))
    >>> old.train[0].shape, old.train[1].max()
    ((676, 64), 4)
    """
    chosen = tuple(range(10)) if classes is None else tuple(int(c) for c in classes)
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(10)):
        raise DataError(f"classes are different digits from 0 to 9, got {list(chosen)}")
    if not 0 <= validation < 1:
        raise DataError(f"validation is a share from 0 to less than 1, got {validation}")
    images, labels = _load()

    rng = np.random.default_rng(seed)
    train: list[np.ndarray] = []
    held_out: list[np.ndarray] = []
    for digit in chosen:
        indices = rng.permutation(np.flatnonzero(labels == digit))
        cut = round(len(indices) * validation)
        held_out.append(indices[:cut])
        train.append(indices[cut:])

    new_label = np.zeros(10, np.int64)
    new_label[list(chosen)] = np.arange(len(chosen))
    x = (images / np.float32(16)).reshape((-1, 64) if flat else (-1, 8, 8, 1))

    def part(groups: list[np.ndarray]) -> Pair:
        order = rng.permutation(np.concatenate(groups))
        return x[order], new_label[labels[order]]

    return Digits(part(train), part(held_out), chosen)


def _load() -> Pair:
    """Return the images, float32 from 0 to 16 of shape (1797, 8, 8), and their digits."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError(
            "the digits come with scikit-learn, which is not installed: "
            "pip install 'freezeviz[lab]', or pip install scikit-learn"
        ) from error
    bunch: Any = load_digits()
    return bunch.images.astype(np.float32), bunch.target
