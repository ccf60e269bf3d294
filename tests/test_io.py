import os
import threading
from pathlib import Path

import numpy as np
import pytest

from freezeviz.errors import WeightsError
from freezeviz.io import load_arrays, save_arrays

SUFFIXES = [".safetensors", ".npz"]
ARRAYS = {
    "half": np.array([1.5, -2], np.float16),
    "single.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "double": np.array([[1e300]]),
    "scalar": np.array(3.0),
    "empty": np.zeros((0, 4), np.float32),
    "whole": np.array([-1, 2], np.int64),
    "byte": np.array([255], np.uint8),
    "truth": np.array([True, False]),
    "complex": np.array([1 + 2j], np.complex64),
    # Names that numpy.savez takes for arguments of its own, and one like a suffix.
    "file": np.ones(1),
    "allow_pickle": np.ones(2),
    "w.npy": np.ones(3),
    "naïve.→": np.ones(4),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_come_back_as_they_were(tmp_path, suffix):
    path = tmp_path / f"arrays{suffix}"
    save_arrays(path, ARRAYS)
    loaded = load_arrays(str(path))
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(loaded[name], array)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_layout_and_byte_order_do_not_matter(tmp_path, suffix):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = tmp_path / f"arrays{suffix}"
    views = {
        "t": x.T,
        "step": x[::2, ::-1],
        "fortran": np.asfortranarray(x),
        "big": x.astype(">f4"),
    }
    save_arrays(path, views)
    for name, array in load_arrays(path).items():
        np.testing.assert_array_equal(array, views[name])
        assert array.dtype == np.float32


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_arrays_are_a_file_too(tmp_path, suffix):
    save_arrays(tmp_path / f"none{suffix}", {})
    assert load_arrays(tmp_path / f"none{suffix}") == {}


def test_other_programs_read_and_write_the_files(tmp_path):
    from safetensors.numpy import load_file, save_file

    x = {"a.b": np.arange(3, dtype=np.float32)}
    save_arrays(tmp_path / "ours.npz", x)
    with np.load(tmp_path / "ours.npz") as file:
        np.testing.assert_array_equal(file["a.b"], x["a.b"])
    save_arrays(tmp_path / "ours.safetensors", x)
    np.testing.assert_array_equal(load_file(tmp_path / "ours.safetensors")["a.b"], x["a.b"])
    for save, name in ((np.savez, "a.npz"), (np.savez_compressed, "b.npz")):
        save(tmp_path / name, **x)
        np.testing.assert_array_equal(load_arrays(tmp_path / name)["a.b"], x["a.b"])
    save_file(x, tmp_path / "theirs.safetensors")
    loaded = load_arrays(tmp_path / "theirs.safetensors")
    np.testing.assert_array_equal(loaded["a.b"], x["a.b"])


def test_the_suffix_decides(tmp_path):
    for call in (lambda p: save_arrays(p, ARRAYS), load_arrays):
        with pytest.raises(WeightsError, match=r"ends with '\.bin', expected '\.safetensors'"):
            call(tmp_path / "weights.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        load_arrays(tmp_path / "nowhere.npz")


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_pickled_objects_are_refused_and_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("evil.npz", x=np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(WeightsError, match="pickled"):
        load_arrays("evil.npz")
    assert not Path("pwned").exists()


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.array([Evil()])])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_holds_no_numbers_is_not_saved(tmp_path, suffix, array):
    with pytest.raises(WeightsError, match=r"'x' holds .*numbers and booleans only"):
        save_arrays(tmp_path / f"a{suffix}", {"ok": np.ones(1), "x": array})
    assert list(tmp_path.iterdir()) == []


def test_an_array_saved_by_numpy_alone_is_no_archive(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.ones(2))
    with pytest.raises(WeightsError, match="cannot be read as npz"):
        load_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_save_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"arrays{suffix}"
    save_arrays(path, {"x": np.ones(3)})
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        save_arrays(path, {"x": np.zeros(3)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_reader_never_sees_half_a_file(tmp_path, suffix):
    path = tmp_path / f"arrays{suffix}"
    save_arrays(path, {"x": np.zeros(50_000)})
    stop, problems = threading.Event(), []

    def write(value):
        while not stop.is_set():
            save_arrays(path, {"x": np.full(50_000, value)})

    writers = [threading.Thread(target=write, args=(value,)) for value in (1.0, 2.0)]
    for thread in writers:
        thread.start()
    for _ in range(40):
        x = load_arrays(path)["x"]
        if len(set(x.tolist())) != 1:
            problems.append(x)
    stop.set()
    for thread in writers:
        thread.join()
    assert not problems
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
