"""The command: measure, show, compare with the committed table."""

import argparse
import datetime
import sys
import time
from collections.abc import Iterable, Iterator, Mapping

from tests.benchmarks.engine import goals, results, rounds
from tests.benchmarks.engine.engines import BASE, ENGINES, SHORT
from tests.benchmarks.engine.workloads import MODES, WORKLOADS

INTERRUPTED = 130  # as shells have it


def _names(known: Iterable[str], short: Mapping[str, list[str]]):
    # A type of argparse: a list between commas, every entry known.
    choices = list(known)

    def parse(text: str) -> list[str]:
        given = [name.strip() for name in text.split(",")]
        chosen = [name for entry in given for name in short.get(entry, [entry])]
        if unknown := [name for name in chosen if name not in choices]:
            raise argparse.ArgumentTypeError(
                f"knows no {', '.join(unknown)}; there are {', '.join([*choices, *short])}"
            )
        return [name for name in choices if name in chosen]

    return parse


def _python(text: str) -> list[tuple[str, str]]:
    name, _, path = text.partition("=")
    engines = SHORT.get(name, [name])
    if not path or any(engine not in ENGINES for engine in engines):
        raise argparse.ArgumentTypeError(
            f"expected ENGINE=PATH with an engine of {', '.join([*ENGINES, *SHORT])}, got {text!r}"
        )
    return [(engine, path) for engine in engines]


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)


def arguments() -> argparse.ArgumentParser:
    """Return what the command understands."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.engine",
        description="Time training steps of several engines, and compare with the committed "
        "table. Exits with 1 if freezeviz became more than 10 % slower against PyTorch than "
        "committed, or if an engine's first steps are not those of the others.",
    )
    add = parser.add_argument
    for option, known, short in (
        ("workloads", WORKLOADS, {}),
        ("modes", MODES, {}),
        ("engines", ENGINES, SHORT),
    ):
        text = f"some of {','.join([*known, *short])} (default: all)"
        kind = _names(known, short)
        add(f"--{option}", type=kind, default=list(known), metavar="A,B", help=text)
    add("--rounds", type=_count, default=5, help="turns of each engine (default: 5)")
    add("--threads", type=_count, default=2, help="threads and cores of an engine (default: 2)")
    add(
        "--python",
        type=_python,
        action="extend",
        default=[],
        metavar="ENGINE=PATH",
        help="the Python that has this engine, if it is another one (may be given repeatedly)",
    )
    add(
        "--update",
        action="store_true",
        help="put what is measured into the committed table, cell by cell: what an interrupted "
        "run measured is in it",
    )
    return parser


def main(given: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = arguments().parse_args(given)
    pythons = dict(options.python)
    versions: dict[str, str] = {}
    for engine in options.engines:
        found, why = rounds.installed(engine, pythons)
        if found is None:
            print(f"{engine} is left out: {why}")
        else:
            versions[engine] = found
    if not versions:
        print("no engine to measure")
        return 1
    if BASE not in versions:
        print(f"without {BASE} there are times, but no ratios and nothing to compare")

    plan = rounds.Plan(tuple(versions), options.rounds, options.threads, pythons)
    committed = results.load()
    cells: rounds.Cell = {}
    problems: list[str] = []
    interrupted = False
    begin = time.perf_counter()
    try:
        for name, cell, wrong in _measured(options, plan):
            problems += [f"{name} {line}" for line in wrong]
            for engine, entry in cell.items():
                entry |= {"version": versions[engine], "date": _today()}
            cells[name] = cell
            print(_line(name, cell), flush=True)
            if options.update and not wrong:
                _put({name: cell}, options.threads)
    except KeyboardInterrupt:
        interrupted = True
    total = len(options.workloads) * len(options.modes)
    minutes = (time.perf_counter() - begin) / 60
    print(f"{len(cells)} of {total} cells{', interrupted,' * interrupted} in {minutes:.1f} minutes")
    status = _report(options, committed, cells, problems)
    return INTERRUPTED if interrupted else status


def _today() -> str:
    return datetime.date.today().isoformat()


def _measured(
    options: argparse.Namespace, plan: rounds.Plan
) -> Iterator[tuple[str, rounds.Cell, list[str]]]:
    for work in options.workloads:
        for mode in options.modes:
            yield f"{work} {mode}", *rounds.measure(work, mode, plan)


def _put(cells: rounds.Cell, threads: int) -> None:
    results.save(results.merged(results.load(), threads, results.machine(), cells))


def _line(name: str, cell: rounds.Cell) -> str:
    parts = []
    for engine, entry in cell.items():
        ratio = f"{entry['ratio']:.2f} " if "ratio" in entry else ""
        memory = "" if entry["memory_mb"] is None else f", {entry['memory_mb']:.0f} MB"
        noise = f", {entry['disturbed']} turns disturbed" if entry["disturbed"] else ""
        times = f"{entry['least_ms']:.3f} / {entry['median_ms']:.3f} ms"
        parts.append(f"{engine} {ratio}({times}{memory}{noise})")
    return f"{name}: " + "; ".join(parts)


def _report(
    options: argparse.Namespace, committed: results.Table, cells: rounds.Cell, problems: list[str]
) -> int:
    where = results.machine()
    section = committed.get(str(options.threads), {"machine": None, "cells": {}})
    slower = results.regressions(cells, section["cells"])
    if not section["cells"]:
        print(f"nothing committed for {options.threads} threads to compare with")
    elif section["machine"] != where:
        print(f"the committed ratios are of another machine: {section['machine']}")
    wins, known = goals.fastest(cells)
    if known:
        print(f"one of ours is the fastest in {wins} of {known} cells")
    for title, lines in (
        ("Goals not reached:", goals.missed(cells)),
        ("SLOWER THAN COMMITTED:", slower),
        ("WRONG:", problems),
    ):
        if lines:
            print(title, *lines, sep="\n  ")
    if options.update:
        print(f"the table is {results.FILE}")
    return 1 if problems or (slower and not options.update) else 0


if __name__ == "__main__":
    sys.exit(main())
