"""Memory that is used again never holds something that anybody still needs: whole models.

Every array comes from the pool here, however small, and each is full of NaN when it is handed out
(see conftest.py). `tests/autodiff/test_pool.py` tests the pool itself.
"""

import threading
from dataclasses import replace

import numpy as np
import pytest

import freezeviz as fv
from freezeviz.autodiff import _pool, stop_gradient
from tests._kernel_sets import SETS, kernels_of
from tests.benchmarks.engine.on_freezeviz import Training
from tests.benchmarks.engine.workloads import WORKLOADS, Cnn, Encoder
from tests.train._setup import make_data, make_model, make_trainer

SMALL = {
    "MLP": replace(WORKLOADS["W1"], batch=5, widths=(6, 7, 4, 3)),
    "CNN": Cnn("CNN", 3, 10, (1, 3, 4), (5, 3)),
    "encoder": Encoder("encoder", 3, 2, 8, 2, 12, 5, 20, 3, norm_first=True),
    "BERT": Encoder("BERT", 3, 2, 8, 2, 12, 5, 20, 2, norm_first=False),
}
MODES = "F0", "F1", "F4"


@pytest.fixture(params=SETS)
def kernels(request):
    with kernels_of(request.param):
        yield request.param


@pytest.fixture
def pooled(monkeypatch):
    monkeypatch.setattr(_pool, "SMALLEST", 1)
    monkeypatch.setattr(_pool, "pool", _pool.Pool())


class Keeper:
    """Holds on to all that a user can see of a run's steps: arrays, views of them, and copies."""

    def __init__(self, run):
        self.run, self.held, self.losses = run, [], []
        forward = run.value_and_grad

        def value_and_grad(*batch):
            loss, gradients = forward(*batch)
            self.keep([loss, *(g for _, g in fv.tree_flatten(gradients))])
            return loss, gradients

        run.value_and_grad = value_and_grad

    def keep(self, arrays):
        for array in map(np.asarray, arrays):
            view = array[..., -1:] if array.ndim else array
            self.held.append((array if len(self.held) % 2 else view, view.copy(), array.copy()))

    def outputs(self):
        """Keep what the model and its first layers make of a batch."""
        model, (x, _) = self.run.model, self.run.batches[0]
        self.keep([stop_gradient(model(x))])
        if hasattr(model, "layers"):
            for layer in model.layers:
                x = layer(x)
                self.keep([x])

    def step(self):
        self.losses.append(float(self.run.step()))
        self.keep(value for _, value in self.run.model.named_parameters())
        for _, state in fv.tree_flatten(self.run.optimizer.state):
            if isinstance(state, np.ndarray):
                self.keep([state])

    def check(self):
        assert self.held
        for array, view, whole in self.held:
            wanted = whole if array.shape == whole.shape else view
            np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SMALL)
def test_nothing_that_a_user_keeps_changes_in_later_steps(name, mode, kernels, pooled):
    keeper = Keeper(Training(SMALL[name], mode))
    for _ in range(3):
        keeper.outputs()
        keeper.step()
    keeper.check()
    assert np.isfinite(keeper.losses).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SMALL)
def test_used_memory_gives_the_numbers_of_fresh_memory(name, mode, kernels, pooled, monkeypatch):
    run = Training(SMALL[name], mode)
    losses = [float(run.step()) for _ in range(4)]
    # Everything from NumPy, and nothing used again.
    monkeypatch.setattr(_pool, "SMALLEST", 1 << 62)
    other = Training(SMALL[name], mode)
    assert [float(other.step()) for _ in range(4)] == losses
    for name, value in other.values().items():
        np.testing.assert_array_equal(run.values()[name], value)


class OnTheWayError(Exception):
    pass


@pytest.mark.parametrize("name", SMALL)
def test_a_step_that_fails_half_way_leaves_the_next_ones_alone(name, kernels, pooled):
    calm = Training(SMALL[name], "F0")
    expected = [float(calm.step()) for _ in range(4)]
    run = Training(SMALL[name], "F0")
    keeper = Keeper(run)
    errors = []

    def fails(x, y):
        out = run.model(x)
        keeper.keep([stop_gradient(out)])
        raise OnTheWayError

    broken = fv.nn.value_and_grad(run.model, fails)
    losses = []
    for number in range(4):
        try:
            broken(*run.batches[number])
        except OnTheWayError as error:
            errors.append(error)  # and with it everything that its frames hold
        losses.append(float(run.step()))
    assert losses == expected
    keeper.check()
    assert len(errors) == 4


def test_two_trainers_in_two_threads_do_what_each_does_alone(kernels, pooled):
    def trainer(seed):
        return make_trainer(make_model(dropout=True, seed=seed), data=make_data(seed=seed))

    def bytes_of(trained):
        return [value.tobytes() for _, value in trained.model.named_parameters()]

    alone = []
    for seed in (1, 2):
        trained = trainer(seed)
        trained.fit(6, progress=False)
        alone.append(bytes_of(trained))
    together = [trainer(seed) for seed in (1, 2)]
    for trained in together:
        trained.start(6)
    for trained in together:
        trained.wait(60)
        assert trained.status == "finished"
    assert [bytes_of(trained) for trained in together] == alone


@pytest.mark.parametrize("name", ["CNN", "encoder"])
def test_bare_threads_do_what_each_does_alone(name, kernels, pooled):
    def steps(found):
        with np.errstate(all="ignore"):
            run = Training(SMALL[name], "F1")
            found.append([float(run.step()) for _ in range(5)])

    found = []
    threads = [threading.Thread(target=steps, args=(found,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steps(found)
    assert len(found) == 4
    assert all(losses == found[0] for losses in found)
