"""The pool of memory: used again, but never while anybody can still see it."""

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from freezeviz import autodiff
from freezeviz.autodiff import _pool

LARGE = (512, 256)  # of float32: half a MiB


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> _pool.Pool:
    """A pool that only this test uses."""
    new = _pool.Pool()
    monkeypatch.setattr(_pool, "pool", new)
    return new


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def large(dtype: Any = np.float32) -> np.ndarray:
    return _pool.empty(LARGE, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.uint8, bool])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 5), (1, 1), (300, 400), (7, 11, 701)])
def test_an_array_has_the_asked_shape_and_dtype_and_can_be_written(shape: Any, dtype: Any) -> None:
    array = _pool.empty(shape, dtype)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    array[...] = 1
    assert (array == 1).all()


def test_memory_is_used_again_once_its_array_is_gone(fresh: _pool.Pool) -> None:
    array = large()
    before = address(array)
    del array
    assert fresh.idle == 512 * 256 * 4
    assert address(large(np.int32)) == before


def test_large_arrays_are_aligned_for_the_widest_instructions() -> None:
    assert address(large()) % 64 == 0


def test_small_arrays_are_numpy_s_own() -> None:
    assert _pool.empty((4, 4), np.float32).base is None


VIEWS = {
    "slice": lambda a: a[3:5, ::2],
    "transposed": lambda a: a.T,
    "reshaped": lambda a: a.reshape(-1),
    "another dtype": lambda a: a.view(np.int32)[1:],
    "view of a view": lambda a: a[2:].reshape(-1)[5:].view(np.uint8),
    "broadcast": lambda a: np.broadcast_to(a[0], (5, 256)),
    "memoryview": lambda a: memoryview(a),
    "by its address": lambda a: np.frombuffer(a, np.uint8),
    "torch": lambda a: pytest.importorskip("torch").from_numpy(a),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_memory_is_in_use_as_long_as_a_view_of_it_lives(view: Any, fresh: _pool.Pool) -> None:
    array = large()
    array[...] = 3.0
    before = address(array)
    kept = view(array)
    del array
    gc.collect()
    assert fresh.idle == 0
    others = [large() for _ in range(3)]
    assert before not in map(address, others)
    del kept
    gc.collect()
    assert address(large()) == before


def test_an_activation_that_the_user_keeps_is_not_overwritten_by_later_steps() -> None:
    rng = np.random.default_rng(0)
    weight, bias = (rng.standard_normal(s).astype(np.float32) for s in ((512, 64), (512,)))
    x = rng.standard_normal((256, 64)).astype(np.float32)
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def loss(w: Any) -> Any:
        h = autodiff.linear(x + len(kept), w, bias, activation="relu")
        plain = autodiff.stop_gradient(h)
        kept.append((plain, plain[5:7, ::3], plain.copy()))
        return (h * h).sum()

    gradients = []
    for _ in range(4):
        g = autodiff.grad(loss)(weight)
        gradients.append((g, g.copy()))
    for plain, part, copy in kept:
        np.testing.assert_array_equal(plain, copy)
        np.testing.assert_array_equal(part, copy[5:7, ::3])
    for g, copy in gradients:
        np.testing.assert_array_equal(g, copy)


def test_an_exception_in_the_middle_of_a_step_brings_memory_back_but_not_what_is_kept(
    fresh: _pool.Pool,
) -> None:
    weight = np.ones((256, 256), np.float32)
    kept: list[np.ndarray] = []

    def loss(w: Any) -> Any:
        h = autodiff.linear(np.ones((256, 256), np.float32), w, None, activation="relu")
        kept.append(autodiff.stop_gradient(h))
        autodiff.linear(h, w, None, activation="gelu")
        raise ValueError("on the way")

    def step() -> None:
        with pytest.raises(ValueError, match="on the way"):
            autodiff.grad(loss)(weight)

    step()
    gc.collect()
    assert fresh.idle >= 256 * 256 * 4
    step()
    for h in kept:
        np.testing.assert_array_equal(h, 256.0)
    assert address(kept[0]) != address(kept[1])


def test_two_threads_never_share_memory() -> None:
    wrong: list[str] = []

    def work(mark: int) -> None:
        rng = np.random.default_rng(mark)
        held: list[np.ndarray] = []
        for _ in range(1000):
            array = _pool.empty((int(rng.integers(2, 5)) * 128, 256), np.float32)
            array[...] = mark
            held.append(array)
            if len(held) > 6:
                old = held.pop(int(rng.integers(6)))
                if not (old == mark).all():
                    wrong.append(f"thread {mark} found {np.unique(old)}")

    threads = [threading.Thread(target=work, args=(i,)) for i in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_trainings_in_two_threads_give_what_each_gives_alone() -> None:
    def train(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        w = rng.standard_normal((256, 256)).astype(np.float32) / 16
        x = rng.standard_normal((256, 256)).astype(np.float32)

        def loss(w: Any) -> Any:
            h = autodiff.linear(x, w, None, activation="gelu")
            return (autodiff.linear(h, w, None, activation="relu") ** 2).mean()

        for _ in range(20):
            w = w - np.float32(0.1) * autodiff.grad(loss)(w)
        return w

    alone = {seed: train(seed) for seed in (1, 2)}
    together: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda s=s: together.update({s: train(s)})) for s in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, w in alone.items():
        np.testing.assert_array_equal(together[seed], w)


def test_memory_may_come_back_in_the_middle_of_a_request(fresh: _pool.Pool) -> None:
    class Cycle:
        def __init__(self) -> None:
            self.array, self.me = large(), self

    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            Cycle()
        assert fresh.idle == 0
        before = gc.get_threshold()
        gc.set_threshold(1)  # from now on, at the next object that is made
        gc.enable()
        arrays = [large() for _ in range(20)]
        gc.set_threshold(*before)
    finally:
        gc.enable()
    assert len({address(a) for a in arrays}) == 20


def test_idle_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = _pool.Pool(limit=3_000_000)
    monkeypatch.setattr(_pool, "pool", pool)
    arrays = [large() for _ in range(20)]
    del arrays
    assert 2_000_000 < pool.idle <= 3_000_000


def test_memory_that_is_not_needed_any_more_goes_back_to_the_system(
    fresh: _pool.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = [_pool.empty((300, 400), np.float32) for _ in range(5)]
    del once
    monkeypatch.setattr(_pool, "poisoned", False)  # which takes its time
    for _ in range(3 * _pool._SWEEP_EVERY):
        pair = large(), large()
        del pair
    assert fresh.idle == 2 * 512 * 256 * 4


def test_new_sizes_find_room_although_the_pool_was_full_of_old_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = _pool.Pool(limit=4_000_000)
    monkeypatch.setattr(_pool, "pool", pool)
    old = [large() for _ in range(6)]
    del old
    new = []
    for _ in range(2 * _pool._AT_LEAST):
        new = [_pool.empty((400, 256), np.float32) for _ in range(3)]
        places = set(map(address, new))
        del new
    assert {address(_pool.empty((400, 256), np.float32))} <= places


def test_all_idle_memory_can_be_given_back(fresh: _pool.Pool) -> None:
    large()
    fresh.clear()
    assert fresh.idle == 0


@pytest.mark.parametrize("shape", [(3,), LARGE])
def test_tests_see_memory_that_is_read_before_it_is_written(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert np.isnan(_pool.empty(shape, np.float32)).all()
    assert (_pool.empty(shape, np.int32) == np.iinfo(np.int32).max).all()
    monkeypatch.setattr(_pool, "poisoned", False)
    array = _pool.empty(shape, np.float32)
    array[...] = 1.0
    assert np.isfinite(array).all()


def test_arrays_that_share_memory_have_one_owner() -> None:
    array = large()
    for view in (array, array[2:], array.T.reshape(256, 8, 64), array.reshape(-1)[3:].view("i4")):
        assert _pool.owner(view) is array
    assert _pool.owner(large()) is not array
    own = np.ones(3)
    assert _pool.owner(own) is _pool.owner(own[1:]) is own


def test_a_leased_array_can_be_referred_to_weakly() -> None:
    array = large()
    reference = weakref.ref(array.base)
    assert reference() is not None
    del array
    assert reference() is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("poisoned", [False, True])
def test_sums_of_large_arrays_are_numpys_in_memory_of_the_pool(
    dtype: Any, poisoned: bool, fresh: _pool.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "poisoned", poisoned)
    rng = np.random.default_rng(0)
    x, y = ((100 * rng.standard_normal(LARGE)).astype(dtype) for _ in range(2))
    kept = x.copy(), y.copy()
    total = _pool.summed(x, y)
    assert total.dtype == dtype
    assert np.array_equal(total, x + y)
    assert np.array_equal(x, kept[0])
    assert np.array_equal(y, kept[1])
    assert (type(total.base) is _pool.Lease) == (np.dtype(dtype).kind == "f")
    again = _pool.summed(total, total)
    assert not np.shares_memory(again, total)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.ones(LARGE, np.float32), np.ones(LARGE, np.float64)),
        (np.ones(LARGE, np.float32), np.ones(LARGE[1], np.float32)),
        (np.ones(LARGE[::-1], np.float32).T, np.ones(LARGE, np.float32)),
        (np.ones(LARGE, np.float32), np.ones(LARGE[::-1], np.float32).T),
        (np.ones(LARGE, np.float32), 2.0),
        (np.float32(1.0), np.ones(LARGE, np.float32)),
        (np.ones(3, np.float32), np.ones(3, np.float32)),
        (np.ma.ones(LARGE, np.float32), np.ones(LARGE, np.float32)),
    ],
)
def test_other_sums_are_left_to_numpy(x: Any, y: Any, fresh: _pool.Pool) -> None:
    total, numpys = _pool.summed(x, y), x + y
    assert type(total) is type(numpys)
    assert (total.dtype, total.strides) == (numpys.dtype, numpys.strides)
    assert np.array_equal(total, numpys)
    assert fresh.idle == 0
    assert type(getattr(total, "base", None)) is not _pool.Lease
