"""Curves for the dashboard of the stub page: made by the code that makes them in a kernel."""

from typing import Any

import numpy as np

from freezeviz.train import (
    FreezeChanged,
    History,
    LearningRateChanged,
    NonFiniteLoss,
    StepDone,
    Validated,
)
from freezeviz.train._heat import heat
from freezeviz.widgets._curves import Curves, heat_trait
from tests.browser.stub_page import kernel_set

PATHS = [f"layers.{i}.{name}" for i in (0, 2, 4) for name in ("weight", "bias")]


def show_history(page: Any, history: History) -> None:
    """Play the kernel: a run has this history."""
    curves = Curves(history)
    kernel_set(page, marks=curves.marks(), curves=curves.as_trait())


def history_of(
    steps: int = 600,
    *,
    changes: tuple[tuple[int, str, str], ...] = (),
    accuracy: bool = True,
    metrics: tuple[str, ...] = (),
    seconds: Any = None,
    memory: bool = False,
    per_epoch: int = 100,
    bad: tuple[int, ...] = (),
    paths: list[str] | None = None,
) -> History:
    """Return the history of a run that never was; `changes`: (step, "freeze", module)."""
    paths = PATHS if paths is None else paths
    history = History(paths)
    rng = np.random.default_rng(0)
    pending = sorted(changes)
    for i in range(steps):
        while pending and pending[0][0] <= i:
            step, kind, module = pending.pop(0)
            if kind == "rate":
                history.add(LearningRateChanged(step, i // per_epoch, 0.0, float(module)))
                continue
            chosen = tuple(p for p in paths if p == module or p.startswith(f"{module}."))
            frozen = kind == "freeze"
            label = f"{kind} {module}"
            history.add(
                FreezeChanged(step, i // per_epoch, 0.0, frozen, chosen, label, None, "click", 0.0)
            )
        t = i / max(steps, 1)
        loss = float(2.2 * np.exp(-4 * t) * (1 + 0.25 * rng.standard_normal()) + 0.1)
        loss = float("nan") if i + 1 in bad else abs(loss)
        correct = min(1.0, max(0.0, 1 - np.exp(-4 * t) + 0.05 * rng.standard_normal()))
        more = {name: float(np.sin(6 * t + k) + 1.2) for k, name in enumerate(metrics)}
        took = float("nan") if seconds is None else seconds(i)
        history.add(
            StepDone(i + 1, i // per_epoch, 0.0, loss, correct if accuracy else None, more, took)
        )
        if not np.isfinite(loss) and i not in bad:
            history.add(NonFiniteLoss(i + 1, i // per_epoch, 0.0, loss))
        if (i + 1) % per_epoch == 0:
            shown = 0.9 * (1 - np.exp(-4 * t)) if accuracy else None
            history.add(
                Validated(i + 1, i // per_epoch, 0.0, float(2.2 * np.exp(-4 * t) + 0.2), shown)
            )
    return history


def gradients_of(history: History, *, every: int = 5, decades: float = 4.0) -> dict[str, Any]:
    """Return the trait `heat` of a run that never was: later rows are smaller, frozen ones NaN."""
    paths = history.parameters
    steps = np.arange(every, len(history) + 1, every, dtype=float)
    rng = np.random.default_rng(1)
    rows = np.arange(len(paths))[:, None] / max(len(paths) - 1, 1)
    norms = 10.0 ** (-decades * rows + 0.2 * rng.standard_normal((len(paths), len(steps))))
    for row, path in enumerate(paths):
        for span in history.spans.get(path, ()):
            end = np.inf if span.end is None else span.end
            norms[row, (steps > span.start) & (steps <= end)] = np.nan
    return heat_trait(heat(paths, steps, norms))
