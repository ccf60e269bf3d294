"""Fewer points for the same picture."""

import numpy as np


def decimate(x: np.ndarray, y: np.ndarray, points: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Return at most about `points` points that draw the same line.

    The points are divided into buckets, about one for each column of pixels; each gives its
    smallest and its largest value, in the order in which they came, so no spike gets lost.

    Parameters
    ----------
    x, y : array, shape (n,)
        In `y`, NaN is a gap; a bucket that holds nothing else stays one.
    points : int
    """
    n = len(y)
    if n <= points:
        return x, y
    width = -(-n // (points // 2))
    buckets = -(-n // width)
    padded = np.full(buckets * width, np.nan)
    padded[:n] = y
    padded = padded.reshape(buckets, width)
    first = np.arange(buckets) * width
    lowest = first + np.where(np.isnan(padded), np.inf, padded).argmin(axis=1)
    highest = first + np.where(np.isnan(padded), -np.inf, padded).argmax(axis=1)
    # Sorted within each bucket: in order of time. Positions in the padding cannot be chosen, since
    # argmin and argmax take the first of a bucket that is all gaps.
    chosen = np.sort(np.stack([lowest, highest], axis=1), axis=1).reshape(-1)
    return x[chosen], y[chosen]


def block_means(x: np.ndarray, y: np.ndarray, points: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Return at most about `points` points: where there are more, means of neighbours.

    For what is noisy to one side: nearly every bucket has its peak, and `decimate` would show
    nothing else.

    Parameters
    ----------
    x, y : array, shape (n,)
        In `y`, NaN counts for nothing.
    points : int
    """
    n = len(y)
    if n <= points:
        return x, y
    starts = np.arange(0, n, -(-n // points))
    known = np.isfinite(y)
    counts = np.add.reduceat(known, starts, dtype=int)
    sums = np.add.reduceat(np.where(known, y, 0.0), starts)
    ends = np.append(starts[1:], n)
    return x[(starts + ends) // 2], np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def smooth(y: np.ndarray, window: int) -> np.ndarray:
    """Return the centred moving mean of `y` over `window` points; NaN counts for nothing.

    At the ends the window is cut off, so the curve neither lags nor stops short.
    """
    known = ~np.isnan(y)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, y, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    centre = np.arange(len(y))
    low = np.maximum(centre - window // 2, 0)
    high = np.minimum(centre + window // 2 + 1, len(y))
    count = counts[high] - counts[low]
    mean = (sums[high] - sums[low]) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)


def ema(y: np.ndarray, factor: float) -> np.ndarray:
    """Return the exponential moving mean of `y`, without the bias that its beginning would have.

    Parameters
    ----------
    y : array, shape (n,)
        NaN counts for nothing and stays NaN.
    factor : float
        What is kept of the mean at each point, from 0 (nothing is smoothed) to below 1.
    """
    from scipy.signal import lfilter

    known = ~np.isnan(y)
    values = y[known]
    if not len(values):
        return y
    weight = 1 - factor ** np.arange(1, len(values) + 1)
    out = np.full(len(y), np.nan)
    out[known] = np.asarray(lfilter([1 - factor], [1, -factor], values)) / weight
    return out


def is_noisy(y: np.ndarray) -> bool:
    """Return whether single points of `y` hide its course.

    They do if they zigzag: if the second difference is typically more than 1 % of the range.
    """
    known = y[~np.isnan(y)]
    if len(known) < 50:
        return False
    low, high = np.percentile(known, [2, 98])
    return bool(np.median(np.abs(np.diff(known, 2))) > 0.01 * (high - low))
