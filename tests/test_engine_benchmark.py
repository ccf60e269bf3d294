"""The benchmark of training steps: its data, its gate, and what it calls slower."""

import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest

import freezeviz as fv
from tests.benchmarks.engine import __main__ as command
from tests.benchmarks.engine import goals, law, rates, results, rounds, worker
from tests.benchmarks.engine.engines import BASE, ENGINES
from tests.benchmarks.engine.operations import nodes, saved
from tests.benchmarks.engine.products import flops, products
from tests.benchmarks.engine.rates import Rates
from tests.benchmarks.engine.traffic import elementwise_bytes, optimizer_bytes
from tests.benchmarks.engine.worker import check_kernels, gate
from tests.benchmarks.engine.workloads import (
    BATCHES,
    MODES,
    WORKLOADS,
    Cnn,
    Encoder,
    batches,
    frozen,
    parameters,
)

SMALL = {
    "MLP": replace(WORKLOADS["W1"], batch=4, widths=(6, 5, 4, 3)),
    "regression": WORKLOADS["W5"],
    "CNN": Cnn("CNN", 2, 10, (2, 3, 4), (5, 3)),
    "encoder": Encoder("encoder", 2, 3, 8, 2, 12, 5, 20, 3, norm_first=True),
    "BERT": Encoder("BERT", 2, 2, 8, 2, 12, 5, 20, 2, norm_first=False),
}
NUMPYS = "freezeviz (numpy)"
CASES = [pytest.param(work, mode, id=f"{n} {mode}") for n, work in SMALL.items() for mode in MODES]


@pytest.fixture(autouse=True)
def _threads_of_pytorch():
    """PyTorch's number of threads is the process's: the tests after these have their own again."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(before or os.cpu_count() or 1)


# ---------------------------------------------------------------- the workloads


def test_sizes_are_those_that_the_workloads_are_known_by():
    sizes = {
        name: sum(value.size for value in parameters(WORKLOADS[name]).values())
        for name in ("W1", "W3", "W4", "W5")
    }
    mlp = 64 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10
    block = 4 * 256 * 256 + 2 * 256 * 1024 + 9 * 256 + 1024
    encoder = (1000 + 64) * 256 + 4 * block + 2 * 256 + 256 * 10 + 10
    cnn = 9 * 32 + 32 + 9 * 32 * 64 + 64 + 12 * 12 * 64 * 128 + 128 + 128 * 10 + 10
    regression = 8 * 32 + 32 + 32 * 32 + 32 + 32 + 1
    assert sizes == {"W1": mlp, "W3": cnn, "W4": encoder, "W5": regression}


def test_parameters_and_batches_are_the_same_every_time():
    for first, again in zip(batches(SMALL["CNN"]), batches(SMALL["CNN"]), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    first, again = parameters(SMALL["encoder"]), parameters(SMALL["encoder"])
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert len(batches(SMALL["CNN"])) == BATCHES


@pytest.mark.parametrize("work", WORKLOADS.values(), ids=WORKLOADS)
def test_each_mode_freezes_what_it_says(work):
    layers = work.layers()
    every = {name for names in layers.values() for name in names}
    assert every == set(work.shapes())
    assert frozen(work, "F0") == set()
    assert frozen(work, "F2") == every - set(list(layers.values())[-1])
    assert {name for name in every if not name.endswith(".b")} == frozen(work, "F4")
    for mode in ("F1", "F3"):
        whole = [layer for layer, names in layers.items() if frozen(work, mode).issuperset(names)]
        assert {name for layer in whole for name in layers[layer]} == frozen(work, mode)
        at = [list(layers).index(layer) for layer in whole]
        assert at == (list(range(len(layers) // 2)) if mode == "F1" else [(len(layers) - 1) // 2])


# ---------------------------------------------------------------- operations


def test_the_count_of_operations_is_that_of_a_count_by_hand():
    one, two, three = (2 * 32 * size for size in (8 * 32, 32 * 32, 32 * 1))
    forward = one + two + three
    assert {mode: flops(WORKLOADS["W5"], mode) for mode in MODES} == {
        "F0": forward + (one + two + three) + (two + three),  # nothing is below the first layer
        "F1": forward + (two + three) + three,
        "F2": forward + three,
        "F3": forward + (one + three) + (two + three),
        "F4": forward + (two + three),
    }


@pytest.mark.parametrize("name", ["W4", "W6"])
def test_an_encoder_that_trains_whole_goes_three_times_forward(name):
    # Its embeddings train, so every product has both gradients.
    work = WORKLOADS[name]
    assert isinstance(work, Encoder)
    found = products(work, "F0")
    forward = sum(product.flops for product in found if product.part == "forward")
    assert flops(work, "F0") == 3 * forward
    assert len(found) == 3 * (6 * work.depth + 1)


@pytest.mark.parametrize(("work", "mode"), CASES)
def test_the_count_of_operations_is_that_of_pytorch(work, mode):
    pytest.importorskip("torch")
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    run = ENGINES["torch"].build(work, mode, 1)
    # The fused attention forms its scores a second time; the plain one does not.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run.step()
    assert flops(work, mode) == counter.get_total_flops()


# ---------------------------------------------------------------- the gate


@pytest.mark.parametrize(("work", "mode"), CASES)
def test_our_first_steps_are_those_of_pytorch(work, mode):
    pytest.importorskip("torch")
    kept = frozen(work, mode)
    found = {name: gate(ENGINES[name].build(work, mode, 1), kept) for name in (BASE, NUMPYS)}
    assert rounds.gate_problems(found) == {}
    assert found[BASE]["losses"][0] != found[BASE]["losses"][-1]


def test_the_gate_sees_what_moves_and_what_does_not():
    work = SMALL["MLP"]
    run = ENGINES[NUMPYS].build(work, "F1", 1)
    found = gate(run, frozen(work, "F3"))
    assert (found["moved"], found["stuck"]) == (["l1.b", "l1.w"], ["l0.b", "l0.w"])


def entry(losses=(1.0, 2.0), moved=(), stuck=()):
    return {"losses": list(losses), "moved": list(moved), "stuck": list(stuck)}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (entry(losses=(1.0, 2.0003)), "losses of the first steps are [1.0, 2.0003], expected"),
        (entry(losses=(1.0, float("nan"))), "losses of the first steps are [1.0, nan]"),
        (entry(moved=["l0.w"]), "moved, though frozen: l0.w"),
        (entry(stuck=["l1.b"]), "did not move, though trained: l1.b"),
    ],
)
def test_an_engine_that_computes_something_else_is_named(wrong, said):
    near = entry(losses=(1.0, 2.00001))
    found = rounds.gate_problems({"mlx": near, "torch": entry(), "freezeviz": wrong})
    assert list(found) == ["freezeviz"]
    assert said in found["freezeviz"]


# ---------------------------------------------------------------- the table


def timed(least, of_rounds, memory=1.0):
    return {"least_ms": least, "median_ms": least, "rounds_ms": of_rounds, "memory_mb": memory}


def test_ratios_are_to_pytorch_of_the_shortest_steps_and_within_rounds():
    cell = rounds.with_ratios(
        {"freezeviz": timed(1.0, [2.0, 8.0, 3.0]), "torch": timed(2.0, [2.0, 4.0, 6.0])}
    )
    assert cell["freezeviz"]["ratio"] == 0.5
    assert cell["freezeviz"]["ratio_median"] == 1.0
    assert "rounds_ms" not in cell["freezeviz"]
    assert "ratio" not in rounds.with_ratios({"freezeviz": timed(1.0, [1.0])})["freezeviz"]


def test_more_than_a_tenth_slower_than_committed_is_a_regression():
    committed = {"W1 F0": {"freezeviz": {"ratio": 1.0}, "jax": {"ratio": 1.0}}}

    def lines(engine, ratio, cell="W1 F0"):
        return results.regressions({cell: {engine: {"ratio": ratio}}}, committed)

    assert lines("freezeviz", 1.11) == [
        "W1 F0 freezeviz: 1.11 of torch's time, committed 1.00 (+11%)"
    ]
    assert lines("freezeviz", 1.09) == lines("freezeviz", 0.2) == []
    assert lines("jax", 3.0) == []  # not ours to mend
    assert lines("freezeviz", 3.0, "W1 F1") == []  # nothing committed
    assert results.regressions({"W1 F0": {"freezeviz": {"least_ms": 1.0}}}, committed) == []


def test_new_cells_of_the_same_machine_join_the_table_and_others_replace_it():
    old = {"W5 F0": {"torch": {"ratio": 1.0}, "freezeviz": {"ratio": 0.3}}}
    table = results.merged({}, 2, "here", old)
    table = results.merged(table, 1, "here", old)
    new = {"W1 F0": {"torch": {"ratio": 1.0}}, "W5 F0": {"freezeviz": {"ratio": 0.2}}}
    both = results.merged(table, 2, "here", new)
    assert list(both) == ["1", "2"]
    assert list(both["2"]["cells"]) == ["W1 F0", "W5 F0"]
    assert both["2"]["cells"]["W5 F0"] == {"torch": {"ratio": 1.0}, "freezeviz": {"ratio": 0.2}}
    assert both["1"]["cells"] == old
    elsewhere = results.merged(table, 2, "there", new)
    assert elsewhere["2"] == {"machine": "there", "cells": new}


def test_what_is_saved_is_read_again_and_shown(tmp_path):
    file = tmp_path / "results.json"
    assert results.load(file) == {}
    base = {"version": "torch 9", "date": "2031-01-02", "least_ms": 2.0, "median_ms": 2.5}
    cells = {
        "W5 F0": {
            "torch": base | {"memory_mb": None, "ratio": 1.0},
            "freezeviz": base | {"memory_mb": 3.21, "ratio": 0.25, "version": "freezeviz 9"},
        },
        "W5 F1": {"torch": base | {"memory_mb": 4.0, "ratio": 1.0}},
    }
    table = results.merged({}, 2, "a machine", cells)
    results.save(table, file)
    assert results.load(file) == table == json.loads(file.read_text(encoding="utf-8"))
    text = file.with_suffix(".md").read_text(encoding="utf-8")
    assert "| W5 F0 | 1.00 (2 / 2.5) | 0.25 (2 / 2.5) |" in text
    assert "| W5 F0 | ? | 3 |" in text
    assert "| W5 F1 | 4 | – |" in text
    assert "a machine; 2031-01-02." in text
    assert "One of ours is the fastest in 0 of 1 cells." in text


# ---------------------------------------------------------------- the command


def measured(ratio):
    def measure(work, mode, plan):
        common = {"memory_mb": 1.0, "first_s": 0.1, "disturbed": 0, "median_ms": 2.0}
        return {
            "torch": common | {"least_ms": 1.0, "ratio": 1.0},
            NUMPYS: common | {"least_ms": ratio, "ratio": ratio},
        }, []

    return measure


@pytest.fixture
def table(tmp_path, monkeypatch):
    # The default of `load` and `save` is bound already.
    file = tmp_path / "results.json"
    monkeypatch.setattr(results.load, "__defaults__", (file,))
    monkeypatch.setattr(results.save, "__defaults__", (file,))
    monkeypatch.setattr(results, "FILE", file)
    monkeypatch.setattr(
        rounds,
        "installed",
        lambda engine, pythons: (None, "no such module") if engine == "jax" else ("9", ""),
    )
    return file


def test_the_command_reports_regressions_and_fails_by_them(table, monkeypatch, capsys):
    monkeypatch.setattr(rounds, "measure", measured(0.5))
    few = ["--workloads", "W5", "--modes", "F0,F2"]
    assert command.main(few) == 0
    said = capsys.readouterr().out
    assert "jax is left out: no such module" in said
    assert "nothing committed for 2 threads" in said
    assert not table.exists()

    assert command.main([*few, "--update"]) == 0
    assert list(results.load(table)["2"]["cells"]) == ["W5 F0", "W5 F2"]
    capsys.readouterr()

    monkeypatch.setattr(rounds, "measure", measured(0.6))
    assert command.main(few) == 1
    assert "SLOWER THAN COMMITTED:\n  W5 F0 freezeviz (numpy): 0.60" in capsys.readouterr().out
    assert command.main([*few, "--threads", "1"]) == 0
    assert command.main([*few, "--update"]) == 0
    assert command.main(few) == 0


def test_the_command_fails_and_writes_nothing_if_an_engine_computes_wrong(
    table, monkeypatch, capsys
):
    monkeypatch.setattr(rounds, "measure", lambda *args: ({}, ["mlx: moved, though frozen: l0.w"]))
    assert command.main(["--workloads", "W5", "--modes", "F1", "--update"]) == 1
    assert "W5 F1 mlx: moved, though frozen: l0.w" in capsys.readouterr().out
    assert not table.exists()


def test_an_interrupted_run_keeps_and_reports_what_it_measured(table, monkeypatch, capsys):
    whole = measured(0.5)

    def measure(work, mode, plan):
        if mode == "F2":
            raise KeyboardInterrupt
        return whole(work, mode, plan)

    monkeypatch.setattr(rounds, "measure", measure)
    assert command.main(["--workloads", "W5", "--update"]) == command.INTERRUPTED
    assert list(results.load(table)["2"]["cells"]) == ["W5 F0", "W5 F1"]
    said = capsys.readouterr().out
    assert "2 of 5 cells, interrupted, in" in said
    assert "one of ours is the fastest in 2 of 2 cells" in said


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ("freezeviz", [NUMPYS, "freezeviz (numba)"]),
        ("numba", ["freezeviz (numba)"]),
        ("jax,numpy,torch", ["torch", NUMPYS, "jax"]),
    ],
)
def test_engines_have_short_names(given, chosen):
    options = command.arguments().parse_args(
        ["--engines", given, "--python", f"{given.split(',')[0]}=here"]
    )
    assert options.engines == chosen
    assert {path for _, path in options.python} == {"here"}


def test_goals_that_are_not_reached_are_named():
    def cell(ratio, numba=0.1, peer=1.0):
        engines = {"torch": 1.0, NUMPYS: ratio, "freezeviz (numba)": numba, "jax": peer}
        return {name: {"ratio": value, "least_ms": value} for name, value in engines.items()}

    cells = {"W1 F0": cell(0.8, numba=0.61), "W1 F1": cell(0.89), "W1 F2": cell(0.91, 0.7)}
    assert goals.missed(cells) == [
        "W1 F0 freezeviz (numba): 0.610 of torch's time, goal 0.6",
        "W1 F2 freezeviz (numpy): 0.910 of torch's time, goal 0.900: 0.1 above F0",
        "W1 F2 freezeviz (numba): 0.700 of torch's time, goal 0.660: 0.05 above F0",
    ]
    assert goals.missed({"W1 F0": {"jax": {"least_ms": 1.0}}}) == []
    memory = {"torch": {"least_ms": 1.0, "memory_mb": 50.0}}
    less = {NUMPYS: {"least_ms": 1.0, "memory_mb": 49.0}}
    more = {"freezeviz (numba)": {"least_ms": 1.0, "memory_mb": 50.5}}
    assert goals.missed({"W4 F2": memory | less | more}) == [
        "W4 F2 freezeviz (numba): 50.5 MB, torch takes 50.0 MB"
    ]
    slow = {f"{work} {mode}": cell(0.1, 0.1, 0.05) for work in WORKLOADS for mode in MODES}
    assert goals.missed(slow) == ["one of ours is the fastest in 0 cells, goal 24"]
    assert goals.fastest(cells | {"W2 F0": cell(2.0, 2.0), "W3 F0": cell(0.9, 0.9, 0.8)}) == (3, 5)
    assert goals.fastest({"W1 F0": {NUMPYS: {"least_ms": 1.0}}}) == (0, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--workloads", "W9"], "knows no W9; there are W1, W2, W3, W4, W5, W6"),
        (["--modes", "F0,F7"], "knows no F7"),
        (["--engines", "tinygrad"], "knows no tinygrad"),
        (["--rounds", "0"], "expected a number from 1 on, got '0'"),
        (["--python", "perl=x"], "expected ENGINE=PATH"),
    ],
)
def test_the_command_refuses_what_it_does_not_know(given, said, capsys):
    with pytest.raises(SystemExit):
        command.main(given)
    assert said in capsys.readouterr().err


def test_a_worker_that_cannot_be_started_says_why():
    version, why = rounds.installed(NUMPYS, {NUMPYS: "no/such/python"})
    assert version is None
    assert "no/such/python" in why


@pytest.mark.parametrize(("started", "kept"), [("numpy", "numpy"), ("numba", "numba")])
def test_each_of_our_engines_has_its_own_kernels(started, kept, monkeypatch):
    if started == "numba":
        pytest.importorskip("numba")
    # Whatever this process was told: the worker is told anew.
    monkeypatch.setenv("FREEZEVIZ_KERNELS", "numpy" if started == "numba" else "numba")
    version, why = rounds.installed(f"freezeviz ({started})", {})
    assert why == ""
    assert version is not None
    assert f", {kept} " in version


def test_an_engine_with_other_kernels_than_its_own_is_left_out(monkeypatch):
    monkeypatch.setattr(fv, "kernels", lambda: "numpy")
    check_kernels("numpy")
    check_kernels("")
    with pytest.raises(SystemExit, match="the kernels are those of numpy"):
        check_kernels("numba")


def test_a_slow_engine_takes_fewer_steps(monkeypatch):
    class Slow:
        done = 0

        def step(self):
            self.done += 1
            return 1.0

        def values(self):
            return {}

    ticks = iter([0.0, 0.5, 3.0])
    monkeypatch.setattr(worker.time, "perf_counter", lambda: next(ticks))
    run = Slow()
    found = gate(run, frozenset())
    assert (found["slow"], found["first_s"], run.done) == (True, 0.5, 2)
    quick = entry(losses=[1.0, 1.0, 0.5])
    assert rounds.gate_problems({"torch": quick, "mlx": found}) == {}


def test_workers_measure_a_cell():
    plan = rounds.Plan((NUMPYS,), 1, 1, {})
    cell, problems = rounds.measure("W5", "F2", plan)
    assert problems == []
    assert cell[NUMPYS].keys() >= {"least_ms", "median_ms", "memory_mb", "first_s"}
    assert 0 < cell[NUMPYS]["least_ms"] <= cell[NUMPYS]["median_ms"]


# ---------------------------------------------------------------- the law


def test_bytes_beside_the_products_are_those_of_a_count_by_hand():
    work = replace(WORKLOADS["W5"], batch=2, widths=(3, 5, 1))
    # Hidden and output: 2 * 5 and 2 * 1 numbers, read and written; the loss reads and writes two.
    forward = 2 * 10 + 2 * 2 + 2 * 2
    hidden, bias, loss = 3 * 10, 2, 2 * 2
    assert {mode: elementwise_bytes(work, mode) for mode in ("F0", "F2", "F4")} == {
        "F0": 4 * (forward + hidden + bias + loss),
        "F2": 4 * (forward + bias + loss),
        "F4": 4 * (forward + hidden + bias + loss),
    }
    assert optimizer_bytes(work, "F0") == 7 * 4 * (3 * 5 + 5 + 5 + 1)
    assert optimizer_bytes(work, "F4") == 7 * 4 * (5 + 1)


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_is_frozen_moves_and_keeps_less(name):
    work = WORKLOADS[name]
    for count in (elementwise_bytes, optimizer_bytes, saved, nodes):
        whole = count(work, "F0")
        assert count(work, "F2") < whole
        assert all(count(work, mode) <= whole for mode in MODES)
    # Without weight gradients layers' inputs are kept for ReLU alone, GELU has its own array.
    assert (saved(work, "F4") < saved(work, "F0")) == isinstance(work, Encoder | Cnn)


def test_the_law_is_the_time_of_the_products_and_of_the_bytes():
    work = WORKLOADS["W2"]
    products_s, bytes_s = law.predicted(work, "F0", Rates(1e9, 1e6))
    assert products_s == flops(work, "F0") / 1e9
    assert bytes_s == (elementwise_bytes(work, "F0") + optimizer_bytes(work, "F0")) / 1e6


def test_steps_beyond_the_law_are_named(capsys):
    best = Rates(1e11, 1e10)
    seconds = {mode: sum(law.predicted(WORKLOADS["W2"], mode, best)) for mode in ("F0", "F2")}
    slow, numba = {"F0": 1.2, "F2": 1.3}, "freezeviz (numba)"
    steps = {("W2", mode, numba): slow[mode] * seconds[mode] for mode in slow}
    steps["W2", "F0", NUMPYS] = 9 * seconds["F0"]
    assert law.report(steps, best) == 1
    said = capsys.readouterr().out
    assert said.endswith("More than 1.25 times the law:\n  W2 F2 freezeviz (numba)\n")
    assert "| W2 F0 | numba |" in said
    assert " | 9.00 |" in said
    del steps["W2", "F2", numba]
    assert law.report(steps, best) == 0


def test_the_machines_rates_are_measured(monkeypatch):
    for name, small in (("SIDES", (8,)), ("MEGABYTES", 1), ("SECONDS", 0.0)):
        monkeypatch.setattr(rates, name, small)
    found = rates.measured(2)
    assert found.flops > 0
    assert found.bytes > 0
