"""The command: measure, show, compare with the committed table."""

import argparse
import datetime
import sys
from collections.abc import Iterable

from tests.benchmarks.engine import results, rounds
from tests.benchmarks.engine.engines import BASE, ENGINES
from tests.benchmarks.engine.workloads import MODES, WORKLOADS


def _names(known: Iterable[str]):
    # A type of argparse: a list between commas, every entry known.
    choices = list(known)

    def parse(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",")]
        if unknown := [name for name in chosen if name not in choices]:
            raise argparse.ArgumentTypeError(
                f"knows no {', '.join(unknown)}; there are {', '.join(choices)}"
            )
        return [name for name in choices if name in chosen]

    return parse


def _python(text: str) -> tuple[str, str]:
    engine, _, path = text.partition("=")
    if engine not in ENGINES or not path:
        raise argparse.ArgumentTypeError(
            f"expected ENGINE=PATH with an engine of {', '.join(ENGINES)}, got {text!r}"
        )
    return engine, path


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
    for option, known in (("workloads", WORKLOADS), ("modes", MODES), ("engines", ENGINES)):
        text = f"some of {','.join(known)} (default: all)"
        add(f"--{option}", type=_names(known), default=list(known), metavar="A,B", help=text)
    add("--rounds", type=_count, default=6, help="turns of each engine (default: 6)")
    add("--threads", type=_count, default=2, help="threads and cores of an engine (default: 2)")
    add(
        "--python",
        type=_python,
        action="append",
        default=[],
        metavar="ENGINE=PATH",
        help="the Python that has this engine, if it is another one (may be given repeatedly)",
    )
    add("--update", action="store_true", help="put what is measured into the committed table")
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
    today = datetime.date.today().isoformat()
    cells, problems = {}, []
    for work in options.workloads:
        for mode in options.modes:
            cell, wrong = rounds.measure(work, mode, plan)
            problems += [f"{work} {mode} {line}" for line in wrong]
            for engine, entry in cell.items():
                entry |= {"version": versions[engine], "date": today}
            cells[f"{work} {mode}"] = cell
            print(_line(f"{work} {mode}", cell), flush=True)
    return _report(options, cells, problems)


def _line(name: str, cell: rounds.Cell) -> str:
    parts = []
    for engine, entry in cell.items():
        ratio = f"{entry['ratio']:.2f} " if "ratio" in entry else ""
        memory = "" if entry["memory_mb"] is None else f", {entry['memory_mb']:.0f} MB"
        noise = f", {entry['disturbed']} turns disturbed" if entry["disturbed"] else ""
        times = f"{entry['least_ms']:.3f} / {entry['median_ms']:.3f} ms"
        parts.append(f"{engine} {ratio}({times}{memory}{noise})")
    return f"{name}: " + "; ".join(parts)


def _report(options: argparse.Namespace, cells: rounds.Cell, problems: list[str]) -> int:
    table, where = results.load(), results.machine()
    section = table.get(str(options.threads), {"machine": None, "cells": {}})
    slower = results.regressions(cells, section["cells"])
    if not section["cells"]:
        print(f"nothing committed for {options.threads} threads to compare with")
    elif section["machine"] != where:
        print(f"the committed ratios are of another machine: {section['machine']}")
    for title, lines in (("Slower than committed:", slower), ("Wrong:", problems)):
        if lines:
            print(title, *lines, sep="\n  ")
    if options.update and not problems:
        results.save(results.merged(table, options.threads, where, cells))
        print(f"written: {results.FILE}")
    return 1 if problems or (slower and not options.update) else 0


if __name__ == "__main__":
    sys.exit(main())
