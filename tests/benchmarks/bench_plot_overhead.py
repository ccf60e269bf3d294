"""What watching costs a run: steps a second with and without an explorer on the page, in one run.

    python tests/benchmarks/bench_plot_overhead.py

Starts a kernel, trains in its background, and looks at the steps a second in rounds, alternately
with a view of the explorer open and without any (A B B A, so that a drift of the machine falls on
both). The kernel does all that it does for a browser: it measures steps, pushes traits and
serialises them; nobody reads them at the other end of the socket. Printed is the ratio of both, per
workload and seed, with the bootstrapped 95 % interval of the median over rounds; and the same ratio
of steps a second of the process's own time, which a machine that is busy with other things does not
disturb (what watching works, training waits for: both need the interpreter). Gates nothing.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).parents[2]

SETUP = """
import asyncio, time
import numpy as np
import freezeviz as fv
from freezeviz import nn, optim
rng = np.random.default_rng({seed})
nn_model = {model}
x = rng.standard_normal({shape}, dtype=np.float32)
y = rng.integers(0, 10, len(x))
trainer = fv.Trainer(nn_model, optim.Adam(1e-3), data=(x, y), batch_size={batch}, seed={seed})
explorer = fv.explore(trainer)
display(explorer)
bridge = explorer.face.bridge
trainer.start(100_000)

async def steps_per_second(seconds):
    await asyncio.sleep(0.3)  # the change of sides is not part of the round
    began, worked, first = time.perf_counter(), time.process_time(), trainer.step
    await asyncio.sleep(seconds)
    steps = trainer.step - first
    return steps / (time.perf_counter() - began), steps / (time.process_time() - worked)

async def rounds(order, seconds):
    rates = []
    for seq, watched in enumerate(order):
        kind = "hello" if watched else "bye"
        bridge.receive({{"type": kind, "view": "bench", "seq": seq, "width": 640, "ratio": 1.0}})
        pushes.clear()
        rates.append((watched, *await steps_per_second(seconds), len(pushes)))
    return rates

pushes = []
bridge.widget.observe(lambda change: pushes.append(1), "curves")
"""

MLP = (
    "nn.Sequential(nn.Linear({0}, {1}), nn.ReLU(), nn.Linear({1}, {1}), nn.ReLU(), "
    "nn.Linear({1}, 10))"
)
WORKLOADS = {
    "small MLP, 64-128-128-10, batch 64": (MLP.format(64, 128), (6400, 64), 64),
    "MLP, 784-512-512-10, batch 128": (MLP.format(784, 512), (2560, 784), 128),
}


def ask(client, code, result=None):
    """Run code in the kernel; return what the expression `result` is then."""
    expressions = {"result": f"__import__('json').dumps({result})"} if result else {}
    reply = client.execute_interactive(
        code, user_expressions=expressions, timeout=600, output_hook=lambda message: None
    )
    content = reply["content"]
    if content["status"] != "ok":
        raise RuntimeError("\n".join(content["traceback"]))
    if result:
        return json.loads(eval(content["user_expressions"]["result"]["data"]["text/plain"]))
    return None


def measure(name, seed, n_rounds, seconds):
    """Return steps per second of both kinds, shape (rounds, 2), with a view and without one.

    The third value is the number of pushes a second.
    """
    model, shape, batch = WORKLOADS[name]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    manager, client = start_new_kernel(env=env)
    try:
        ask(client, SETUP.format(seed=seed, model=model, shape=shape, batch=batch))
        # Warm up, with marks on the plot as in use; between rounds the freeze state stays.
        ask(
            client,
            "for _ in range(4): trainer.toggle('layers.0'); await steps_per_second(0.7)",
        )
        order = [True, False, False, True] * (n_rounds // 2)
        code = f"rates = await rounds({order}, {seconds})"
        rates = ask(client, code, "rates")
        if (status := ask(client, "", "trainer.status")) != "running":
            raise RuntimeError(f"the run is {status}: nothing was measured")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    watched = np.array([numbers for on, *numbers in rates if on])
    alone = np.array([numbers for on, *numbers in rates if not on])
    return watched[:, :2], alone[:, :2], watched[:, 2].sum() / (seconds * len(watched))


def interval(ratios, rng):
    """Return the bootstrapped 95 % interval of the median."""
    samples = rng.choice(ratios, (4000, len(ratios)))
    return np.quantile(np.median(samples, axis=1), [0.025, 0.975])


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=8, help="rounds of each kind (even)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a round")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print(f"{'workload':<36} seed  alone/s  watched/s  pushes/s  watched/alone (95 %)    own time")
    for name in WORKLOADS:
        pooled = []
        for seed in range(options.seeds):
            watched, alone, pushes = measure(name, seed, options.rounds, options.seconds)
            pooled.append(watched / alone)
            rates = f"{np.median(alone[:, 0]):>7.0f}  {np.median(watched[:, 0]):>9.0f}"
            print(f"{name:<36} {seed:>4}  {rates}  {pushes:>8.2f}  {row(pooled[-1], rng)}")
            sys.stdout.flush()
        print(f"{name:<36}  all  {'':>26}  {row(np.concatenate(pooled), rng)}")


def row(ratios, rng):
    """Return the last columns of the table."""
    low, high = interval(ratios[:, 0], rng)
    wall, own = np.median(ratios, axis=0)
    return f"{wall:.3f} ({low:.3f} to {high:.3f})  {own:>8.3f}"


if __name__ == "__main__":
    main()
