"""The committed table: reading, comparing, writing it, and as Markdown."""

import json
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.engine.engines import BASE, OURS
from tests.benchmarks.engine.goals import fastest
from tests.benchmarks.engine.workloads import MODES, WORKLOADS

FILE = Path(__file__).with_name("results.json")
WORSE = 1.10  # times the committed ratio is a regression

# {"2": {"machine": ..., "cells": {"W1 F0": {"freezeviz": {"ratio": ..., ...}}}}}, by threads.
Table = dict[str, dict[str, Any]]


def machine() -> str:
    """Return what kind of machine this is: processor, cores, memory, system, Python."""
    cpu, cores, memory = platform.processor() or platform.machine(), "?", ""
    try:
        info = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
        cpu, cores = models[0], str(len(models))
        total = Path("/proc/meminfo").read_text().split()[1]
        memory = f", {round(int(total) / 2**20)} GB"
    except (OSError, IndexError):
        pass  # not Linux, or a processor that is listed otherwise
    return f"{cpu}, {cores} cores{memory}, {platform.system()}, Python {platform.python_version()}"


def load(file: Path = FILE) -> Table:
    """Return the committed table; empty if there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def regressions(measured: Mapping[str, Any], committed: Mapping[str, Any]) -> list[str]:
    """Return a line for each of our engines' ratios that is more than 10 % above the committed one.

    Parameters
    ----------
    measured, committed : mapping
        From cells to engines to entries. What is in one of them only is passed over.
    """
    lines = []
    for cell, engine, entry in _ours(measured):
        before = committed.get(cell, {}).get(engine, {}).get("ratio")
        now = entry.get("ratio")
        if before is not None and now is not None and now > WORSE * before:
            lines.append(
                f"{cell} {engine}: {now:.2f} of {BASE}'s time, committed {before:.2f} "
                f"({now / before - 1:+.0%})"
            )
    return lines


def _ours(cells: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for cell, engines in cells.items():
        for engine, entry in engines.items():
            if engine.startswith(OURS):
                yield cell, engine, entry


def merged(table: Table, threads: int, where: str, cells: Mapping[str, Any]) -> Table:
    """Return a table with new cells in it.

    Those of the same machine stay, engine by engine, where nothing new was measured. Those of
    another machine go: a table that mixes two machines would show what no machine does.
    """
    old = table.get(str(threads), {})
    kept = dict(old["cells"]) if old.get("machine") == where else {}
    for cell, engines in cells.items():
        kept[cell] = {**kept.get(cell, {}), **engines}
    order = [name for name in _cell_names() if name in kept]
    section = {"machine": where, "cells": {name: kept[name] for name in order}}
    return dict(sorted({**table, str(threads): section}.items()))


def save(table: Table, file: Path = FILE) -> None:
    """Write the table, and beside it the same as Markdown."""
    text = json.dumps(table, indent=1, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
    file.with_suffix(".md").write_text(markdown(table), encoding="utf-8")


def markdown(table: Table) -> str:
    """Return the table in Markdown."""
    lines = ["# A training step, and what freezing makes of it", ""]
    lines += [f"{name}: {work.title}." for name, work in WORKLOADS.items()]
    frozen = "; ".join(f"{mode} {what}" for mode, what in MODES.items())
    lines += ["", f"Frozen: {frozen}.", ""]
    lines += [
        f"Whole steps with Adam in float32. Times are the shortest step's and the median, ratios "
        f"to `{BASE}` are of the shortest; lower is better. Memory is the peak above what the "
        "engine itself takes. Made by `python -m tests.benchmarks.engine --update`.",
        "",
    ]
    for threads, section in table.items():
        cells = section["cells"]
        entries = [entry for engines in cells.values() for entry in engines.values()]
        dates = sorted({entry["date"] for entry in entries})
        versions = {n: e["version"] for engines in cells.values() for n, e in engines.items()}
        lines += [f"## Threads: {threads}", ""]
        span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        lines += [f"{section['machine']}; {span}.", ""]
        lines += ["; ".join(f"`{name}`: {what}" for name, what in versions.items()) + ".", ""]
        wins, known = fastest(cells)
        if known:
            lines += [f"One of ours is the fastest in {wins} of {known} cells.", ""]
        lines += ["### Time: ratio (shortest / median ms)", "", *_grid(cells, _time), ""]
        lines += ["### Peak memory, MB", "", *_grid(cells, _memory), ""]
    return "\n".join(lines[:-1]) + "\n"


def _grid(cells: Mapping[str, Any], show: Any) -> list[str]:
    engines = list(dict.fromkeys(name for entries in cells.values() for name in entries))
    rows = [["", *engines]]
    rows += [
        [cell, *(show(entries[name]) if name in entries else "–" for name in engines)]
        for cell, entries in cells.items()
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]


def _time(entry: Mapping[str, Any]) -> str:
    times = f"({entry['least_ms']:.3g} / {entry['median_ms']:.3g})"
    return f"{entry['ratio']:.2f} {times}" if "ratio" in entry else times


def _memory(entry: Mapping[str, Any]) -> str:
    return "?" if entry["memory_mb"] is None else f"{entry['memory_mb']:.0f}"


def _cell_names() -> list[str]:
    return [f"{work} {mode}" for work in WORKLOADS for mode in MODES]
