"""How threads share what is done number by number."""

import numba as nb


@nb.njit(inline="always")
def span(n, threads, t):
    """Return the t-th part of a range of n, in multiples of a vector of 16."""
    size = ((n + threads - 1) // threads + 15) // 16 * 16
    return min(n, t * size), min(n, (t + 1) * size)
