"""The feature cache with code that does more than compute, or that asks what it gets."""

import collections
import dataclasses
import errno
import gc
import os
import random as python_random
import tempfile
from typing import Any, NamedTuple

import numpy as np
import pytest

from freezeviz import nn
from freezeviz.autodiff._fused._base import Fused
from freezeviz.autodiff._tracer import Primitive
from freezeviz.train import _features_judge, _features_store
from tests.train._features import assert_same, both, driven, rows, tokens, told, trainer_of


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch):
    monkeypatch.setattr(_features_judge, "FETCH", -1e9)


def two_layers(between=None, width=4):
    between = [] if between is None else [between]
    return nn.Sequential(nn.Linear(width, 8), *between, nn.Linear(8, 3))


class Two(nn.Module):
    """A layer that is frozen in these tests, and one that trains."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def __call__(self, x):
        return self.head(np.tanh(self.first(x)))


# ---- randomness that is not the library's --------------------------------------------------------


class Seldom(nn.Module):
    """Turns its input round, seldom: two looks at it may well see the same."""

    def __init__(self, draw):
        super().__init__()
        self._draw = draw

    def __call__(self, x):
        return -x if self._draw() < 0.1 else x


class Noise(nn.Module):
    def __init__(self):
        super().__init__()
        self._rngs = {"noise": np.random.default_rng(2)}

    def __call__(self, x):
        return x + self._rngs["noise"].normal(size=x.shape).astype(np.float32)


def of_a_function():
    rng = np.random.default_rng(3)
    return lambda x: -x if rng.random() < 0.1 else x


def of_a_method():
    rng = np.random.default_rng(3)

    class Turning(nn.Module):
        def __call__(self, x):
            return -x if rng.random() < 0.1 else x

    return Turning()


class Legacy(nn.Module):
    def __init__(self):
        super().__init__()
        self._numpy, self._python = np.random.RandomState(1), python_random.Random(1)

    def __call__(self, x):
        return -x if self._numpy.rand() < 0.1 or self._python.random() < 0.1 else x


DRAWING = {
    "a generator that it holds": Noise,
    "generators of old": Legacy,
    "NumPy's own": lambda: Seldom(np.random.rand),
    "Python's own": lambda: Seldom(python_random.random),
    "a function's": of_a_function,
    "a method's": of_a_method,
}


@pytest.mark.parametrize("draws", DRAWING)
def test_what_draws_is_not_kept_and_draws_as_without_a_cache(draws):
    def make():
        np.random.seed(0)  # noqa: NPY002  (users do)
        python_random.seed(0)
        return two_layers(DRAWING[draws]())

    cached, _ = both(make, "layers.0", data=rows(), epochs=6)
    assert told(cached).layers == "layers.0"
    assert "draws random numbers" in (told(cached).reason or "") or draws == "a function's"


# ---- what a module changes in place --------------------------------------------------------------


class Noting(nn.Module):
    def __init__(self):
        super().__init__()
        self._log: list[int] = []
        self._seen: dict[str, Any] = {
            "calls": 0,
            "sizes": set(),
            "last": collections.deque(maxlen=2),
        }
        self.register_buffer("calls", np.zeros(1))

    def __call__(self, x):
        self.note(x)
        return x

    def note(self, x):
        raise NotImplementedError


class Appending(Noting):
    def note(self, x):
        self._log.append(len(x))


class Entering(Noting):
    def note(self, x):
        self._seen["calls"] += 1


class Adding(Noting):
    def note(self, x):
        self._seen["sizes"].add(float(x.sum()))


class Following(Noting):
    def note(self, x):
        self._seen["last"].append(float(x.sum()))


class Writing(Noting):
    def note(self, x):
        self.calls[0] += 1


@pytest.mark.parametrize("layer", [Appending, Entering, Adding, Following, Writing])
def test_what_a_module_changes_in_place_is_as_without_a_cache(layer):
    cached, plain = both(lambda: two_layers(layer()), "layers.0", data=rows())
    assert told(cached).reason == "layers.1 changes its own attributes"
    a, b = (trainer.model.layers[1] for trainer in (cached, plain))
    assert a._log == b._log
    assert a._seen["calls"] == b._seen["calls"]
    assert len(a._seen["sizes"]) == len(b._seen["sizes"])
    np.testing.assert_allclose(a._seen["last"], b._seen["last"], rtol=1e-4)
    assert a.calls == b.calls


def test_a_module_with_an_iterator_is_left_alone():
    class Scaling(nn.Module):
        def __init__(self):
            super().__init__()
            self._scales = iter(np.linspace(1, 2, 12, dtype=np.float32))

        def __call__(self, x):
            return x * next(self._scales)

    cached, _ = both(lambda: two_layers(Scaling()), "layers.0", data=rows())
    assert "layers.1 holds an iterator, _scales" in (told(cached).reason or "")


def test_a_module_that_cannot_be_called_again_is_not_kept():
    class Last:
        x = None

    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self._last = Last()

        def __call__(self, x):
            if x is self._last.x:
                raise RuntimeError("had this one")
            self._last.x = x
            return x * 2

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.once, self.head = nn.Linear(4, 8), Once(), nn.Linear(8, 3)

        def __call__(self, x):
            return self.head(self.once(self.first(x)))

    cached, _ = both(Net, "first", data=rows())
    assert told(cached).layers == "first"
    assert told(cached).reason == "once raised RuntimeError when it was called again"


# ---- what a model asks of what it gets, and what it gives ----------------------------------------


def test_a_model_may_ask_whether_it_gets_an_array():
    class Asking(Two):
        def __call__(self, x):
            return super().__call__(x / np.float32(8) if isinstance(x, np.ndarray) else x)

    cached, _ = both(Asking, "first", data=rows())
    assert told(cached).hits == 1.0


def test_a_sequence_is_kept_up_to_a_layer_that_gives_several_arrays():
    class Pair(nn.Module):
        def __call__(self, x):
            return x, x * 2

    class Take(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 3)

        def __call__(self, pair):
            return self.linear(pair[0] + pair[1])

    def make():
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), Pair(), Take())

    cached, _ = both(make, "layers.0", data=rows())
    assert told(cached).layers == "layers 0–1"


class Named(NamedTuple):
    logits: Any
    hidden: Any


@dataclasses.dataclass(frozen=True)
class Data:
    logits: Any
    hidden: Any


class Namespace(dict[str, Any]):
    __getattr__ = dict.__getitem__


@pytest.mark.parametrize(
    "kind", [Named, Data, lambda logits, hidden: Namespace(l=logits, h=hidden)]
)
def test_a_metric_gets_arrays_whatever_a_model_gives_them_in(kind):
    class Giving(Two):
        def __call__(self, x):
            hidden = np.tanh(self.first(x))
            return kind(self.head(hidden), hidden)

    def logits(outputs):
        return outputs["l"] if isinstance(outputs, dict) else outputs.logits

    def loss(outputs, targets):
        return nn.losses.cross_entropy(logits(outputs), targets, reduction="mean")

    def size(outputs, targets):
        hidden = outputs["h"] if isinstance(outputs, dict) else outputs.hidden
        assert type(hidden) is np.ndarray
        return float(hidden.sum())

    cached, plain = both(Giving, "first", data=rows(), loss=loss, metrics={"size": size})
    assert told(cached).layers == "first"
    np.testing.assert_allclose(
        *(t.history.steps["size"] for t in (cached, plain)), rtol=1e-5, atol=1e-5
    )


# ---- what ends it --------------------------------------------------------------------------------


def test_a_tied_parameter_that_trains_by_its_other_name_counts_at_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(11, 8), nn.Linear(8, 11)
            self.head.weight = self.words.weight

        def __call__(self, tokens):
            return self.head(self.words(tokens).mean(1))

    def freeze(trainer):
        trainer.model.head.freeze(keys="weight")

    def unfreeze(trainer):
        trainer.model.head.unfreeze(keys="weight")

    cached, _ = both(Tied, None, {0: freeze, 6: unfreeze}, data=tokens())
    assert any(features.layers == "words" for features in cached.history.features)
    assert not told(cached).layers


class Tabled(nn.Module):
    """Has its numbers in a dict that is no plain one."""

    def __init__(self):
        super().__init__()
        self._table = collections.OrderedDict(scale=2.0, shift=1.0)

    def __call__(self, x):
        scale, shift = (np.float32(self._table.get(name, 3)) for name in ("scale", "shift"))
        return x * scale + shift


def renamed(table):
    table["other"] = table.pop("shift")


TABLES = {
    "an equal number": lambda table: table.update(scale=float("2.0")),
    "another number": lambda table: table.update(scale=3.0),
    "a number as an array": lambda table: table.update(scale=np.array(3.0)),
    "another name": renamed,
}


@pytest.mark.parametrize("change", TABLES)
def test_what_stands_in_a_module_s_dict_counts(change):
    def do(trainer):
        TABLES[change](trainer.model.layers[1]._table)

    cached, _ = both(lambda: two_layers(Tabled()), "layers.0", {6: do}, data=rows())
    assert told(cached).layers == "layers 0–1"
    dropped = [f.step for f in cached.history.features if f.hits == 0]
    assert dropped == ([1] if change == "an equal number" else [1, 7])


def test_a_large_buffer_that_is_written_into_counts_from_the_next_epoch_on():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", np.ones((4, 20_000), np.float32))

        def __call__(self, x):
            return (x @ self.table)[:, :4]

    def write(trainer):
        trainer.model.layers[0].table[:] *= np.float32(0.5)

    def make():
        return nn.Sequential(Fixed(), nn.Linear(4, 8), nn.Linear(8, 3))

    cached, _ = both(make, "layers.1", {8: write}, data=rows())
    assert [f.step for f in cached.history.features if f.hits == 0] == [1, 9]


def test_data_that_are_changed_between_two_runs_count_in_mid_epoch():
    runs = []
    for cache in (True, False):
        x, y = rows()
        trainer = trainer_of(two_layers, "layers.0", cache, data=(x, y))
        steps = trainer.steps(2)
        for _ in range(6):
            next(steps)
        steps.close()
        x *= np.float32(2)
        runs.append(driven(trainer, epochs=1))
    assert_same(*runs)


@pytest.mark.parametrize("epochs_before", [0, 2])
def test_an_error_of_the_model_s_own_is_no_reason(epochs_before):
    class Loss:
        is_wrong = False

        def __call__(self, outputs, targets):
            if self.is_wrong:
                raise ValueError("wrong labels")
            return nn.losses.cross_entropy(outputs, targets, reduction="mean")

    loss = Loss()
    trainer = trainer_of(two_layers, "layers.0", True, data=rows(), loss=loss)
    if epochs_before:  # then all is known when it raises
        trainer.fit(epochs_before, progress=False)
    loss.is_wrong = True
    with pytest.raises(ValueError, match="wrong labels") as caught:
        trainer.fit(1, progress=False)
    assert caught.value.__context__ is None
    loss.is_wrong = False
    trainer.fit(2, progress=False)
    assert told(trainer).hits == 1.0


# ---- words, memory, traces -----------------------------------------------------------------------


def test_a_small_last_batch_counts_for_what_is_said_of_bits():
    # Of one sample, BLAS has another way to the same product.
    cached, plain = both(lambda: two_layers(width=64), "layers.0", data=rows(33, 64), batch_size=32)
    losses = [t.history.steps["loss"] for t in (cached, plain)]
    if told(cached).exact:
        assert np.array_equal(*losses)

    class Odd(nn.Module):
        def __call__(self, x):
            return x + np.float32(1e-7 if len(x) == 2 else 0)

    cached, _ = both(lambda: two_layers(Odd()), "layers.0", data=rows())
    assert not told(cached).exact


@pytest.mark.parametrize("place", ["tempfile.mkstemp", "os.posix_fallocate", "shutil.disk_usage"])
def test_rows_for_which_there_is_no_room_are_not_kept(place, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    module, name = place.split(".")
    monkeypatch.setattr(getattr(_features_store, module), name, full, raising=False)
    cached = driven(trainer_of(two_layers, "layers.0", 100, data=rows()))
    assert "there is no room for the features" in told(cached).text
    assert "No space left on device" in told(cached).text
    assert_same(cached, driven(trainer_of(two_layers, "layers.0", False, data=rows())))


def test_a_file_of_rows_has_its_room_on_the_disk_from_the_beginning(monkeypatch, tmp_path):
    def no(path):
        raise OSError

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(_features_store.os, "unlink", no)  # it keeps its name
        rows = _features_store.Rows(2**18, np.zeros((2, 4), np.float32), spilled=True)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == rows.nbytes == 2**22
    if hasattr(os, "posix_fallocate"):
        assert file.stat().st_blocks * 512 >= 2**22
    del rows
    gc.collect()
    assert not file.exists()


def test_a_disk_that_cannot_keep_room_free_serves_all_the_same(monkeypatch):
    def unsupported(*args):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(_features_store.os, "posix_fallocate", unsupported, raising=False)
    cached = driven(trainer_of(two_layers, "layers.0", 100, data=rows()))
    assert told(cached).spilled
    assert_same(cached, driven(trainer_of(two_layers, "layers.0", False, data=rows())))


def test_evaluating_leaves_classes_as_they_were():
    before = Primitive.__call__, Fused.__call__, nn.Linear.__call__
    trainer = trainer_of(Two, "first", True, data=rows(), validation=rows(20, seed=1))
    plain = trainer_of(Two, "first", False, data=rows(), validation=rows(20, seed=1))
    assert trainer.evaluate() == pytest.approx(plain.evaluate(), rel=1e-6)
    assert (Primitive.__call__, Fused.__call__, nn.Linear.__call__) == before
