"""What a trainer costs over a loop written by hand, and what a picture of its run costs.

Run as ``python tests/benchmarks/bench_trainer.py``; gates nothing. Set ``OPENBLAS_NUM_THREADS=1``
for steady numbers: on small matrices a second thread mostly gets in the way.
"""

import io
import time
from itertools import pairwise
from statistics import median

import numpy as np
from matplotlib.figure import Figure

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.train import FreezeChanged, History, StepDone, Validated, draw_history

WIDTHS = {"MLP 64-32-10": (64, 32, 10), "MLP 64-128-64-10": (64, 128, 64, 10)}
BATCH, EPOCHS, ROUNDS = 64, 20, 7


def make_model(widths):
    fv.seed(0)
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def by_hand(widths, data):
    model, optimizer, (x, y) = make_model(widths), optim.Adam(1e-3), data

    def loss_fn(x, y):
        return nn.losses.cross_entropy(model(x), y, reduction="mean")

    step, steps, begin = nn.value_and_grad(model, loss_fn), 0, time.process_time()
    for epoch in range(EPOCHS):
        order = np.random.default_rng([0, epoch]).permutation(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start : start + BATCH]
            loss, gradients = step(x[chosen], y[chosen])
            optimizer.update(model, gradients)
            float(loss)
            steps += 1
    return 1e6 * (time.process_time() - begin) / steps


def by_trainer(widths, data, background):
    trainer = fv.Trainer(make_model(widths), optim.Adam(1e-3), data=data, batch_size=BATCH)
    begin = time.process_time()
    if background:
        trainer.start(EPOCHS)
        trainer.wait()
    else:
        trainer.fit(EPOCHS, progress=False)
    return 1e6 * (time.process_time() - begin) / trainer.step


def overhead():
    data = fv.data.digits().train
    # Of the processor's time, which other programs take less part in than in the clock's.
    print(f"microseconds a step, best of {ROUNDS} rounds of {EPOCHS} epochs, batch {BATCH}")
    for name, widths in WIDTHS.items():
        # Interleaved: a busy machine slows all three alike.
        rounds = [
            (
                by_hand(widths, data),
                by_trainer(widths, data, background=False),
                by_trainer(widths, data, background=True),
            )
            for _ in range(ROUNDS)
        ]
        bare, fit, start = (min(column) for column in zip(*rounds, strict=True))
        print(
            f"  {name}: by hand {bare:.0f}, fit {fit:.0f} ({fit / bare - 1:+.1%}), "
            f"start {start:.0f} ({start / bare - 1:+.1%})"
        )


def history_of(steps):
    rng = np.random.default_rng(0)
    paths = [f"layers.{i}.{name}" for i in range(6) for name in ("weight", "bias")]
    history = History(paths)
    for step in range(1, steps + 1):
        if step % (steps // 8) == 1:
            which = step * 8 // steps % 6
            chosen = tuple(paths[2 * which : 2 * which + 2])
            label = f"freeze layers.{which}"
            history.add(FreezeChanged(step, 0, 0.0, True, chosen, label, None, "code", 0.0))
        loss = 2.3 * np.exp(-3 * step / steps) * (1 + 0.2 * rng.standard_normal())
        history.add(StepDone(step, 0, 0.0, float(loss), float(rng.uniform(0.8, 1))))
        if step % (steps // 20) == 0:
            history.add(Validated(step, 0, 0.0, float(loss) + 0.1, 0.9))
    return history


def drawing():
    print("milliseconds a picture, 600x300 pixels: drawing, and PNG made of it (median of 20)")
    for steps in (200, 20_000, 100_000):
        history, figure = history_of(steps), Figure(figsize=(6, 3), dpi=100)
        times = []
        for _ in range(20):
            begin = time.perf_counter()
            draw_history(figure, history)
            middle = time.perf_counter()
            figure.savefig(io.BytesIO(), format="png", pil_kwargs={"compress_level": 1})
            times.append((middle - begin, time.perf_counter() - middle))
        draw, png = (1000 * median(column) for column in zip(*times, strict=True))
        print(f"  {steps:>7,} steps: {draw:.0f} + {png:.0f} = {draw + png:.0f}")


def clicks():
    trainer = fv.Trainer(
        make_model((64, 128, 64, 10)),
        optim.Adam(1e-3),
        data=fv.data.digits().train,
        batch_size=BATCH,
    )
    applied = []
    trainer.subscribe(
        lambda event: applied.append(event) if isinstance(event, FreezeChanged) else None
    )
    trainer.start(1_000_000)
    for _ in range(200):
        trainer.toggle("layers.0")
        time.sleep(0.01)
    trainer.stop()
    trainer.wait()
    delays = sorted(1000 * (event.time - event.requested) for event in applied)
    print(
        f"milliseconds from request to application, 200 toggles beside a run: "
        f"median {median(delays):.2f}, 95th {delays[189]:.2f}, longest {delays[-1]:.2f}"
    )


if __name__ == "__main__":
    overhead()
    drawing()
    clicks()
