"""Directories that are not what they should be: a clear error, before a model is made."""

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from freezeviz import models
from freezeviz.errors import WeightsError
from tests.models import _checkpoints as c

SAFE = "model.safetensors"
MISSING = "[Mm]issing"
INDEX = "model.safetensors.index.json"


def refused(folder: Path, message: str, **options) -> None:
    """Assert that loading fails with a message, and with little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=message):
            models.load(folder, **options)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    return c.write(tmp_path / "gpt2", c.config("gpt2"))


def reconfigure(folder: Path, **changes) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | changes))


@pytest.mark.parametrize("name", ["config.json", SAFE])
def test_missing_files_are_named(gpt2: Path, name: str) -> None:
    (gpt2 / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        models.load(gpt2)


def test_missing_directory_and_file_instead_of_one(gpt2: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no directory"):
        models.load(gpt2 / "nowhere")
    refused(gpt2 / SAFE, "is a file, expected the directory")


def test_pickles_are_never_loaded(gpt2: Path) -> None:
    (gpt2 / SAFE).unlink()
    (gpt2 / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    refused(gpt2, r"pickles \(pytorch_model.bin\), which are never loaded")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "model_type is 'llama', expected one of bert, gpt2, resnet, vit"),
        ({"model_type": ["gpt2"]}, "model_type is"),
        (
            {"architectures": ["GPT2DoubleHeadsModel"]},
            r"expected one of GPT2LMHeadModel, GPT2Model",
        ),
        ({"architectures": ["BertModel"]}, "no architecture 'BertModel' for model_type 'gpt2'"),
        ({"architectures": "GPT2Model"}, "expected to be a list of one name"),
        ({"architectures": [1]}, "expected to be a list of one name"),
        ({"n_layer": "2"}, "n_layer is a whole number"),
        ({"n_layer": None}, "n_layer is a whole number"),
        ({"n_embd": {"x": 1}}, "n_embd is a whole number"),
    ],
)
def test_configurations_that_make_no_model(gpt2: Path, changes: dict, message: str) -> None:
    reconfigure(gpt2, **changes)
    refused(gpt2, message)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"model_type": "gpt2", "model_type": "bert"}',
        '{"model_type": NaN}',
        '{"n_embd": 1e999}',
        "[" * 100_000,
        '{"model_type": "\udc80"}',
        "1" * 10_000,
    ],
)
def test_configurations_that_are_no_json_of_names(gpt2: Path, text: str) -> None:
    (gpt2 / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    refused(gpt2, "config.json")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("gpt2", {"n_embd": 10**9}, r"has shape \(20, 8\), expected \(20, 1000000000\)"),
        ("gpt2", {"vocab_size": 10**9}, r"has shape \(20, 8\), expected \(1000000000, 8\)"),
        ("gpt2", {"n_positions": 10**9}, r"expected \(1000000000, 8\) by config.json"),
        ("gpt2", {"n_layer": 10**9}, MISSING),
        ("gpt2", {"n_inner": 10**9}, r"expected \(8, 1000000000\)"),
        ("bert", {"num_hidden_layers": 2**31 - 1}, MISSING),
        ("vit", {"image_size": 10**6}, "expected"),
        ("vit", {"num_channels": 10**9}, "expected"),
        ("vit", {"patch_size": [1, 1]}, "expected"),
        ("resnet", {"depths": [1, 10**9]}, MISSING),
        ("resnet", {"hidden_sizes": [8, 10**9]}, "expected"),
        (
            "resnet",
            {"hidden_sizes": [8] + [12] * 10**4, "depths": [1, 2] + [1] * (10**4 - 1)},
            MISSING,
        ),
    ],
)
def test_a_model_larger_than_its_files_is_never_made(
    tmp_path: Path, kind: str, changes: dict, message: str, strict: bool
) -> None:
    folder = c.write(tmp_path, c.config(kind))
    reconfigure(folder, **changes)
    refused(folder, message, strict=strict)


def test_a_new_head_has_limits(tmp_path: Path) -> None:
    folder = c.write(tmp_path, c.config("bert", architectures=["BertModel"]))
    reconfigure(folder, num_labels=10**9)
    refused(folder, "far larger", architecture="BertForSequenceClassification", strict=False)


def test_wrong_arrays_are_named(gpt2: Path) -> None:
    values = c.config("gpt2")
    stored = c.weights(values)
    name = "transformer.h.1.mlp.c_fc.weight"
    cases = [
        (
            stored | {name: stored[name].T.copy()},
            rf"'{name}' has shape \(32, 8\), expected \(8, 32",
        ),
        (
            stored | {name: stored[name].astype(np.int32)},
            rf"'{name}' holds int32, expected floating",
        ),
        (stored | {name: stored[name] > 0}, "holds bool"),
        (stored | {name: stored[name].astype(np.complex64)}, "holds complex64"),
        ({k: v for k, v in stored.items() if k != name}, f"1 arrays are missing: '{name}'"),
        (stored | {"extra": stored[name]}, "1 arrays are not known: 'extra'"),
        (stored | {"transformer.h.2.ln_1.bias": np.ones(8, "f4")}, r"not known.*Closest: 'transf"),
    ]
    for arrays, message in cases:
        refused(c.write(gpt2, values, arrays), message)


def test_two_names_for_one_array(tmp_path: Path) -> None:
    values = c.config("bert")
    stored = c.weights(values)
    norm = "bert.embeddings.LayerNorm"
    stored[f"{norm}.gamma"] = stored[f"{norm}.weight"]
    refused(c.write(tmp_path, values, stored), "are one array's names")


@pytest.mark.parametrize("length", [0, 7, 8, 100, -1])
def test_truncated_weights(gpt2: Path, length: int) -> None:
    data = (gpt2 / SAFE).read_bytes()
    (gpt2 / SAFE).write_bytes(data[:length])
    refused(gpt2, SAFE)


# ---- several files -----------------------------------------------------------------------------


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return c.write(tmp_path / "sharded", c.config("gpt2"), shards=2)


def reindex(folder: Path, change) -> None:
    index = json.loads((folder / INDEX).read_text())
    change(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    "place",
    [
        "../outside.safetensors",
        "/etc/passwd",
        "/outside.safetensors",
        "sub/inside.safetensors",
        "..\\outside.safetensors",
        "..",
        ".",
        "",
        "\0.safetensors",
        "config.json\0.safetensors",
        "weights.bin",
    ],
)
def test_index_names_files_of_its_directory_only(sharded: Path, place: str) -> None:
    c.write(sharded.parent, c.config("gpt2"))
    os.replace(sharded.parent / SAFE, sharded.parent / "outside.safetensors")
    reindex(sharded, lambda places: places.update(dict.fromkeys(places, place)))
    refused(sharded, "no plain name|expected to end with")


def test_links_out_of_the_directory_are_not_followed(sharded: Path) -> None:
    place = "model-00002-of-00002.safetensors"
    os.replace(sharded / place, sharded.parent / place)
    (sharded / place).symlink_to(sharded.parent / place)
    refused(sharded, "is a link out of its directory")


@pytest.mark.parametrize("name", ["config.json", SAFE])
def test_no_file_is_a_link_out_of_the_directory(gpt2: Path, name: str) -> None:
    os.replace(gpt2 / name, gpt2.parent / name)
    (gpt2 / name).symlink_to(gpt2.parent / name)
    refused(gpt2, "is a link out of its directory")


def test_links_out_of_a_snapshot_lead_to_its_blobs_only(tmp_path: Path) -> None:
    folder = c.write(tmp_path / "repo" / "snapshots" / "a", c.config("gpt2"))
    os.replace(folder / SAFE, tmp_path / SAFE)
    (folder / SAFE).symlink_to(tmp_path / SAFE)
    refused(folder, "is a link out of its directory")


def test_links_in_a_circle(gpt2: Path) -> None:
    (gpt2 / SAFE).unlink()
    (gpt2 / SAFE).symlink_to(gpt2 / "other.safetensors")
    (gpt2 / "other.safetensors").symlink_to(gpt2 / SAFE)
    with pytest.raises((WeightsError, FileNotFoundError), match=SAFE):
        models.load(gpt2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_are_not_opened(gpt2: Path) -> None:
    (gpt2 / SAFE).unlink()
    os.mkfifo(gpt2 / SAFE)
    refused(gpt2, "no regular file")


def test_missing_shard(sharded: Path) -> None:
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="model-00002-of-00002"):
        models.load(sharded)


def test_index_and_shards_have_to_agree(sharded: Path) -> None:
    first, second = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    whole = (sharded / INDEX).read_text()
    name = next(n for n, p in json.loads(whole)["weight_map"].items() if p == first)

    def in_the_other(places: dict) -> None:
        places[name] = second

    changes = [
        (in_the_other, f"there is no '{name}' in '{second}'"),
        (lambda places: places.pop(name), f"'{name}' is not in {INDEX}"),
        (lambda places: places.update(more=first), f"there is no 'more' in '{first}'"),
        (lambda places: places.update({name: 3}), "no 'weight_map'"),
    ]
    for change, message in changes:
        (sharded / INDEX).write_text(whole)
        reindex(sharded, change)
        refused(sharded, message)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"weight_map": []}', '{"weight_map": 3}', "nonsense"]
)
def test_index_that_is_none(sharded: Path, text: str) -> None:
    (sharded / INDEX).write_text(text)
    refused(sharded, INDEX)


def test_array_in_two_shards(sharded: Path) -> None:
    first, second = sorted(sharded.glob("*.safetensors"))
    second.write_bytes(first.read_bytes())
    refused(sharded, "expected it once")
