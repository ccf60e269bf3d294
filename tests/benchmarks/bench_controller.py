"""How long each method of a controller takes, on models of 10 to 100,000 modules.

    python tests/benchmarks/bench_controller.py [modules ...]

The explorer wants less than 50 ms of Python for each at 10,000 modules (20,000 parameters), and
half a second for the first look. Times are CPU time, the best of a few; what the first call
has to prepare stands in brackets where it makes a difference.
"""

import gc
import sys
import time
import warnings

from freezeviz import nn
from freezeviz.adapters import adapt
from freezeviz.explorer import Controller

REPEATS = 3


class Block(nn.Module):
    """Four modules, eight parameters."""

    def __init__(self):
        super().__init__()
        self.attention = nn.Linear(2, 2)
        self.norm = nn.LayerNorm(2)
        self.mlp = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))


class Model(nn.Module):
    """About as many modules as asked for, twice as many parameters."""

    def __init__(self, modules):
        super().__init__()
        self.layers = [Block() for _ in range(max(modules // 5, 1))]
        self.statistics = nn.BatchNorm(2)
        self.head = nn.Linear(2, 2)


def timed(call, before=None):
    times = []
    for _ in range(REPEATS):
        if before is not None:
            before()
        gc.collect()
        began = time.thread_time()
        call()
        times.append(1000 * (time.thread_time() - began))
    return times


def report(name, times):
    first, best = times[0], min(times)
    note = f"  (first {first:,.1f})" if first > 2 * best + 5 else ""
    print(f"  {name:42}{best:10,.1f}{note}")


def measure(modules):
    model = Model(modules)
    adapter = adapt(model)
    n = sum(1 for _ in adapter.snapshot().walk())
    print(f"\n{n:,} modules, {len(model.named_parameters()):,} parameters: milliseconds")
    report("Controller(adapter)", timed(lambda: Controller(adapt(model))))
    c = Controller(adapter)
    middle = f"layers.{len(model.layers) // 2}"
    half = [f"layers.{i}" for i in range(len(model.layers) // 2)]
    every = [f"layers.{i}.mlp" for i in range(0, len(model.layers), 2)]

    def reset():
        while c.undoable:
            c.undo()

    report("rows", timed(c.rows))
    report("masks", timed(c.masks))
    report("search 'norm'", timed(lambda: c.search("norm")))
    report("filter by state, type and text", timed(_filter(c)))
    report("kinds", timed(c.kinds))
    for what in ("**.bias", "type:LayerNorm", "re:mlp.*weight$", "layers.[0-9] | head", "~head"):
        report(f"preview {what!r}", timed(lambda what=what: c.preview(what, "toggle")))
    report("preview of a misspelt path", timed(lambda: c.preview("layrs.3")))
    report("details", timed(lambda: c.details(middle)))
    report("select_rows", timed(lambda: c.select_rows(half)))
    report("presets", timed(c.presets))
    report("toggle a layer", timed(lambda: c.toggle(middle)))
    reset()
    report("toggle everything", timed(lambda: c.toggle("")))
    reset()
    report("toggle_many, half of the layers", timed(lambda: c.toggle_many(half)))
    reset()
    report("freeze '**.bias'", timed(lambda: c.freeze("**.bias"), reset))
    report("unfreeze everything", timed(lambda: c.unfreeze(""), lambda: c.freeze("")))
    reset()
    report("hold everything", timed(lambda: c.hold(""), reset))
    report("release a layer", timed(lambda: c.release(middle), lambda: (reset(), c.hold(""))))
    report("undo that", timed(c.undo, lambda: (reset(), c.hold(""), c.release(middle))))
    for name in ("head_only", "biases_only", "up_to", "invert"):
        at = middle if name == "up_to" else None
        report(f"preset {name}", timed(lambda name=name, at=at: c.apply_preset(name, at), reset))
    report("undo", timed(c.undo, lambda: (reset(), c.freeze(""))))
    report("redo", timed(c.redo, lambda: (reset(), c.freeze(""), c.undo())))
    reset()
    report("lock, unlock", timed(lambda: (c.lock(middle), c.unlock(middle))))
    for name, act in {
        "everything but the head": lambda: c.apply_preset("head_only"),
        "biases only": lambda: c.apply_preset("biases_only"),
        "half of the layers": lambda: c.freeze(half),
        "every second mlp": lambda: c.freeze(every),
        "a held half": lambda: c.hold(half),
    }.items():
        reset()
        act()
        report(f"code, {name}", timed(c.code))
    reset()
    report("refresh", timed(c.refresh))


def _filter(controller):
    return lambda: controller.filter(state="trainable", kind="Linear", text="mlp")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for size in map(int, sys.argv[1:] or ("10", "1000", "10000", "100000")):
            measure(size)
