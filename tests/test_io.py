"""Files of arrays: what is written is read, and what is not in order is refused, cheaply."""

import json
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from freezeviz import io, nn
from freezeviz.errors import WeightsError

ARRAYS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "number": np.array(3.5),
    "empty": np.zeros((0, 4), np.float32),
    "truth": np.array([True, False]),
    "counts": np.array([-(2**62), 7]),
    "bytes": np.arange(256, dtype=np.uint8),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "half": np.array([1.5, np.inf, np.nan], np.float16),
    "complex": np.array([1 + 2j], np.complex64),
    "a.b/../c d\n'é": np.ones(1, np.int16),
}


def refused(path: Path, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=message):
            io.load_arrays(path)
        with pytest.raises(WeightsError, match=message):
            io.read_headers(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20 + 8 * path.stat().st_size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_what_is_saved_is_loaded(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    io.save_arrays(path, ARRAYS)
    loaded = io.load_arrays(str(path))
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape)
        assert loaded[name].tobytes() == array.tobytes()
        assert loaded[name].flags.writeable
        assert loaded[name].flags.c_contiguous
        assert loaded[name].flags.aligned
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_headers_and_single_arrays(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    io.save_arrays(path, ARRAYS)
    headers = io.read_headers(path)
    assert {n: (h.dtype, h.shape, h.nbytes) for n, h in headers.items()} == {
        n: (x.dtype.name, x.shape, x.nbytes) for n, x in ARRAYS.items()
    }
    assert list(io.load_arrays(path, ["half", "truth"])) == ["half", "truth"]
    with pytest.raises(WeightsError, match=r"no array 'matrx'\. Closest: 'matrix'"):
        io.load_arrays(path, ["half", "matrx"])


def test_bfloat16_becomes_float32_without_loss(tmp_path: Path) -> None:
    upper = np.array([0x3F80, 0xC049, 0x7F80, 0x7FC0, 0x0001, 0x8000], np.uint16)
    data = upper.tobytes()
    entry = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, len(data)]}
    path = safetensors(tmp_path, {"x": entry}, data)
    loaded = io.load_arrays(path)["x"]
    assert loaded.dtype == np.float32
    assert loaded.tobytes() == (upper.astype(np.uint32) << 16).tobytes()
    assert io.read_headers(path)["x"] == ("bfloat16", (2, 3))


def test_npz_of_numpy_compressed_big_endian_and_in_fortran_order(tmp_path: Path) -> None:
    arrays = {"a": np.arange(4, dtype=">f8"), "b": np.asfortranarray(ARRAYS["matrix"])}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    loaded = io.load_arrays(tmp_path / "x.npz")
    assert loaded["a"].dtype.isnative
    assert loaded["b"].flags.c_contiguous
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


@pytest.mark.parametrize("name", ["x.bin", "x", "x.pt", "x.npy"])
def test_other_suffixes_are_refused(name: str, tmp_path: Path) -> None:
    for call in (io.load_arrays, io.read_headers, lambda path: io.save_arrays(path, {})):
        with pytest.raises(WeightsError, match=r"expected '.safetensors' or '.npz'"):
            call(tmp_path / name)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_no_file_and_no_regular_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        io.load_arrays(path)
    path.mkdir()
    with pytest.raises(WeightsError, match="is a directory"):
        io.load_arrays(path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / f"pipe.{suffix}")
        with pytest.raises(WeightsError, match="no regular file"):
            io.load_arrays(tmp_path / f"pipe.{suffix}")


# ---- safetensors -------------------------------------------------------------------------------

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def safetensors(folder: Path, header, data: bytes = bytes(8), length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if length is None else length
    path = folder / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + text + data)
    return path


def test_the_file_made_here_is_a_good_one(tmp_path: Path) -> None:
    header = {"__metadata__": {"a": "b"}, "x": F32}
    assert io.load_arrays(safetensors(tmp_path, header))["x"].tobytes() == bytes(8)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "no valid JSON"),
        (b"nonsense", "no valid JSON"),
        (b"\xff{}", "no valid JSON"),
        (b"[]", "expected names and arrays"),
        (b"3", "expected names and arrays"),
        (b'{"x": NaN}', "no number"),
        (b"[" * 50_000 + b"]" * 50_000, "nested too deep"),
        (b'{"x": ' + json.dumps(F32).encode() + b', "x": {}}', "names 'x' twice"),
        (b'{"x": {"dtype": "F32", "dtype": "F64"}}', "names 'dtype' twice"),
        ({"__metadata__": 3}, "expected strings by name"),
        ({"__metadata__": {"a": 1}}, "expected strings by name"),
        ({"x": 3}, "expected a dtype, a shape and data_offsets"),
        ({"x": F32 | {"more": 1}}, "expected a dtype, a shape"),
        ({"x": {"dtype": "F32", "shape": [2]}}, "expected a dtype, a shape"),
        ({"x": F32 | {"dtype": "F8_E4M3"}}, "'F8_E4M3', which is not supported"),
        ({"x": F32 | {"dtype": "O"}}, "not supported"),
        ({"x": F32 | {"dtype": ["F32"]}}, "not supported"),
        ({"x": F32 | {"shape": [3]}}, "has 12 bytes, its offsets span 8"),
        ({"x": F32 | {"shape": [10**12]}}, "its offsets span 8"),
        ({"x": F32 | {"shape": [2**62, 4]}}, "impossible shape"),
        ({"x": F32 | {"shape": [10**400, 10**400]}}, "impossible shape"),
        ({"x": F32 | {"shape": [-2, -1]}}, "impossible shape"),
        ({"x": F32 | {"shape": [2.0]}}, "impossible shape"),
        ({"x": F32 | {"shape": [True, 2]}}, "impossible shape"),
        ({"x": F32 | {"shape": "2"}}, "impossible shape"),
        ({"x": F32 | {"shape": [1] * 65}}, "65 axes"),
        ({"x": F32 | {"shape": [0, 2**62], "data_offsets": [0, 0]}}, "impossible shape"),
        ({"x": F32 | {"data_offsets": [0, 9]}}, "its offsets span 9"),
        ({"x": F32 | {"data_offsets": [8, 0]}}, "impossible offsets"),
        ({"x": F32 | {"data_offsets": [-8, 0]}}, "impossible offsets"),
        ({"x": F32 | {"data_offsets": [0]}}, "impossible offsets"),
        ({"x": F32 | {"data_offsets": [0, "8"]}}, "impossible offsets"),
        ({"x": F32 | {"data_offsets": None}}, "impossible offsets"),
        ({"x": F32 | {"data_offsets": [4, 12]}}, "leaves a gap"),
        ({"x": F32, "y": F32}, "overlaps another one"),
        ({"x": F32, "y": F32 | {"data_offsets": [4, 12]}}, "overlaps another one"),
        ({"x": F32, "y": F32 | {"data_offsets": [8, 16]}}, "truncated, or something was appended"),
        ({}, "truncated, or something was appended"),
        ({"x" * 1001: F32}, "name of 1001 characters"),
    ],
)
def test_headers_that_lie(header, message: str, tmp_path: Path) -> None:
    refused(safetensors(tmp_path, header), message)


@pytest.mark.parametrize("length", [1000, 2**40, 2**63, 2**64 - 1])
def test_length_of_the_header_beyond_the_file(length: int, tmp_path: Path) -> None:
    refused(safetensors(tmp_path, {"x": F32}, length=length), "no whole safetensors file")


def test_length_of_the_header_beyond_reason(tmp_path: Path) -> None:
    path = safetensors(tmp_path, {"x": F32}, length=2**34)
    with path.open("r+b") as file:
        file.truncate(2**34 + 8)  # a hole: it takes no room on disk
    tracemalloc.start()
    with pytest.raises(WeightsError, match="expected at most"):
        io.load_arrays(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_headers_of_little_but_brackets(tmp_path: Path) -> None:
    text = b'{"__metadata__": [' + b"[]," * 2**19 + b"[]]}"
    refused(safetensors(tmp_path, text), "little but brackets")


def test_truth_values_are_zeros_and_ones(tmp_path: Path) -> None:
    entry = {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]}
    loaded = io.load_arrays(safetensors(tmp_path, {"x": entry}, b"\x00\x02\xff"))["x"]
    assert loaded.view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_every_truncation_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    io.save_arrays(path, {"a": ARRAYS["matrix"], "b": ARRAYS["counts"]})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError):
            io.load_arrays(path)


# ---- npz ---------------------------------------------------------------------------------------


def npy(
    header: str, data: bytes = bytes(8), version: int = 1, magic: bytes = b"\x93NUMPY"
) -> bytes:
    text = header.encode("latin1")
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return magic + bytes([version, 0]) + length + text + data


def npz(folder: Path, *members: tuple[str, bytes], **options) -> Path:
    path = folder / "x.npz"
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        GOOD + "   \n",
        '{"shape": (2,), "descr": "<f4", "fortran_order": True}',
        "{ 'descr' : '=f4','fortran_order':False,\n'shape':( 2 , )}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (2, 2, 2)}",
    ],
)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_all_ways_to_write_a_header(header: str, version: int, tmp_path: Path) -> None:
    loaded = io.load_arrays(npz(tmp_path, ("x.npy", npy(header, version=version))))
    assert loaded["x"].nbytes == 8


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (b"", "no array in NumPy's format"),
        (b"text", "no array in NumPy's format"),
        (npy(GOOD, magic=b"\x93NUMPX"), "no array in NumPy's format"),
        (npy(GOOD, version=9), "no array in NumPy's format"),
        (npy(GOOD)[:20], "none of numbers"),
        (npy(GOOD, bytes(7)), "has 8 bytes, the file has 7 for it"),
        (npy(GOOD, bytes(9)), "has 8 bytes, the file has 9 for it"),
        (npy(GOOD.replace("2,", "1000000000,")), "has 4000000000 bytes, the file has 8"),
        (npy(GOOD.replace("2,", "2305843009213693952, 8")), "impossible shape"),
        (npy(GOOD.replace("2,", "9" * 5000)), "cannot be read as npz"),
        (npy(GOOD.replace("2,", "1," * 65 + "2")), "66 axes"),
        (npy(GOOD.replace("2,", "-2,")), "none of numbers"),
        (npy(GOOD.replace("2,", "2.0,")), "none of numbers"),
        (npy(GOOD.replace("<f4", "|O")), "pickled objects, which are never loaded"),
        (npy(GOOD.replace("<f4", "<U2")), "'<U2', expected numbers"),
        (npy(GOOD.replace("<f4", "|V4")), "'|V4', expected numbers".replace("|", r"\|")),
        (npy(GOOD.replace("<f4", "<f3")), "expected numbers"),
        (npy(GOOD.replace("<f4", "<M8")), "expected numbers"),
        (npy(GOOD.replace("'<f4'", "[('a', '<f4')]")), "none of numbers"),
        (npy(GOOD.replace("False", "__import__('os').system('exit 1')")), "none of numbers"),
        (npy(GOOD.replace("'shape'", "'descr'").replace("(2,)", "'<f4'")), "incomplete"),
        (npy("{" + "(" * 3000), "none of numbers"),
        (npy("{'descr': '<f4'," + " " * 9000), "none of numbers"),
        (npy(GOOD + " " * 10_000), "a header of 10057 bytes"),
    ],
)
def test_members_that_lie(member: bytes, message: str, tmp_path: Path) -> None:
    refused(npz(tmp_path, ("x.npy", member)), message)


def test_pickles_are_not_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "x.npz", x=np.array([Trap()], dtype=object))
    refused(tmp_path / "x.npz", "pickled objects")
    assert not (tmp_path / "sprung").exists()


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros(2**26, np.float32))  # 256 MiB in 256 kB
    refused(tmp_path / "x.npz", "more than weights can be compressed")


def test_many_members_in_one_place_are_a_bomb(tmp_path: Path) -> None:
    # Each entry of the directory points to the same member.
    one = npz(tmp_path, ("x.npy", npy(GOOD.replace("2,", "100000,"), bytes(400_000))))
    data = one.read_bytes()
    start = data.rindex(b"PK\x01\x02")
    entry, end = data[start : data.rindex(b"PK\x05\x06")], data[data.rindex(b"PK\x05\x06") :]
    entries = [entry.replace(b"x.npy", b"%05d" % i) for i in range(1000)]
    size = sum(map(len, entries))
    end = end[:8] + struct.pack("<HHI", 1000, 1000, size) + end[16:]
    one.write_bytes(data[:start] + b"".join(entries) + end)
    refused(one, "its members say that they have")


def test_small_constant_arrays_may_be_compressed(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros(2**20, np.float32))
    assert io.load_arrays(tmp_path / "x.npz")["x"].shape == (2**20,)


def test_member_that_says_it_is_10_gigabytes(tmp_path: Path) -> None:
    path = npz(tmp_path, ("x.npy", npy(GOOD)), compression=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 2**32 - 10)
    path.write_bytes(data)
    refused(path, "would unpack to 4294967286")


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(how: int, tmp_path: Path) -> None:
    refused(npz(tmp_path, ("x.npy", npy(GOOD)), compression=how), "not supported")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("other", ["x.npy", "x"])
def test_names_come_once(other: str, tmp_path: Path) -> None:
    refused(npz(tmp_path, ("x.npy", npy(GOOD)), (other, npy(GOOD))), "names 'x' twice")


def test_names_are_no_paths(tmp_path: Path) -> None:
    path = npz(tmp_path, ("../../x.npy", npy(GOOD)), ("/etc/x.npy", npy(GOOD)))
    assert list(io.load_arrays(path)) == ["../../x", "/etc/x"]
    assert [each.name for each in tmp_path.iterdir()] == ["x.npz"]


def test_encrypted_members_and_wrong_checksums(tmp_path: Path) -> None:
    path = npz(tmp_path, ("x.npy", npy(GOOD)))
    data = path.read_bytes()
    path.write_bytes(data.replace(bytes(8), bytes(7) + b"\x01", 1))
    with pytest.raises(WeightsError, match="Bad CRC-32"):
        io.load_arrays(path)
    flagged = bytearray(data)
    for signature, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        flagged[data.index(signature) + place] |= 1
    path.write_bytes(flagged)
    refused(path, "encrypted")


# ---- JSON, and a model -------------------------------------------------------------------------


def test_json_is_read_if_it_is_no_larger_than_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": [1, 2.5, null]}')
    assert io.read_json(path) == {"a": [1, 2.5, None]}
    with path.open("r+b") as file:
        file.truncate(2**34)
    with pytest.raises(WeightsError, match="expected at most"):
        io.read_json(path)
    with pytest.raises(FileNotFoundError):
        io.read_json(tmp_path / "y.json")


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_a_file_that_is_refused_leaves_the_model_alone(suffix: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4))
    path = tmp_path / f"x.{suffix}"
    model.save_weights(path)
    held = model.named_parameters() + model.named_buffers()
    before = [(name, value, value.tobytes()) for name, value in held]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    for strict in (True, False):
        with pytest.raises(WeightsError):
            model.load_weights(path, strict=strict)
    save_file(
        {"layers.0.bias": np.ones(4), "layers.0.weight": np.ones(3)}, tmp_path / "y.safetensors"
    )
    with pytest.raises(WeightsError, match="expects shape"):
        model.load_weights(tmp_path / "y.safetensors", strict=False)
    held = dict(model.named_parameters() + model.named_buffers())
    assert all(held[name] is value and value.tobytes() == old for name, value, old in before)
