"""Starts a worker for each engine, checks that they compute the same, and lets them take turns."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any

from tests.benchmarks.engine.engines import BASE, ENGINES, KERNELS
from tests.benchmarks.engine.quiet import DISTURBED, Others, wait_for_quiet
from tests.benchmarks.engine.workloads import WORKLOADS, Cnn

ROOT = Path(__file__).parents[3]
TOLERANCE = 5e-5  # of a loss after up to five steps of float32, relative
# Where a maximum is taken of convolutions, two that differ by rounding alone may change places: the
# gradient goes to another position then, and Adam makes whole steps of what little differs. In W3,
# PyTorch has one such window in its first step; in float64 the other value is the larger.
POOLING_TOLERANCE = 1e-3
BLOCK = 0.15  # seconds of steps in a turn
TRIES = 3  # of a turn that others disturbed
SPARE = 10  # turns of a cell that may be tried again: where others never rest, no longer
LIBRARIES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)

Cell = dict[str, dict[str, Any]]  # what was measured, by engine


class WorkerError(Exception):
    """A worker ended without an answer; says what it wrote last."""


class Worker:
    """A process with one engine, and what it says."""

    def __init__(self, errors: IO[str], python: str, threads: int, engine: str, *arguments: str):
        self._errors = errors
        kernels = ENGINES[engine].kernels
        self._process = subprocess.Popen(
            [python, "-m", "tests.benchmarks.engine.worker", engine, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            # An interrupt from the keyboard is ours to answer: workers end when we say so, or
            # when nobody speaks to them any more.
            start_new_session=True,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "FREEZEVIZ_DEVICE": "cpu"}
            | ({KERNELS: kernels} if kernels else {})
            | dict.fromkeys(LIBRARIES, str(threads)),
        )
        self.pid = self._process.pid

    def answer(self) -> dict[str, Any]:
        """Wait for a line of the worker; raise WorkerError if it ends instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:] or ["(no message)"]
            raise WorkerError(f"ended with {self._process.returncode}: {last[0]}")
        return json.loads(line)

    def step_for(self, seconds: float) -> dict[str, Any]:
        """Let it step for some seconds; return its answer."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # answer() says why
            print(seconds, file=self._process.stdin, flush=True)
        return self.answer()

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def _worker(python: str, threads: int, *arguments: str) -> Iterator[Worker]:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        worker = Worker(errors, python, threads, *arguments)
        try:
            yield worker
        finally:
            worker.end()


def installed(engine: str, pythons: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the version of an engine, or None and why it cannot be used."""
    try:
        with _worker(pythons.get(engine, sys.executable), 1, engine) as worker:
            return worker.answer()["version"], ""
    except (WorkerError, OSError) as error:  # OSError: there is no such Python
        return None, str(error)


@dataclass(frozen=True)
class Plan:
    """How to measure: with which engines, how long, on how many threads."""

    engines: tuple[str, ...]
    rounds: int
    threads: int
    pythons: Mapping[str, str]


def measure(work: str, mode: str, plan: Plan) -> tuple[Cell, list[str]]:
    """Return what was measured of each engine in one cell, and what is to be said about it.

    An engine that fails, or that does not pass the gate, is not timed and not in the cell.
    """
    found: Cell = {}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        problems: list[str] = []
        for engine in plan.engines:
            # One after the other: what is prepared alone has its memory measured alone, and
            # compilers don't share the cores with a first step that is timed.
            worker = stack.enter_context(
                _worker(
                    plan.pythons.get(engine, sys.executable),
                    plan.threads,
                    *(engine, work, mode, str(plan.threads)),
                )
            )
            try:
                found[engine] = worker.answer()
            except WorkerError as error:
                problems.append(f"{engine}: {error}")
                continue
            workers[engine] = worker
        tolerance = POOLING_TOLERANCE if isinstance(WORKLOADS[work], Cnn) else TOLERANCE
        for engine, problem in gate_problems(found, tolerance).items():
            problems.append(f"{engine}: {problem}")
            del workers[engine], found[engine]
        # Of a step of seconds, one turn says enough.
        turns = {name: 1 if found[name]["slow"] else plan.rounds for name in workers}
        for engine, entry in _turns(workers, turns).items():
            found[engine] |= entry
    for entry in found.values():
        for name in ("losses", "moved", "stuck", "slow"):
            del entry[name]
    return with_ratios(found), problems


def gate_problems(found: Cell, tolerance: float = TOLERANCE) -> dict[str, str]:
    """Return what is wrong with the first steps of engines, by engine.

    Losses are compared with those of `BASE`, or of the first engine if that is not there.
    """
    problems: dict[str, str] = {}
    reference = found.get(BASE) or next(iter(found.values()), None)
    for engine, entry in found.items():
        assert reference is not None
        # A slow engine stops earlier.
        pairs = zip(entry["losses"], reference["losses"], strict=False)
        # Written so that NaN is a problem.
        far = [not abs(mine - other) <= tolerance * abs(other) for mine, other in pairs]
        if any(far):
            problems[engine] = (
                f"losses of the first steps are {entry['losses']}, expected "
                f"{reference['losses']} within {tolerance:g} of each"
            )
        elif entry["moved"]:
            problems[engine] = f"moved, though frozen: {', '.join(entry['moved'])}"
        elif entry["stuck"]:
            problems[engine] = f"did not move, though trained: {', '.join(entry['stuck'])}"
    return problems


def _turns(workers: Mapping[str, Worker], rounds: Mapping[str, int]) -> Cell:
    """Let the workers step in turn, in one order and back; return their times.

    Each takes its number of turns; those with fewer take part in the first rounds.
    """
    turns: dict[str, list[dict[str, float]]] = {engine: [] for engine in workers}
    disturbed = dict.fromkeys(workers, 0)
    order, spare = list(workers), SPARE
    for done in range(max(rounds.values(), default=0)):
        for engine in order:
            if done >= rounds[engine]:
                continue
            for _ in range(TRIES):
                # Threads of the one before may spin for a moment, and others may finish.
                time.sleep(0.05)
                wait_for_quiet(2.0 if spare else 0.0)
                others = Others(workers[engine].pid)
                turn = workers[engine].step_for(BLOCK)
                quiet = others.busy() <= DISTURBED
                if quiet or not spare:
                    break
                spare -= 1
            disturbed[engine] += not quiet
            turns[engine].append(turn)
        order.reverse()
    return {
        engine: {
            "least_ms": 1e3 * min(turn["least"] for turn in mine),
            "median_ms": 1e3 * median(turn["median"] for turn in mine),
            "rounds_ms": [1e3 * turn["median"] for turn in mine],
            "disturbed": disturbed[engine],
        }
        for engine, mine in turns.items()
    }


def with_ratios(cell: Cell) -> Cell:
    """Return a cell with the ratios to `BASE`, if that is in it.

    ``ratio`` is that of the shortest steps, which a busy machine changes least, and
    ``ratio_median`` the median over the rounds of the ratios within a round.
    """
    base = cell.get(BASE)
    new: Cell = {}
    for engine, entry in cell.items():
        new[engine] = dict(entry)
        rounds = new[engine].pop("rounds_ms")
        if base is not None:
            pairs = zip(rounds, base["rounds_ms"], strict=False)
            new[engine]["ratio"] = entry["least_ms"] / base["least_ms"]
            new[engine]["ratio_median"] = median(mine / other for mine, other in pairs)
    return new
