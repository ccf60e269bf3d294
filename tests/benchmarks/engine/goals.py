"""What the engine is to reach beside PyTorch, in time and memory, and what it does not reach."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.benchmarks.engine.engines import BASE, OURS

# With nothing frozen; and by how much a ratio with a part frozen may be above that.
NOTHING_FROZEN = {
    "freezeviz (numpy)": {
        "W1": 0.85, "W2": 1.1, "W3": 1.25, "W4": 1.1, "W5": 0.2, "W6": 1.15,
    },
    "freezeviz (numba)": {"W1": 0.6, "W2": 0.95, "W3": 0.75, "W4": 0.8, "W6": 0.9},
}  # fmt: skip
ABOVE = {
    "freezeviz (numpy)": (0.1, {"W3": 0.25}),
    "freezeviz (numba)": (0.05, {"W3": 0.3}),
}
LESS_MEMORY = "W4 F2"  # where ours take less than PyTorch
FASTEST = 24, 30  # cells in which one of ours is the fastest, of all


def missed(cells: Mapping[str, Any]) -> list[str]:
    """Return a line for each goal that is not reached; what was not measured is passed over.

    Parameters
    ----------
    cells : mapping
        From cells to engines to entries with ratios.
    """
    found = [*_slow(cells), *_above(cells), *_large(cells)]
    wins, known = fastest(cells)
    if known == FASTEST[1] and wins < FASTEST[0]:
        found.append(f"one of ours is the fastest in {wins} cells, goal {FASTEST[0]}")
    return found


def fastest(cells: Mapping[str, Any]) -> tuple[int, int]:
    """Return in how many cells one of ours is the fastest, and of how many with peers."""
    wins = known = 0
    for engines in cells.values():
        times = {name: entry["least_ms"] for name, entry in engines.items()}
        ours = [time for name, time in times.items() if name.startswith(OURS)]
        others = [time for name, time in times.items() if not name.startswith(OURS)]
        if ours and others:
            known += 1
            wins += min(ours) < min(others)
    return wins, known


def _slow(cells: Mapping[str, Any]) -> Iterator[str]:
    for engine, limits in NOTHING_FROZEN.items():
        for work, limit in limits.items():
            ratio = _ratio(cells, f"{work} F0", engine)
            if ratio is not None and ratio > limit:
                yield f"{work} F0 {engine}: {ratio:.3f} of {BASE}'s time, goal {limit:g}"


def _above(cells: Mapping[str, Any]) -> Iterator[str]:
    for cell in cells:
        work, mode = cell.split()
        for engine, (usual, special) in ABOVE.items():
            whole, part = _ratio(cells, f"{work} F0", engine), _ratio(cells, cell, engine)
            limit = special.get(work, usual)
            if mode != "F0" and whole is not None and part is not None and part > whole + limit:
                yield (
                    f"{cell} {engine}: {part:.3f} of {BASE}'s time, goal {whole + limit:.3f}: "
                    f"{limit:g} above F0"
                )


def _large(cells: Mapping[str, Any]) -> Iterator[str]:
    engines = cells.get(LESS_MEMORY, {})
    limit = engines.get(BASE, {}).get("memory_mb")
    for engine in NOTHING_FROZEN:
        memory = engines.get(engine, {}).get("memory_mb")
        if limit is not None and memory is not None and memory >= limit:
            yield f"{LESS_MEMORY} {engine}: {memory:.1f} MB, {BASE} takes {limit:.1f} MB"


def _ratio(cells: Mapping[str, Any], cell: str, engine: str) -> float | None:
    return cells.get(cell, {}).get(engine, {}).get("ratio")
