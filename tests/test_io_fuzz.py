"""Files nobody in their right mind would write: `WeightsError`, or arrays, and nothing else.

The short version of ``tests/benchmarks/fuzz_weights.py``.
"""

import json
import struct
import tempfile
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeviz import io, models, nn
from freezeviz.errors import FreezevizWarning, WeightsError
from tests import _mutations as m
from tests.models import _checkpoints as c

SAFETENSORS, NPZ, ZIPPED = m.safetensors_file(), m.npz_file(False), m.npz_file(True)
seeds = st.integers(0, 2**32)
generators = seeds.map(np.random.default_rng)

texts = st.sampled_from(["x", "y", "dtype", "shape", "data_offsets", "__metadata__", "F32", "U8"])
numbers = st.sampled_from([*m.NUMBERS, 3, 4, 12, 24]) | st.integers(-(2**70), 2**70)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "U8", "BOOL", "F8_E5M2", "C64"]) | st.none(),
        "shape": st.lists(numbers, max_size=4),
        "data_offsets": st.lists(numbers, min_size=1, max_size=3),
    }
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
headers = st.dictionaries(texts, entries | anything, max_size=4) | anything


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def outcome(path: Path, data: bytes) -> dict | None:
    """Return the arrays that come of a file, or None; with no more memory than it warrants."""
    path.write_bytes(data)
    tracemalloc.start()
    try:
        arrays = io.load_arrays(path)
    except WeightsError:
        arrays = None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20 + 64 * len(data)
    return arrays


@settings(max_examples=300)
@given(generators, st.sampled_from([SAFETENSORS, NPZ, ZIPPED]))
def test_mutated_files(folder: Path, rng: np.random.Generator, data: bytes) -> None:
    suffix = "safetensors" if data is SAFETENSORS else "npz"
    outcome(folder / f"x.{suffix}", m.mutated(data, rng))


@settings(max_examples=200)
@given(generators)
def test_intact_archives_of_other_members(folder: Path, rng: np.random.Generator) -> None:
    outcome(folder / "x.npz", m.tampered_npz(rng))


@settings(max_examples=300)
@given(headers, st.integers(0, 64), st.sampled_from([None, *m.NUMBERS]))
def test_safetensors_with_any_header(folder: Path, header, size: int, length: int | None) -> None:
    text = json.dumps(header).encode()
    start = struct.pack("<Q", len(text) if length is None else length % 2**64)
    arrays = outcome(folder / "x.safetensors", start + text + bytes(size))
    if arrays is not None:
        assert sum(x.size * (2 if x.dtype == "float32" else 1) for x in arrays.values()) <= 2 * size


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from(["safetensors", "npz"]))
def test_files_of_any_bytes(folder: Path, data: bytes, suffix: str) -> None:
    start = b"" if suffix == "npz" else struct.pack("<Q", len(data) // 2)
    arrays = outcome(folder / f"x.{suffix}", start + data)
    assert not arrays


@settings(max_examples=150)
@given(generators, st.sampled_from([SAFETENSORS, NPZ]), st.booleans())
def test_a_refused_file_leaves_the_model_alone(
    folder: Path, rng, data: bytes, strict: bool
) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4))
    path = folder / ("x.safetensors" if data is SAFETENSORS else "x.npz")
    path.write_bytes(m.mutated(data, rng))
    held = model.named_parameters() + model.named_buffers()
    before = [(name, id(x), x.tobytes()) for name, x in held]
    try:
        model.load_weights(path, strict=strict)
    except WeightsError:
        held = model.named_parameters() + model.named_buffers()
        assert [(name, id(x), x.tobytes()) for name, x in held] == before


@pytest.mark.parametrize("kind", c.CONFIGS)
def test_directories_with_a_damaged_file(kind: str, tmp_path: Path) -> None:
    whole = c.write(tmp_path, c.config(kind), shards=2)
    files = {path: path.read_bytes() for path in whole.iterdir()}

    @settings(max_examples=60)
    @given(generators, st.sampled_from(sorted(files)), st.booleans(), st.booleans())
    def check(rng: np.random.Generator, path: Path, by_structure: bool, strict: bool) -> None:
        data = files[path]
        if not by_structure:
            data = m.mutated(data, rng)
        elif path.suffix == ".json":
            data = m.json_text(json.loads(data), rng)
        else:
            data = m.tampered_safetensors(data, rng)
        path.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore" if not strict else "error", FreezevizWarning)
                models.load(whole, strict=strict)
        except (WeightsError, FileNotFoundError):
            pass
        finally:
            path.write_bytes(files[path])

    check()
