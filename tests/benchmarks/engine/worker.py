"""The process that holds one engine with one workload, and steps when it is told to.

Started by `rounds.py` as ``python -m tests.benchmarks.engine.worker ENGINE WORKLOAD MODE THREADS``.
The first line that it writes says what it found; after that, each line it reads is a number of
seconds to step for, and each line it writes says how that went. Without WORKLOAD it only says
which version of the engine there is.
"""

import gc
import json
import os
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tests.benchmarks.engine.engines import ENGINES, OURS, Run
from tests.benchmarks.engine.workloads import WORKLOADS, batches, frozen

GATE_STEPS = 5
MEMORY_STEPS = 3
SLOW = 2.0  # seconds of a step that is not repeated more often than needed
SLOW_GATE_STEPS = 2


def limit_threads(threads: int) -> None:
    """Keep this process to as many cores: not every engine can be told a number of threads."""
    # The libraries' variables are set by who starts us, before any library is loaded.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def gate(run: Run, kept: frozenset[str]) -> dict[str, Any]:
    """Do the first steps; return their losses and which parameters did what they should not."""
    before = run.values()
    begin = time.perf_counter()
    losses = [float(run.step())]
    first = time.perf_counter() - begin
    losses.append(float(run.step()))
    slow = time.perf_counter() - begin - first > SLOW
    losses += [float(run.step()) for _ in range((SLOW_GATE_STEPS if slow else GATE_STEPS) - 2)]
    after = run.values()
    same = {name for name, value in before.items() if np.array_equal(value, after[name])}
    return {
        "first_s": first,
        "slow": slow,
        "losses": losses,
        "moved": sorted(kept - same),
        "stuck": sorted(same - kept),
    }


def memory(kind: str) -> float | None:
    """Return the process's memory in MB, None if unknown: ``"VmRSS"`` now, ``"VmHWM"`` at most."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith(kind)), None)


def forget_peak() -> None:
    """Let the peak begin at what is held now, where the system can do that."""
    with suppress(OSError):  # then the peak includes the first steps, and what compiled them
        Path("/proc/self/clear_refs").write_text("5")


def steps(run: Run, seconds: float) -> dict[str, float]:
    """Step for a time, at least once; return the number of steps, the least and the median time."""
    times: list[float] = []
    begin = last = time.perf_counter()
    while not times or last - begin < seconds:
        run.step()
        now = time.perf_counter()
        times.append(now - last)
        last = now
    return {"steps": len(times), "least": min(times), "median": median(times)}


def prepared(name: str, work: str, mode: str, threads: int) -> tuple[Run, dict[str, Any]]:
    """Return a run that did its first steps, and what they showed."""
    engine = ENGINES[name]
    # What the engine itself takes, with its threads, is not the workload's: a small run shows it.
    small = engine.build(WORKLOADS["W5"], "F0", threads)
    for _ in range(3):
        small.step()
    del small
    batches(WORKLOADS[work])
    gc.collect()
    base = memory("VmRSS")
    run = engine.build(WORKLOADS[work], mode, threads)
    found = gate(run, frozen(WORKLOADS[work], mode))
    gc.collect()
    forget_peak()
    for _ in range(1 if found["slow"] else MEMORY_STEPS):
        run.step()
    peak = memory("VmHWM")
    found["memory_mb"] = None if peak is None or base is None else peak - base
    return run, found


def main(arguments: list[str]) -> None:
    """Answer the process that started this one until it ends the conversation."""
    # Whatever a library prints goes with the errors, not between our lines.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name = arguments[0]
    if len(arguments) == 1:
        ENGINES[name].build(WORKLOADS["W5"], "F0", 1).step()
        check_kernels(ENGINES[name].kernels)
        print(json.dumps({"version": _version(name)}), file=replies)
        return
    limit_threads(int(arguments[3]))
    run, found = prepared(name, arguments[1], arguments[2], int(arguments[3]))
    print(json.dumps(found), file=replies)
    for line in sys.stdin:
        print(json.dumps(steps(run, float(line))), file=replies)


def check_kernels(wanted: str) -> None:
    """End unless our kernels are those that this process was started for; "" wants none."""
    if not wanted:
        return
    import freezeviz

    if (found := freezeviz.kernels()) != wanted:
        raise SystemExit(f"the kernels are those of {found}")


def _version(name: str) -> str:
    package = f"{ENGINES[name].package} {version(ENGINES[name].package)}"
    if not name.startswith(OURS):
        return package
    import freezeviz

    return f"freezeviz {freezeviz.__version__}, {package}"


if __name__ == "__main__":
    main(sys.argv[1:])
