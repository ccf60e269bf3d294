"""Files of weights, and what can go wrong with them: for the fuzzing tests."""

import io
import json
import struct
import zipfile

import numpy as np
from safetensors.numpy import save

NUMBERS = [0, 1, 2, 7, 8, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1]
NUMBERS += [2**63, 2**64 - 1, -1, -8]
VALUES = [*NUMBERS, None, True, False, "", "x", "F32", "BF16", "U8", "<f4", "|O", "..", "/", [], {}]
VALUES += [1.5, 1e308, 10**30, [0, 8], [1] * 70, [0, 2**62], {"x": 1}, "9" * 5000, [[[]]]]


def arrays() -> dict[str, np.ndarray]:
    """Return the arrays that the files hold; the model of the tests takes them, too."""
    rng = np.random.default_rng(0)
    return {
        "layers.0.weight": rng.standard_normal((4, 3), dtype=np.float32),
        "layers.0.bias": rng.standard_normal(4, dtype=np.float32),
        "layers.1.weight": np.ones(4, np.float32),
        "layers.1.bias": np.zeros(4, np.float32),
        "layers.1.running_mean": np.zeros(4, np.float32),
        "layers.1.running_var": np.ones(4, np.float32),
    }


def safetensors_file() -> bytes:
    return save(arrays(), {"format": "np"})


def npz_file(compressed: bool) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays())
    return buffer.getvalue()


# ---- bytes -------------------------------------------------------------------------------------


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with one to four things done to them, anywhere."""
    for _ in range(rng.integers(1, 5)):
        data = _EDITS[rng.integers(len(_EDITS))](data, rng)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    # Fields of weight lie at both ends: lengths and headers, and a zip file's directory.
    where = rng.integers(4)
    if where == 0:
        return int(rng.integers(min(len(data), 64) + 1))
    if where == 1:
        return len(data) - int(rng.integers(min(len(data), 128) + 1))
    return int(rng.integers(len(data) + 1))


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    new = bytearray(data or b"\0")
    new[min(_place(data, rng), len(new) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(new)


def _overwrite(data: bytes, rng: np.random.Generator) -> bytes:
    at, number = _place(data, rng), NUMBERS[rng.integers(len(NUMBERS))]
    size = int(rng.choice([1, 2, 4, 8]))
    return data[:at] + (number % 256**size).to_bytes(size, "little") + data[at + size :]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.bytes(rng.integers(1, 20)) + data[at:]


def _delete(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + int(rng.integers(1, 40)) :]


def _truncate(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    a, b = sorted((_place(data, rng), _place(data, rng)))
    return data[:b] + data[a:b] * int(rng.integers(1, 4)) + data[b:]


def _swap(data: bytes, rng: np.random.Generator) -> bytes:
    a, b, c = sorted(_place(data, rng) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


_EDITS = [_flip, _flip, _overwrite, _overwrite, _insert, _delete, _truncate, _repeat, _swap]


# ---- structure ---------------------------------------------------------------------------------


def tampered(value, rng: np.random.Generator):
    """Return a JSON value with something in it replaced, removed, renamed or added."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.2:
        return VALUES[rng.integers(len(VALUES))]
    new = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    key = list(new)[rng.integers(len(new))]
    what = rng.integers(6)
    if what == 0:
        del new[key]
    elif what == 1 and isinstance(value, dict):
        new[str(VALUES[rng.integers(len(VALUES))])] = new.pop(key)
    elif what == 2:
        new[key if isinstance(value, list) else f"{key}x"] = VALUES[rng.integers(len(VALUES))]
    else:
        new[key] = tampered(new[key], rng)
    return new if isinstance(value, dict) else list(new.values())


def json_text(value, rng: np.random.Generator) -> bytes:
    """Return a tampered value as text; at times a name is there twice."""
    for _ in range(rng.integers(1, 4)):
        value = tampered(value, rng)
    text = json.dumps(value)
    if rng.random() < 0.1:
        text = text.replace("{", '{"x": 1, "x": 2, ', 1)
    return text.encode()


def tampered_safetensors(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with its header tampered with, and a length that mostly fits."""
    length = struct.unpack("<Q", data[:8])[0]
    text = json_text(json.loads(data[8 : 8 + length]), rng)
    said = len(text) if rng.random() < 0.9 else NUMBERS[rng.integers(len(NUMBERS))] % 2**64
    return struct.pack("<Q", said) + text + data[8 + length :]


def tampered_npz(rng: np.random.Generator) -> bytes:
    """Return an intact archive of members that are not."""
    buffer = io.BytesIO()
    how = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    with zipfile.ZipFile(buffer, "w", how[rng.integers(2 if rng.random() < 0.9 else 4)]) as archive:
        for name, array in arrays().items():
            if rng.random() < 0.1:
                name = str(VALUES[rng.integers(len(VALUES))]).replace("\0", "") + name
            archive.writestr(f"{name}.npy", _tampered_npy(array, rng))
    return buffer.getvalue()


def _tampered_npy(array: np.ndarray, rng: np.random.Generator) -> bytes:
    header: dict = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    if rng.random() < 0.15:
        key = list(header)[rng.integers(3)]
        header[key] = VALUES[rng.integers(len(VALUES))]
        if key == "shape" and isinstance(header[key], list):
            header[key] = tuple(header[key])
        if rng.random() < 0.2:
            del header[key]
    text = repr(header).encode()
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) % 2**16) + text + array.tobytes()
    return mutated(data, rng) if rng.random() < 0.1 else data
