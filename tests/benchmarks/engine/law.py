"""The law that freezing follows: a step takes as long as what is left to do.

``python -m tests.benchmarks.engine.law`` from the repository's root measures steps, the rate of
matrix products and the bandwidth, and shows steps beside what the law says: the products' time at
the best rate, and the bytes of everything else (`traffic.py`) at the bandwidth. Exits with 1 if a
step with the compiled kernels takes more than 1.25 times as long.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable

from tests.benchmarks.engine import rounds
from tests.benchmarks.engine.engines import OURS, SHORT
from tests.benchmarks.engine.products import flops
from tests.benchmarks.engine.rates import Rates
from tests.benchmarks.engine.traffic import elementwise_bytes, optimizer_bytes
from tests.benchmarks.engine.workloads import MODES, WORKLOADS, Workload

LIMIT = 1.25
BOUND = SHORT["numba"][0]


def predicted(work: Workload, mode: str, rates: Rates) -> tuple[float, float]:
    """Return the seconds of a step's products, and those of its bytes."""
    moved = elementwise_bytes(work, mode) + optimizer_bytes(work, mode)
    return flops(work, mode) / rates.flops, moved / rates.bytes


def rates(threads: int) -> Rates:
    """Return the machine's rates, measured in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.engine.rates", str(threads)],
        cwd=rounds.ROOT,
        env=os.environ
        | {"PYTHONPATH": str(rounds.ROOT)}
        | dict.fromkeys(rounds.LIBRARIES, str(threads)),
        check=True,
        capture_output=True,
        text=True,
    )
    return Rates(**json.loads(run.stdout))


def row(name: str, engine: str, seconds: float, parts: tuple[float, float]) -> str:
    """Return a line of the table."""
    law = sum(parts)
    times = " | ".join(f"{1e3 * value:.3g}" for value in (*parts, law, seconds))
    return f"| {name} | {engine} | {times} | {seconds / law:.2f} |"


HEAD = (
    "| | Kernels | Products, ms | Bytes, ms | Law, ms | Step, ms | Step / law |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
)


def main(given: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.engine.law",
        description="Compare steps with the time of their products and of their bytes.",
    )
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=["W2", "W4"])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--kernels", nargs="+", choices=("numba", "numpy"), default=["numba"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(given)
    engines = tuple(SHORT[kernels][0] for kernels in options.kernels)
    plan = rounds.Plan(engines, options.rounds, options.threads, {})
    seen: list[Rates] = [rates(options.threads)]
    steps: dict[tuple[str, str, str], float] = {}
    for work in options.workloads:
        for mode in options.modes:
            cell, problems = rounds.measure(work, mode, plan)
            print(*problems, sep="\n", end="\n" * bool(problems))
            for engine, entry in cell.items():
                steps[work, mode, engine] = 1e-3 * entry["least_ms"]
            # The best that was seen at any time: a busy moment is no law.
            seen.append(rates(options.threads))
    return report(steps, Rates(max(r.flops for r in seen), max(r.bytes for r in seen)))


def report(steps: dict[tuple[str, str, str], float], best: Rates) -> int:
    """Show the table; return the exit status."""
    print(f"Products at {best.flops / 1e9:.0f} GFLOP/s, bytes at {best.bytes / 1e9:.1f} GB/s.")
    print(*HEAD, *_rows(steps, best), sep="\n")
    beyond = [
        f"{work} {mode} {engine}"
        for (work, mode, engine), seconds in steps.items()
        if engine == BOUND and seconds > LIMIT * sum(predicted(WORKLOADS[work], mode, best))
    ]
    if beyond:
        print(f"More than {LIMIT:g} times the law:", *beyond, sep="\n  ")
    return 1 if beyond else 0


def _rows(steps: dict[tuple[str, str, str], float], best: Rates) -> Iterable[str]:
    for (work, mode, engine), seconds in steps.items():
        kernels = engine.removeprefix(OURS).strip(" ()")
        yield row(f"{work} {mode}", kernels, seconds, predicted(WORKLOADS[work], mode, best))


if __name__ == "__main__":
    sys.exit(main())
