"""What this machine can do at best: operations of matrix products and bytes moved, per second.

``python -m tests.benchmarks.engine.rates THREADS``, with the libraries' numbers of threads in the
environment, writes both as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

SIDES = 512, 1024, 2048
MEGABYTES = 256
SECONDS = 0.4  # of each measurement


class Rates(NamedTuple):
    """Operations and bytes per second."""

    flops: float
    bytes: float


def best(work: Callable[[], object]) -> float:
    """Return the least time of several runs."""
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def measured(threads: int) -> Rates:
    """Return the rates of float32 products and of copies with a number of threads."""
    rng = np.random.default_rng(0)
    flops = 0.0
    for side in SIDES:
        a, b = rng.random((2, side, side), dtype=np.float32)
        out = np.empty_like(a)
        # Of the arrays of this turn: the function is called at once.
        seconds = best(lambda a=a, b=b, out=out: np.matmul(a, b, out=out))
        flops = max(flops, 2 * side**3 / seconds)
    source = np.zeros((threads, MEGABYTES * 2**20 // 8 // threads), np.float32)
    target = np.ones_like(source)
    with ThreadPoolExecutor(threads) as pool:
        seconds = best(lambda: list(pool.map(np.copyto, target, source)))
    return Rates(flops, 2 * source.nbytes / seconds)


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]))._asdict()))
