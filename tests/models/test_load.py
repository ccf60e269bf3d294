"""Loading directories as Hugging Face lays them out."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import freezeviz as fv
from freezeviz import models
from freezeviz.errors import WeightsError
from tests.models import _checkpoints as c

kinds = pytest.mark.parametrize("kind", c.CONFIGS)


def arrays(model) -> dict[str, bytes]:
    return {n: x.tobytes() for n, x in model.named_parameters() + model.named_buffers()}


@kinds
@pytest.mark.parametrize("shards", [1, 3])
def test_every_array_comes_from_the_files(kind: str, shards: int, tmp_path: Path) -> None:
    values = c.config(kind)
    model = models.load(c.write(tmp_path, values, shards=shards))
    assert type(model).__name__ == c.ARCHITECTURES[kind]
    held = dict(model.named_parameters() + model.named_buffers())
    for entry in c.expected(values):
        if not entry.optional:
            stored = c.weights(values)[entry.path]
            wanted = stored if entry.axes is None else stored.transpose(entry.axes)
            assert held[entry.path].tobytes() == wanted.tobytes()


@kinds
def test_models_come_in_eval_mode_trainable_and_on_their_own_memory(kind, tmp_path: Path) -> None:
    model = models.load(str(c.write(tmp_path, c.config(kind))))
    assert not any(module.training for module in model.modules())
    assert not fv.tree_flatten(model.frozen_parameters())
    assert all(value.flags.writeable for _, value in model.named_parameters())


def test_dtype_is_that_of_the_files_unless_asked_for(tmp_path: Path) -> None:
    values = c.config("gpt2")
    wide = {name: x.astype(np.float64) for name, x in c.weights(values).items()}
    folder = c.write(tmp_path, values, wide)
    for dtype, wanted in ((None, "float64"), (np.float32, "float32"), ("float16", "float16")):
        model = models.load(folder, dtype=dtype)
        assert {x.dtype for _, x in model.named_parameters()} == {np.dtype(wanted)}


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    values = c.config("resnet")
    half = {name: x.astype(np.float16) for name, x in c.weights(values).items()}
    model = models.load(c.write(tmp_path, values, half))
    assert {x.dtype for _, x in model.named_parameters()} == {np.dtype("float32")}
    weight = dict(model.named_parameters())["classifier.1.weight"]
    assert np.array_equal(weight, half["classifier.1.weight"])


def test_bare_checkpoint_fits_a_model_with_a_head_that_is_tied(tmp_path: Path) -> None:
    # As Hugging Face's own GPT-2 is stored: without the prefix, with masks.
    values = c.config("gpt2")
    stored = {n.removeprefix("transformer."): x for n, x in c.weights(values).items()}
    stored |= {f"h.{i}.attn.bias": np.ones((1, 1, 10, 10), np.float32) for i in range(2)}
    plain = models.load(c.write(tmp_path / "a", values))
    assert arrays(models.load(c.write(tmp_path / "b", values, stored))) == arrays(plain)


def test_tied_array_may_be_stored_under_both_names(tmp_path: Path) -> None:
    values = c.config("gpt2")
    stored = c.weights(values)
    stored["lm_head.weight"] = stored["transformer.wte.weight"].copy()
    model = models.load(c.write(tmp_path, values, stored))
    assert model.lm_head.weight is model.transformer.wte.weight
    stored["lm_head.weight"][0] += 1
    with pytest.raises(WeightsError, match=r"one tied array in the model, but differ"):
        models.load(c.write(tmp_path, values, stored))


def test_names_of_the_first_checkpoints(tmp_path: Path) -> None:
    values = c.config("bert", architectures=["BertForMaskedLM"])
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    stored = {}
    for name, x in c.weights(values).items():
        for new, before in old.items():
            name = name.replace(new, before)
        stored[name] = x
    # What the pre-training leaves in bert-base-uncased.
    stored["cls.seq_relationship.weight"] = np.ones((2, 8), np.float32)
    stored["bert.pooler.dense.weight"] = np.ones((8, 8), np.float32)
    stored["bert.embeddings.position_ids"] = np.arange(10)[None]
    plain = models.load(c.write(tmp_path / "a", values))
    assert arrays(models.load(c.write(tmp_path / "b", values, stored))) == arrays(plain)


def test_numbers_of_batches_are_passed_over(tmp_path: Path) -> None:
    values = c.config("resnet")
    stored = c.weights(values)
    stored["resnet.embedder.embedder.normalization.num_batches_tracked"] = np.array(7)
    models.load(c.write(tmp_path, values, stored))


def test_without_an_architecture_the_bare_model_is_taken(tmp_path: Path) -> None:
    values = c.config("gpt2")
    folder = c.write(tmp_path, values)
    (folder / "config.json").write_text(json.dumps(values | {"architectures": None}))
    assert type(models.load(folder)) is models.GPT2Model


def test_new_head_on_a_bare_checkpoint(tmp_path: Path) -> None:
    folder = c.write(tmp_path, c.config("bert", architectures=["BertModel"]))
    name = "BertForSequenceClassification"
    with pytest.raises(
        WeightsError, match=r"2 arrays are missing: 'classifier.weight', 'cl.*strict"
    ):
        models.load(folder, name)
    with pytest.warns(fv.FreezevizWarning, match="2 arrays are missing"):
        model = models.load(folder, name, strict=False)
    weight = model.classifier.weight
    assert np.isfinite(weight).all()
    assert weight.any()
    bare = arrays(models.load(folder))
    assert {f"bert.{n}": x for n, x in bare.items()}.items() <= arrays(model).items()


def test_unknown_arrays_are_passed_over_when_asked(tmp_path: Path) -> None:
    values = c.config("vit")
    stored = c.weights(values)
    stored["vit.layernrom.weight"] = np.ones(8, np.float32)
    folder = c.write(tmp_path, values, stored)
    message = r"1 arrays are not known: 'vit.layernrom.weight'. Closest: 'vit.layernorm.weight'"
    with pytest.raises(WeightsError, match=message):
        models.load(folder)
    with pytest.warns(fv.FreezevizWarning, match=message):
        models.load(folder, strict=False)


def test_own_weights_files_go_both_ways(tmp_path: Path) -> None:
    model = models.load(c.write(tmp_path, c.config("resnet")))
    model.save_weights(tmp_path / "ours.safetensors")
    other = models.ResNetForImageClassification(model.config)
    other.load_weights(tmp_path / "ours.safetensors")
    assert arrays(other) == arrays(model)


def test_snapshot_in_the_cache_of_hugging_face(tmp_path: Path) -> None:
    # There, a snapshot's files are links to blobs beside it.
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "a1b2"
    c.write(blobs, c.config("gpt2"))
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).symlink_to(Path(os.pardir, os.pardir, "blobs", name))
    assert arrays(models.load(snapshot)) == arrays(models.load(blobs))


def test_metadata_of_the_file_does_not_matter(tmp_path: Path) -> None:
    values = c.config("gpt2")
    folder = c.write(tmp_path, values)
    before = arrays(models.load(folder))
    save_file(c.weights(values), folder / "model.safetensors", {"format": "mlx", "x": "y"})
    assert arrays(models.load(folder)) == before
