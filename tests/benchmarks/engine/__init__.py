"""How fast a training step is, and how much faster with a part frozen, beside other engines.

``python -m tests.benchmarks.engine`` from the repository's root; ``--help`` lists the options.

- `workloads.py`: the models as data, which every engine shares: first parameters, batches, and
  what each way of freezing freezes. `products.py`: the matrix products that a step cannot avoid.
- `on_freezeviz.py`, `on_torch.py`, `on_jax.py`, `on_mlx.py`: a step of each engine.
- `worker.py`: the process that holds one engine with one workload. `rounds.py`: starts these,
  checks that they compute the same, and lets them take turns. `quiet.py`: who else was busy.
- `results.py`: the committed table, and what became slower than it says. `goals.py`: what is to be
  reached, and what is not.
- `law.py`: a command of its own: steps beside the time that their products and bytes need at this
  machine's best (`rates.py`). `operations.py`: what a step computes and must keep, from its layers
  alone, also for `tests/test_cost_minimum.py`; `traffic.py`: the bytes that it moves.

A whole run of all engines takes 20 to 30 minutes on two quiet cores, half of it in torch.compile's
compiler and in MLX's steps of W6. If it is interrupted, what is measured by then is reported, and
with ``--update`` kept. What a worker imports is NumPy and one engine, so that engines can live in
environments of their own (``--python jax=path/to/python``).
"""
